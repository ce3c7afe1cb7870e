package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// maxLine is the longest secret that is read, in bytes: a secret is short, a wrong file may be anything.
const maxLine = 1 << 20

// Line reads a secret from a file, a named pipe or a /dev/fd entry: one line, which must be all there is, without its line
// break. Anything else (a folder, a device, a socket) is refused, as is more than maxLine. A pipe is read until its writers
// have closed it. When ctx ends first, the error is its cause, also while no writer has opened the pipe. The errors name
// the path and never quote what was read.
func Line(ctx context.Context, path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &missingError{path}
	}
	if err != nil {
		return "", err
	}
	var f *os.File
	switch mode := info.Mode(); {
	case mode.IsRegular():
		f, err = os.Open(path)
	case mode&fs.ModeNamedPipe != 0:
		f, err = openPipe(ctx, path)
	default:
		return "", fmt.Errorf("%s: it is neither a file nor a pipe", path)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) }) // files have no deadline: their reads end by themselves
	defer stop()
	value, err := oneLine(f)
	if ctx.Err() != nil {
		return "", fmt.Errorf("read %s: %w", path, context.Cause(ctx))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return value, nil
}

// missingError is that of a path that names nothing.
type missingError struct{ path string }

func (e *missingError) Error() string {
	if e.path == "" {
		return "the name of the file is empty"
	}
	return "there is no file " + e.path
}

func (e *missingError) Unwrap() error { return fs.ErrNotExist }

// openPipe opens a named pipe for reading. The system's open waits for a writer and knows no context: when ctx ends, we are
// that writer.
func openPipe(ctx context.Context, path string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
	}
	if w, err := os.OpenFile(path, os.O_RDWR, 0); err == nil { // does not wait for a writer
		o := <-done
		_ = w.Close()
		if o.err == nil {
			_ = o.f.Close()
		}
	} // else the pipe cannot be written to: its reader is left waiting, and the process is about to end
	return nil, fmt.Errorf("open %s: %w", path, context.Cause(ctx))
}

// oneLine reads one line, which must be all that r has, and returns it without its line break. Errors do not quote it.
func oneLine(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxLine+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxLine {
		return "", fmt.Errorf("it is longer than %d bytes", maxLine)
	}
	value := strings.TrimRight(string(data), "\r\n")
	switch {
	case value == "":
		return "", errors.New("it is empty")
	case strings.ContainsAny(value, "\r\n"):
		return "", errors.New("it has more than one line")
	case strings.ContainsRune(value, 0):
		return "", errors.New("it has a NUL byte")
	}
	return value, nil
}
