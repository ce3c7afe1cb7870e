package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

const (
	// sharedPace is how often a shared record is looked at, sharedWait how long a run elsewhere may take to follow.
	sharedPace = time.Second
	sharedWait = 30 * time.Second
	// sharedAge is how long a shared record is kept after its last change.
	sharedAge = 30 * 24 * time.Hour
)

// sharedText is the part of the help about runs of other machines.
const sharedText = `With --shared, RUN is a run of any machine whose record is shared (--share): its id, or a beginning of it that no other shared
run has.`

// addShared adds the flag that means runs of other machines.
func (o *runsOptions) addShared(f *pflag.FlagSet) {
	f.BoolVar(&o.shared, "shared", false, "runs of any machine whose record is shared, on the brokers' streams")
}

// sharedStore opens the bucket of the shared records. The caller closes the fleet.
func sharedStore(ctx context.Context, a *app) (*fleet.Fleet, lease.Store, error) {
	f, err := fleet.Open(ctx, a.fleetOptions(), "")
	if err != nil {
		return nil, nil, err
	}
	store, err := run.SharedBucket(ctx, f)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, store, nil
}

// withShared calls work with a shared run.
func withShared(ctx context.Context, a *app, name string, work func(*fleet.Fleet, lease.Store, *run.SharedRun) error) error {
	f, store, err := sharedStore(ctx, a)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := run.OpenShared(ctx, store, name)
	if err != nil {
		return err
	}
	return work(f, store, r)
}

func showShared(ctx context.Context, a *app, o runsOptions) error {
	return withShared(ctx, a, o.name, func(_ *fleet.Fleet, _ lease.Store, shared *run.SharedRun) error {
		r, err := shared.Next(ctx, nil)
		if err != nil {
			return err
		}
		return showStored(a, o, r)
	})
}

// watchShared follows a run of another machine until it ends, or is not heard of any more.
func watchShared(ctx context.Context, a *app, o runsOptions) error {
	return withShared(ctx, a, o.name, func(_ *fleet.Fleet, _ lease.Store, shared *run.SharedRun) error {
		return followShared(ctx, a, o, shared)
	})
}

// toContinue names the command that continues a shared run on this machine.
func toContinue(a *app, o runsOptions, shared *run.SharedRun, next run.Next) string {
	_, err := a.store(o.record).Live(shared.ID())
	switch {
	case err != nil: // there is no record here
		return next.Command("adopt")
	case shared.Found.Head.Host == hostName():
		return next.Command("resume")
	}
	return next.Command("adopt", "--state-dir", "FOLDER") + " (the record on this machine ends before the adoption)"
}

func followShared(ctx context.Context, a *app, o runsOptions, shared *run.SharedRun) error {
	r, err := viewShared(ctx, a, shared)
	if err != nil {
		return err
	}
	s := r.Progress.Summary()
	if _, err := fmt.Fprintln(a.io.out, render.Verdict(s)); err != nil {
		return err
	}
	switch {
	case s.Ended.IsZero():
		a.say("its driver, %s, was last heard of %s ago; to continue the run here: %s", plain.Line(shared.Found.Head.Who()), shared.Found.Age.Round(time.Second), toContinue(a, o, shared, r.Next()))
	case s.Open > 0:
		a.say("%s left; to continue the run here: %s", plain.Count(s.Open, "node"), toContinue(a, o, shared, r.Next()))
	}
	return ended(storedCode(s))
}

func viewShared(ctx context.Context, a *app, shared *run.SharedRun) (run.Stored, error) {
	stream := a.stream(a.io.err)
	stream.Live = a.terminal()
	live := report.NewLive(stream)
	defer live.End()
	begun := false
	ticker := time.NewTicker(sharedPace)
	defer ticker.Stop()
	for {
		r, err := shared.Next(ctx, func(p batch.Progress, record batch.Record) {
			if !begun {
				live.BeginStored(p, shared.ID(), record)
				begun = true
			}
			live.Observe(record)
		})
		if err != nil && (!r.Live || !errors.Is(err, batch.ErrNoPlan)) {
			return run.Stored{}, err
		}
		if err == nil && !r.Live {
			return r, nil
		}
		live.Seen()
		select {
		case <-ctx.Done():
			return run.Stored{}, unended(ctx, shared.ID())
		case <-ticker.C:
		}
	}
}

