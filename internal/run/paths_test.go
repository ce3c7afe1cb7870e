package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/config"
	"fleetctl/internal/lease"
	"fleetctl/internal/saved"
)

// sendingPath is one way by which requests leave for nodes.
type sendingPath struct {
	name string
	// again: there is an interrupted run of four nodes, of which one was sent to. stored: it is named, not met.
	again, stored bool
	// offered: only an operator at a terminal who answers gets there, and a dry run does not.
	offered bool
	saved   bool             // a plan was saved before, and is applied
	shared  bool             // the record is shared
	set     func(r *Request) // may be nil
	send    func(ctx context.Context, c Context, r Request, s Stored) (Result, error)
}

func start(ctx context.Context, c Context, r Request, _ Stored) (Result, error) {
	return Start(ctx, c, r)
}

// background is the path of a run that another process has handed over: what it meets there is judged anew.
const background = "the process that --detach starts"

// driveHanded drives what the first process hands over when its own guards let everything pass.
func driveHanded(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
	if r.DryRun {
		return Start(ctx, c, r)
	}
	h, err := handOverAll(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	return Drive(ctx, c, h)
}

// handOverAll is what a process hands over that has no guards.
func handOverAll(ctx context.Context, c Context, r Request) (h Handover, err error) {
	var text []byte
	c.Detach = func(_ context.Context, given Handover) (err error) {
		text, err = json.Marshal(given)
		return err
	}
	r.Detach = true
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return h, err
	}
	found := c.Fleet.(*world)
	plan, err := planner{checked}.plan(ctx, found.finds)
	if err != nil {
		return h, err
	}
	checked.passed = guardInput{plan: plan, nodes: plan.Nodes(), found: found.finds, excluded: found.excluded}
	if _, err := (job{checked}).begin(ctx, plan, ""); err != nil {
		return h, err
	}
	return h, json.Unmarshal(text, &h)
}

var sendingPaths = []sendingPath{
	{name: "req", send: start},
	{name: background, send: driveHanded},
	{name: "req --reply-to", send: start, set: func(r *Request) { r.ReplyTo, r.Record.Off = "site.x", true }},
	{name: "the offered resume", again: true, offered: true, send: start},
	{name: "req --resume", again: true, set: func(r *Request) { r.Record.Resume = true }, send: start},
	{name: "runs resume", again: true, stored: true, send: Resume},
	{name: "runs retry", again: true, stored: true, send: func(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
		return Retry(ctx, c, r, s, []batch.State{batch.NotSent})
	}},
	{name: "runs adopt", again: true, stored: true, shared: true, send: adoptElsewhere},
	{name: "apply", saved: true, send: func(ctx context.Context, c Context, r Request, _ Stored) (Result, error) {
		return Apply(ctx, c, r)
	}},
}

// share makes all runs shared.
func (w *world) share() {
	w.bucket, w.shared, w.signs, w.elsewhere, w.settings.Share = newBucket(), newShared(), identityOf(w.t, "alice"), w.t.TempDir(), true
}

// adoptElsewhere adopts the run on another machine.
func adoptElsewhere(ctx context.Context, c Context, r Request, s Stored) (Result, error) {
	w := c.Fleet.(*world)
	shared, err := OpenShared(ctx, w.shared, s.ID)
	if err != nil {
		return Result{}, err
	}
	dead, err := shared.Dead(ctx)
	if err != nil {
		return Result{}, err
	}
	c.Store.Dir, c.Host = w.elsewhere, "op2"
	return Adopt(ctx, c, r, dead)
}

// manner is how a command is typed, and where.
type manner struct {
	terminal bool
	guards   Guards // Yes or NoInput
}

func (m manner) String() string {
	flags := map[Guards]string{{}: "nothing", {Yes: true}: "--yes", {NoInput: true}: "--no-input"}
	return fmt.Sprintf("terminal %t, %s", m.terminal, flags[m.guards])
}

func manners() []manner {
	var all []manner
	for _, terminal := range []bool{true, false} {
		for _, g := range []Guards{{}, {Yes: true}, {NoInput: true}} {
			all = append(all, manner{terminal, g})
		}
	}
	return all
}

