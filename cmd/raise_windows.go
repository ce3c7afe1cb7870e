package cmd

import "os"

// raise ends this process.
func raise(os.Signal) {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
}
