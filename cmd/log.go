package cmd

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"fleetctl/internal/plain"
)

// logFile remembers the first error of writing, which the logger keeps to itself.
type logFile struct {
	*os.File
	mu   sync.Mutex // guards lost
	lost error
}

// Write implements io.Writer.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = cmp.Or(f.lost, err)
	return n, err
}

// close returns what was lost.
func (f *logFile) close() error {
	err := f.File.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.lost, err)
}

// openLog opens the file of --log-file, for this user alone.
func (a *app) openLog() error {
	if a.flags.logFile == "" {
		return nil
	}
	f, err := os.OpenFile(a.flags.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return usage(fmt.Errorf("open the log: %w", err), "")
	}
	a.log = &logFile{File: f}
	return nil
}

// logger writes on stderr when --debug asks for it, and to --log-file; secrets are taken out of both.
func (a *app) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	var handlers []slog.Handler
	if a.flags.debug {
		handlers = append(handlers, slog.NewTextHandler(a.scrub.Writer(a.io.err), options))
	}
	if a.log != nil {
		handlers = append(handlers, slog.NewJSONHandler(a.scrub.Writer(plain.Log{W: a.log}), options))
	}
	return slog.New(slog.NewMultiHandler(handlers...))
}
