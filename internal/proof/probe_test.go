package proof

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

func TestProbe(t *testing.T) {
	lost := func(t *batch.Target) { silent(t); t.Baseline = "" }
	tests := []struct {
		name   string
		action Action
		act    func(f *fleet)
		target func(*batch.Target)
		expr   string
		want   batch.Finding
		reason string
		after  time.Duration
	}{
		{name: "the process of the baseline", action: Restart, target: silent, want: batch.Untouched, reason: "still the process", after: 46 * sec},
		{name: "the process that replied", action: Restart, target: noBaseline, want: batch.Untouched},
		{name: "a later one", action: Restart, act: func(f *fleet) { f.in(5*sec, "n", restart) }, target: func(t *batch.Target) { silent(t); t.Baseline = "946681200" },
			want: batch.Acted, reason: "started 00:00:05, was 1999-12-31 23:00:00"},
		{name: "an earlier one is another process anyway", action: Restart, target: func(t *batch.Target) { silent(t); t.Baseline = "946684000" }, want: batch.Unproved, reason: "another process"},
		{name: "an earlier one, though one replied", action: Restart, target: func(t *batch.Target) { t.Baseline = "946684000" }, want: batch.Unproved, reason: "another process"},
		{name: "it acts while we wait", action: Restart, act: func(f *fleet) { f.restartIn(40*sec, sec, "n") }, target: silent, want: batch.Acted, reason: "started 00:00:41"},
		{name: "nothing known, long up", action: Restart, target: lost, want: batch.Untouched},
		{name: "nothing known, long up, an hour behind", action: Restart, act: func(f *fleet) { lax(f); f.node("n", skewed(-time.Hour)) }, target: lost, want: batch.Untouched},
		{name: "nothing known, long up, half an hour ahead", action: Restart, act: func(f *fleet) { lax(f); f.node("n", skewed(time.Hour/2)) }, target: lost, want: batch.Untouched},
		{name: "nothing known, acted, and its clock was set forward before the first look", action: Restart,
			act:    func(f *fleet) { lax(f); f.in(2*sec, "n", restart); f.in(5*sec, "n", step(20*sec)) },
			target: lost, want: batch.Unproved, reason: "does not show whether"},
		{name: "nothing known, an hour ahead, started since", action: Restart, act: func(f *fleet) { lax(f); f.node("n", skewed(time.Hour)); f.in(5*sec, "n", restart) }, target: lost,
			want: batch.Acted, reason: "younger than the request"},
		{name: "nothing known, an hour behind, started since", action: Restart, act: func(f *fleet) { lax(f); f.node("n", skewed(-time.Hour)); f.in(5*sec, "n", restart) }, target: lost,
			want: batch.Acted, reason: "younger than the request"},
		{name: "nothing known, not even when it was sent", action: Restart, target: func(t *batch.Target) { lost(t); t.Sent = time.Time{} }, want: batch.Unproved, reason: "nothing to compare"},
		{name: "never sent to, and restarted", action: Restart, act: func(f *fleet) { f.in(5*sec, "n", restart) }, target: func(t *batch.Target) { silent(t); t.Sent = time.Time{} },
			want: batch.Unproved, reason: "another process"},
		{name: "nothing known, acted, and its clock is set forward between two looks", action: Restart,
			act:    func(f *fleet) { lax(f); f.in(5*sec, "n", restart); f.in(47*sec, "n", step(time.Hour)) },
			target: lost, want: batch.Unproved, reason: "its clock was set"},
		{name: "started a second before the request", action: Restart, act: func(f *fleet) { f.node("n", func(s *server) { s.start = time.Now().Add(-sec) }) }, target: lost,
			want: batch.Unproved, reason: "does not show whether"},
		{name: "its clock is behind by less than the time to live", action: Restart, act: func(f *fleet) { f.node("n", skewed(-20*sec)) }, target: silent,
			want: batch.Untouched, after: 62 * sec},
		{name: "absent", action: Restart, act: func(f *fleet) { f.node("n", stop) }, target: silent, want: batch.Unproved, reason: "is not connected", after: 50 * sec},
		{name: "silent", action: Restart, act: func(f *fleet) { f.node("n", freeze) }, target: silent, want: batch.Unproved, reason: "does not answer", after: 54 * sec},
		{name: "the first answer is lost", action: Restart, act: func(f *fleet) { f.lose = 1 }, target: silent, want: batch.Untouched},
		{name: "denied", action: Restart, act: func(f *fleet) { f.node("n", func(s *server) { s.denied = true }) }, target: silent, want: batch.Unproved, reason: "not authorized"},
		{name: "the broker is away", action: Restart, act: func(f *fleet) { f.away = true }, target: silent, want: batch.Unproved, reason: "the connection to the broker was lost: not asked"},
		{name: "the broker is away for a while", action: Restart, act: func(f *fleet) { f.lost(40*sec, 70*sec) }, target: silent, want: batch.Untouched, after: 70 * sec},
		{name: "a long announced delay counts", action: Restart, target: func(t *batch.Target) { t.Delay = 10 * time.Minute }, want: batch.Untouched, after: 10*time.Minute + 35*sec},
		{name: "later, but not as it should be", action: Restart, act: func(f *fleet) { f.in(sec, "n", restart) }, expr: `data("version") == "9"`, want: batch.Unproved, reason: "version 0.29.3"},
		{name: "reprovisioned and back", action: Reprovision, act: func(f *fleet) { f.restartIn(sec, 5*sec, "n") }, target: silent, want: batch.Acted},
		{name: "not reprovisioned", action: Reprovision, target: silent, want: batch.Untouched},
		{name: "not shut down", action: Shutdown, target: silent, want: batch.Untouched},
		{name: "shut down and started", action: Shutdown, act: func(f *fleet) { f.restartIn(sec, 5*sec, "n") }, target: silent, want: batch.Unproved, reason: "after the shutdown"},
		{name: "absence is no proof of a shutdown long after", action: Shutdown, act: func(f *fleet) { f.node("n", stop) }, target: silent, want: batch.Unproved, reason: "is not connected"},
		{name: "the expression holds", action: Expression, expr: `data("version") == "0.29.3"`, want: batch.Acted},
		{name: "an expression does not show which nodes are untouched", action: Expression, expr: `data("version") == "9"`, want: batch.Unproved},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var e *filter.ReplyExpr
			if tt.expr != "" {
				e = expression(t, tt.expr)
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				o := f.options(tt.action)
				o.Expr, o.Poll = e, rpcclient.Request{Agent: "rpcutil", Action: "daemon_stats"}
				if tt.act != nil {
					tt.act(f)
				}
				target := f.accepted("n", 0)
				if tt.target != nil {
					tt.target(&target)
				}
				begin := time.Now()
				var got []batch.Proof
				for p := range New(o).Probe(t.Context(), []batch.Target{target, target}) {
					got = append(got, p)
				}
				if len(got) != 1 || got[0].Found != tt.want || got[0].Reason == "" || !strings.Contains(got[0].Reason, tt.reason) {
					t.Fatalf("got %v, want %s: %q", got, tt.want, tt.reason)
				}
				if took := time.Since(begin); took < tt.after || took > max(tt.after, time.Minute)+10*sec && !f.away {
					t.Errorf("took %v, want %v or a little more", took, tt.after)
				}
				if n := len(f.nodes["n"].asked); n > 0 && f.nodes["n"].asked[0].Before(begin.Add(35*sec)) {
					t.Error("asked while the request could still act")
				}
				if len(f.listeners) != 0 {
					t.Error("a subscription is left")
				}
			})
		})
	}
}

func TestProbeEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b")
		targets := []batch.Target{f.accepted("a", 0), f.accepted("b", 0)}
		for at := time.Duration(0); at < 50*sec; at += 5 * sec {
			ctx, cancel := context.WithTimeout(t.Context(), at)
			for range New(f.options(Restart)).Probe(ctx, targets) {
			}
			cancel()
		}
		n := 0
		for range New(f.options(Restart)).Probe(t.Context(), targets) {
			n++
			break
		}
		if n != 1 || len(f.listeners) != 0 {
			t.Errorf("%d proofs, %d subscriptions left", n, len(f.listeners))
		}
	})
}
