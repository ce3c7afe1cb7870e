//go:build !linux

package cmd

import "fleetctl/batch"

// keys are not read on this system: `fleetctl runs pause` does the same from another terminal.
type keys struct{}

func readsKeys(*app) bool { return false }

func readKeys(*app) *keys { return nil }

func (*keys) control() <-chan batch.Control { return nil }
func (*keys) close()                        {}
func (*keys) hold() (release func())        { return func() {} }
