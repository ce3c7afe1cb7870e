// Package cmd is the command line: flags, wiring, the choice of output, and exit codes.
//
// Every command has a file of its own, with an options value, a Validate that ends wrong usage before any network, and
// a run function. Nothing below this package knows that a flag, a stream or a colour exists.
package cmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"runtime/debug"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// app is what the commands share: the streams, the global flags, and the way to the network, which is opened when
// it is first needed.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) (string, bool)
	flags    globalFlags
	log      *logFile // --log-file, nil without
	lined    bool     // an error was written as a JSON line
	scrub    scrubber // the secrets of this run: nothing that is written may hold them
}

// globalFlags are understood by every command.
type globalFlags struct {
	config         string
	debug          bool
	logFile        string
	noColor        bool
	noProgress     bool
	connectTimeout seconds
	insecureBroker bool
	allowUnsigned  bool
	federations    []string
	signerCA       string
	insecureSigner bool
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return e.signal.String() + " signal received" }

// Main runs the command line and returns the exit code. The first SIGINT or SIGTERM ends the context with its signal
// as the cause; the second is plain death, which is always safe.
func Main(args []string) int {
	// Half of Go's slack: a run over 100,000 nodes holds some 60 MB, and an operator's machine has other things to do.
	debug.SetGCPercent(50)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.LookupEnv}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s, ok := (<-signals).(syscall.Signal)
		signal.Stop(signals)
		if ok {
			cancel(signalError{s})
		}
	}()
	return a.execute(ctx, args)
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := a.newRoot()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if a.log != nil {
		a.logger().Info("ended", "error", err)
		if lost := a.log.close(); lost != nil {
			fmt.Fprintln(a.err, "warning: the log is not complete: "+lost.Error())
		}
	}
	code, say, hint := classify(ctx, err)
	if say != "" {
		fmt.Fprintln(a.err, "fleetctl: "+a.scrub.text(say))
	}
	if hint != "" {
		fmt.Fprintln(a.err, "hint: "+hint)
	}
	return code
}

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

// close tells what was lost.
func (f *logFile) close() error {
	err := f.File.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.lost, err)
}

// home is the user's own folder. A system's timer may set no HOME; records and settings must not come from wherever it
// runs then.
func (a *app) home() string {
	if home, ok := a.getenv("HOME"); ok && home != "" {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// userName is who runs this, for the record. A system's timer may set no USER.
func (a *app) userName() string {
	if name, ok := a.getenv("USER"); ok && name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// color tells whether a stream gets colours: only a terminal that knows them, and never against the operator's wish.
func (a *app) color(w io.Writer) bool {
	if _, set := a.getenv("NO_COLOR"); set || a.flags.noColor {
		return false
	}
	if kind, _ := a.getenv("TERM"); kind == "dumb" {
		return false
	}
	return a.terminal(w)
}

// terminal tells whether a stream is one.
func (a *app) terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is the terminal's width in columns, or 80 where there is none.
func (a *app) width(w any) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}
