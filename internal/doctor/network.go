package doctor

import (
	"cmp"
	"context"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/rpcclient"
)

// reach checks every broker, all at once. One reachable broker is enough to continue; faults of the others are
// warnings then.
func (c *checkup) reach(ctx context.Context) bool {
	config, err := c.id.TLS(c.servers...)
	if err != nil {
		return c.take(ctx, "tls", 0, func(context.Context) finding { return finding{err: err} })
	}
	walks := make([][]Step, len(c.servers))
	var wait sync.WaitGroup
	for i, server := range c.servers {
		wait.Go(func() { walks[i] = c.reachOne(ctx, bus.Probe{Server: server, TLS: config}) })
	}
	wait.Wait()
	failed := func(s Step) bool { return s.Status == Failed }
	good := slices.ContainsFunc(walks, func(steps []Step) bool { return !slices.ContainsFunc(steps, failed) })
	for _, steps := range walks {
		for _, s := range steps {
			if good && failed(s) {
				s.Status, s.Detail = Warned, join("; ", s.Err.Error(), s.Detail)
			}
			c.steps = append(c.steps, s)
		}
	}
	return good
}

// reachOne takes the steps to one broker until one fails.
func (c *checkup) reachOne(ctx context.Context, p bus.Probe) []Step {
	var steps []Step
	failed := false
	for _, s := range []struct {
		name string
		do   func(context.Context) finding
	}{
		{"name", func(ctx context.Context) finding {
			addresses, err := p.Resolve(ctx)
			return finding{detail: strings.Join(addresses, ", "), err: err}
		}},
		{"tcp", func(ctx context.Context) finding {
			_, err := p.Dial(ctx)
			return finding{err: err}
		}},
		{"tls", func(ctx context.Context) finding {
			g, err := p.Greet(ctx)
			return c.greeted(g, err)
		}},
	} {
		step := Step{Name: s.name, Status: Skipped}
		if !failed {
			step = timed(ctx, s.name, c.o.Wait, s.do)
		}
		step.Target = p.Address()
		failed = failed || step.Status == Failed
		steps = append(steps, step)
	}
	return steps
}

// greeted describes a broker's greeting and its certificate.
func (c *checkup) greeted(g bus.Greeting, err error) finding {
	if errors.Is(err, bus.ErrWebSocket) {
		return finding{skipped: true, detail: err.Error()}
	}
	var f finding
	if len(g.Certificates) > 0 {
		leaf := g.Certificates[0]
		f.detail = fmt.Sprintf("certificate for %s, issued by %s, valid until %s", strings.Join(certificateNames(leaf), ", "),
			leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format(time.RFC3339))
		if left := leaf.NotAfter.Sub(c.o.Now); left > 0 && left < soonExpired {
			f.warnings = append(f.warnings, "the broker's certificate expires soon")
			f.fix = "renew the broker's certificate"
		}
	}
	switch {
	case err != nil:
		return finding{detail: f.detail, err: err}
	case g.TLS == nil:
		return finding{skipped: true, detail: "without TLS, as configured"}
	}
	f.detail = join(", ", tls.VersionName(g.TLS.Version), f.detail)
	return f
}