// ask asks the driver of a run elsewhere.
func ask(ctx context.Context, f *fleet.Fleet, store lease.Store, shared *run.SharedRun, what lease.Ask) error {
	who, err := f.Who()
	if err != nil {
		return err
	}
	what.By, what.Host, what.Time = who.ID, hostName(), time.Now().UTC()
	if err := what.Send(ctx, store, shared.ID()); err != nil {
		return run.BucketFailure(err)
	}
	return nil
}

// alive refuses what only a living driver can follow.
func alive(ctx context.Context, a *app, o runsOptions, shared *run.SharedRun) error {
	switch h := shared.Found.Head; {
	case !h.Ended.IsZero():
		return refuse("", "run %s has ended: nothing is sent any more", shared.ID())
	case !shared.Alive():
		next := a.store(o.record).Next(shared.ID(), nil)
		if r, err := shared.Next(ctx, nil); err == nil { // else the command lacks the secrets, and asks for them
			next.Secrets = r.Meta.Secrets
		}
		return refuse("to continue it here: "+toContinue(a, o, shared, next), "the driver of run %s, %s, was last heard of %s ago: nothing is sent", shared.ID(), plain.Line(h.Who()), shared.Found.Age.Round(time.Second))
	}
	return nil
}

func pauseShared(ctx context.Context, a *app, o runsOptions, pause bool) error {
	return withShared(ctx, a, o.name, func(f *fleet.Fleet, store lease.Store, shared *run.SharedRun) error {
		if err := alive(ctx, a, o, shared); err != nil {
			return err
		}
		if err := ask(ctx, f, store, shared, lease.Ask{Pause: pause}); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, sharedWait, fmt.Errorf("run %s did not answer within %s", shared.ID(), sharedWait))
		defer cancel()
		ticker := time.NewTicker(sharedPace)
		defer ticker.Stop()
		for {
			r, err := shared.Next(ctx, nil)
			switch {
			case err != nil && (!r.Live || !errors.Is(err, batch.ErrNoPlan)):
				return err
			case err == nil && !r.Live:
				return alive(ctx, a, o, shared)
			case err == nil && r.Progress.Paused() == pause:
				if pause {
					a.say("run %s is paused: nothing new is sent; to continue: %s", r.ID, r.Next().Command("continue", "--shared"))
				} else {
					a.say("run %s continues", r.ID)
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-ticker.C:
			}
		}
	})
}

func stopShared(ctx context.Context, a *app, o runsOptions) error {
	return withShared(ctx, a, o.name, func(f *fleet.Fleet, store lease.Store, shared *run.SharedRun) error {
		if !shared.Found.Head.Ended.IsZero() {
			a.say("run %s has ended already", shared.ID())
			return nil
		}
		if err := alive(ctx, a, o, shared); err != nil {
			return err
		}
		if err := ask(ctx, f, store, shared, lease.Ask{Stop: true}); err != nil {
			return err
		}
		a.say("asked %s to end run %s; replies to requests already sent are still collected", plain.Line(shared.Found.Head.Who()), shared.ID())
		ctx, cancel := context.WithTimeoutCause(ctx, stopWait, errStopWait)
		defer cancel()
		r, err := viewShared(ctx, a, shared)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.io.out, render.Verdict(r.Progress.Summary()))
		return err
	})
}

