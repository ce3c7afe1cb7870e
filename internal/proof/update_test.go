package proof

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/lab"
	"fleetctl/rpcclient"
)

const (
	wanted  = "0.30.2"
	isThere = `data("version") == "` + wanted + `"`
)

// updateIn makes a node swap its program and start again after a while.
func (f *fleet) updateIn(after time.Duration, name, version string) {
	f.in(after, name, func(s *server) { s.version = version; stop(s) })
	f.in(after+sec, name, restart)
}

func TestAnUpdateThatRepliedIsProvedByStartAndVersion(t *testing.T) {
	const whole = 5 * time.Minute
	updates := func(version string) func(*fleet) {
		return func(f *fleet) { f.updateIn(delay, "n", version) }
	}
	run(t, Update, []trial{
		{name: "acted", act: updates(wanted), expr: isThere, want: batch.Acted, reason: "started", after: delay, by: delay + 6*sec},
		{name: "acted, and had no baseline", act: updates(wanted), target: noBaseline, expr: isThere, want: batch.Acted, by: delay + 6*sec},
		{name: "announces itself in provisioning mode again", act: func(f *fleet) {
			updates(wanted)(f)
			f.startupIn(delay+sec, "n", provisioning, false)
		}, expr: isThere, want: batch.Acted, after: delay, by: delay + 2*sec},
		{name: "started again with another version", act: updates("0.29.4"), expr: isThere, want: batch.Unproved, reason: "version 0.29.4", after: whole, by: whole + 5*sec},
		{name: "the version without a start", act: func(f *fleet) { f.in(delay, "n", func(s *server) { s.version = wanted }) }, expr: isThere,
			want: batch.Unproved, reason: "accepted, and is still the same process", after: whole, by: whole + 5*sec},
		{name: "left the account", act: func(f *fleet) { f.in(delay, "n", stop) }, expr: isThere, want: batch.Unproved, reason: "was provisioned meanwhile", after: whole},
		{name: "a short time for proof begins at the sending", adapt: func(o *Options) { o.Timeout = 90 * sec }, expr: isThere,
			want: batch.Unproved, after: 90 * sec, by: 95 * sec},
		{name: "a reply at the end leaves time to start", adapt: func(o *Options) { o.Timeout = 20 * sec }, target: func(t *batch.Target) { t.Sent = t.Sent.Add(-19 * sec) },
			act: func(f *fleet) { f.updateIn(delay+10*sec, "n", wanted) }, expr: isThere, want: batch.Acted},
		{name: "long over, as after a resume", target: ago(time.Hour), expr: isThere, want: batch.Unproved, after: defaultTimeout, by: defaultTimeout + 5*sec},
	})
}

func TestAnUpdateWithoutAReplyIsWatchedUntilItsTimeIsOver(t *testing.T) {
	for _, tt := range []struct {
		name   string
		act    func(*fleet)
		sent   time.Duration // so long before it is handed over
		want   batch.Finding
		reason string
		at     time.Duration // from the handing over; up to 5 s more
	}{
		{name: "acts after half a minute", act: func(f *fleet) { f.updateIn(30*sec, "n", wanted) }, want: batch.Acted, reason: "started", at: 31 * sec},
		{name: "acts near the end", act: func(f *fleet) { f.updateIn(290*sec, "n", wanted) }, want: batch.Acted, at: 291 * sec},
		{name: "acts too late", act: func(f *fleet) { f.updateIn(310*sec, "n", wanted) }, want: batch.Unproved, reason: "the update failed without a reply", at: 300 * sec},
		{name: "acts at once", act: func(f *fleet) { f.updateIn(sec, "n", wanted) }, want: batch.Acted, at: 2 * sec},
		{name: "does not act", want: batch.Unproved, reason: "is still the same process", at: 300 * sec},
		{name: "starts with the old version", act: func(f *fleet) { f.restartIn(30*sec, sec, "n") }, want: batch.Unproved, reason: "version 0.29.3", at: 300 * sec},
		{name: "freezes", act: func(f *fleet) { f.in(30*sec, "n", freeze) }, want: batch.Unproved, reason: "does not answer", at: 300 * sec},
		{name: "is provisioned meanwhile", act: func(f *fleet) { f.in(30*sec, "n", stop) }, want: batch.Unproved, reason: "or was provisioned", at: 300 * sec},
		{name: "long over", sent: time.Hour, want: batch.Unproved, at: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expr := expression(t, isThere)
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n", "last")
				target := f.accepted("n", 0)
				silent(&target)
				target.Sent = target.Sent.Add(-tt.sent)
				if tt.act != nil {
					tt.act(f)
				}
				o := f.options(Update)
				o.Expr = expr
				begin := time.Now()
				f.in(8*time.Minute, "last", func(s *server) { s.version = wanted; restart(s) })
				proofs, _ := verify(t, o, group{targets: []batch.Target{target}}, group{at: 7 * time.Minute, targets: []batch.Target{f.accepted("last", delay)}})
				got := proofs["n"]
				if len(got) != 1 || got[0].Found != tt.want || !strings.Contains(got[0].Reason, tt.reason) {
					t.Fatalf("got %v, want %s: %q", got, tt.want, tt.reason)
				}
				if at := got[0].Time.Sub(begin); at < tt.at || at > tt.at+5*sec {
					t.Errorf("answered after %v, want %v", at, tt.at)
				}
			})
		})
	}
}

