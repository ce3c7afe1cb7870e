// Package cmd is the command line: flags to values, help, completion, prompts, and exit codes.
//
// Every command has a file of its own, with an options value, a function that refuses wrong usage before any network,
// and the function that it runs, which tests replace. Nothing below this package knows that a flag, a stream or an exit
// code exists.
package cmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"fleetctl/internal/plain"
	"fleetctl/internal/secret"
)

// app is what the commands share.
type app struct {
	io    streams
	env   environment
	flags globalFlags
	log   *logFile // --log-file, nil without
	// colorless is what the configuration that was read says: color = false.
	colorless bool
	running   atomic.Pointer[string] // the id of the recorded run that this process drives, nil for none
	restore   atomic.Pointer[func()] // puts the terminal back as it was
	scrub     secret.Scrubber        // the secrets of this process: nothing that is written may hold them
}

// globalFlags are understood by every command.
type globalFlags struct {
	config         string
	site           string
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

// Main runs the command line and returns the exit code. The first SIGINT, SIGTERM or SIGHUP ends the context with its
// signal as the cause; the second kills the process, which is always safe. A hangup that was ignored at the start (nohup)
// stays ignored.
func Main(args []string) int {
	// Half of Go's slack: a run over 100,000 nodes holds some 60 MB, and an operator's machine has other things to do.
	debug.SetGCPercent(50)
	a := &app{io: streams{os.Stdin, os.Stdout, os.Stderr}, env: environment{os.LookupEnv}}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endingSignals()...)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			cancel(signalError{s})
		}
		a.dieBy(<-signals)
	}()
	return a.execute(ctx, args)
}

// endingSignals ask a command to end.
func endingSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// dieBy ends the process at once, by the signal that it got. What is recorded stays, and the operator is told how to resume.
func (a *app) dieBy(s os.Signal) {
	if restore := a.restore.Load(); restore != nil {
		(*restore)()
	}
	if id := a.running.Load(); id != nil {
		fmt.Fprintf(a.io.err, "\nrun %s is left at once: fleetctl runs resume %s\n", *id, *id)
	}
	signal.Reset(s)
	raise(s)
}

func (a *app) execute(ctx context.Context, args []string) int {
	out := &stdout{Writer: a.io.out}
	a.io.out = out
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.io.in)
	root.SetOut(a.io.out)
	root.SetErr(a.io.err)
	err := root.ExecuteContext(ctx)
	if a.log != nil {
		a.logger().Info("ended", "error", err)
		if lost := a.log.close(); lost != nil {
			a.say("warning: the log is not complete: %v", lost)
		}
	}
	if lost := out.err(); lost != nil && err == nil {
		err = fmt.Errorf("write the result: %w", lost)
	}
	code, say, hint := classify(ctx, err)
	if say != "" {
		fmt.Fprintln(a.io.err, "fleetctl: "+plain.Text(a.scrub.Text(say)))
	}
	if hint != "" {
		a.say("hint: %s", hint)
	}
	return code
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		a.say("warning: %s", w)
	}
}

// outlivePipes keeps this process going when nothing reads any more what it writes: Ctrl-C on `fleetctl req ... 2>&1 |
// tee log` ends tee as well, and what is in flight must still be collected. Writing to such a pipe is an error then, not
// the end.
func outlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
