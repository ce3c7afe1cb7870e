package run

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/gate"
	"fleetctl/internal/plain"
	"fleetctl/internal/saved"
	"fleetctl/internal/secret"
)

// Gates are asked before the first batch and after each one. The zero value is none; of a recorded run, those of the record.
type Gates struct {
	Commands []string // as typed, for the shell
	Queries  []string // PromQL
	Server   string   // URL of the Prometheus server; "" is that of the settings
	// Collateral is how many starts and ends of nodes that were not sent to are allowed since the gates passed last.
	Collateral Count
	For        Wait // they must pass at every look for this long
	Every      Wait // between two looks; gate.DefaultEvery
	Wait       Wait // how long they may be inconclusive; gate.DefaultWait
	Timeout    Wait // of one look; gate.DefaultTimeout
	Off        bool // those of the record are left out
}

// noGates as the only command of a resume leaves the recorded gates out.
const noGates = "none"

func (g Gates) any() bool { return len(g.Commands)+len(g.Queries) > 0 || g.Collateral.Set }

// given reports whether anything about gates was asked for.
func (g Gates) given() bool {
	return g.any() || g.Server != "" || g.For.Set || g.Every.Set || g.Wait.Set || g.Timeout.Set
}

func (g Gates) policy() gate.Policy {
	return gate.Policy{For: g.For.D, Every: g.Every.or(gate.DefaultEvery), Wait: g.Wait.or(gate.DefaultWait)}
}

// validate refuses what cannot be asked. A recorded run has its gates already when this is called.
func (g Gates) validate(r Request) error {
	switch {
	case !g.given():
		return nil
	case r.ReplyTo != "":
		return usage(errors.New("--reply-to excludes gates: it sends one request to all nodes"), "")
	case !g.any():
		return usage(errors.New("--gate-for, --gate-every, --gate-wait, --gate-timeout and --prometheus are for gates"), "add --gate COMMAND, --gate-promql EXPR or --max-collateral N")
	case g.Timeout.Set && g.Timeout.D <= 0:
		return usage(errors.New("--gate-timeout 0 lets no gate answer"), "")
	}
	for _, text := range slices.Concat(g.Commands, g.Queries) {
		switch {
		case strings.TrimSpace(text) == "":
			return usage(errors.New("a gate is empty"), "is a variable unset?")
		case text == noGates:
			return usage(errors.New("--gate none is for resumes of runs with gates"), "")
		case strings.Contains(text, secret.Redacted):
			return usage(fmt.Errorf("the record has gate %q without its secret", text), "give the gates again with --gate, or leave them out with --gate none")
		}
	}
	if u, err := url.Parse(g.Server); err == nil && u.User != nil {
		return usage(errors.New("--prometheus with a user or a password: process lists and records would show them"), "put the address into the settings: prometheus")
	}
	if err := g.policy().Validate(); err != nil {
		return usage(err, "")
	}
	return nil
}

// keep fills in what a record has and what was not given now.
func (g *Gates) keep(recorded batch.Gates) {
	switch {
	case g.Off, slices.Equal(g.Commands, []string{noGates}) && len(g.Queries) == 0:
		*g = Gates{Off: true}
		return
	case !g.any():
		g.Commands, g.Queries = recorded.Commands, recorded.Queries
		if recorded.Collateral != nil {
			g.Collateral = Count{*recorded.Collateral, true}
		}
	}
	if !g.any() {
		return
	}
	if g.Server == "" {
		g.Server = recorded.Server
	}
	for _, w := range []struct {
		now      *Wait
		recorded time.Duration
	}{{&g.For, recorded.For}, {&g.Every, recorded.Every}, {&g.Wait, recorded.Wait}, {&g.Timeout, recorded.Timeout}} {
		if !w.now.Set && !recorded.IsZero() {
			*w.now = Wait{w.recorded, true}
		}
	}
}

// gatekeeping is a call as its gates see it.
type gatekeeping struct{ *call }

// recorded are the gates for the record: without secrets.
func (c gatekeeping) recorded() batch.Gates {
	g := c.req.Gates
	if !g.any() {
		return batch.Gates{}
	}
	out := batch.Gates{Commands: c.scrubbed(g.Commands), Queries: c.scrubbed(g.Queries), Timeout: g.Timeout.or(gate.DefaultTimeout)}
	if g.Collateral.Set {
		out.Collateral = &g.Collateral.N
	}
	p := g.policy()
	out.For, out.Every, out.Wait = p.For, p.Every, p.Wait
	if len(g.Queries) > 0 {
		out.Server = c.server().Name()
	}
	return out
}

func (c gatekeeping) scrubbed(texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, c.Scrub.Text(text))
	}
	return out
}

// server is where queries are asked: what was given, with the credentials of the settings where these name the same server.
func (c gatekeeping) server() gate.ServerOptions {
	own := gate.ServerOptions(c.Settings.Prometheus)
	other := gate.ServerOptions{URL: c.req.Gates.Server}
	if other.URL == "" || other.Name() == own.Name() {
		return own
	}
	return other
}

