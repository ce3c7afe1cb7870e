package proof

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/lab"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// operator connects to the lab as its files say.
func operator(t *testing.T, l *lab.Lab) (*bus.Conn, *rpcclient.Client, string) {
	t.Helper()
	return connect(t, l, l.ConfigFile())
}

func connect(t *testing.T, l *lab.Lab, file string) (*bus.Conn, *rpcclient.Client, string) {
	t.Helper()
	conn, id, collective := connection(t, l, file)
	return conn, rpcclient.New(conn, id), collective
}

func connection(t *testing.T, l *lab.Lab, file string) (*bus.Conn, *security.Identity, string) {
	t.Helper()
	cfg, err := config.Load(file, config.Environment{Hostname: func() (string, error) { return "operator.example.net", nil }})
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Security
	id, err := security.Open(security.Options{
		Provider: s.Provider, Identity: cfg.Identity, User: "tester", Certificate: s.Certificate, Key: s.Key, CA: s.CA,
		TokenFile: s.TokenFile, SeedFile: s.SeedFile, Issuers: s.Issuers,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bus.Connect(t.Context(), bus.Options{
		InProcess: l, Token: id.Token(), SignNonce: id.SignNonce, User: cfg.NatsUser, Password: cfg.NatsPass.Reveal(),
		ReplyPrefixes: []string{choria.ReplyPrefix(cfg.MainCollective, id.Caller(), choria.MD5)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn, id, cfg.MainCollective
}

// act sends the real action to every node of the lab, and returns what is known of those that accepted.
func act(t *testing.T, c *rpcclient.Client, collective string, baseline map[string]batch.Baseline, action string, nodes []string) []batch.Target {
	t.Helper()
	req := rpcclient.Request{Agent: "choria_provision", Action: action, Collective: collective, Data: json.RawMessage(`{"token":"s3cret"}`)}
	sent := time.Now()
	var targets []batch.Target
	for r, err := range c.Call(t.Context(), req, nodes) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Code != choria.OK {
			t.Fatalf("%s: %s", r.Node, r.Message)
		}
		var body struct{ Message string }
		if err := json.Unmarshal(r.Data, &body); err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(body.Message, "after ")
		delay, err := time.ParseDuration(after)
		if err != nil {
			t.Fatalf("%q: %v", body.Message, err)
		}
		targets = append(targets, batch.Target{Node: r.Node, Baseline: baseline[r.Node].Text, Sent: sent, Replied: r.Received, Stamp: r.Time, Delay: delay})
	}
	return targets
}

func TestAgainstTheLab(t *testing.T) {
	const size, lost = 12, 2
	tests := []struct {
		name   string
		action Action
		faults lab.Faults
		events bool
		want   map[batch.Finding]int
		by     time.Duration
	}{
		{name: "restart", action: Restart, events: true, want: map[batch.Finding]int{batch.Acted: size}, by: 14 * sec},
		{name: "restart, some do not return", action: Restart, events: true, faults: lab.Faults{
			NoReturn: lab.Amount{N: lost}, Slow: lab.Amount{N: 1}, Duplicate: lab.Amount{N: 1}, Forge: lab.Amount{N: 1},
		}, want: map[batch.Finding]int{batch.Acted: size - lost, batch.Unproved: lost}},
		{name: "shutdown", action: Shutdown, events: true, want: map[batch.Finding]int{batch.Acted: size}, by: 37 * sec},
		{name: "reprovision", action: Reprovision, events: true, faults: lab.Faults{NoReturn: lab.Amount{N: lost}},
			want: map[batch.Finding]int{batch.Acted: size - lost, batch.Unproved: lost}},
		{name: "reprovision without events", action: Reprovision, want: map[batch.Finding]int{batch.Acted: size}, by: 30 * sec},
	}
	for _, protocol := range []int{1, 2} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("v%d %s", protocol, tt.name), func(t *testing.T) {
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					l, err := lab.Start(t.Context(), lab.Options{Nodes: size, Protocol: protocol, Dir: dir, InProcess: true, Faults: tt.faults, Seed: 3})
					if err != nil {
						t.Fatal(err)
					}
					conn, client, collective := operator(t, l)
					o := Options{Client: client, Collective: collective, Action: tt.action, Settle: DefaultSettle(tt.action)}
					if tt.events {
						o.Events = conn
					}
					var nodes []string
					for _, n := range l.Nodes() {
						nodes = append(nodes, n.Identity)
					}
					baseline, err := New(o).Baseline(t.Context(), nodes)
					if err != nil || len(baseline) != size {
						t.Fatalf("%d start times: %v", len(baseline), err)
					}
					targets := act(t, client, collective, baseline, tt.action.String(), nodes)
					proofs, took := verify(t, o, group{targets: targets})
					if tt.by > 0 && took > tt.by {
						t.Errorf("took %v", took)
					}
					check(t, l, proofs, tt.want)
					conn.Close()
					if err := l.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// check compares the proofs with what the lab knows.
func check(t *testing.T, l *lab.Lab, proofs map[string][]batch.Proof, want map[batch.Finding]int) {
	t.Helper()
	got := map[batch.Finding]int{}
	for _, n := range l.Nodes() {
		p := proofs[n.Identity]
		if len(p) != 1 {
			t.Errorf("%s: %d proofs", n.Identity, len(p))
			continue
		}
		got[p[0].Found]++
		if lost := n.Fault == lab.NoReturn; lost != (p[0].Found == batch.Unproved) {
			t.Errorf("%s with fault %q is %s: %s", n.Identity, n.Fault, p[0].Found, p[0].Reason)
		}
		if received := l.Received(n.Identity, "choria_provision", "restart") + l.Received(n.Identity, "choria_provision", "reprovision") +
			l.Received(n.Identity, "choria_provision", "shutdown"); received != 1 {
			t.Errorf("%s got %d dangerous requests", n.Identity, received)
		}
	}
	for f, n := range want {
		if got[f] != n {
			t.Errorf("%d nodes are %s, want %d", got[f], f, n)
		}
	}
}
