package proof

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/lab"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Baselines say when each node's token ends, also of nodes that fell silent after their token was seen, and of those whose
// replies are refused because it has ended.
func TestBaselinesSayWhenTokensEnd(t *testing.T) {
	for _, action := range []Action{Restart, Expression} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			const left = 2 * time.Minute
			l, err := lab.Start(t.Context(), lab.Options{Nodes: 6, Protocol: 2, Dir: dir, InProcess: true, Seed: 3, ExpiringIn: left, Faults: lab.Faults{Expiring: lab.Amount{N: 2}}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}()
			end := time.Now().Add(left)
			conn, client, collective := operator(t, l)
			defer conn.Close()
			var nodes, expiring, good []string
			for _, n := range l.Nodes() {
				nodes = append(nodes, n.Identity)
				if n.Fault == lab.Expiring {
					expiring = append(expiring, n.Identity)
				} else {
					good = append(good, n.Identity)
				}
			}
			o := Options{Client: client, Collective: collective, Action: action, Tokens: true}
			if action == Expression {
				expr, err := filter.CompileReply("ok()")
				if err != nil {
					t.Fatal(err)
				}
				o.Poll, o.Expr = rpcclient.Request{Agent: "rpcutil", Action: "ping"}, expr
			}
			client.KeepTokens()
			ask := func() map[string]batch.Baseline {
				b, err := New(o).Baseline(t.Context(), nodes)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			first := ask()
			for _, n := range nodes {
				b, ok := first[n]
				if soon := !b.TokenEnds.After(end.Add(time.Second)); !ok || b.TokenEnds.IsZero() || b.Silent || soon != (n == expiring[0] || n == expiring[1]) {
					t.Errorf("%v: baseline of %s: %+v", action, n, b)
				}
			}
			// One falls silent, one disappears, and tokens end.
			must := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			must(l.Freeze(good[0]))
			must(l.Kill(good[1]))
			<-time.After(left + 10*time.Second)
			again := ask()
			for n, want := range map[string]batch.Baseline{
				good[0]: {TokenEnds: first[good[0]].TokenEnds, Silent: true}, good[1]: {Absent: true},
				expiring[0]: {TokenEnds: first[expiring[0]].TokenEnds, Silent: true},
			} {
				if got, ok := again[n]; !ok || got != want {
					t.Errorf("%v: later baseline of %s: %+v, %t; want %+v", action, n, got, ok, want)
				}
			}
			// Another client has never seen the tokens while they were good: a rejected reply counts as a warning only.
			conn2, other, _ := operator(t, l)
			defer conn2.Close()
			other.KeepTokens()
			o.Client = other
			fresh := ask()
			if b, ok := fresh[expiring[1]]; !ok || !b.Silent || b.TokenEnds.After(time.Now()) {
				t.Errorf("%v: of a token that has ended: %+v, %t", action, b, ok)
			}
			if b, ok := fresh[good[0]]; ok {
				t.Errorf("%v: a frozen node with an unknown token has a baseline %+v", action, b)
			}
			if b := fresh[good[2]]; b.TokenEnds.IsZero() || b.Silent {
				t.Errorf("%v: of a good one: %+v", action, b)
			}
		})
	}
}

// The token of a rejected reply counts only when it has expired, whatever the reason of the rejection.
func TestARejectedTokenIsOnlyAWarning(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := lab.Start(t.Context(), lab.Options{Nodes: 2, Protocol: 2, Dir: dir, InProcess: true, Seed: 3, ExpiringIn: time.Minute, Faults: lab.Faults{Expiring: lab.Amount{N: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		conn, id, collective := connection(t, l, l.ConfigFile())
		defer conn.Close()
		nodes := []string{l.Nodes()[0].Identity, l.Nodes()[1].Identity}
		for _, later := range []bool{false, true} {
			if later {
				<-time.After(time.Minute + 10*time.Second)
			}
			o := Options{Client: rpcclient.New(conn, doubting{id}), Collective: collective, Action: Restart, Tokens: true}
			b, err := New(o).Baseline(t.Context(), nodes)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range l.Nodes() {
				got, ok := b[n.Identity]
				if want := later && n.Fault == lab.Expiring; ok != want || ok && (!got.Silent || got.TokenEnds.After(time.Now())) {
					t.Errorf("later %t: %s has baseline %+v, %t", later, n.Identity, got, ok)
				}
			}
		}
	})
}

// doubting is an identity that believes no reply.
type doubting struct{ *security.Identity }

func (doubting) OpenReply(choria.SecureReply, string) (string, error) {
	return "", security.ErrSignature
}

func (d doubting) OpenReplies(group []choria.Opening, collective string) {
	d.Identity.OpenReplies(group, collective)
	for i := range group {
		group[i].Proven, group[i].Err = "", security.ErrSignature
	}
}

// Without events a server that started with an ended token is a node that is gone. Its token is known, so the reason names it.
func TestANodeWhoseTokenHadEndedAndThatIsGoneIsExplained(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := lab.Start(t.Context(), lab.Options{Nodes: 3, Protocol: 2, Dir: dir, InProcess: true, Seed: 3, ExpiringIn: time.Minute, Faults: lab.Faults{Expiring: lab.Amount{N: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		conn, client, collective := operator(t, l)
		defer conn.Close()
		node := l.Nodes()[slices.IndexFunc(l.Nodes(), func(n lab.NodeInfo) bool { return n.Fault == lab.Expiring })].Identity
		pause(t.Context(), 2*time.Minute) // a token is believed for a little longer than it is valid
		target := batch.Target{Node: node, Sent: time.Now()}
		req := rpcclient.Request{Agent: "choria_provision", Action: "restart", Collective: collective, Wait: 22 * sec, Data: json.RawMessage(`{"token":"s3cret","splay":1}`)}
		for r, err := range client.Call(t.Context(), req, []string{node}) {
			t.Fatalf("got reply %v, %v", r, err)
		}
		proofs, _ := verify(t, Options{Client: client, Collective: collective, Action: Restart}, group{targets: []batch.Target{target}}, group{at: 2 * time.Minute})
		list := proofs[node]
		if len(list) == 0 || !strings.Contains(list[len(list)-1].Reason, "its token has ended") {
			t.Errorf("got %v", list)
		}
	})
}