// certificateNames are the names and addresses that a broker's certificate is for.
func certificateNames(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

func (c *checkup) authenticate(ctx context.Context) finding {
	var err error
	if c.client, err = c.n.Dial(ctx); err != nil {
		return finding{err: err}
	}
	return finding{detail: fmt.Sprintf("connected to %s as %s", bus.Probe{Server: c.n.Conn().URL()}.Address(), c.id.Caller())}
}

// replies subscribes to the reply subject: without that right, every request looks unanswered.
func (c *checkup) replies(ctx context.Context) finding {
	var err error
	c.session, err = c.client.Open(ctx, c.n.Collective)
	prefix, hash := c.client.ReplyPrefix(c.n.Collective)
	detail := fmt.Sprintf("%s (%s of the caller id", prefix, hash)
	if hash == choria.SHA256 && !fips140.Enabled() {
		detail += ": the broker allows no other, it is in FIPS mode"
	}
	return finding{detail: detail + ")", err: err}
}

// events listens for lifecycle events. They make proofs quicker; only reprovisioning may need them.
func (c *checkup) events(ctx context.Context) finding {
	if len(c.n.Federations) > 0 {
		return finding{skipped: true, detail: "lifecycle events do not cross federations"}
	}
	stop, err := c.n.Conn().Subscribe(ctx, choria.LifecycleSubjects(), func(choria.Message) {})
	if err == nil {
		stop()
		return finding{detail: "lifecycle events can be seen"}
	}
	if p, ok := errors.AsType[*bus.Problem](err); ok && !p.Lost {
		return finding{
			warnings: []string{"lifecycle events are not allowed for this caller: restarts are proved by polling, reprovisioning only by the node's return"},
			fix:      "give the token the permission events_viewer",
		}
	}
	return finding{err: err}
}

// discover finds the nodes of the collective, and keeps the clock of each answer.
func (c *checkup) discover(ctx context.Context) finding {
	wait := c.discoveryWait()
	c.skews = map[string]time.Duration{}
	var last time.Duration
	ping := rpcclient.PingRequest{Filter: discovery.WireFilter(filter.Filter{}, ""), Window: choria.Window{Timeout: wait}}
	for r, err := range c.session.Ping(ctx, ping) {
		if err != nil {
			return finding{err: err}
		}
		c.skews[r.Node] = r.Skew(r.Sent)
		last = r.Received.Sub(r.Sent)
	}
	return c.discovered(last, wait)
}

func (c *checkup) discoveryWait() time.Duration {
	if c.n == nil {
		return 0
	}
	return cmp.Or(c.o.DiscoveryTimeout, c.n.Config.DiscoveryTimeout)
}

func (c *checkup) discovered(last, wait time.Duration) finding {
	var f finding
	strays := c.session.Strays()
	for _, kind := range []rpcclient.Kind{rpcclient.BadSignature, rpcclient.BadHash, rpcclient.Malformed} {
		if n := strays.Count[kind]; n > 0 {
			f.warnings = append(f.warnings, fmt.Sprintf("%s rejected (%s)", plain.Count(n, "reply"), kind))
			f.fix = "check plugin.security.issuer.* and the servers' tokens"
		}
	}
	if len(c.skews) == 0 {
		f.err = &fleet.NoNodesError{What: fmt.Sprintf("no node in collective %s answered within %s", c.n.Collective, wait),
			Hint: "are servers connected to this broker, in this collective (-T), and do they trust this caller? Their logs have the reason"}
		f.detail, f.warnings = strings.Join(f.warnings, "; "), nil
		return f
	}
	f.detail = fmt.Sprintf("%s answered, the last after %s", plain.Count(len(c.skews), "node"), last.Round(time.Millisecond))
	return f
}

// tolerated is the skew below which no warning is due. Servers drop requests that are older than their time to live, and
// requests from the future.
const tolerated = 2 * time.Second

// clocks judges how far the fleet's clocks are from ours.
func (c *checkup) clocks(context.Context) finding { return judgeClocks(c.skews) }

func judgeClocks(skews map[string]time.Duration) finding {
	var off []string
	var worst time.Duration
	for node, skew := range skews {
		if skew.Abs() > tolerated {
			off = append(off, node)
		}
		if skew.Abs() > worst.Abs() {
			worst = skew
		}
	}
	switch {
	case len(off) == 0:
		return finding{detail: fmt.Sprintf("%s within %s of ours", plain.Count(len(skews), "clock"), tolerated)}
	case len(off) == len(skews):
		return finding{warnings: []string{fmt.Sprintf("every clock differs from ours, by up to %s", worst.Round(time.Second/10))}, fix: "set this machine's clock"}
	}
	return finding{
		warnings: []string{fmt.Sprintf("%d of %d clocks differ from ours, by up to %s: %s", len(off), len(skews), worst.Round(time.Second/10), discovery.Fold(off))},
		fix:      "set those nodes' clocks: servers drop requests that look older than their time to live",
	}
}