// guardPath makes one guard refuse.
type guardPath struct {
	guard, variant string
	action         string           // "" is restart
	always         func(r *Request) // what the interrupted run had, too; may be nil
	set            func(*world, *Request)
	late           func(*Request) // sets what Reopen and FromPlan would refuse; may be nil
	refusal        string
	passes         func(manner) bool // in which manners it does not refuse; nil: in none
	not            map[string]string // the paths that it cannot refuse, and why
}

var (
	noRecord = map[string]string{
		"req --reply-to": "its lock is refused first", "the offered resume": "without a record nothing is resumed", "req --resume": "without a record nothing is resumed",
	}
	asked        = "the first process has asked"
	planConsents = "the plan is the consent"
	noPlan       = "no saved plan is applied"
	chosen       = "the nodes of a named run were chosen when it began"
	guardPaths   = []guardPath{
		{guard: "read_only", refusal: "only actions that change nothing are allowed here", set: func(w *world, _ *Request) { w.settings.ReadOnly = true }},
		{guard: "require_filter", refusal: "cannot call choria_provision#restart on every node of the fleet", set: func(w *world, _ *Request) { w.settings.RequireFilter = true },
			not: map[string]string{"runs resume": chosen, "runs retry": chosen, "runs adopt": chosen, "apply": chosen}},
		{guard: "require_client_filter", refusal: "plugin.choria.require_client_filter is set", set: func(w *world, _ *Request) { w.about.RequireFilter = true },
			not: map[string]string{"runs resume": chosen, "runs retry": chosen, "runs adopt": chosen, "apply": chosen}},
		{guard: "max_nodes", refusal: "nodes: limit is 2", set: func(w *world, _ *Request) { w.settings.MaxNodes = 2 }},
		{guard: "--max-nodes", refusal: "nodes: limit is 2", set: func(_ *world, r *Request) { r.Guards.MaxNodes = Count{2, true} }},
		{guard: "--expect", refusal: "expected 9 nodes, found ", set: func(_ *world, r *Request) { r.Guards.Expect = Count{9, true} }},
		{guard: "--expect-file", refusal: "the nodes found are not those of f: ", set: func(w *world, r *Request) {
			w.files, r.Guards.ExpectFile = map[string][]string{"f": {"n1", "n2", "n3", "n4", "n9"}}, "f"
		}},
		{guard: "--exclude", refusal: `--exclude "n9" excludes no node`, set: func(w *world, r *Request) {
			r.Targets.Exclude, w.excluded = []string{"n9"}, []discovery.Exclusion{{Spec: "n9"}}
		}, not: map[string]string{
			"the offered resume": "a run of the same command passed it when it began", "req --resume": "a run of the same command passed it when it began",
			"runs resume": chosen, "runs retry": chosen, "runs adopt": chosen, "apply": chosen,
		}},
		{guard: "--trust-record", refusal: "its record may be an outdated copy", always: func(r *Request) { r.Proof.None = true },
			set: func(w *world, _ *Request) { w.machine.Host = "another" },
			not: map[string]string{"apply": "there is no record", "req": "there is no record", background: "there is no record", "req --reply-to": "there is no record", "runs retry": "nodes that a lagging record calls not-sent are no nodes to send to"}},
		{guard: linkedGuard, refusal: "which is linked to it by a retry, has sent or may have sent to 3 nodes of these: n[2-4]", set: func(w *world, _ *Request) {
			if list, err := w.store().List(); err == nil && len(list) == 1 {
				w.retry(list[0].ID, batch.NotSent)
			}
		}, not: map[string]string{"apply": "a new run is linked to none", "req": "a new run is linked to none", background: "a new run is linked to none", "req --reply-to": "a new run is linked to none",
			"the offered resume": "a run whose retry has sent to its nodes is not offered"}},
		{guard: "--confirm-each", refusal: "cannot ask between batches", set: func(_ *world, r *Request) {
			r.Pace.ConfirmEach, r.Policy.Sizes = Wish{true, true}, batch.Sizes{batch.Number(1)}
		},
			passes: func(m manner) bool { return m.guards.Yes || m.terminal && !m.guards.NoInput },
			not:    map[string]string{background: "--detach excludes it, unless with --yes"}},
		{guard: "--allow-expiring", refusal: "the token ends within", set: func(w *world, _ *Request) {
			w.expiring(time.Minute, time.Minute, time.Minute, time.Minute)
		}},
		{guard: lockGuard, refusal: "lock web ", set: func(w *world, _ *Request) { heldByBob(w) }},
		{guard: lockGuard, variant: "of the collective", refusal: "lock web ", set: func(w *world, _ *Request) {
			heldByBob(w)
			w.settings.Locks = nil
			inCollective(w, config.Limits{Locks: []string{"web"}})
		}},
		{guard: "max_nodes", variant: "of the collective", refusal: "nodes: limit is 2", set: func(w *world, _ *Request) { inCollective(w, config.Limits{MaxNodes: 2}) }},
		{guard: shareGuard, variant: "of the collective", refusal: "cannot share a run without a record", late: func(r *Request) { r.Record.Off = true }, not: noRecord, set: func(w *world, _ *Request) {
			inCollective(w, config.Limits{Share: true})
			if w.bucket == nil {
				w.bucket, w.shared = newBucket(), newShared()
			}
		}},
		{guard: shareGuard, refusal: "cannot share a run without a record", late: func(r *Request) { r.Record.Off = true }, set: func(w *world, _ *Request) {
			w.settings.Share = true
			if w.bucket == nil {
				w.bucket, w.shared = newBucket(), newShared()
			}
		}, not: noRecord},
		{guard: onceGuard, refusal: "it was applied already, as run ", set: func(w *world, _ *Request) {
			w.bucket, w.shared = newBucket(), newShared()
			if _, err := lease.Claim(w.t.Context(), w.shared, lease.Head{Run: w.planID, Caller: "choria=bob"}, lease.MirrorOptions{}); err != nil {
				w.t.Error(err)
			}
		}, not: map[string]string{
			"req": noPlan, background: noPlan, "req --reply-to": noPlan, "the offered resume": noPlan, "req --resume": noPlan, "runs resume": noPlan, "runs retry": noPlan, "runs adopt": noPlan,
		}},
		{guard: budgetGuard, refusal: "without a record of this run", set: unrecorded, not: map[string]string{"the offered resume": "nothing is offered without a record", "apply": "it always keeps a record", "runs adopt": "a shared run always keeps a record"}},
		{guard: secretsGuard, refusal: "the connection has no TLS", set: func(w *world, _ *Request) { w.open = true }},
		{guard: collateralName, refusal: "cannot count starts of other nodes", not: map[string]string{"apply": "its gates are those of the plan"}, set: func(_ *world, r *Request) { r.Gates.Collateral = Count{0, true} }},
		{guard: "approvals", refusal: "1 approval needed", set: func(w *world, _ *Request) {
			w.settings.Approvals = []config.Approval{{Action: "restart", Need: 1}}
		}},
		{guard: "consent", variant: "restart", refusal: "", set: func(*world, *Request) {}, not: map[string]string{"apply": planConsents, background: asked},
			passes: func(m manner) bool { return m.guards.Yes || !m.terminal }},
		{guard: "consent", variant: "shutdown", action: "shutdown", refusal: "", set: func(*world, *Request) {}, passes: func(m manner) bool { return m.guards.Yes },
			not: map[string]string{background: asked}},
		{guard: "consent", variant: "confirm", not: map[string]string{"apply": planConsents, background: asked}, refusal: "", set: func(w *world, _ *Request) { w.settings.Confirm = true }, passes: func(m manner) bool { return m.guards.Yes }},
	}
)

