package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/render"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// checkup walks the way to the fleet. A step that fails ends the walk; those after it are skipped.
type checkup struct {
	app  *app
	o    doctorOptions
	wait time.Duration // bounds every step
	now  time.Time

	n           *network
	servers     []string
	session     *rpcclient.Session
	skews       map[string]time.Duration // how far each node's clock is ahead of ours
	credentials []security.Credential
	steps       []render.Step
	code        int // the exit code of the first failure
}

// finding is how one step ended.
type finding struct {
	detail   string
	warnings []string
	mend     string
	err      error
	skipped  bool
}

func (c *checkup) walk(ctx context.Context) {
	defer func() {
		if c.session != nil {
			c.session.Close()
		}
		if c.n != nil {
			c.n.close()
		}
	}()
	ok := c.take(ctx, "configuration", c.configuration) && c.take(ctx, "settings", c.settings) &&
		c.take(ctx, "credentials", c.identity) && c.take(ctx, "brokers", c.brokers) && c.reach(ctx)
	for _, s := range []struct {
		name  string
		extra time.Duration
		do    func(context.Context) finding
	}{
		{"authentication", c.wait, c.authenticate}, {"replies", 0, c.replies}, {"events", 0, c.events},
		{"discovery", c.discoveryWait(), c.discover}, {"clocks", 0, c.clocks},
	} {
		if !ok {
			c.steps = append(c.steps, render.Step{Name: s.name, Status: render.StepSkipped})
			continue
		}
		step, code := c.timed(ctx, s.name, c.wait+s.extra, s.do)
		ok = c.keep(step, code)
	}
}

// take does one step within its time, and tells whether the walk may go on.
func (c *checkup) take(ctx context.Context, name string, do func(context.Context) finding) bool {
	step, code := c.timed(ctx, name, c.wait, do)
	return c.keep(step, code)
}

func (c *checkup) keep(step render.Step, code int) bool {
	c.steps = append(c.steps, step)
	c.failed(code)
	return code == exitOK
}

func (c *checkup) failed(code int) {
	if c.code == exitOK {
		c.code = code
	}
}

// timed does one step, and gives its exit code.
func (c *checkup) timed(ctx context.Context, name string, wait time.Duration, do func(context.Context) finding) (render.Step, int) {
	start := time.Now()
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	f := do(bounded)
	step := render.Step{
		Name: name, Status: render.StepPassed, Detail: f.detail, Mend: f.mend, Milliseconds: time.Since(start).Milliseconds(),
	}
	code := exitOK
	switch {
	case f.skipped:
		step.Status = render.StepSkipped
	case f.err != nil:
		var say, hint string
		code, say, hint = classify(ctx, f.err)
		if code == exitFault && errors.Is(f.err, context.DeadlineExceeded) {
			code = exitNetwork
		}
		step.Status = render.StepFailed
		step.Detail = join("; ", say, f.detail)
		if step.Mend == "" {
			step.Mend = hint
		}
	case len(f.warnings) > 0:
		step.Status = render.StepWarned
		step.Detail = join("; ", append([]string{f.detail}, f.warnings...)...)
	}
	return step, code
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

// patiently gives up on work that no context ends, such as reading a file from a server that is away. The work itself
// is left behind: the program ends soon.
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
	cfg, err := patiently(ctx, "read configuration", func() (*config.Config, error) { return c.app.loadConfig(ctx) })
	if err != nil {
		return finding{err: asUsage(err)}
	}
	c.n, err = c.app.networkOf(cfg, c.o.collective)
	if err != nil {
		return finding{detail: cfg.File, err: err}
	}
	detail := fmt.Sprintf("%s, collective %s", cfg.File, c.n.collective)
	if len(c.n.federations) > 0 {
		detail += ", federations " + strings.Join(c.n.federations, ", ")
	}
	return finding{detail: detail, warnings: cfg.Warnings}
}

// asUsage gives every fault of the configuration its exit code, the file server's too.
func asUsage(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		return err
	}
	return usage(err, "")
}

func (c *checkup) settings(ctx context.Context) finding {
	s, err := patiently(ctx, "read settings", c.app.settings)
	if err != nil {
		return finding{err: asUsage(err)}
	}
	if s == (config.Settings{}) {
		return finding{detail: "no limits of our own"}
	}
	return finding{detail: fmt.Sprintf("%s: max_nodes %d, require_filter %t, confirm %t, read_only %t",
		c.app.settingsPath(), s.MaxNodes, s.RequireFilter, s.Confirm, s.ReadOnly)}
}

// soonExpired is how long before its end a credential or certificate is worth a warning.
const soonExpired = 14 * 24 * time.Hour

func (c *checkup) identity(ctx context.Context) finding {
	o, err := patiently(ctx, "read settings", c.n.securityOptions)
	if err != nil {
		return finding{err: asUsage(err)}
	}
	c.credentials, err = patiently(ctx, "read credentials", func() ([]security.Credential, error) { return security.Describe(o, c.now), nil })
	if err == nil {
		c.n.id, err = patiently(ctx, "read credentials", func() (*security.Identity, error) { return security.Open(o, c.now) })
	}
	if err != nil {
		if _, ok := errors.AsType[*security.CredentialError](err); !ok {
			err = &exitError{code: exitNetwork, err: err}
		}
		return finding{err: err}
	}
	f := finding{detail: c.n.id.String(), warnings: c.n.id.Warnings()}
	for _, cred := range c.credentials {
		left := cred.NotAfter.Sub(c.now)
		if cred.NotAfter.IsZero() || left < time.Hour || left > soonExpired { // the identity itself warns of the last hour
			continue
		}
		f.warnings = append(f.warnings, fmt.Sprintf("%s %s expires on %s", cred.Kind, cred.Path, cred.NotAfter.UTC().Format(time.RFC3339)))
		f.mend = "renew it in time"
	}
	return f
}

func (c *checkup) brokers(ctx context.Context) finding {
	var err error
	if c.servers, err = c.n.servers(ctx); err != nil {
		return finding{err: err}
	}
	var addresses []string
	for _, s := range c.servers {
		addresses = append(addresses, bus.Probe{Server: s}.Address())
	}
	return finding{detail: strings.Join(addresses, ", ")}
}

// report is the finished document.
func (c *checkup) report() render.Checkup {
	r := render.Checkup{
		SchemaVersion: render.SchemaVersion, ExitCode: c.code, Files: []string{}, Settings: []render.Setting{}, Credentials: []render.Credential{}, Steps: c.steps,
	}
	if c.n != nil {
		cfg := c.n.cfg
		r.Files = cfg.Files
		for _, key := range cfg.Keys() {
			value, _ := cfg.Get(key)
			r.Settings = append(r.Settings, render.Setting{Key: key, Value: value, Origin: cfg.Origin(key)})
		}
	}
	for _, cred := range c.credentials {
		out := render.Credential{
			Kind: cred.Kind, Path: cred.Path, Names: cred.Names, Organization: cred.Organization, Issuer: cred.Issuer,
			NotBefore: cred.NotBefore, NotAfter: cred.NotAfter, Permissions: cred.Permissions,
		}
		if cred.Fault != nil {
			out.Problem = cred.Fault.Error()
		}
		r.Credentials = append(r.Credentials, out)
	}
	r.Verdict = verdictOf(c.steps)
	return r
}

func verdictOf(steps []render.Step) string {
	count := map[render.StepStatus]int{}
	var failed []string
	for _, s := range steps {
		count[s.Status]++
		if s.Status == render.StepFailed {
			failed = append(failed, join(" ", s.Name, s.Target))
		}
	}
	switch warned := count[render.StepWarned]; {
	case len(failed) > 0:
		return fmt.Sprintf("%d of %d steps failed: %s", len(failed), len(steps), strings.Join(failed, ", "))
	case warned > 0:
		return fmt.Sprintf("all %d steps passed, %d with a warning", len(steps)-count[render.StepSkipped], warned)
	}
	return fmt.Sprintf("all %d steps passed", len(steps)-count[render.StepSkipped])
}