func TestAProbeOfAnUpdateWaitsUntilItCanHaveEnded(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(*fleet)
		want batch.Finding
	}{
		{"may still download", func(*fleet) {}, batch.Unproved},
		{"acted", func(f *fleet) { f.updateIn(4*time.Minute, "n", wanted) }, batch.Acted},
		{"started again by hand", func(f *fleet) { f.restartIn(4*time.Minute, sec, "n") }, batch.Unproved},
	} {
		expr := expression(t, isThere)
		synctest.Test(t, func(t *testing.T) {
			f := newFleet("n")
			tt.act(f)
			target := f.accepted("n", 0)
			silent(&target)
			o := f.options(Update)
			o.Expr = expr
			begin := time.Now()
			var got []batch.Proof
			for p := range New(o).Probe(t.Context(), []batch.Target{target}) {
				got = append(got, p)
			}
			if took := time.Since(begin); len(got) != 1 || got[0].Found != tt.want || took < rpcclient.DefaultTTL+5*time.Minute || took > 6*time.Minute {
				t.Errorf("%s: got %v after %v, want %s", tt.name, got, took, tt.want)
			}
		})
	}
}

func TestAnUpdateNeedsAVersion(t *testing.T) {
	f := newFleet()
	if err := f.options(Update).Validate(); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("error %v", err)
	}
}

func TestUpdatesOfTheLabAreProvedWithAReplyOrWithout(t *testing.T) {
	const size, late, bad = 8, 2, 1
	expr := expression(t, isThere)
	for _, protocol := range []int{1, 2} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			l, err := lab.Start(t.Context(), lab.Options{
				Nodes: size, Protocol: protocol, Dir: dir, InProcess: true, Seed: 3, ProvisionAfter: -1, Version: "0.29.4", Upgradable: lab.Amount{N: size},
				Faults: lab.Faults{UpdateLate: lab.Amount{N: late}, UpdateFail: lab.Amount{N: bad}, UpdateBroken: lab.Amount{N: bad}},
			})
			if err != nil {
				t.Fatal(err)
			}
			conn, client, collective := operator(t, l)
			var nodes []string
			for _, n := range l.Nodes() {
				nodes = append(nodes, n.Identity)
			}
			o := Options{Client: client, Collective: collective, Action: Reprovision, Events: conn}
			baseline, err := New(o).Baseline(t.Context(), nodes)
			if err != nil {
				t.Fatal(err)
			}
			if proofs, _ := verify(t, o, group{targets: act(t, client, collective, baseline, "reprovision", nodes)}); len(proofs) != size {
				t.Fatalf("%d nodes are in provisioning mode", len(proofs))
			}
			conn.Close()

			conn, client, collective = connect(t, l, l.ProvisionerFile())
			o = Options{Client: client, Collective: collective, Action: Update, Events: conn, Expr: expr}
			if baseline, err = New(o).Baseline(t.Context(), nodes); err != nil || len(baseline) != size {
				t.Fatalf("%d start times: %v", len(baseline), err)
			}
			targets, refused := update(t, client, collective, baseline, nodes)
			proofs, _ := verify(t, o, group{targets: targets}, group{at: time.Minute})
			for _, n := range l.Nodes() {
				got := proofs[n.Identity]
				switch failed := refused[n.Identity]; {
				case n.Fault == lab.UpdateFail || n.Fault == lab.UpdateBroken:
					if len(got) != 0 || !strings.Contains(failed, "Update to version 0.30.2 failed") {
						t.Errorf("v%d %s (%s): %v, %q", protocol, n.Identity, n.Fault, got, failed)
					}
				case len(got) != 1 || got[0].Found != batch.Acted || failed != "":
					t.Errorf("v%d %s (%s): %v, %q", protocol, n.Identity, n.Fault, got, failed)
				}
				if received := l.Received(n.Identity, "choria_provision", "release_update"); received != 1 {
					t.Errorf("%s got %d requests", n.Identity, received)
				}
			}
			conn.Close()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// update sends release_update, and returns the targets that accepted it or are silent, and the words of those that refused.
func update(t *testing.T, c *rpcclient.Client, collective string, baseline map[string]batch.Baseline, nodes []string) (targets []batch.Target, refused map[string]string) {
	t.Helper()
	req := rpcclient.Request{Agent: "choria_provision", Action: "release_update", Collective: collective, Wait: 22 * sec,
		Data: json.RawMessage(`{"token":"s3cret","version":"` + wanted + `","repository":"https://example.net/choria"}`)}
	known, sent := map[string]batch.Target{}, time.Now()
	for _, n := range nodes {
		known[n] = batch.Target{Node: n, Baseline: baseline[n].Text, Sent: sent}
	}
	refused = map[string]string{}
	for r, err := range c.Call(t.Context(), req, nodes) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Code != choria.OK {
			refused[r.Node] = r.Message
			delete(known, r.Node)
			continue
		}
		target := known[r.Node]
		target.Replied, target.Stamp, target.Delay = r.Received, r.Time, 2*sec
		known[r.Node] = target
	}
	return slices.Collect(maps.Values(known)), refused
}
