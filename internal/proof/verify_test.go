package proof

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

const (
	provisioning = provisionComponent
	delay        = 5 * time.Second
	sec          = time.Second
)

func expression(t *testing.T, text string) *filter.ReplyExpr {
	t.Helper()
	e, err := filter.CompileReply(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// trial is one node, called n, that replied at the beginning and said that it acts after five seconds.
type trial struct {
	name   string
	act    func(f *fleet)      // what happens to it
	adapt  func(o *Options)    // other options
	target func(*batch.Target) // what is known of it
	expr   string
	want   batch.Finding // 0: no proof is yielded
	reason string        // part of it
	after  time.Duration // not earlier
	by     time.Duration // not later
}

func run(t *testing.T, a Action, trials []trial) {
	for _, tt := range trials {
		t.Run(tt.name, func(t *testing.T) {
			var e *filter.ReplyExpr
			if tt.expr != "" {
				e = expression(t, tt.expr)
			}
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n", "stranger")
				o := f.options(a)
				o.Expr = e
				if a == Expression {
					o.Poll = rpcclient.Request{Agent: "rpcutil", Action: "daemon_stats"}
				}
				if tt.adapt != nil {
					tt.adapt(&o)
				}
				if tt.act != nil {
					tt.act(f)
				}
				target := f.accepted("n", delay)
				if tt.target != nil {
					tt.target(&target)
				}
				proofs, took := verify(t, o, group{targets: []batch.Target{target}})
				if len(proofs["stranger"]) != 0 {
					t.Errorf("a proof of a node that is no target: %v", proofs["stranger"])
				}
				got := proofs["n"]
				if tt.want == 0 {
					if len(got) != 0 {
						t.Errorf("got %v, want no proof", got)
					}
					return
				}
				if len(got) != 1 || got[0].Found != tt.want || !strings.Contains(got[0].Reason, tt.reason) || got[0].Reason == "" {
					t.Fatalf("got %v, want %s: %q", got, tt.want, tt.reason)
				}
				if took < tt.after || tt.by > 0 && took > tt.by {
					t.Errorf("took %v, want %v to %v", took, tt.after, tt.by)
				}
				if len(f.listeners) != 0 {
					t.Errorf("%d subscriptions are left", len(f.listeners))
				}
			})
		})
	}
}

func noBaseline(t *batch.Target) { t.Baseline = "" }
func neither(t *batch.Target)    { noBaseline(t); noStamp(t) }
func noStamp(t *batch.Target)    { t.Stamp = time.Time{} }
func silent(t *batch.Target)     { t.Replied, t.Stamp, t.Delay = time.Time{}, time.Time{}, 0 }

// ago is a target whose request was sent, and answered, so long ago.
func ago(d time.Duration) func(*batch.Target) {
	return func(t *batch.Target) {
		t.Sent, t.Replied, t.Stamp = t.Sent.Add(-d), t.Replied.Add(-d), t.Stamp.Add(-d)
	}
}

func clockOff(by time.Duration) func(*fleet) {
	return func(f *fleet) {
		f.node("n", skewed(by))
		f.lax = true
		f.restartIn(delay, sec, "n")
	}
}

