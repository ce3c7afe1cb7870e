package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/detached"
	"fleetctl/internal/fleet"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
	"fleetctl/internal/secret"
)

// handover is what the process that drives a background run is given, besides the flags of every command. It holds secrets.
type handover struct {
	Version     string // of the program that hands over
	Run         run.Handover
	Config      string
	Site        string
	Federations []string
	StateDir    string
	Variables   map[string]string // those of the environment that are secret by their names
	OnEvent     *string           // nil: as in the settings
	Output      outputOptions
}

// outputOptions are the flags that choose what of the result is shown.
type outputOptions struct {
	Kind          report.Format
	Verbose, Sort bool
	Display       string
	File          string
	Filter        string
}

// lastWord is how the background process began, or why it did not.
type lastWord struct {
	Began string // the id of the run
	Code  int    // else the exit code, and what to print
	Say   string
	Hint  string
}

// detachable refuses --detach where it cannot work, before any network.
func (o *reqOptions) detachable() error {
	switch {
	case !o.detach:
	case !detached.Supported:
		return usage(fmt.Errorf("--detach: %w", detached.ErrUnsupported), "leave it out, and keep the terminal open")
	case o.output.kind != report.Text && o.output.file == "":
		return usage(errors.New("--detach with another format than text needs a file for the result"), "add -o FILE")
	}
	return nil
}

// warnOfLogout reports what ends a background run that was not asked to end.
func (a *app) warnOfLogout(r run.Request) {
	if r.DryRun {
		return
	}
	p := detached.Ends(os.DirFS("/"), a.env.user())
	if p.What == "" {
		return
	}
	a.say("warning: the run ends when %s", p.What)
	if p.Remedy != "" {
		a.say("hint: to keep it: %s", p.Remedy)
	}
}

// handOver leaves a run to a background process, and returns when that process has begun it.
func (a *app) handOver(ctx context.Context, o *reqOptions, about fleet.About, h run.Handover) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	output, err := a.store(o.record).CreateOutput(h.ID)
	if err != nil {
		return err
	}
	defer output.Close()
	document := handover{
		Version: build().Version, Run: h, Config: about.ConfigFile, Site: a.fleetOptions().SiteName(), Federations: about.Federations, StateDir: o.record.dir, Variables: secretVariables(os.Environ()),
		Output: outputOptions{o.output.kind, o.output.verbose, o.output.sort, o.output.display, o.output.file, o.output.filter},
	}
	if o.flags.Changed(onEventFlag) {
		document.OnEvent = &o.onEvent
	}
	args := append([]string{os.Args[0], "runs", "drive", h.ID}, typedFlags(a.typed)...)
	p, err := detached.Start(detached.Options{Path: program, Args: args, Env: secret.Environment(os.Environ()), Output: output, Document: document})
	if err != nil {
		return errors.Join(err, os.Remove(output.Name()))
	}
	outlivePipes() // its id is on stderr, too
	word, err := conduct(ctx, p)
	if err == nil && word.Began != "" {
		p.Release()
		return a.tellDetached(a.store(o.record).Next(word.Began, nil), p.PID, output.Name())
	}
	p.Stop()
	text, rerr := os.ReadFile(output.Name())
	err = cmp.Or(err, rerr)
	if err == nil && word.Say == "" {
		_, err = a.io.err.Write(text) // as when nothing is left to resume
	}
	if err := cmp.Or(err, os.Remove(output.Name())); err != nil {
		return err
	}
	if word.Say == "" {
		return ended(word.Code)
	}
	return &exitError{code: word.Code, err: errors.New(word.Say), hint: word.Hint}
}