// TestEveryGuardOnEveryPath walks all guards over all paths that send, at a terminal and without one, with --yes, with
// --no-input and with neither. What is refused sends nothing and leaves the record as it is.
func TestEveryGuardOnEveryPath(t *testing.T) {
	for _, g := range guardPaths {
		for _, p := range sendingPaths {
			if g.not[p.name] != "" {
				continue
			}
			for _, m := range manners() {
				if p.offered && (!m.terminal || m.guards != Guards{}) {
					continue // no question is asked: the path is that of req
				}
				t.Run(strings.Join([]string{g.guard + g.variant, p.name, m.String()}, "/"), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { walk(t, g, p, m) })
				})
			}
		}
	}
	for _, g := range guards() {
		if g.check != nil && !slices.ContainsFunc(guardPaths, func(row guardPath) bool { return row.guard == g.name }) {
			t.Errorf("guard %s has no row: make it refuse on every path", g.name)
		}
	}
	for _, g := range guardPaths {
		for path, why := range g.not {
			if why == "" || !slices.ContainsFunc(sendingPaths, func(p sendingPath) bool { return p.name == path }) {
				t.Errorf("guard %s: the exception of path %q says %q", g.guard, path, why)
			}
		}
	}
}

// walk goes one path against one guard.
func walk(t *testing.T, g guardPath, p sendingPath, m manner) {
	w := newWorld(t, "n1", "n2", "n3", "n4")
	var s Stored
	var plan *saved.File
	if p.saved {
		plan = savedBy(t, w, slowly(g.request()))
		w.planID = plan.Plan.ID
	}
	if p.again {
		first := slowly(g.request())
		first.Guards.Yes = true
		if p.shared {
			w.share()
		}
		s = interruptedOf(t, w, first)
		<-time.After(2 * time.Minute) // its locks expire
	}
	r := slowly(g.request())
	if p.stored || p.saved {
		r = Request{}
	}
	r.Guards = m.guards
	g.set(w, &r)
	if p.set != nil {
		p.set(&r)
	}
	if p.again {
		var err error
		if s, err = w.store().Read(s.ID); err != nil { // as this machine sees the record now
			t.Fatal(err)
		}
	}
	if p.stored {
		r.Inputs = map[string]string{"token": "s3cret"}
		var err error
		if r, err = r.Reopen(s); err != nil {
			t.Fatal(err)
		}
	}
	if p.saved {
		r.Inputs = map[string]string{"token": "s3cret"}
		var err error
		if r, err = r.FromPlan(plan, batch.Amount{}); err != nil {
			t.Fatal(err)
		}
	}
	if g.late != nil {
		g.late(&r)
	}
	w.asker.answers = []string{"n", "n"}
	if g.guard != "consent" {
		w.asker.answers = []string{"y", "y", "y", "y", "y"}
	}
	if w.asker.asked = nil; m.terminal {
		w.asker.away = nil
	}
	if p.offered {
		w.asker.answers = append([]string{"y"}, w.asker.answers...)
	}
	sent, records := len(w.sent()), contents(t, w.dir)
	untouched := func(when string) {
		t.Helper()
		if got := w.sent(); len(got) != sent {
			t.Errorf("%s: nodes got %q", when, got[sent:])
		}
		if now := contents(t, w.dir); !maps.Equal(now, records) {
			t.Errorf("%s: the records have changed: %q", when, now)
		}
		if p.shared {
			if there := contents(t, w.elsewhere); len(there) > 0 {
				t.Errorf("%s: there is a record on the other machine: %q", when, there)
			}
		}
	}
	passes := g.passes != nil && g.passes(m)
	if g.guard != "consent" && g.guard != "approvals" && !p.offered { // of which a dry run asks nothing
		dry := r
		dry.DryRun = true
		_, err := p.send(t.Context(), w.context(), dry, s)
		refusedBy(t, err, g, passes, "guard "+g.guard+" would refuse: ")
		untouched("a dry run")
		if len(w.asker.asked) > 0 {
			t.Errorf("a dry run asked %q", w.asker.asked)
		}
	}
	_, err := p.send(t.Context(), w.context(), r, s)
	refusedBy(t, err, g, passes, "")
	if passes {
		if len(w.sent()) == sent {
			t.Error("nothing was sent")
		}
		return
	}
	untouched("the command")
	questions := w.asker.asked
	if p.offered {
		questions = questions[1:]
	}
	if g.guard != "consent" && len(questions) > 0 {
		t.Errorf("asked %q before it was refused", questions)
	}
}

// savedBy saves the plan of a request.
func savedBy(t *testing.T, w *world, r Request) *saved.File {
	t.Helper()
	r.Save.File = filepath.Join(t.TempDir(), "plan.json")
	if _, err := w.start(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	f, err := saved.Read(r.Save.File)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (g guardPath) request() Request {
	r := restart()
	if g.action != "" {
		r.Action = g.action
	}
	if g.always != nil {
		g.always(&r)
	}
	return r
}

// refusedBy checks who refused, if anything is to.
func refusedBy(t *testing.T, err error, g guardPath, passes bool, prefix string) {
	t.Helper()
	e, refused := errors.AsType[*GuardError](err)
	switch {
	case passes && err != nil:
		t.Errorf("%sgot %v", prefix, err)
	case !passes && (!refused || e.Guard != g.guard || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), g.refusal)):
		t.Errorf("%sgot %v", prefix, err)
	}
}

// contents are the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, f := range list {
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name()] = string(data)
	}
	return out
}