func TestRestart(t *testing.T) {
	restarts := func(f *fleet) { f.restartIn(delay, 300*time.Millisecond, "n") }
	stalls := func(f *fleet) {
		f.restartIn(delay, defaultTimeout-2*sec, "n")
		f.stallFrom(delay, forgetPoll-500*time.Millisecond)
	}
	timeout := delay + defaultTimeout
	run(t, Restart, []trial{
		{name: "a later start time", act: restarts, want: batch.Acted, reason: "started 00:00:05, was 1999-12-31 23:00:00", by: 6*sec + breath},
		{name: "no baseline", act: restarts, target: noBaseline, want: batch.Acted, reason: "started 00:00:05, after its reply of 00:00:00"},
		{name: "no stamp", act: restarts, target: noStamp, want: batch.Acted, reason: "started 00:00:05"},
		{name: "neither: its age proves it", act: restarts, target: neither, want: batch.Acted, reason: "younger than the request", by: 8 * sec},
		{name: "neither, and it did not act", target: neither, want: batch.Unproved, reason: "still the same process"},
		{name: "neither, not even when it was sent", act: restarts, target: func(t *batch.Target) { neither(t); t.Sent = time.Time{} }, want: batch.Unproved, reason: "nothing to compare"},
		{name: "a baseline that is no number", act: restarts, target: func(t *batch.Target) { t.Baseline = "x" }, want: batch.Acted, reason: "after its reply"},
		{name: "no delay announced", act: restarts, target: func(t *batch.Target) { t.Delay = 0 }, want: batch.Acted, after: 11 * sec, by: 13 * sec},
		{name: "no delay announced, but an event", act: func(f *fleet) { restarts(f); f.startupIn(delay+sec, "n", "server", false) },
			target: func(t *batch.Target) { t.Delay = 0 }, want: batch.Acted, by: 7 * sec},
		{name: "its clock is an hour behind", act: clockOff(-time.Hour), want: batch.Acted, reason: "started 23:00:06"},
		{name: "its clock is an hour ahead", act: clockOff(time.Hour), want: batch.Acted, reason: "started 01:00:06"},
		{name: "an hour behind, no baseline", act: clockOff(-time.Hour), target: noBaseline, want: batch.Acted},
		{name: "an hour ahead, no stamp", act: clockOff(time.Hour), target: noStamp, want: batch.Acted},
		{name: "a clock ahead that did not restart", act: func(f *fleet) { f.node("n", skewed(time.Hour)); f.lax = true }, target: noBaseline, want: batch.Unproved, reason: "still the same process"},
		{name: "never acted", want: batch.Unproved, reason: "still the same process", after: timeout, by: timeout + 3*sec},
		{name: "another restart between the baseline and the reply", act: func(f *fleet) { f.node("n", restart) },
			target: func(t *batch.Target) { t.Baseline = "946681200" }, want: batch.Unproved, reason: "still the same process"},
		{name: "never came back", act: func(f *fleet) { f.in(delay, "n", stop) }, want: batch.Unproved, reason: "is not connected, it may not have come back", after: timeout, by: timeout + 3*sec},
		{name: "slow", act: func(f *fleet) { f.restartIn(delay, 40*sec, "n") }, want: batch.Acted, after: 45 * sec, by: 50 * sec},
		{name: "just before the timeout", act: func(f *fleet) { f.restartIn(delay, defaultTimeout-100*time.Millisecond, "n") }, want: batch.Acted, by: timeout + sec},
		{name: "just after the timeout", act: func(f *fleet) { f.restartIn(delay, defaultTimeout+sec, "n") }, want: batch.Unproved, reason: "may not have come back"},
		{name: "lost polls", act: func(f *fleet) { restarts(f); f.lose = 3 }, want: batch.Acted, after: 8 * sec, by: 15 * sec},
		{name: "answers late", act: func(f *fleet) { restarts(f); f.node("n", func(s *server) { s.latency = 3 * sec }) }, want: batch.Acted, by: 9 * sec},
		{name: "the broker is away for a while", act: func(f *fleet) {
			restarts(f)
			f.lost(0, 20*sec)
		}, want: batch.Acted, after: 20 * sec, by: 25 * sec},
		{name: "the broker stalls, and answers come after the time", act: stalls,
			want: batch.Acted, after: timeout + 2*sec},
		{name: "the broker stalls, and it is unknown whether the node stays up", act: stalls,
			adapt: func(o *Options) { o.Settle = 10 * sec }, want: batch.Unproved, reason: "seen too late"},
		{name: "the broker stays away", act: func(f *fleet) { restarts(f); f.away = true }, want: batch.Unasked, reason: "the connection to the broker was lost: not asked"},
		{name: "denied", act: func(f *fleet) { restarts(f); f.node("n", func(s *server) { s.denied = true }) }, want: batch.Unproved, reason: "allow rpcutil#daemon_stats"},
		{name: "an event alone is no proof", act: func(f *fleet) { f.in(delay, "n", stop); f.startupIn(delay+sec, "n", "server", false) }, want: batch.Unproved},
		{name: "events forged by a stranger, of strangers", act: func(f *fleet) { f.startupIn(sec, "stranger", "server", false); f.startupIn(sec, "n", "server", true) },
			want: batch.Unproved, reason: "still the same process"},
		{name: "settles", act: restarts, adapt: func(o *Options) { o.Settle = 10 * sec }, want: batch.Acted, after: 15 * sec, by: 17 * sec},
		{name: "dies while it settles", act: func(f *fleet) { restarts(f); f.in(8*sec, "n", stop) }, adapt: func(o *Options) { o.Settle = 10 * sec },
			want: batch.Unproved, reason: "had started again, and no longer answers"},
		{name: "misses polls while it settles", act: func(f *fleet) { restarts(f); f.in(8*sec, "n", func(*server) { f.lose = 2 }) },
			adapt: func(o *Options) { o.Settle = 10 * sec }, want: batch.Acted, after: 15 * sec, by: 25 * sec},
		{name: "settles over the timeout", act: func(f *fleet) { f.restartIn(delay, defaultTimeout-2*sec, "n") }, adapt: func(o *Options) { o.Settle = 20 * sec },
			want: batch.Acted, after: timeout + 15*sec, by: timeout + 21*sec},
		{name: "starts again and again", act: func(f *fleet) {
			for at := delay; at < 3*time.Minute; at += 4 * sec {
				f.restartIn(at, sec, "n")
			}
		}, adapt: func(o *Options) { o.Settle = 10 * sec }, want: batch.Unproved, by: 2 * time.Minute},
		{name: "with the expression", act: func(f *fleet) { restarts(f); f.in(delay, "n", func(s *server) { s.version = "0.29.4" }) },
			expr: `data("version") == "0.29.4"`, want: batch.Acted},
		{name: "without the expression", act: restarts, expr: `data("version") == "0.29.4"`, want: batch.Unproved, reason: "started again, but the expression does not hold: version 0.29.3"},
		{name: "the expression without a restart", expr: `data("version") == "0.29.3"`, want: batch.Unproved, reason: "still the same process"},
		{name: "silent, and did it", act: func(f *fleet) { f.node("n", restart) }, target: func(t *batch.Target) { silent(t); t.Baseline = "946681200" }},
		{name: "resumed an hour later", act: restarts, target: func(t *batch.Target) {
			t.Sent, t.Replied, t.Stamp = t.Sent.Add(-30*time.Minute), t.Replied.Add(-30*time.Minute), t.Stamp.Add(-30*time.Minute)
		}, want: batch.Acted, by: 9 * sec},
	})
}

