package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ErrForeign: the journal belongs to another user. It can be read, never driven: neither appended to nor its process
// signaled.
var ErrForeign = errors.New("it belongs to another user")

// ErrGone: the process that held the journal is gone, and its number may be another process's now.
var ErrGone = errors.New("its process is gone")

// ErrElsewhere: the process that holds the journal runs on another host.
var ErrElsewhere = errors.New("its process is on another host")

// Owner is a process that held the journal. Its own description is in the file, and as trustworthy as the file's owner:
// UID and Ours are the file system's.
type Owner struct {
	PID   int           `json:"pid"`
	Host  string        `json:"host"`
	Since time.Time     `json:"since"`
	Boot  string        `json:"boot,omitempty"`  // id of the boot; "" in old records, and where the system has none
	Start string        `json:"start,omitempty"` // when the process began, in the system's own words; "" likewise
	Up    time.Duration `json:"up,omitempty"`    // the time since the boot, at Since

	UID  int  `json:"-"` // the owner of the file; -1 where files have no owner
	Ours bool `json:"-"` // it is the caller's own
}

// same reports whether both are one process.
func (o Owner) same(other Owner) bool {
	return o.PID == other.PID && o.Host == other.Host && o.Boot == other.Boot && o.Start == other.Start
}

// owned fills in the owner of the file.
func (o *Owner) owned(m Machine, info fs.FileInfo) {
	_, _, o.UID = fileIdentity(info)
	o.Ours = o.UID == m.UID
}

// Signal sends a signal to the process, after making sure that it is the one that wrote the journal. ErrForeign,
// ErrElsewhere or ErrGone.
func (o Owner) Signal(sig os.Signal) error { return o.signal(ThisMachine(), sig) }

func (o Owner) signal(m Machine, sig os.Signal) error {
	switch {
	case !o.Ours:
		return fmt.Errorf("signal process %d: %w", o.PID, ErrForeign)
	case o.Host != m.Host:
		return fmt.Errorf("signal process %d on %s: %w", o.PID, o.Host, ErrElsewhere)
	case o.PID <= 0 || o.Boot != m.Boot:
		return fmt.Errorf("signal process %d: %w", o.PID, ErrGone)
	}
	p, err := os.FindProcess(o.PID) // a handle where the system has them: the number cannot be reused under it
	if err != nil {
		return fmt.Errorf("signal process %d: %w (%v)", o.PID, ErrGone, err)
	}
	defer func() { _ = p.Release() }()
	if m.Process(o.PID) != o.Start {
		return fmt.Errorf("signal process %d: %w", o.PID, ErrGone)
	}
	if err := p.Signal(sig); errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", o.PID, ErrGone)
	} else if err != nil {
		return fmt.Errorf("signal process %d: %w", o.PID, err)
	}
	return nil
}
