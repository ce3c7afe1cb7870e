//go:build !linux

package cmd

// adviseLargePages does nothing: systems other than Linux choose the size of pages themselves.
func adviseLargePages([]byte) {}