func TestReprovision(t *testing.T) {
	leaves := func(f *fleet) { f.in(delay, "n", stop) }
	enters := func(legacy bool) func(*fleet) {
		return func(f *fleet) { leaves(f); f.startupIn(delay+sec, "n", provisioning, legacy) }
	}
	back := func(f *fleet) { f.restartIn(delay, 20*sec, "n") }
	run(t, Reprovision, []trial{
		{name: "an event", act: enters(false), want: batch.Acted, reason: "in provisioning mode since 00:00:06", by: 7 * sec},
		{name: "an event in the legacy format", act: enters(true), want: batch.Acted, reason: "in provisioning mode", by: 7 * sec},
		{name: "no stamp", act: enters(false), target: noStamp, want: batch.Acted, by: 7 * sec},
		{name: "no baseline", act: enters(false), target: noBaseline, want: batch.Acted, by: 7 * sec},
		{name: "neither", act: enters(false), target: neither, want: batch.Acted, by: 7 * sec},
		{name: "its clock is an hour behind", act: func(f *fleet) { f.node("n", skewed(-time.Hour)); enters(false)(f) }, want: batch.Acted, by: 7 * sec},
		{name: "its clock is an hour ahead", act: func(f *fleet) { f.node("n", skewed(time.Hour)); enters(false)(f) }, want: batch.Acted, by: 7 * sec},
		{name: "back with a later start time", act: back, want: batch.Acted, reason: "started 00:00:25", by: 30 * sec},
		{name: "back, no baseline", act: back, target: noBaseline, want: batch.Acted},
		{name: "an event of its own past", act: func(f *fleet) {
			leaves(f)
			f.event(sec, choria.Event{Type: "startup", Identity: "n", Component: provisioning, Time: time.Now()}, false)
		}, want: batch.Unproved, reason: "was not seen in provisioning mode"},
		{name: "an alive event", act: func(f *fleet) {
			leaves(f)
			f.event(delay+sec, choria.Event{Type: "alive", Identity: "n", Component: provisioning, Time: time.Now().Add(delay)}, false)
		}, want: batch.Unproved, reason: "was not seen in provisioning mode"},
		{name: "the event of a stranger", act: func(f *fleet) { leaves(f); f.startupIn(delay, "stranger", provisioning, false) }, want: batch.Unproved},
		{name: "the event of another component", act: func(f *fleet) { leaves(f); f.startupIn(delay, "n", "server", false) }, want: batch.Unproved},
		{name: "no events", act: enters(false), adapt: func(o *Options) { o.Events = nil }, want: batch.Unproved, reason: "events_viewer"},
		{name: "events are denied", act: func(f *fleet) { f.noEvents = true; enters(false)(f) }, want: batch.Unproved, reason: "events_viewer"},
		{name: "events are denied, but it is back", act: func(f *fleet) { f.noEvents = true; back(f) }, want: batch.Acted},
		{name: "never acted", want: batch.Unproved, reason: "still the same process"},
		{name: "with an expression the event alone does not do", act: enters(false), expr: `data("version") == "0.29.4"`, want: batch.Unproved, reason: "has not come back"},
		{name: "with an expression, back", act: func(f *fleet) { enters(false)(f); back(f); f.in(delay, "n", func(s *server) { s.version = "0.29.4" }) },
			expr: `data("version") == "0.29.4"`, want: batch.Acted, reason: "started", after: 25 * sec, by: 32 * sec},
		{name: "with an expression, back as it was", act: func(f *fleet) { enters(false)(f); back(f) }, expr: `data("version") == "0.29.4"`,
			want: batch.Unproved, reason: "version 0.29.3"},
	})
}

