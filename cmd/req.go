package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

func newReq(a *app, do func(context.Context, *app, reqOptions) error) *cobra.Command {
	var o reqOptions
	c := &cobra.Command{
		Use:     "req AGENT ACTION [key=value...]",
		Aliases: []string{"rpc", "request"},
		Short:   "Ask the chosen nodes for an action, in batches",
		Long:    "req sends an action of an agent to the chosen nodes, in batches, and reports the state of each node.",
		Example: `  fleetctl req rpcutil ping -F country=mt
  fleetctl req choria_provision restart token=@FILE --batch 100
  fleetctl req choria_provision                  # its actions, their danger
  fleetctl req choria_provision restart --help   # its inputs, their limits`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeRequest(a),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return missingAction(a, args[0])
			}
			if err := o.arguments(args); err != nil {
				return err
			}
			if err := o.validate(); err != nil {
				return errorLine(a, &o, err)
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	o.flags = f
	o.targets.add(a, f)
	o.addSplit(f)
	o.addSteps(f)
	o.output.add(f)
	o.guard.add(f)
	o.shared.add(f)
	o.proof.add(f)
	o.record.add(f)
	f.StringVar(&o.savePlan, "save-plan", "", "save the plan in `FILE` and stop, as --dry-run does; FILE must not exist")
	f.Var(&o.planLife, "plan-expires", "how long a saved plan can be applied (1h, 24h at most)")
	f.StringVarP(&o.replyTo, "reply-to", "r", "", "have the replies sent to `SUBJECT`, do not wait for them, print the request's id")
	return c
}

// reqName is the name of the command, whose arguments help explains as well.
const reqName = "req"

// missingAction refuses a request without an action, and lists the actions of the agent.
func missingAction(a *app, agent string) error {
	_, documents := offline(a)
	doc, err := documents.Resolve(context.Background(), agent)
	if err != nil {
		return err
	}
	fmt.Fprint(a.io.err, agentHelp(doc, widthOf(a.io.err))+"\n")
	return usage(errors.New("an action is missing"), "write `fleetctl req "+agent+" ACTION [key=value...]`")
}

// arguments reads AGENT ACTION and the inputs. The first : or = splits a key from its value, as upstream has it.
func (o *reqOptions) arguments(args []string) error {
	if len(args) < 2 {
		return usage(errors.New("an agent and an action are needed"), "write `fleetctl req AGENT ACTION [key=value...]`")
	}
	o.agent, o.action = args[0], args[1]
	o.words = []string{"req", o.agent, o.action}
	var err error
	o.inputs, err = keyValues(args[2:])
	return err
}

func keyValues(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, arg := range args {
		at := strings.IndexAny(arg, ":=")
		if at < 1 {
			return nil, usage(fmt.Errorf("input %d is not key=value", len(out)+1), "write inputs as key=value after the action")
		}
		key := arg[:at]
		if _, twice := out[key]; twice {
			return nil, usage(fmt.Errorf("input %q is given twice", key), "")
		}
		out[key] = arg[at+1:]
	}
	return out, nil
}

// displays are the values of --display.
var displays = []string{"ok", "failed", "all", "none"}

func runReq(ctx context.Context, a *app, o reqOptions) error {
	if _, err := o.request.Targets.Parse(); err != nil { // before the configuration is read
		return errorLine(a, &o, err)
	}
	return withRun(ctx, a, &o, o.request, func(c run.Context) (run.Result, error) {
		return run.Start(ctx, c, o.request)
	})
}

// withRun opens the fleet and the result's writer, calls work, and ends with its exit code.
func withRun(ctx context.Context, a *app, o *reqOptions, r run.Request, work func(run.Context) (run.Result, error)) error {
	options := a.fleetOptions()
	settings, err := options.Own()
	if err != nil {
		return errorLine(a, o, err)
	}
	options.TTL = r.Pace.TTL.D
	f, err := fleet.Open(ctx, options, r.Targets.Collective)
	if err != nil {
		return errorLine(a, o, err)
	}
	defer f.Close()
	a.colorless = !f.Config.Color
	shown := o.output
	if r.Detach {
		shown.file, shown.kind = "", report.Text // the result is the background process's
		a.warnOfLogout(r)
	}
	w, err := newWriter(a, &shown)
	if err != nil {
		return err
	}
	events := newNotifier(ctx, a, o, settings, f.About().ConfigFile, w)
	token, _ := a.env.getenv(tokenVariable)
	ask := newAsker(a)
	stop := events.Kill
	a.stopCommand.Store(&stop)
	release := sync.OnceFunc(func() {
		ask.keys.close()
		a.running.Store(nil)
	})
	defer release() // also after a panic: the terminal has another mode
	c := run.Context{
		Fleet: f, Store: a.store(o.record), Asker: ask, Reporter: events,
		Secrets: secretSource(a), Scrub: &a.scrub, Token: token, ReadNodes: a.fleetOptions().ReadNodes,
		Settings: settings, SettingsFile: a.env.settingsFile(), User: a.env.user(), Host: hostName(), Version: build().Version, Logger: a.logger(),
		Environ: childEnvironment(o, settings, f.About().ConfigFile), Places: a.env.places(),
		Outlive: func(next run.Next) <-chan batch.Control {
			outlivePipes()
			a.running.Store(new("run " + next.Run + " is interrupted; to resume: " + next.Command("resume")))
			ask.keys = readKeys(a)
			return ask.keys.control()
		},
		Detach: func(ctx context.Context, h run.Handover) error { return a.handOver(ctx, o, f.About(), h) },
		Expect: a.effort.expect,
	}
	if o.driven != nil {
		c.Ready, c.Reporter = o.driven.Ready, &announcer{next: events, driven: o.driven}
	}
	res, err := work(c)
	release()
	err = w.End(err) // the result is there before anything waits for the command of --on-event
	if err := cmp.Or(err, events.Close()); err != nil {
		return err
	}
	return ended(resultCode(res))
}

// newWriter opens the output of the result.
func newWriter(a *app, o *reqOutput) (*report.Writer, error) {
	screen := a.terminal() // before the streams are taken
	wish := report.Options{
		Format: o.kind, Verbose: o.verbose, Sort: o.sort, Display: o.display, Filter: o.expr,
		Out: a.stream(a.io.out), Err: a.stream(a.io.err), PauseKey: readsKeys(a), Code: resultCode,
	}
	wish.Err.Live = screen
	if o.file != "" {
		file, err := report.CreateFile(o.file)
		if err != nil {
			return nil, usage(fmt.Errorf("write the result: %w", err), "")
		}
		wish.File = file
	}
	return report.New(wish), nil
}

// errorLine writes an error that came before anything else as a JSON line, where those were asked for: an error is a
// line and an exit code.
func errorLine(a *app, o *reqOptions, err error) error {
	if o.output.kind == report.Lines && o.output.file == "" && err != nil {
		return errors.Join(err, render.NewLines(a.io.out).Error(err))
	}
	return err
}

// validate chooses the format, compiles the expression, and turns the flags into the request.
func (o *reqOptions) validate() error {
	if err := o.output.validate(); err != nil {
		return err
	}
	var err error
	if o.request, err = o.value(); err != nil {
		return err
	}
	if err := o.detachable(); err != nil {
		return err
	}
	if o.replyTo != "" && o.output.filter != "" {
		return usage(errors.New("--reply-to excludes --filter-replies: this process gets no replies"), "")
	}
	return o.request.Validate()
}

func (o *reqOutput) validate() error {
	if o.display != "" && !slices.Contains(displays, o.display) {
		return usage(fmt.Errorf("cannot display %q", o.display), "use ok, failed, all or none")
	}
	if err := o.choose(); err != nil {
		return err
	}
	return o.compile()
}
