package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks is how many symbolic links a path may lead through, as in Linux.
const maxLinks = 40

// others are the permissions that let another user write.
const others fs.FileMode = 0o022

// untrusted reports why a project file may not decide anything; "" when it may: it, the folders on the way to it, and those that
// its symbolic links lead through belong to the caller or to root, and no other user can write them. A folder such as /tmp,
// which all may write but where only owners may replace what is there, can be on the way, but cannot hold the file: any user
// can make one there. An error means that the file could not be examined.
func (l *loader) untrusted(path string) (why string, err error) {
	if !ownersKnown {
		if under(l.env.Home, path) {
			return "", nil
		}
		return "on this system it is unknown which other users can write it; only files in the home directory count", nil
	}
	volume := filepath.VolumeName(path)
	at, rest := volume+string(filepath.Separator), steps(path[len(volume):])
	links := 0
	for len(rest) > 0 {
		step := rest[0]
		rest = rest[1:]
		if why, err := l.openFolder(at, len(rest) == 0); why != "" || err != nil {
			return why, err
		}
		if step == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, step)
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		if why := l.foreign(next, info); why != "" {
			return why, nil
		}
		switch mode := info.Mode(); {
		case mode&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%s: too many symbolic links", path)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return "", err
			}
			if filepath.IsAbs(target) {
				at = volume + string(filepath.Separator)
			}
			rest = append(steps(target), rest...)
			continue
		case len(rest) == 0 && !mode.IsRegular():
			return next + " is not a regular file", nil
		case len(rest) == 0 && mode.Perm()&others != 0:
			return "others can write " + next, nil
		}
		at = next
	}
	return "", nil
}

// openFolder reports what is wrong with a folder on the way; last means that the file, or a link to it, is in it.
func (l *loader) openFolder(dir string, last bool) (why string, err error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if why := l.foreign(dir, info); why != "" {
		return why, nil
	}
	if info.Mode().Perm()&others == 0 || info.Mode()&fs.ModeSticky != 0 && !last {
		return "", nil
	}
	return "others can write its folder " + dir, nil
}

// foreign names the owner of a file that belongs neither to root nor to the caller.
func (l *loader) foreign(path string, info fs.FileInfo) string {
	owner := fileOwner
	if l.env.owner != nil {
		owner = l.env.owner
	}
	if uid := owner(path, info); uid != 0 && uid != l.env.UID {
		return fmt.Sprintf("%s belongs to user %d", path, uid)
	}
	return ""
}

// under reports whether path is in the folder dir, at any depth. Nothing is under a folder that is not known, or is the root.
func under(dir, path string) bool {
	dir = filepath.Clean(dir)
	return dir != "." && dir != filepath.Dir(dir) && strings.HasPrefix(path, dir+string(filepath.Separator))
}

// steps are the parts of a path that lead somewhere.
func steps(path string) []string {
	all := strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator || r == '/' })
	return slices.DeleteFunc(all, func(s string) bool { return s == "." })
}
