//go:build !nolab

package cmd

import "syscall"

// endWithParent has the kernel end a process when we end, however that happens.
func endWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGTERM }
