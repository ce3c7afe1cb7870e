// Package doctor checks every step from the configuration to the fleet, and returns the findings as values: configuration,
// settings, credentials, brokers, TLS, authentication, replies, events, discovery, clocks, locks.
//
// It changes nothing. The texts for the operator are here; exit codes, layout and streams are not. No step waits
// longer than Options allow.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Status is how a step ended. Package render has the words for it.
type Status uint8

// The statuses. Warned is passed, with something that should be fixed; skipped was not tried.
const (
	Passed Status = iota + 1
	Warned
	Failed
	Skipped
)

// Step is one step from the configuration to the fleet.
type Step struct {
	Name   string
	Target string // what was looked at, such as a broker's address; may be empty
	Status Status
	Detail string
	Fix    string // what to do about it; may be empty
	Err    error  // of a failed step; Detail does not repeat it
	Took   time.Duration
}

// Options define which fleet to check and how long to wait.
type Options struct {
	Fleet            fleet.Options
	Collective       string        // empty: the main one
	Wait             time.Duration // bounds every step
	DiscoveryTimeout time.Duration // zero: as configured
	SettingsFile     string        // for messages
	Now              time.Time
}

// Report is the result of Walk.
type Report struct {
	Config      *config.Config // nil when it could not be read
	Credentials []security.Credential
	Steps       []Step
}

// Failure is the first step that failed, nil when none did.
func (r Report) Failure() *Step {
	for i := range r.Steps {
		if r.Steps[i].Status == Failed {
			return &r.Steps[i]
		}
	}
	return nil
}

// Verdict sums the steps up in one line.
func (r Report) Verdict() string {
	count := map[Status]int{}
	var failed []string
	for _, s := range r.Steps {
		count[s.Status]++
		if s.Status == Failed {
			failed = append(failed, join(" ", s.Name, s.Target))
		}
	}
	switch warned := count[Warned]; {
	case len(failed) > 0:
		return fmt.Sprintf("%d of %d steps failed: %s", len(failed), len(r.Steps), strings.Join(failed, ", "))
	case warned > 0:
		return fmt.Sprintf("all %d steps passed, %d with a warning", len(r.Steps)-count[Skipped], warned)
	}
	return fmt.Sprintf("all %d steps passed", len(r.Steps)-count[Skipped])
}

// Walk does the steps in order. A step that fails ends the walk; the steps after it are skipped.
func Walk(ctx context.Context, o Options) Report {
	c := &checkup{o: o}
	c.walk(ctx)
	r := Report{Credentials: c.credentials, Steps: c.steps}
	if c.n != nil {
		r.Config = c.n.Config
	}
	return r
}

// checkup is one walk.
type checkup struct {
	o Options

	n           *fleet.Fleet
	id          *security.Identity
	client      *rpcclient.Client
	servers     []string
	session     *rpcclient.Session
	skews       map[string]time.Duration // how far each node's clock is ahead of ours
	credentials []security.Credential
	steps       []Step
}

// finding is how one step ended.
type finding struct {
	detail   string
	warnings []string
	fix      string
	err      error
	skipped  bool
}

func (c *checkup) walk(ctx context.Context) {
	defer func() {
		if c.session != nil {
			c.session.Close()
		}
		if c.n != nil {
			c.n.Close()
		}
	}()
	ok := c.take(ctx, "configuration", 0, c.configuration) && c.take(ctx, "settings", 0, c.settings) &&
		c.take(ctx, "credentials", 0, c.identity) && c.take(ctx, "brokers", 0, c.brokers) && c.reach(ctx)
	for _, s := range []struct {
		name  string
		extra time.Duration
		do    func(context.Context) finding
	}{
		{"authentication", c.o.Wait, c.authenticate}, {"replies", 0, c.replies}, {"events", 0, c.events},
		{"discovery", c.discoveryWait(), c.discover}, {"clocks", 0, c.clocks}, {"locks", 0, c.locks}, {"budget", 0, c.budget},
	} {
		if !ok {
			c.steps = append(c.steps, Step{Name: s.name, Status: Skipped})
			continue
		}
		ok = c.take(ctx, s.name, s.extra, s.do)
	}
}

