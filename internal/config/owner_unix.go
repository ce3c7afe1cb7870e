//go:build unix

package config

import (
	"io/fs"
	"syscall"
)

const ownersKnown = true

// fileOwner is the number of the user that a file belongs to; -1 when it is unknown.
func fileOwner(_ string, info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