// open makes the gates ready to be asked, or refuses them, before any network work.
func (c gatekeeping) open() error {
	g := c.req.Gates
	if !g.any() {
		return nil
	}
	if c.service() {
		return usage(fmt.Errorf("gates stand between batches, and %s is a service: one server answers, once", c.req.Agent), "")
	}
	scrub, timeout := gate.Scrub(c.Scrub.Text), g.Timeout.or(gate.DefaultTimeout)
	keeper := gate.Keeper{Policy: g.policy()}
	for i, text := range g.Commands {
		command := gate.Command{Text: text, Env: c.Environ, Timeout: timeout, Scrub: scrub}
		if c.req.plan != nil {
			command.Pinned = &gate.Pins{Places: c.Places, Saved: c.req.plan.Plan.Scripts(i)}
		}
		keeper.Gates = append(keeper.Gates, command)
	}
	if len(g.Queries) > 0 {
		if c.server().URL == "" {
			return usage(errors.New("--gate-promql needs the address of a Prometheus server"), "add --prometheus URL, or prometheus to "+c.SettingsFile)
		}
		server, err := gate.NewServer(c.server())
		if err != nil {
			return usage(err, "")
		}
		for _, expr := range g.Queries {
			keeper.Gates = append(keeper.Gates, gate.PromQL{Expr: expr, Server: server, Timeout: timeout, Scrub: scrub})
		}
	}
	if g.Collateral.Set {
		c.collateral = &collateral{limit: g.Collateral.N}
		keeper.Gates = append(keeper.Gates, c.collateral)
	}
	c.keeper = keeper
	return nil
}

// sentences describe the gates for the plan.
func (c gatekeeping) sentences() []string {
	return GateSentences(c.recorded(), c.req.Policy.Rolling)
}

// GateSentences describe the gates of a run, one sentence each; none for a run without.
func GateSentences(g batch.Gates, rolling bool) []string {
	if g.IsZero() {
		return nil
	}
	when := "before the first batch and after each"
	if rolling {
		when = "before the first node and after as many final nodes as the window has slots"
	}
	var out []string
	for _, text := range g.Commands {
		out = append(out, fmt.Sprintf("asks gate %q %s", text, when))
	}
	for _, expr := range g.Queries {
		text := fmt.Sprintf("asks gate %q of %s %s", expr, g.Server, when)
		if hint := (gate.PromQL{Expr: expr}).Hint(); hint != "" {
			text += " (" + hint + ")"
		}
		out = append(out, text)
	}
	if g.Collateral != nil {
		out = append(out, fmt.Sprintf("stops when more than %d starts and ends of nodes that it did not send to are heard between two batches", *g.Collateral))
	}
	if len(g.Commands)+len(g.Queries) == 0 {
		return out
	}
	how := fmt.Sprintf("inconclusive gates pause the run: asked again every %s, for %s at most", g.Every, g.Wait)
	if g.For > 0 {
		how += fmt.Sprintf("; %s must pass for %s", plain.Count(len(out), "gate"), g.For)
	}
	return append(out, how)
}

// saved are the gates for a plan, with the scripts that they name.
func (c gatekeeping) saved() (gates []saved.Gate, policy saved.GatePolicy, err error) {
	g := c.recorded()
	if g.IsZero() {
		return nil, policy, nil
	}
	for i, text := range g.Commands {
		if text != c.req.Gates.Commands[i] {
			return nil, policy, usage(fmt.Errorf("gate %q holds a secret, which a plan must not", text), "have it read the secret from a file")
		}
		scripts, err := c.Places.Scripts(text)
		if err != nil {
			return nil, policy, usage(fmt.Errorf("gate %q: %w", text, err), "")
		}
		gates = append(gates, saved.Gate{Command: text, Scripts: scripts})
	}
	for i, expr := range g.Queries {
		if expr != c.req.Gates.Queries[i] {
			return nil, policy, usage(fmt.Errorf("gate %q holds a secret, which a plan must not", expr), "")
		}
		gates = append(gates, saved.Gate{PromQL: expr})
	}
	policy.Collateral = g.Collateral
	policy.Policy, policy.Timeout, policy.Server = c.req.Gates.policy(), g.Timeout, g.Server
	return gates, policy, nil
}

// gatesOf are the gates of a saved plan.
func gatesOf(p *saved.Plan) (g Gates) {
	if c := p.GatePolicy.Collateral; c != nil {
		g.Collateral = Count{*c, true}
	}
	if len(p.Gates) == 0 && !g.Collateral.Set {
		return g
	}
	for _, one := range p.Gates {
		if one.PromQL != "" {
			g.Queries = append(g.Queries, one.PromQL)
		} else {
			g.Commands = append(g.Commands, one.Command)
		}
	}
	how := p.GatePolicy
	g.Server, g.For, g.Every = how.Server, Wait{how.For, true}, Wait{how.Every, true}
	g.Wait, g.Timeout = Wait{how.Wait, true}, Wait{how.Timeout, true}
	return g
}
