package lab

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

func hexKey(l *Lab) string { return hex.EncodeToString(l.creds.issuerPublic) }

// inVirtualTime runs f against an in-process lab of each protocol version.
func inVirtualTime(t *testing.T, o Options, f func(t *testing.T, l *Lab, c *client)) {
	for _, protocol := range []int{1, 2} {
		t.Run(fmt.Sprintf("v%d", protocol), func(t *testing.T) {
			o.Dir, o.operatorKey = t.TempDir(), testKey()
			synctest.Test(t, func(t *testing.T) {
				o.InProcess, o.Protocol = true, protocol
				l, err := Start(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				c := dial(t, l)
				f(t, l, c)
				c.conn.Close()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// watch collects lifecycle events; next waits for one.
func (c *client) watch() (next func() choria.Event) {
	c.t.Helper()
	events := make(chan *nats.Msg, 64)
	if _, err := c.conn.ChanSubscribe(choria.LifecycleSubjects(), events); err != nil {
		c.t.Fatal(err)
	}
	c.flush()
	return func() choria.Event {
		c.t.Helper()
		for {
			select {
			case m := <-events:
				e, err := choria.DecodeEvent(m.Data)
				if err != nil {
					c.t.Fatal(err)
				}
				if want := choria.LifecycleSubject(e.Type, e.Component); m.Subject != want {
					c.t.Errorf("event on %s, want %s", m.Subject, want)
				}
				if e.Type != "alive" {
					return e
				}
			case <-time.After(time.Minute):
				c.t.Fatal("no event within a minute")
			}
		}
	}
}

func wantEvent(t *testing.T, e choria.Event, kind, component, identity string) {
	t.Helper()
	if e.Type != kind || e.Component != component || e.Identity != identity {
		t.Errorf("event %s of %s %s, want %s of %s %s", e.Type, e.Component, e.Identity, kind, component, identity)
	}
}

func TestRestartRepliesFirstAndComesBackLater(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 12, Seed: 7}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[3].Identity
		event := c.watch()
		before := c.started(node)
		if wrong := c.one(node, "choria_provision", "restart", `{"token":"wrong"}`); wrong.text != "Incorrect provision token supplied" || wrong.rpc.StatusCode != choria.Aborted {
			t.Errorf("wrong token: %d %q", wrong.rpc.StatusCode, wrong.text)
		}
		sent := time.Now()
		r := c.one(node, "choria_provision", "restart", `{"token":"s3cret"}`)
		if took := time.Since(sent); took > time.Second {
			t.Errorf("reply took %v", took)
		}
		var delay time.Duration
		if _, err := fmt.Sscanf(r.text, "Restarting Choria Server after %s", (*duration)(&delay)); err != nil {
			t.Fatalf("reply %q: %v", r.text, err)
		}
		if delay < 2*time.Second || delay > 11*time.Second {
			t.Errorf("delay %v, want 2s to 11s", delay)
		}
		wantEvent(t, event(), "shutdown", "server", node)
		if got := c.started(node); got != before {
			t.Errorf("start time during the delay is %d, want %d", got, before)
		}
		if got := event(); got.Type != "startup" || got.Version == "" || got.Component != "server" {
			t.Errorf("event %+v, want startup with a version", got)
		}
		if took := time.Since(sent); took < delay || took > delay+time.Second+100*time.Millisecond {
			t.Errorf("back after %v, want within a second of %v", took, delay)
		}
		if after := c.started(node); after <= before {
			t.Errorf("start time %d after restart, want later than %d", after, before)
		}
		if got := l.Received(node, "choria_provision", "restart"); got != 2 {
			t.Errorf("received %d restarts, want 2", got)
		}
	})
}

// duration scans what time.Duration prints.
type duration time.Duration

func (d *duration) Scan(s fmt.ScanState, _ rune) error {
	text, err := s.Token(true, nil)
	if err != nil {
		return err
	}
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

func TestSecondActionDuringTheDelayGetsNoReply(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 4}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		before := c.started(node)
		c.one(node, "choria_provision", "restart", `{"token":"s3cret","splay":600}`)
		for _, action := range []string{"restart", "shutdown", "reprovision", "jwt"} {
			c.silent(ask{agent: "choria_provision", action: action, data: `{"token":"s3cret"}`, nodes: []string{node}})
		}
		if r := c.one(node, "choria_provision", "nosuch", ""); r.rpc.StatusCode != choria.UnknownAction {
			t.Errorf("unknown action answered %d %q", r.rpc.StatusCode, r.text)
		}
		synctest.Wait()
		if err := l.AwaitFunc(t.Context(), func() bool { n, _ := l.Node(node); return n.State == Up && n.Started.Unix() > before }); err != nil {
			t.Fatal(err)
		}
		if info, _ := l.Node(node); info.State != Up {
			t.Errorf("state %v: the stalled shutdown must not run", info.State)
		}
	})
}

func TestReprovisionEntersProvisioningAndComesBack(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 4, ProvisionAfter: 30 * time.Second}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[1].Identity
		event := c.watch()
		before := c.started(node)
		r := c.one(node, "choria_provision", "reprovision", `{"token":"s3cret"}`)
		if !strings.HasPrefix(r.text, "Restarting after ") {
			t.Errorf("reply %q", r.text)
		}
		wantEvent(t, event(), "shutdown", "server", node)
		wantEvent(t, event(), "startup", "provision_mode_server", node)
		c.silent(ask{agent: "rpcutil", action: "ping", nodes: []string{node}})

		p := dialAs(t, l, "provisioner")
		if got := p.discover(choria.Filter{}, time.Second); !slices.Equal(got, []string{node}) {
			t.Errorf("provisioner discovers %v, want %s", got, node)
		}
		if r := p.one(node, "rpcutil", "collective_info", ""); string(r.rpc.Data) != `{"main_collective":"provisioning","collectives":["provisioning"]}` {
			t.Errorf("collectives %s", r.rpc.Data)
		}
		p.conn.Close()
		wantEvent(t, event(), "provisioned", "provision_mode_server", node)
		wantEvent(t, event(), "shutdown", "provision_mode_server", node)
		wantEvent(t, event(), "startup", "server", node)
		if after := c.started(node); after <= before {
			t.Errorf("start time %d, want later than %d", after, before)
		}
	})
}

