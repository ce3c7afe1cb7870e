//go:build !unix

package journal

import "io/fs"

func fileIdentity(fs.FileInfo) (device, inode uint64, uid int) { return 0, 0, -1 }