// conduct lets the process begin when it is ready, unless ctx has ended by then, and returns its last word.
func conduct(ctx context.Context, p *detached.Process) (lastWord, error) {
	type answer struct {
		last bool
		word lastWord
		err  error
	}
	await := func() <-chan answer {
		ch := make(chan answer, 1)
		go func() {
			var a answer
			a.last, a.err = p.Await(&a.word)
			ch <- a
		}()
		return ch
	}
	select {
	case a := <-await():
		if a.err != nil || a.last {
			return a.word, a.err
		}
	case <-ctx.Done():
		return lastWord{}, context.Cause(ctx)
	}
	if err := p.Go(); err != nil {
		return lastWord{}, fmt.Errorf("let the background process begin: %w", err)
	}
	a := <-await() // it makes the record now: there is no way back
	return a.word, a.err
}

// tellDetached prints the id of the run, and what can be done with it.
func (a *app) tellDetached(next run.Next, pid int, output string) error {
	a.say("run %s is driven by process %d, which outlives this terminal; it prints to %s", next.Run, pid, output)
	a.say("hint: to follow it: %s", next.Command("watch"))
	a.say("hint: to wait for its exit code: %s", next.Command("wait"))
	a.say("hint: to end it: %s", next.Command("stop"))
	_, err := fmt.Fprintln(a.io.out, next.Run)
	return err
}

// secretVariables are the variables of an environment that are secret by their names.
func secretVariables(environ []string) map[string]string {
	out := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); secret.Name(name) {
			out[name] = value
		}
	}
	return out
}

func newRunsDrive(a *app, do func(context.Context, *app) error) *cobra.Command {
	return &cobra.Command{
		Use:    "drive RUN",
		Short:  "Drive a background run; started by --detach alone",
		Hidden: true,
		Args:   aRun(1),
		RunE:   func(c *cobra.Command, _ []string) error { return do(c.Context(), a) },
	}
}

// driven is the way to the process that handed the run over.
type driven struct {
	*detached.Starter
	began bool
}

// driveRun is the background process.
func driveRun(ctx context.Context, a *app) error {
	var h handover
	starter, err := detached.Inherited(&h)
	if err != nil {
		return usage(fmt.Errorf("cannot drive the run: %w", err), "")
	}
	d := &driven{Starter: starter}
	if err = a.drive(ctx, d, h); !d.began {
		code, say, hint := classify(ctx, err)
		d.Last(lastWord{Code: code, Say: a.scrub.Text(say), Hint: hint})
	}
	return err
}

// drive drives a run that was handed over.
func (a *app) drive(ctx context.Context, d *driven, h handover) error {
	if ours := build().Version; h.Version != ours {
		return fmt.Errorf("cannot take over the run: fleetctl was replaced while it ran, %s by %s; nothing was sent", h.Version, ours)
	}
	given := a.env.getenv
	a.env.getenv = func(name string) (string, bool) {
		if value, ok := h.Variables[name]; ok {
			return value, true
		}
		return given(name)
	}
	a.flags.config, a.flags.site, a.flags.federations = h.Config, h.Site, h.Federations
	o := reqOptions{driven: d, flags: pflag.NewFlagSet("", pflag.ContinueOnError)}
	o.record.dir = h.StateDir
	out := h.Output
	o.output = reqOutput{verbose: out.Verbose, sort: out.Sort, display: out.Display, file: out.File, filter: out.Filter}
	o.output.kind = out.Kind
	if err := o.output.compile(); err != nil {
		return err
	}
	o.flags.StringVar(&o.onEvent, onEventFlag, "", "")
	if h.OnEvent != nil {
		if err := o.flags.Set(onEventFlag, *h.OnEvent); err != nil {
			return err
		}
	}
	return withRun(ctx, a, &o, h.Run.Request, func(c run.Context) (run.Result, error) { return run.Drive(ctx, c, h.Run) })
}

// announcer reports that the run has begun when the first of its records is durable, and hands everything on.
type announcer struct {
	next run.Reporter
	*driven
	id string
}

// Report implements run.Reporter.
func (n *announcer) Report(e run.Event) error {
	switch e := e.(type) {
	case run.Began:
		n.id = e.ID
	case run.Recorded:
		if !n.began {
			n.began = true
			n.Last(lastWord{Began: n.id})
		}
	}
	return n.next.Report(e)
}