func TestShutdown(t *testing.T) {
	down := func(f *fleet) { f.in(delay, "n", stop) }
	away := func(from, to time.Duration) func(*fleet) { return func(f *fleet) { f.lost(from, to) } }
	run(t, Shutdown, []trial{
		{name: "absent", act: down, want: batch.Acted, reason: "gone", after: delay + 25*sec, by: delay + 27*sec},
		{name: "no delay announced", act: down, target: func(t *batch.Target) { t.Delay = 0 }, want: batch.Acted, after: 34 * sec, by: 36 * sec},
		{name: "gone before its delay was over: that does not count", act: func(f *fleet) { f.node("n", stop) }, want: batch.Acted, after: delay + 25*sec, by: delay + 27*sec},
		{name: "frozen: it is silent, and not absent", act: func(f *fleet) { f.in(sec, "n", freeze) }, want: batch.Unproved, reason: "still connected", after: delay + defaultTimeout},
		{name: "frozen, and absent minutes later", act: func(f *fleet) { f.in(sec, "n", freeze); f.in(2*time.Minute, "n", stop) }, want: batch.Unproved, reason: "still connected", by: 70 * sec},
		{name: "the reports flap", act: func(f *fleet) {
			down(f)
			for at := delay + 2*sec; at < 50*sec; at += 10 * sec {
				f.in(at, "n", func(s *server) { s.down = false })
				f.in(at+3*sec, "n", stop)
			}
		}, want: batch.Acted, after: 73 * sec, by: 80 * sec},
		{name: "silent once while it is absent", act: func(f *fleet) {
			down(f)
			f.in(delay+10*sec, "n", func(s *server) { s.down, s.frozen = false, true })
			f.in(delay+15*sec, "n", func(s *server) { s.down = true })
		}, want: batch.Acted, after: delay + 40*sec, by: delay + 50*sec},
		{name: "absent at its first look after the timeout", act: func(f *fleet) { f.in(delay+sec, "n", freeze); f.in(delay+defaultTimeout+sec, "n", stop) }, want: batch.Unproved},
		{name: "the connection was lost in an earlier process, it may have frozen", act: func(f *fleet) { f.node("n", stop) },
			target: func(t *batch.Target) { t.Lost = t.Sent.Add(sec) }, want: batch.Unproved, reason: "cannot be proved"},
		{name: "resumed ten minutes later, it may have frozen", act: func(f *fleet) { f.node("n", stop) }, target: ago(10 * time.Minute), want: batch.Unproved, reason: "cannot be proved"},
		{name: "resumed two minutes later, when its absence is no sign of this request", act: func(f *fleet) { f.node("n", stop) }, target: ago(2 * time.Minute), want: batch.Unproved, reason: "cannot be proved"},
		{name: "resumed ten minutes later, frozen", act: func(f *fleet) { f.node("n", freeze) }, target: ago(10 * time.Minute), want: batch.Unproved, reason: "still connected"},
		{name: "no baseline, no stamp", act: down, target: func(t *batch.Target) { noBaseline(t); noStamp(t) }, want: batch.Acted},
		{name: "still answers", want: batch.Unproved, reason: "still answers", after: delay + defaultTimeout, by: delay + defaultTimeout + 3*sec},
		{name: "answers slowly", act: func(f *fleet) { f.node("n", func(s *server) { s.latency = 3500 * time.Millisecond }) }, want: batch.Unproved, reason: "still answers"},
		{name: "denies", act: func(f *fleet) { f.node("n", func(s *server) { s.denied = true }) }, want: batch.Unproved, reason: "still answers"},
		{name: "started again", act: func(f *fleet) { f.restartIn(delay, 3*sec, "n") }, want: batch.Unproved, reason: "see what starts the service", after: delay + defaultTimeout},
		{name: "an answer resets", act: func(f *fleet) { f.in(delay+2*sec, "n", stop) }, want: batch.Acted, after: delay + 27*sec, by: delay + 30*sec},
		{name: "late", act: func(f *fleet) { f.in(40*sec, "n", stop) }, want: batch.Acted, after: 65 * sec, by: 70 * sec},
		{name: "just before the timeout", act: func(f *fleet) { f.in(delay+defaultTimeout-5*sec, "n", stop) }, want: batch.Acted, after: delay + defaultTimeout + 20*sec, by: delay + defaultTimeout + 27*sec},
		{name: "after the timeout", act: func(f *fleet) { f.in(delay+defaultTimeout+sec, "n", stop) }, want: batch.Unproved, reason: "still answers"},
		{name: "lost answers", act: func(f *fleet) { f.lose = 2 }, want: batch.Unproved, reason: "still answers"},
		{name: "polls that cannot be sent are no silence", act: away(0, 3*time.Minute), want: batch.Unasked, reason: "the connection to the broker was lost: not asked"},
		{name: "the connection is lost for a while, it lives", act: away(delay+sec, delay+20*sec), want: batch.Unproved, reason: "still answers"},
		{name: "the connection is lost for a while, it may have frozen", act: func(f *fleet) { down(f); away(delay+sec, delay+20*sec)(f) }, want: batch.Unproved, reason: "cannot be proved"},
		{name: "an answer resets a longer settle time", act: func(f *fleet) { f.in(delay+20*sec, "n", stop) }, adapt: func(o *Options) { o.Settle = 30 * sec },
			want: batch.Acted, after: delay + 45*sec, by: delay + 52*sec},
		{name: "a lost connection ends a longer settle time", act: func(f *fleet) { down(f); away(delay+sec, delay+20*sec)(f) },
			adapt: func(o *Options) { o.Settle = 30 * sec }, want: batch.Unproved, reason: "cannot be proved"},
		{name: "a longer settle time", act: down, adapt: func(o *Options) { o.Settle = 30 * sec }, want: batch.Acted, after: delay + 30*sec, by: delay + 32*sec},
		{name: "comes back while it settles", act: func(f *fleet) { f.restartIn(delay, 20*sec, "n") }, adapt: func(o *Options) { o.Settle = 30 * sec },
			want: batch.Unproved, reason: "new process"},
		{name: "no settle time takes one poll after the delay", act: down, adapt: func(o *Options) { o.Settle = 0 }, want: batch.Acted, after: delay, by: delay + sec},
	})
}

