package cmd

import "syscall"

// adviseLargePages asks for pages of 2 MB for memory that was not used yet, where the system gives them to those who ask.
// An error means that it does not: everything works with small ones.
func adviseLargePages(memory []byte) {
	const hugePages = 14 // MADV_HUGEPAGE, madvise(2)
	_ = syscall.Madvise(memory, hugePages)
}
