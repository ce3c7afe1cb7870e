//go:build unix

package discovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Opening a FIFO waits for a writer: an interrupt ends that too.
func TestInterruptEndsTheWaitForAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := ReadNodesFile(ctx, path, nil)
		done <- err
	}()
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
	w, err := os.OpenFile(path, os.O_WRONLY, 0) // lets the reader that was left behind end
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}
