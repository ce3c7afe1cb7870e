//go:build unix

package secret

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pipe makes a named pipe.
func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLineReadsAFile(t *testing.T) {
	for text, want := range map[string]string{
		"s3cret": "s3cret", "s3cret\n": "s3cret", "s3cret\r\n": "s3cret", " a b \n": " a b ",
		"": "it is empty", "\n": "it is empty", "a\nb\n": "more than one line", "a\x00b": "NUL",
		strings.Repeat("x", maxLine): strings.Repeat("x", maxLine), strings.Repeat("x", maxLine+1): "longer than",
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Line(t.Context(), path)
		if err != nil {
			got = err.Error()
			if !strings.Contains(got, path) || !strings.Contains(got, want) {
				t.Errorf("%.20q: %v, want %.20q and the path", text, err, want)
			}
		} else if got != want {
			t.Errorf("%.20q: %.20q, want %.20q", text, got, want)
		}
	}
}

func TestLineRefusesWhatIsNoFile(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{"/dev/zero", "/dev/null", t.TempDir(), socket} {
		if _, err := Line(t.Context(), path); err == nil || !strings.Contains(err.Error(), "neither a file nor a pipe") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Line(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestLineReadsAPipe(t *testing.T) {
	path := pipe(t)
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(path, []byte("s3cret\n"), 0) }()
	if got, err := Line(t.Context(), path); got != "s3cret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

func TestLineReadsADescriptor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("s3cret\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := Line(t.Context(), fmt.Sprintf("/dev/fd/%d", r.Fd())); got != "s3cret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A first signal ends the context: neither a pipe without a writer nor one that stays open may hold the command.
func TestLineEndsWithItsContext(t *testing.T) {
	signal := errors.New("interrupt signal received")
	t.Run("no writer", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		path := pipe(t)
		done := make(chan error, 1)
		go func() { _, err := Line(ctx, path); done <- err }()
		cancel(signal)
		await(t, done, signal)
	})
	t.Run("a writer that writes nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		path := pipe(t)
		done := make(chan error, 1)
		go func() { _, err := Line(ctx, path); done <- err }()
		w, err := os.OpenFile(path, os.O_WRONLY, 0) // returns when the reader is there
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		cancel(signal)
		await(t, done, signal)
	})
}

func await(t *testing.T, done <-chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Line did not end with its context")
	}
}