func TestProvisionerUpgradesThoseThatAllowIt(t *testing.T) {
	o := Options{Nodes: 6, Version: "0.28.0", Upgradable: Amount{N: 2}, ProvisionAfter: 10 * time.Second, ProvisionVersion: "0.29.4"}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		event := c.watch()
		for _, info := range l.Nodes() {
			before := c.started(info.Identity)
			c.one(info.Identity, "choria_provision", "reprovision", `{"token":"s3cret"}`)
			wantEvent(t, event(), "shutdown", "server", info.Identity)
			wantEvent(t, event(), "startup", "provision_mode_server", info.Identity)
			want := "0.28.0"
			if info.Upgradable {
				want = "0.29.4"
				e := event()
				wantEvent(t, e, "upgraded", "provision_mode_server", info.Identity)
				if e.Version != "0.28.0" || e.NewVersion != want {
					t.Errorf("upgraded from %q to %q", e.Version, e.NewVersion)
				}
				wantEvent(t, event(), "shutdown", "provision_mode_server", info.Identity)
				e = event()
				wantEvent(t, e, "startup", "provision_mode_server", info.Identity)
				if e.Version != want {
					t.Errorf("starts with version %s, want %s", e.Version, want)
				}
			}
			wantEvent(t, event(), "provisioned", "provision_mode_server", info.Identity)
			wantEvent(t, event(), "shutdown", "provision_mode_server", info.Identity)
			e := event()
			wantEvent(t, e, "startup", "server", info.Identity)
			if after, _ := l.Node(info.Identity); e.Version != want || after.Version != want || after.State != Up {
				t.Errorf("%s came back as %s (event: %s) in state %s, want %s", info.Identity, after.Version, e.Version, after.State, want)
			}
			if c.started(info.Identity) <= before {
				t.Errorf("%s has its old start time", info.Identity)
			}
		}
	})
}

func TestANodeWhoseUpgradeFailsIsConfiguredWithItsOldVersion(t *testing.T) {
	o := Options{Nodes: 2, Version: "0.28.0", Upgradable: Amount{N: 2}, ProvisionVersion: "0.29.4", Faults: Faults{UpdateFail: Amount{N: 2}}}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		event := c.watch()
		c.one(node, "choria_provision", "reprovision", `{"token":"s3cret"}`)
		for _, want := range []string{"shutdown", "startup", "provisioned", "shutdown", "startup"} {
			if e := event(); e.Type != want {
				t.Errorf("event %s, want %s", e.Type, want)
			}
		}
		if after, _ := l.Node(node); after.Version != "0.28.0" || after.State != Up {
			t.Errorf("came back as %s in state %s, want its old version", after.Version, after.State)
		}
	})
}