// take does one step within its time, and reports whether the next step may start.
func (c *checkup) take(ctx context.Context, name string, extra time.Duration, do func(context.Context) finding) bool {
	step := timed(ctx, name, c.o.Wait+extra, do)
	c.steps = append(c.steps, step)
	return step.Status != Failed
}

// timed does one step.
func timed(ctx context.Context, name string, wait time.Duration, do func(context.Context) finding) Step {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	f := do(bounded)
	step := Step{Name: name, Status: Passed, Detail: f.detail, Fix: f.fix, Took: time.Since(start)}
	switch {
	case f.skipped:
		step.Status = Skipped
	case f.err != nil:
		step.Status, step.Err = Failed, f.err
	case len(f.warnings) > 0:
		step.Status = Warned
		step.Detail = join("; ", append([]string{f.detail}, f.warnings...)...)
	}
	return step
}

// join leaves out what is empty.
func join(separator string, parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, separator)
}

// patiently stops waiting for work that a context cannot end, such as reading a file from a server that is away. The work
// continues until the program ends, which is soon.
func patiently[T any](ctx context.Context, what string, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := work()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
}

func (c *checkup) configuration(ctx context.Context) finding {
	cfg, err := patiently(ctx, "read configuration", func() (*config.Config, error) { return c.o.Fleet.LoadConfig(ctx) })
	if err != nil {
		return finding{err: asUsage(err)}
	}
	c.n, err = fleet.New(c.o.Fleet, cfg, c.o.Collective)
	if err != nil {
		c.n = nil
		return finding{detail: cfg.File, err: err}
	}
	detail := fmt.Sprintf("%s, collective %s", cfg.File, c.n.Collective)
	if len(c.n.Federations) > 0 {
		detail += ", federations " + strings.Join(c.n.Federations, ", ")
	}
	return finding{detail: detail, warnings: cfg.Warnings}
}

// asUsage makes every fault of the configuration a usage error, a failing file server included.
func asUsage(err error) error {
	if _, ok := errors.AsType[*fleet.UsageError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		return err
	}
	return &fleet.UsageError{Err: err}
}

// soonExpired is how long before its end a credential or certificate is worth a warning.
const soonExpired = 14 * 24 * time.Hour

func (c *checkup) identity(ctx context.Context) finding {
	o, err := patiently(ctx, "read settings", c.n.SecurityOptions)
	if err != nil {
		return finding{err: asUsage(err)}
	}
	c.credentials, err = patiently(ctx, "read credentials", func() ([]security.Credential, error) { return security.Describe(o, c.o.Now), nil })
	if err == nil {
		c.id, err = patiently(ctx, "read credentials", func() (*security.Identity, error) { return security.Open(o, c.o.Now) })
	}
	if err != nil {
		if _, ok := errors.AsType[*security.CredentialError](err); !ok {
			err = &security.CredentialError{Problem: err.Error(), Err: err}
		}
		return finding{err: err}
	}
	c.n.UseIdentity(c.id)
	f := finding{detail: c.id.String(), warnings: c.id.Warnings()}
	for _, cred := range c.credentials {
		left := cred.NotAfter.Sub(c.o.Now)
		if cred.NotAfter.IsZero() || left < time.Hour || left > soonExpired { // the identity itself warns about the last hour
			continue
		}
		f.warnings = append(f.warnings, fmt.Sprintf("%s %s expires on %s", cred.Kind, cred.Path, cred.NotAfter.UTC().Format(time.RFC3339)))
		f.fix = "renew it in time"
	}
	return f
}

func (c *checkup) brokers(ctx context.Context) finding {
	var err error
	if c.servers, err = c.n.Servers(ctx); err != nil {
		return finding{err: err}
	}
	var addresses []string
	for _, s := range c.servers {
		addresses = append(addresses, bus.Probe{Server: s}.Address())
	}
	return finding{detail: strings.Join(addresses, ", ")}
}
