package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"

	"fleetctl/internal/fleet"
	"fleetctl/internal/saved"
	"fleetctl/rpcclient"
)

// Saving says that a plan is saved and not run. The zero value runs it.
type Saving struct {
	File string // must not exist
	Life Wait   // how long it can be applied; saved.DefaultLife
}

func (s Saving) validate(r Request) error {
	switch {
	case s.File == "" && s.Life.Set:
		return usage(errors.New("--plan-expires is for --save-plan"), "")
	case s.File == "":
		return nil
	case s.Life.Set && (s.Life.D < time.Minute || s.Life.D > saved.LongestLife):
		return usage(fmt.Errorf("--plan-expires %s: a plan lives for a minute at least, and %s at most", s.Life.D, saved.LongestLife), "")
	case r.ReplyTo != "", r.Record.Off, r.Record.Resume, r.Detach:
		return usage(errors.New("--save-plan excludes --reply-to, --no-journal, --resume and --detach: nothing is run"), "leave it out: `fleetctl apply FILE --detach` runs the plan in the background")
	}
	if _, err := os.Lstat(s.File); err == nil {
		return usage(fmt.Errorf("%s exists: a plan replaces no file", s.File), "name another file")
	}
	if err := saved.Writable(s.File); err != nil { // known before nodes are searched, not after
		return usage(err, "name a file in a folder that exists and that you may write")
	}
	return nil
}

// save reports the plan as a dry run does, and saves it where no guard would refuse it.
func (c application) save(ctx context.Context, p guardInput) error {
	if err := job(c).rehearse(ctx, p); err != nil {
		return err
	}
	names := p.plan.Names()
	states, err := planner(c).states(ctx, names)
	if err != nil {
		return err
	}
	id, err := c.fleet.Identity()
	if err != nil {
		return err
	}
	owner := id.Caller()
	if who, ok := id.Signatory(); ok {
		owner = who.Caller
	}
	gates, how, err := gatekeeping(c).saved()
	if err != nil {
		return err
	}
	now := time.Now()
	plan := saved.Plan{
		ID: newID(c.start), Created: now, Expires: now.Add(c.req.Save.Life.or(saved.DefaultLife)), Owner: owner, Program: c.Version, Command: c.command, Site: c.Settings.Site,
		Collective: c.about.Collective, Federations: c.about.Federations, Agent: c.req.Agent, Action: c.req.Action, DDL: c.doc.Metadata.Version,
		Inputs: c.inputs.plain, Secrets: slices.Sorted(slices.Values(c.secretNames())), TTL: c.message().TTL,
		Plan: p.plan, Facts: entry(c).factsOf(p.plan), Selection: selection(c.req.Targets), Rules: c.rules(), Pace: c.pace(), Verify: c.req.Proof.saved(), Gates: gates, GatePolicy: how,
		Locks: c.req.Shared.Locks, MaxDown: c.req.Shared.MaxDown, Share: c.req.Shared.Mirror || len(c.req.Shared.MaxDown) > 0,
		BudgetWait: c.req.Shared.BudgetWait.recorded(), ShareTimeout: c.req.Shared.Timeout.recorded(),
	}
	for _, name := range names {
		n := states[name]
		n.Identity = name
		plan.Nodes = append(plan.Nodes, n)
	}
	f, err := saved.New(plan)
	if err != nil {
		return err
	}
	signed, err := f.Sign(id)
	if err != nil {
		return err
	}
	if err := f.Write(c.req.Save.File); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return usage(fmt.Errorf("%s exists: a plan replaces no file", c.req.Save.File), "name another file")
		}
		return usage(err, "")
	}
	text := fmt.Sprintf("the plan is saved in %s, and can be applied until %s: %s", c.req.Save.File, f.Plan.Expires.Format(time.RFC3339), job(c).next("").Apply(c.req.Save.File))
	if !signed {
		text += "; it is not signed, since there is no key of ours, and cannot be approved"
	}
	return c.Reporter.Report(Noted{Hint, text})
}

// saved is the proof as a plan has it.
func (p Proof) saved() saved.Verify {
	v := saved.Verify{Way: p.Verify, None: p.None, Expr: p.Expr, Version: p.Version}
	if p.Timeout.Set {
		v.Timeout = &p.Timeout.D
	}
	if p.Settle.Set {
		v.Settle = &p.Settle.D
	}
	return v
}

// states asks the nodes since when they run, and which version. A node that does not answer is not in the result.
func (c planner) states(ctx context.Context, names []string) (map[string]saved.Node, error) {
	doc, err := c.fleet.Documents().Resolve(ctx, utilityAgent)
	if err != nil {
		return nil, err
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil, err
	}
	req := rpcclient.Request{Agent: utilityAgent, Action: "daemon_stats", Data: json.RawMessage("{}"), Collective: c.about.Collective, Wait: fleet.ReplyTimeout(doc)}
	out := make(map[string]saved.Node, len(names))
	for r, err := range client.Call(ctx, req, names) {
		if err != nil {
			return nil, err
		}
		if n, ok := stateOf(r); ok {
			out[r.Node] = n
		}
	}
	return out, context.Cause(ctx)
}

// stateOf reads the answer of rpcutil#daemon_stats (docs/protocol.md): the start is in seconds since 1970.
func stateOf(r rpcclient.Reply) (n saved.Node, ok bool) {
	var body struct {
		Start   float64 `json:"starttime"`
		Version string  `json:"version"`
	}
	if !r.OK() || json.Unmarshal(r.Data, &body) != nil || body.Start <= 0 || body.Start > math.MaxInt32*2 {
		return n, false
	}
	return saved.Node{Identity: r.Node, Started: time.Unix(int64(body.Start), 0).UTC(), Version: body.Version}, true
}