func TestProvisionerLeavesTheNewVersionAlone(t *testing.T) {
	o := Options{Nodes: 2, Version: "0.29.4", Upgradable: Amount{N: 100, Percent: true}, ProvisionVersion: "0.29.4"}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		event := c.watch()
		c.one(node, "choria_provision", "reprovision", `{"token":"s3cret"}`)
		for _, want := range []string{"shutdown", "startup", "provisioned", "shutdown", "startup"} {
			if e := event(); e.Type != want {
				t.Errorf("event %s, want %s", e.Type, want)
			}
		}
	})
}

func TestShutdownStaysDownWithoutEvent(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 4}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[2].Identity
		events, err := c.conn.SubscribeSync("choria.lifecycle.event.shutdown.>")
		if err != nil {
			t.Fatal(err)
		}
		r := c.one(node, "choria_provision", "shutdown", `{"token":"s3cret"}`)
		if !strings.HasPrefix(r.text, "Shutting Choria Server down after ") {
			t.Errorf("reply %q", r.text)
		}
		if err := l.Await(t.Context(), node, Down); err != nil {
			t.Fatal(err)
		}
		c.silent(ask{agent: "rpcutil", action: "ping", nodes: []string{node}})
		if got := c.discover(choria.Filter{}, time.Second); len(got) != 3 || slices.Contains(got, node) {
			t.Errorf("discovered %v, want the three others", got)
		}
		if n, _, _ := events.Pending(); n != 0 {
			t.Errorf("%d shutdown events, want none", n)
		}
	})
}

func TestNegativeSplayCrashesTheNode(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 2}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		if r := c.one(node, "choria_provision", "restart", `{"token":"wrong","splay":-1}`); r.rpc.StatusCode != choria.Aborted {
			t.Errorf("wrong token with a bad splay: %d, want the token refused", r.rpc.StatusCode)
		}
		c.silent(ask{agent: "choria_provision", action: "restart", data: `{"token":"s3cret","splay":-1}`, nodes: []string{node}})
		if info, _ := l.Node(node); info.State != Down {
			t.Errorf("state %v, want down", info.State)
		}
	})
}

func TestFrozenNodeHandlesOnlyWhatIsYoungEnough(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 2}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		before := c.started(node)
		for _, step := range []struct {
			name    string
			stopped time.Duration
			want    bool
		}{{"beyond its TTL", 65 * time.Second, false}, {"within its TTL", 20 * time.Second, true}} {
			if err := l.Freeze(node); err != nil {
				t.Fatal(err)
			}
			sub := c.publish(ask{agent: "choria_provision", action: "restart", data: `{"token":"s3cret","splay":1}`, nodes: []string{node}})
			if got := c.collect(sub, 1, step.stopped); len(got) != 0 {
				t.Errorf("%s: a frozen node answered", step.name)
			}
			if err := l.Thaw(node); err != nil {
				t.Fatal(err)
			}
			if got := c.collect(sub, 1, 5*time.Second); (len(got) == 1) != step.want {
				t.Errorf("%s: %d replies after thawing, want reply %v", step.name, len(got), step.want)
			}
		}
		if err := l.AwaitFunc(t.Context(), func() bool { n, _ := l.Node(node); return n.State == Up && n.Started.Unix() > before }); err != nil {
			t.Fatal(err)
		}
		if got := l.Received(node, "choria_provision", "restart"); got != 2 {
			t.Errorf("received %d, want both", got)
		}
	})
}

func TestAliveEventRepeatsItself(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 1}, func(t *testing.T, l *Lab, c *client) {
		sub, err := c.conn.SubscribeSync("choria.lifecycle.event.alive.server")
		if err != nil {
			t.Fatal(err)
		}
		c.flush()
		var events [3]choria.Event
		for i := range events {
			m, err := sub.NextMsgWithContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if events[i], err = choria.DecodeEvent(m.Data); err != nil {
				t.Fatal(err)
			}
		}
		if events[0] != events[2] || events[0].Identity != l.Nodes()[0].Identity {
			t.Errorf("alive events differ: %+v and %+v", events[0], events[2])
		}
	})
}

func TestProvisionVersionNeedsAProvisioner(t *testing.T) {
	for _, o := range []Options{{ProvisionVersion: "1", ProvisionAfter: -1}, {ProvisionVersion: strings.Repeat("1", 33)}} {
		if o.Validate() == nil {
			t.Errorf("%+v is valid, want an error", o)
		}
	}
	if err := (Options{ProvisionVersion: "0.29.4"}).Validate(); err != nil {
		t.Error(err)
	}
}