// listShared lists the runs of all machines, and deletes the records that nothing has changed for a month.
func listShared(ctx context.Context, a *app, o runsOptions) error {
	f, store, err := sharedStore(ctx, a)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := lease.FindRuns(ctx, store)
	if err != nil {
		return run.BucketFailure(err)
	}
	lines, now := []report.RunLine{}, time.Now()
	for _, found := range slices.Backward(all) {
		if found.Age > sharedAge {
			if err := lease.DeleteRun(ctx, store, found.Head.Run); err != nil {
				a.say("warning: the shared record of run %s is older than 30 days and cannot be deleted: %v", found.Head.Run, err)
			}
			continue
		}
		if l := sharedLine(found, run.SharedStatus(found)); o.filter.keeps(l, now) {
			lines = append(lines, l)
		}
	}
	total := len(lines)
	if !o.all && !o.asJSON {
		lines = lines[:min(total, shownRuns)]
	}
	if o.asJSON {
		return render.IndentedJSON(a.io.out, struct {
			SchemaVersion int              `json:"schema_version"`
			Runs          []report.RunLine `json:"runs"`
		}{render.SchemaVersion, lines})
	}
	if total == 0 {
		a.say("no such shared run")
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		heard := time.Duration(l.Heard * float64(time.Second)).Round(time.Second).String()
		rows[i] = []string{l.ID, l.Started.Local().Format(time.DateTime), l.Agent + "#" + l.Action, strconv.Itoa(l.Nodes), l.Status, l.Caller, l.Host, heard + " ago"}
		for j, text := range rows[i] {
			rows[i][j] = plain.Line(text)
		}
	}
	header := []string{"Run", "Started", "Action", "Nodes", "Status", "Driver", "Host", "Heard"}
	if err := render.FitTable(a.io.out, header, rows, a.fit(), "Started", "Nodes", "Host"); err != nil {
		return err
	}
	if total > len(lines) {
		a.say("%d more: add --all", total-len(lines))
	}
	return nil
}

// sharedLine is the line of a run elsewhere.
func sharedLine(f lease.Found, status string) report.RunLine {
	h, counts := f.Head, map[batch.State]int{}
	for _, s := range batch.States() {
		counts[s] = h.States[s.String()]
	}
	states := batch.CountsOf(counts)
	return report.RunLine{
		ID: h.Run, Started: h.Began, Agent: h.Agent, Action: h.Action, Nodes: h.Nodes, States: &states, Status: status,
		Live: status == "running" || status == "paused" || status == "waiting", Open: h.Open, Parent: h.Parent, User: h.User, Host: h.Host,
		Caller: h.Caller, Heard: f.Age.Seconds(),
	}
}

func newRunsAdopt(a *app, do func(context.Context, *app, reqOptions, string) error) *cobra.Command {
	var o reqOptions
	c := &cobra.Command{
		Use:   "adopt RUN [key=value...]",
		Short: "Take over a shared run of another machine whose driver is dead",
		Long: `adopt continues a run that was begun with --share, when the process that drove it has died, here and with your identity. It is
refused while that process lives: ` + "`runs stop RUN --shared`" + ` asks it to end. It verifies the signatures of the record, takes the
run's lock, passes every guard, and asks as req does. It waits until nothing of the dead process can act any more, looks
(read-only) at nodes that may have been sent to, and at every other node before it sends to it. Secrets are not in the
record: give them again, as for req.`,
		Example:           "  fleetctl runs list --shared\n  fleetctl runs adopt 20261126-101500-abcde token=@token.txt",
		Args:              aRun(0),
		ValidArgsFunction: completeShared(a, leftShared),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.stored(c.Flags(), "adopt", args); err != nil {
				return errorLine(a, &o, err)
			}
			return do(c.Context(), a, o, args[0])
		},
	}
	o.addResume(c.Flags())
	o.guard.addLimits(c.Flags())
	return c
}

func adoptRun(ctx context.Context, a *app, o reqOptions, name string) error {
	if err := errors.Join(o.output.validate(), o.detachable()); err != nil {
		return errorLine(a, &o, err)
	}
	err := withShared(ctx, a, name, func(_ *fleet.Fleet, _ lease.Store, shared *run.SharedRun) error {
		stored, err := shared.Dead(ctx)
		if err != nil {
			return errorLine(a, &o, err)
		}
		o.words[len(o.words)-1] = stored.ID
		request, err := o.value()
		if err == nil {
			request, err = request.Reopen(stored)
		}
		if err != nil {
			return errorLine(a, &o, err)
		}
		a.flags.federations = stored.Meta.Federations
		return withRun(ctx, a, &o, request, func(c run.Context) (run.Result, error) { return run.Adopt(ctx, c, request, stored) })
	})
	return err
}
