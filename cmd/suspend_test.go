package cmd

import "testing"

// TestKeysAreNotReadWhileTheProcessIsStopped: nothing changes the terminal's mode until the process has continued.
func TestKeysAreNotReadWhileTheProcessIsStopped(t *testing.T) {
	held := 0
	hold := func() (release func()) {
		held++
		return func() { held-- }
	}
	stopped := false
	suspend(nil, &hold, func() { stopped = held == 1 })
	if !stopped || held != 0 {
		t.Errorf("held while stopped: %t; held %d times after it", stopped, held)
	}
}