func TestExpression(t *testing.T) {
	run(t, Expression, []trial{
		{name: "holds", expr: `data("version") == "0.29.3"`, want: batch.Acted, by: 6*sec + breath},
		{name: "holds later", act: func(f *fleet) { f.in(20*sec, "n", func(s *server) { s.version = "0.29.4" }) }, expr: `data("version") == "0.29.4"`,
			want: batch.Acted, after: 20 * sec, by: 25 * sec},
		{name: "does not hold", expr: `data("version") == "0.29.4"`, want: batch.Unproved, reason: "the expression does not hold: version 0.29.3"},
		{name: "holds for a while only", act: func(f *fleet) { f.in(10*sec, "n", func(s *server) { s.version = "0.29.4" }) }, expr: `data("version") == "0.29.3"`,
			adapt: func(o *Options) { o.Settle = 20 * sec }, want: batch.Unproved, reason: "version 0.29.4"},
		{name: "denied", act: func(f *fleet) { f.node("n", func(s *server) { s.denied = true }) }, expr: `data("version") == "0.29.4"`, want: batch.Unproved, reason: "not authorized"},
		{name: "of a refusal", act: func(f *fleet) { f.node("n", func(s *server) { s.denied = true }) }, expr: `aborted()`, want: batch.Acted},
		{name: "silent", act: func(f *fleet) { f.node("n", freeze) }, expr: `ok()`, want: batch.Unproved, reason: "does not answer"},
		{name: "absent", act: func(f *fleet) { f.node("n", stop) }, expr: `ok()`, want: batch.Unproved, reason: "is not connected"},
	})
}

