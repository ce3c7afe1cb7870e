package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// fileSystem is the access to the disk. Tests replace it by ones that fail, or that lose what was not synced.
type fileSystem interface {
	Mkdir(path string) error      // mode 0700
	SyncFolder(path string) error // its entries are durable when it returns
	OpenFolder(path string) (folder, error)
}

// folder is the folder of the runs. Names in it never lead out of it.
type folder interface {
	OpenFile(name string, flag int, perm fs.FileMode) (file, error)
	Remove(name string) error
	Rename(old, name string) error
	Stat(name string) (fs.FileInfo, error)
	ReadDir() ([]fs.DirEntry, error)
	Sync() error // the entries are durable when it returns
	Close() error
}

// file is what a journal needs of an *os.File.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Fd() uintptr
}

// disk is the real file system.
type disk struct{}

func (disk) Mkdir(path string) error { return os.Mkdir(path, dirMode) }

func (disk) SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(d.Sync()), d.Close())
}

func (disk) OpenFolder(path string) (folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return diskFolder{root}, nil
}

type diskFolder struct{ *os.Root }

func (d diskFolder) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	f, err := d.Root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d diskFolder) ReadDir() ([]fs.DirEntry, error) { return fs.ReadDir(d.FS(), ".") }

func (d diskFolder) Sync() error {
	self, err := d.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(self.Sync()), self.Close())
}

// CreateBeside makes a new file of mode 0600 in the folder of the journals, and the folder itself when missing.
// fs.ErrExist when the path is taken.
func (m Machine) CreateBeside(path string) (*os.File, error) {
	if err := makeFolder(m.disk(), filepath.Dir(path)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, fileMode)
}

// makeFolder makes a folder and those above it. Each is durable when it returns: a folder whose entry is lost loses every
// record in it.
func makeFolder(files fileSystem, path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeFolder(files, parent); err != nil {
			return err
		}
	}
	if err := files.Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return files.SyncFolder(parent)
}
