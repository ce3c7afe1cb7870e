//go:build !unix

package detached

// Supported reports whether Start works on this system.
const Supported = false

// Start returns ErrUnsupported.
func Start(Options) (*Process, error) { return nil, ErrUnsupported }

// Inherited returns an error: no process of this system was started by Start.
func Inherited(any) (*Starter, error) { return nil, errAlone }