func TestATargetThatIsHandedOverAgainReplacesTheEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		early := f.accepted("n", 0)
		silent(&early)
		f.restartIn(90*sec, sec, "n")
		late := early
		late.Replied, late.Stamp, late.Delay = time.Now().Add(80*sec), time.Now().Add(80*sec), 10*sec
		proofs, took := verify(t, f.options(Restart), group{targets: []batch.Target{early}}, group{at: 80 * sec, targets: []batch.Target{late, late}},
			group{at: 81 * sec, targets: []batch.Target{early}})
		if got := proofs["n"]; len(got) != 2 || got[0].Found != batch.Unproved || got[1].Found != batch.Acted || took < 90*sec || took > 93*sec {
			t.Errorf("after %v: %v", took, got)
		}
	})
}

func TestAProvisioningStartIsKeptForATargetThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n", "other")
		silentOne := f.accepted("n", 0)
		silent(&silentOne)
		f.in(delay, "n", stop)
		f.startupIn(delay+sec, "n", provisioning, false)
		f.restartIn(40*sec, sec, "other")
		proofs, _ := verify(t, f.options(Reprovision), group{targets: []batch.Target{f.accepted("other", 39*sec)}}, group{at: 22 * sec, targets: []batch.Target{silentOne}})
		if got := proofs["n"]; len(got) != 1 || got[0].Found != batch.Acted {
			t.Errorf("got %v", proofs)
		}
	})
}

func TestNodesThatAreDueTogetherAreAskedWithOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = maxPoll + 100
		f := newFleet()
		now := time.Now()
		var targets []batch.Target
		for i := range size {
			targets = append(targets, batch.Target{Node: fmt.Sprintf("n%d", i), Sent: now, Replied: now, Delay: delay + time.Duration(i)*time.Microsecond})
		}
		proofs, _ := verify(t, f.options(Shutdown), group{targets: targets})
		if len(proofs) != size {
			t.Errorf("%d proofs", len(proofs))
		}
		sizes := slices.Sorted(maps.Values(f.requests))[1:] // the first asks whether absent nodes are reported
		if len(sizes) > 26 || sizes[0] != 100 || sizes[len(sizes)-1] != maxPoll {
			t.Errorf("polls of %v nodes, want %d and the rest, a few times", sizes, maxPoll)
		}
	})
}

func TestOnlyStartupsAreKept(t *testing.T) {
	for _, kind := range []string{"startup", "alive", "shutdown", "provisioned"} {
		for _, legacy := range []bool{false, true} {
			b := newInbox()
			data, err := choria.EncodeEvent(choria.Event{Type: kind, ID: "1", Identity: "n", Component: provisioning, Time: time.Now()}, legacy)
			if err != nil {
				t.Fatal(err)
			}
			b.deliver(choria.Message{Data: data, Arrived: time.Now()})
			if got := b.take(); (len(got) == 1) != (kind == "startup") {
				t.Errorf("%s, legacy %v: kept %v", kind, legacy, got)
			}
			b.deliver(choria.Message{Data: data[:len(data)/2]})
			if got := b.take(); len(got) != 0 {
				t.Errorf("half an event: kept %v", got)
			}
		}
	}
}

func TestEventsDoNotMultiplyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		for i := range 1000 {
			f.startupIn(2*sec+time.Duration(i)*time.Millisecond, "n", "server", i%2 == 0)
		}
		f.restartIn(delay, sec, "n")
		verify(t, f.options(Restart), group{targets: []batch.Target{f.accepted("n", delay)}})
		if n := len(f.nodes["n"].asked); n > 7 {
			t.Errorf("1000 events made %d polls", n)
		}
	})
}

func TestVerifyEndsWithItsContextAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		f := newFleet("n")
		ctx, cancel := context.WithTimeout(t.Context(), 8*sec)
		defer cancel()
		in := make(chan []batch.Target, 1)
		in <- []batch.Target{f.accepted("n", delay)}
		begin := time.Now()
		for p := range New(f.options(Restart)).Verify(ctx, in) {
			t.Errorf("got %v", p)
		}
		if took := time.Since(begin); took != 8*sec || len(f.listeners) != 0 {
			t.Errorf("ended after %v with %d subscriptions left", took, len(f.listeners))
		}
	})
}

func TestVerifyEndsWhenItsConsumerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b", "c")
		in := make(chan []batch.Target, 1)
		var targets []batch.Target
		for _, n := range []string{"a", "b", "c"} {
			targets = append(targets, f.accepted(n, delay))
			f.restartIn(delay, 100*time.Millisecond, n)
		}
		in <- targets
		n := 0
		for range New(f.options(Restart)).Verify(t.Context(), in) {
			n++
			break
		}
		if n != 1 || len(f.listeners) != 0 {
			t.Errorf("%d proofs, %d subscriptions left", n, len(f.listeners))
		}
	})
}

func TestBaseline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "down", "denied")
		f.node("down", stop)
		f.node("denied", func(s *server) { s.denied = true })
		got, err := New(f.options(Restart)).Baseline(t.Context(), []string{"a", "down", "denied"})
		if err != nil || len(got) != 2 || !strings.HasPrefix(got["a"].Text, "946681200 ") || got["a"].Age != time.Hour || !got["down"].Absent {
			t.Errorf("got %v, %v", got, err)
		}
		f.away = true
		if _, err := New(f.options(Restart)).Baseline(t.Context(), []string{"a"}); err == nil {
			t.Error("no error from a broker that is away")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := New(f.options(Restart)).Baseline(ctx, []string{"a"}); err != nil || len(got) != 0 {
			t.Errorf("ended context: %v, %v", got, err)
		}
		if len(f.listeners) != 0 {
			t.Error("a subscription is left")
		}
	})
}

func TestLongestDelay(t *testing.T) {
	for _, tt := range []struct {
		action Action
		splay  time.Duration
		want   time.Duration
	}{{Restart, 0, 11 * sec}, {Restart, sec, 2 * sec}, {Restart, 600 * sec, 601 * sec}, {Reprovision, 0, 11 * sec}, {Shutdown, 0, 9 * sec}, {Expression, 0, 0}} {
		if got := LongestDelay(tt.action, tt.splay); got != tt.want {
			t.Errorf("%s with splay %v: %v, want %v", tt.action, tt.splay, got, tt.want)
		}
	}
}

func TestActionsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for a := range actions + 1 {
		if seen[a.String()] {
			t.Errorf("action %d shares the name %q", a, a)
		}
		seen[a.String()] = true
	}
	for action, want := range map[string]Action{"restart": Restart, "reprovision": Reprovision, "shutdown": Shutdown, "configure": 0, "expression": 0, "unset": 0} {
		if got := Of("choria_provision", action); got != want {
			t.Errorf("%s is proved as %s, want %s", action, got, want)
		}
	}
	if Of("puppet", "restart") != 0 {
		t.Error("another agent's restart has no proof")
	}
}

func TestOptionsThatProveNothingAreRefused(t *testing.T) {
	c := newFleet().client()
	e := expression(t, "ok()")
	for _, o := range []Options{
		{Client: c}, {Client: c, Action: actions}, {Action: Restart}, {Client: c, Action: Expression}, {Client: c, Action: Expression, Expr: e},
		{Client: c, Action: Shutdown, Expr: e}, {Client: c, Action: Restart, Timeout: -1},
	} {
		if o.Validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
