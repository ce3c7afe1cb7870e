package cmd

import "os"

// raise ends this process.
func raise(os.Signal) {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
}

// onSuspend: a console stops no process.
func onSuspend(func(stop func())) {}

// inForeground: a console has no background.
func inForeground(*os.File) bool { return true }
