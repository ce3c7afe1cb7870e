// Package cmd is the command line: it turns flags into values, runs the commands, and turns their results into output and
// exit codes. It also holds help, man pages, completion and prompts.
//
// Each command is in the file of its name; the subcommands of runs and of jwt, and the flags of req and of a fleet's
// inventory, have files of their own. Each command has an options value and a function that runs it. Tests replace the
// function. Wrong usage is refused before any network traffic: by the options' validate method, or while flags are parsed.
//
// Invariant: no package below this one parses flags, opens a standard stream, reads the environment or chooses an exit code.
package cmd

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/pflag"

	"fleetctl/internal/plain"
	"fleetctl/internal/report"
	"fleetctl/internal/secret"
)

// app is the state that all commands share.
type app struct {
	name  string // of the program, as nameOf has it
	io    streams
	env   environment
	flags globalFlags
	// effort is nil in tests.
	effort *effort
	typed  *pflag.FlagSet // the flags of every command; those that were typed are Changed
	log    *logFile       // --log-file, nil without
	// colorless is true when the configuration has color = false.
	colorless bool
	running   atomic.Pointer[string]                  // what is said of the recorded run that this process drives when it is killed, nil for none
	holdKeys  atomic.Pointer[func() (release func())] // puts the terminal back as it was until release
	// stopCommand ends the command of --on-event, for a process that is about to die.
	stopCommand atomic.Pointer[func()]
	screen      atomic.Pointer[report.Terminal] // whose last lines are redrawn; nil until something is shown
	suspends    atomic.Bool                     // Ctrl-Z is seen to
	scrub       secret.Scrubber                 // the secrets of this process: nothing that is written may hold them
	helpError   error                           // of --help, which cobra has no place for
}

// globalFlags are the flags of every command.
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

// Main runs the command line and returns the exit code. The first SIGINT, SIGTERM or SIGHUP ends the context, with the
// signal as its cause. The second signal kills the process, which is always safe: the record on disk is complete. A SIGHUP
// that was ignored at the start (nohup) stays ignored.
func Main(args []string) int {
	a := &app{name: nameOf(os.Args[0]), io: streams{os.Stdin, os.Stdout, os.Stderr}, env: environment{os.LookupEnv}}
	a.env.tuneCollector()
	a.effort = &effort{getenv: a.env.getenv}
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

// endingSignals are the signals that ask a command to end.
func endingSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// dieBy kills the process with the signal that it received. The record stays, and a line prints how to resume the run.
func (a *app) dieBy(s os.Signal) {
	if hold := a.holdKeys.Load(); hold != nil {
		(*hold)() // for good
	}
	if t := a.screen.Load(); t != nil {
		t.Abandon()
	}
	if last := a.running.Load(); last != nil {
		fmt.Fprintf(os.Stderr, "\n%s\n", renamed(a.name, *last))
	}
	if stop := a.stopCommand.Load(); stop != nil {
		(*stop)()
	}
	signal.Reset(s)
	raise(s)
}

func (a *app) execute(ctx context.Context, args []string) int {
	out := &stdout{Writer: a.io.out}
	a.io.out, a.io.err = out, messages(a.name, a.io.err)
	root := newRoot(a, args...)
	root.SetArgs(args)
	root.SetIn(a.io.in)
	root.SetOut(a.io.out)
	root.SetErr(a.io.err)
	err := cmp.Or(root.ExecuteContext(ctx), a.helpError)
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
		fmt.Fprintln(a.io.err, a.name+": "+plain.Text(a.scrub.Text(say)))
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

// outlivePipes makes a write to a closed pipe an error instead of the end of the process. Ctrl-C on `fleetctl req ... 2>&1 |
// tee log` ends tee as well, but the replies to requests already sent must still be collected.
func outlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
