//go:build unix

package journal

import (
	"io/fs"
	"syscall"
)

// fileIdentity is the device and the inode of a file, and its owner; zeros and -1 when that is unknown.
func fileIdentity(info fs.FileInfo) (device, inode uint64, uid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, -1
	}
	return uint64(st.Dev), uint64(st.Ino), int(st.Uid)
}
