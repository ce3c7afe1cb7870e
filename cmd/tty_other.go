//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package cmd

import "os"

// forgetTyped cannot discard input that was typed before the question appeared, on this system.
func forgetTyped(*os.File) {}
