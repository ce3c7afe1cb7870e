package proof

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
)

// sentLater is a target whose baseline was asked now, whose request is sent after a while, and which does not reply.
func (f *fleet) sentLater(name string, after time.Duration) batch.Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return batch.Target{Node: name, Batch: 1, Baseline: f.nodes[name].baselineText(), Sent: time.Now().Add(after)}
}

// TestARestartByHandBeforeTheSendingIsNoProof: the broker was away between the baseline and the sending, and the node
// never got the request.
func TestARestartByHandBeforeTheSendingIsNoProof(t *testing.T) {
	for _, tt := range []struct {
		name    string
		byHand  time.Duration
		acts    time.Duration
		skew    time.Duration
		ttl     time.Duration
		replies bool
		want    batch.Finding
	}{
		{name: "silent", byHand: 2 * sec, want: batch.Unproved},
		{name: "silent, a clock that is 45 s ahead", byHand: 2 * sec, skew: 45 * sec, ttl: time.Minute, want: batch.Unproved},
		{name: "silent, a clock that is 45 s behind", byHand: 2 * sec, skew: -45 * sec, ttl: time.Minute, want: batch.Unproved},
		{name: "just before the sending", byHand: 3900 * time.Millisecond, want: batch.Unproved},
		{name: "and it replied", byHand: 2 * sec, replies: true, want: batch.Unproved},
		{name: "and it acted, too", byHand: 2 * sec, acts: 9 * sec, want: batch.Acted},
		{name: "and it replied and acted, too", byHand: 2 * sec, acts: 9 * sec, replies: true, want: batch.Acted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n", "last")
				f.node("n", skewed(tt.skew))
				target := f.sentLater("n", 4*sec)
				f.in(tt.byHand, "n", restart)
				if tt.acts > 0 {
					f.restartIn(tt.acts, sec, "n")
				}
				if tt.replies {
					target.Replied, target.Stamp, target.Delay = target.Sent, target.Sent.Add(tt.skew).Truncate(sec), 5*sec
				}
				o := f.options(Restart)
				o.TTL = tt.ttl
				f.restartIn(60*sec, sec, "last")
				proofs, _ := verify(t, o, group{at: 26 * sec, targets: []batch.Target{target}}, group{at: 59 * sec, targets: []batch.Target{f.accepted("last", delay)}})
				if got := proofs["n"]; len(got) != 1 || got[0].Found != tt.want {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestAServerWithAWrongClockAnswersWithinTheTimeToLive(t *testing.T) {
	for _, skew := range []time.Duration{45 * sec, -45 * sec} {
		for ttl, want := range map[time.Duration]batch.Finding{60 * sec: batch.Acted, 30 * sec: batch.Unproved} {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				f.node("n", skewed(skew))
				o := f.options(Restart)
				o.TTL = ttl
				base, err := New(o).Baseline(t.Context(), []string{"n"})
				if err != nil || (base["n"].Text != "") != (want == batch.Acted) {
					t.Errorf("skew %v, ttl %v: baseline %v, %v", skew, ttl, base, err)
				}
				f.restartIn(delay, sec, "n")
				target := f.accepted("n", delay)
				target.Baseline = base["n"].Text
				proofs, _ := verify(t, o, group{targets: []batch.Target{target}})
				if got := proofs["n"]; len(got) != 1 || got[0].Found != want {
					t.Errorf("skew %v, ttl %v: got %v, want %s", skew, ttl, got, want)
				}
			})
		}
	}
}

func TestSilentTargetsAreLookedAtOnceAndThenWatched(t *testing.T) {
	timeout := 22 * sec // for replies
	for _, tt := range []struct {
		name   string
		action Action
		act    func(*fleet)
		adapt  func(*Options)
		target func(*batch.Target)
		want   []batch.Finding
		first  time.Duration // when the first answer came, from the sending; a little more
	}{
		{name: "acted", action: Restart, act: func(f *fleet) { f.restartIn(delay, sec, "n") }, want: []batch.Finding{batch.Acted}, first: timeout},
		{name: "acted, and was silent at its baseline", action: Restart, act: func(f *fleet) { f.restartIn(delay, sec, "n") }, target: noBaseline,
			want: []batch.Finding{batch.Acted}, first: timeout + 500*time.Millisecond},
		{name: "did not act", action: Restart, want: []batch.Finding{batch.Unproved}, first: timeout},
		{name: "acts later", action: Restart, act: func(f *fleet) { f.restartIn(40*sec, sec, "n") }, want: []batch.Finding{batch.Unproved, batch.Acted}, first: timeout},
		{name: "frozen", action: Restart, act: func(f *fleet) { f.node("n", freeze) }, want: []batch.Finding{batch.Unproved}, first: timeout + answerTime},
		{name: "absent", action: Restart, act: func(f *fleet) { f.node("n", stop) }, want: []batch.Finding{batch.Unproved}, first: timeout},
		{name: "absent, and on its way back", action: Restart, act: func(f *fleet) { f.restartIn(18*sec, 7*sec, "n") }, adapt: func(o *Options) { o.LongestDelay = 20 * sec },
			want: []batch.Finding{batch.Acted}, first: 25 * sec},
		{name: "may still act: looked at when it has to have acted", action: Restart, adapt: func(o *Options) { o.LongestDelay = 50 * sec },
			want: []batch.Finding{batch.Unproved}, first: 50*sec + firstPause},
		{name: "may still act, and has", action: Restart, act: func(f *fleet) { f.restartIn(delay, sec, "n") }, adapt: func(o *Options) { o.LongestDelay = 50 * sec },
			want: []batch.Finding{batch.Acted}, first: timeout},
		{name: "nothing known of it", action: Restart, target: func(t *batch.Target) { noBaseline(t); t.Sent = time.Time{} }, want: []batch.Finding{batch.Unproved}, first: timeout + firstPause},
		{name: "not asked while the connection is away", action: Restart, act: func(f *fleet) { f.lost(20*sec, 40*sec) }, want: []batch.Finding{batch.Unproved}, first: 40 * sec},
		{name: "the connection stays away", action: Restart, act: func(f *fleet) { f.lost(20*sec, time.Hour) }, want: []batch.Finding{batch.Unasked}, first: timeout + defaultTimeout},
		{name: "the reply to a shutdown was lost", action: Shutdown, act: func(f *fleet) { f.node("n", stop) }, want: []batch.Finding{batch.Acted}, first: timeout + 25*sec},
		{name: "a shutdown without a baseline", action: Shutdown, act: func(f *fleet) { f.node("n", stop) }, target: noBaseline, want: []batch.Finding{batch.Unproved}, first: timeout},
		{name: "a frozen server", action: Shutdown, act: func(f *fleet) { f.node("n", freeze) }, want: []batch.Finding{batch.Unproved}, first: timeout + answerTime},
		{name: "a frozen server whose broker is restarted", action: Shutdown, act: func(f *fleet) {
			f.node("n", freeze)
			f.lost(sec, 2*sec)
			f.in(sec, "n", stop)
		}, want: []batch.Finding{batch.Unproved}, first: 32 * sec},
		{name: "a shutdown that is seen too late", action: Shutdown, act: func(f *fleet) { f.node("n", stop) }, target: func(t *batch.Target) { t.Sent = t.Sent.Add(-70 * sec) },
			want: []batch.Finding{batch.Unproved}, first: timeout},
		{name: "where absence is not reported, silence is no shutdown", action: Shutdown, act: func(f *fleet) { f.mute = true; f.node("n", stop) },
			want: []batch.Finding{batch.Unproved}, first: timeout + answerTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n", "last")
				target := f.accepted("n", 0)
				silent(&target)
				o := f.options(tt.action)
				if tt.target != nil {
					tt.target(&target)
				}
				if tt.adapt != nil {
					tt.adapt(&o)
				}
				if tt.act != nil {
					tt.act(f)
				}
				begin := time.Now()
				proofs, _ := verify(t, o, group{at: timeout, targets: []batch.Target{target}},
					group{at: 3 * time.Minute, targets: []batch.Target{f.accepted("last", delay)}})
				var got []batch.Finding
				for _, p := range proofs["n"] {
					got = append(got, p.Found)
					if p.Reason == "" {
						t.Errorf("%s without a reason", p.Found)
					}
				}
				if len(got) != len(tt.want) || got[0] != tt.want[0] || got[len(got)-1] != tt.want[len(got)-1] {
					t.Fatalf("got %v, want %v", proofs["n"], tt.want)
				}
				if first := proofs["n"][0].Time.Sub(begin); first < tt.first || first > tt.first+4*sec {
					t.Errorf("the first answer came after %v, want %v", first, tt.first)
				}
			})
		})
	}
}

func TestWhatCouldNotBeAskedIsUnasked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		act    func(*fleet)
		want   batch.Finding
		reason string
	}{
		{"lost to the end", func(f *fleet) { f.lost(30*sec, time.Hour) }, batch.Unasked, lostReason},
		{"back in time", func(f *fleet) { f.lost(10*sec, 50*sec) }, batch.Unproved, "still the same process"},
		{"back just in time, and its server is not", func(f *fleet) { f.lost(10*sec, 55*sec); f.in(10*sec, "n", stop) }, batch.Unasked, lostReason},
		{"back long before the end, and its server is not", func(f *fleet) { f.lost(10*sec, 20*sec); f.in(10*sec, "n", stop) }, batch.Unproved, "is not connected"},
		{"the broker takes nothing more", func(f *fleet) { f.stallFrom(30*sec, time.Hour) }, batch.Unasked, unsentReason},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				tt.act(f)
				proofs, _ := verify(t, f.options(Restart), group{targets: []batch.Target{f.accepted("n", delay)}})
				if got := proofs["n"]; len(got) != 1 || got[0].Found != tt.want || !strings.Contains(got[0].Reason, tt.reason) {
					t.Errorf("got %v, want %s: %s", got, tt.want, tt.reason)
				}
			})
		})
	}
}

func TestAShutdownThatCannotBeFollowedToItsEndIsUnasked(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(*fleet)
		by   time.Duration
	}{
		{"the connection is lost while it settles", func(f *fleet) { f.lost(55*sec, time.Hour) }, 70 * sec},
		{"the connection comes and goes", func(f *fleet) {
			for at := 10 * sec; at < 10*time.Minute; at += 20 * sec {
				f.lost(at, at+sec/2)
			}
		}, 4 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				f.in(50*sec, "n", stop)
				tt.act(f)
				proofs, took := verify(t, f.options(Shutdown), group{targets: []batch.Target{f.accepted("n", delay)}})
				if got := proofs["n"]; len(got) != 1 || got[0].Found != batch.Unasked || got[0].Reason != lostReason || took > tt.by {
					t.Errorf("after %v: got %v", took, got)
				}
			})
		})
	}
}

func TestNoDelayIsBelievedThatNoActionHas(t *testing.T) {
	if MaxDelay != 611*sec {
		t.Errorf("the longest delay is %v", MaxDelay)
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		target := f.accepted("n", 8760*time.Hour)
		if _, took := verify(t, f.options(Restart), group{targets: []batch.Target{target}}); took < MaxDelay || took > MaxDelay+defaultTimeout+5*sec {
			t.Errorf("verified for %v", took)
		}
		begin := time.Now()
		silent(&target)
		target.Delay, target.Sent = 8760*time.Hour, begin
		for range New(f.options(Restart)).Probe(t.Context(), []batch.Target{target}) {
		}
		if took := time.Since(begin); took < MaxDelay || took > MaxDelay+time.Minute {
			t.Errorf("probed for %v", took)
		}
	})
}

func TestAnswersCountByTheirArrival(t *testing.T) {
	const checking = 20 * sec // of one reply's signature, on a busy machine
	for _, tt := range []struct {
		action Action
		act    func(*fleet)
		settle time.Duration
		want   batch.Finding
	}{
		{Restart, func(f *fleet) { f.restartIn(delay, defaultTimeout-500*time.Millisecond, "n") }, 0, batch.Acted},
		{Shutdown, func(f *fleet) {}, 25 * sec, batch.Unproved},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet("n")
			f.opening, f.mute = checking, true
			tt.act(f)
			o := f.options(tt.action)
			o.Settle = tt.settle
			proofs, _ := verify(t, o, group{targets: []batch.Target{f.accepted("n", delay)}})
			if got := proofs["n"]; len(got) != 1 || got[0].Found != tt.want {
				t.Errorf("%s: got %v, want %s", tt.action, got, tt.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a", "b")
		f.opening = checking
		if base, err := New(f.options(Restart)).Baseline(t.Context(), []string{"a", "b"}); err != nil || base["a"].Text == "" || base["b"].Text == "" {
			t.Errorf("baselines %v, %v: answers that had arrived are missing", base, err)
		}
	})
}

func TestAbsentNodesAreAskedAgainAfterAReconnect(t *testing.T) {
	for _, tt := range []struct {
		name         string
		back         time.Duration // our connection, before the question; 0: never lost
		node         time.Duration // after the question
		absent       bool
		after, until time.Duration
	}{
		{"never lost", 0, 10 * sec, true, 0, sec},
		{"just back", 5 * sec, 10 * sec, false, 10 * sec, 12 * sec},
		{"just back, and it does not come", 5 * sec, time.Hour, true, 25 * sec, 27 * sec},
		{"long back", 31 * sec, 10 * sec, true, 0, sec},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n", "other")
				if tt.back > 0 {
					f.back = time.Now().Add(-tt.back)
				}
				f.node("n", stop)
				f.in(tt.node, "n", func(s *server) { s.down = false })
				begin := time.Now()
				base, err := New(f.options(Restart)).Baseline(t.Context(), []string{"n", "other"})
				if err != nil || base["n"].Absent != tt.absent || (base["n"].Text == "") != tt.absent || base["other"].Text == "" {
					t.Errorf("got %v, %v", base, err)
				}
				if took := time.Since(begin); took < tt.after || took > tt.until {
					t.Errorf("took %v, want %v to %v", took, tt.after, tt.until)
				}
				<-time.After(time.Hour)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		f.back = time.Now()
		f.node("n", stop)
		f.lost(3*sec, time.Hour)
		if base, err := New(f.options(Restart)).Baseline(t.Context(), []string{"n"}); err == nil || err.Error() != lostReason || !errors.Is(err, errAway) || len(base) != 0 {
			t.Errorf("the connection was lost again: got %v, %v", base, err)
		}
		<-time.After(2 * time.Hour)
	})
}

// step sets a node's clock.
func step(by time.Duration) func(*server) { return func(s *server) { s.skew += by } }

func TestClocksThatAreSetProveNothing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		act    func(*fleet)
		target func(*batch.Target)
		want   batch.Finding
	}{
		{"an age, set back between two looks", func(f *fleet) {
			f.in(delay, "n", restart)
			f.in(6300*time.Millisecond, "n", step(-20*sec))
		}, neither, batch.Unproved},
		{"an age, set forward between two looks", func(f *fleet) {
			f.in(delay, "n", restart)
			f.in(6300*time.Millisecond, "n", step(20*sec))
		}, neither, batch.Unproved},
		{"an old process whose clock was set back", func(f *fleet) { f.in(sec, "n", step(-time.Hour)) }, neither, batch.Unproved},
		{"set back before its reply, restarted by hand before", func(f *fleet) {
			f.node("n", restart)
			f.node("n", step(-3*sec))
		}, func(t *batch.Target) {
			t.Baseline, t.Stamp = oldBaseline(t.Sent), t.Stamp.Add(-3*sec)
		}, batch.Unproved},
		{"set forward after the restart", func(f *fleet) { f.restartIn(delay, sec, "n"); f.in(delay+1100*time.Millisecond, "n", step(20*sec)) }, nil, batch.Acted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				f.lax = true
				target := f.accepted("n", delay)
				if tt.target != nil {
					tt.target(&target)
				}
				tt.act(f)
				proofs, _ := verify(t, f.options(Restart), group{targets: []batch.Target{target}})
				if got := proofs["n"]; len(got) != 1 || got[0].Found != tt.want {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			})
		})
	}
}

// oldBaseline is that of a process that ran an hour, asked three seconds before.
func oldBaseline(at time.Time) string {
	asked := at.Add(-3 * sec)
	return baseline{start: asked.Add(-time.Hour).Unix(), clock: asked, asked: asked}.text()
}

func TestAFrozenNodeThatThawsWhileItIsProbedIsNotUntouched(t *testing.T) {
	for _, tt := range []struct {
		name string
		skew time.Duration
		acts time.Duration // after it thaws
	}{
		{"it had accepted, and acts a moment after it thaws", 0, 500 * time.Millisecond},
		{"its clock is behind, so that it takes the request for a young one", -45 * sec, 10 * sec},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				f.node("n", skewed(tt.skew))
				target := f.accepted("n", 0)
				silent(&target)
				o := f.options(Restart)
				o.TTL = 60 * sec
				f.node("n", freeze)
				thaws := o.TTL + LongestDelay(Restart, 0) + clockMargin + sec
				f.in(thaws, "n", thaw)
				f.in(thaws+tt.acts, "n", restart)
				var got []batch.Proof
				for p := range New(o).Probe(t.Context(), []batch.Target{target}) {
					got = append(got, p)
				}
				if len(got) != 1 || got[0].Found != batch.Acted {
					t.Errorf("got %v, want that it acted", got)
				}
			})
		})
	}
}

// TestAnotherProcessFromBeforeTheSendingIsUntouched: it was restarted by hand between its baseline and the sending.
func TestAnotherProcessFromBeforeTheSendingIsUntouched(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(*fleet)
		want batch.Finding
	}{
		{"it never got the request", func(*fleet) {}, batch.Untouched},
		{"it acted, and its clock was set back", func(f *fleet) {
			f.in(6*sec, "n", step(-10*sec))
			f.in(7*sec, "n", restart)
		}, batch.Unproved},
		{"it was restarted at once, and its clock was set back", func(f *fleet) {
			f.in(4500*time.Millisecond, "n", step(-5*sec))
			f.in(5200*time.Millisecond, "n", restart)
		}, batch.Unproved},
		{"it acted while its clock was wrong, which was set forward later", func(f *fleet) {
			f.in(6*sec, "n", step(-90*sec))
			f.in(7*sec, "n", restart)
			f.in(30*sec, "n", step(109*sec))
			<-time.After(80 * sec)
		}, batch.Unproved},
		{"its clock was set back", func(f *fleet) { f.in(6*sec, "n", step(-10*sec)) }, batch.Unproved},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet("n")
				target := f.sentLater("n", 4*sec)
				f.in(2*sec, "n", restart)
				tt.act(f)
				<-time.After(5 * sec)
				var got []batch.Proof
				for p := range New(f.options(Restart)).Probe(t.Context(), []batch.Target{target}) {
					got = append(got, p)
				}
				if len(got) != 1 || got[0].Found != tt.want {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestWhenAProcessBegan walks the measures. The baseline was asked at second 1000 and took three seconds, the request
// was sent at 1004; the node's clock showed 5000 in its answer.
func TestWhenAProcessBegan(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	base := baseline{start: 100, clock: at(5000), asked: at(1000), took: 3 * sec}.text()
	stamp := func(t *batch.Target) { t.Replied, t.Stamp = at(1005), at(5002) }
	for _, tt := range []struct {
		name   string
		action Action
		start  int64
		target func(*batch.Target)
		want   order
	}{
		{"the baseline's", Restart, 100, nil, same},
		{"an earlier one: a clock that was set", Restart, 99, nil, unclear},
		{"between the baseline and the sending at the earliest", Restart, 4999, nil, before},
		{"it may be later than the sending", Restart, 5001, nil, unclear},
		{"just not later than the sending at the latest", Restart, 5004, nil, unclear},
		{"later than the sending", Restart, 5005, nil, after},
		{"replied in that second", Restart, 5002, stamp, before},
		{"later than the reply", Restart, 5003, stamp, after},
		{"a shutdown may act at once", Shutdown, 5002, func(t *batch.Target) { stamp(t); t.Baseline = "" }, unclear},
		{"later than the reply, and earlier than the sending: a clock that was set", Restart, 5000,
			func(t *batch.Target) { stamp(t); t.Stamp = at(4990) }, unclear},
	} {
		target := batch.Target{Node: "n", Baseline: base, Sent: at(1004)}
		if tt.target != nil {
			tt.target(&target)
		}
		l := look{start: tt.start, received: at(1030)} // without a clock: no ages
		if got := New(Options{Action: tt.action}).began(pastOf(target), l, true); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestAProbeWaitsByTheShorterReading: a record of another boot may say that more time has passed than did.
func TestAProbeWaitsByTheShorterReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		target := f.accepted("n", 0)
		silent(&target)
		target.Sent = target.Sent.Add(-time.Hour)
		begin := time.Now()
		o := f.options(Restart)
		o.Elapsed = func(_, now time.Time) time.Duration { return now.Sub(begin) }
		for range New(o).Probe(t.Context(), []batch.Target{target}) {
		}
		if asked := f.nodes["n"].asked[0].Sub(begin); asked < 46*sec {
			t.Errorf("asked after %v, while the request could still act", asked)
		}
	})
}

func TestABaselineReadsAsItWasWritten(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.UTC)
	b := baseline{start: at.Add(-time.Hour).Unix(), clock: at.Add(45 * sec), asked: at, took: 50 * time.Millisecond}
	got, ok := parseBaseline(b.text())
	if !ok || got.start != b.start || !got.clock.Equal(b.clock) || !got.asked.Equal(b.asked) || got.took < b.took {
		t.Errorf("%q reads as %+v, want %+v", b.text(), got, b)
	}
	if old, ok := parseBaseline("946681200"); !ok || old.start != 946681200 || !old.asked.IsZero() {
		t.Errorf("a bare start time reads as %+v, %v", old, ok)
	}
	for _, text := range []string{"", "x", "1 2", "1 2 3", "1 0 0 0", "-1", "0 1 1 1"} {
		if b, ok := parseBaseline(text); ok {
			t.Errorf("%q reads as %+v", text, b)
		}
	}
	for clock, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 0: 1, -time.Hour: 0} {
		b := baseline{start: at.Truncate(sec).Unix(), clock: at.Truncate(sec).Add(clock)}
		if got := b.age(); got != want {
			t.Errorf("age %v, want %v", got, want)
		}
	}
}

func TestARestartIntoProvisioningIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n")
		f.in(delay, "n", stop)
		f.startupIn(delay+sec, "n", provisionComponent, false)
		f.startupIn(delay+2*sec, "n", provisionComponent, false)
		proofs, _ := verify(t, f.options(Restart), group{targets: []batch.Target{f.accepted("n", delay)}})
		if got := proofs["n"]; len(got) != 1 || got[0].Found != batch.Unproved || !strings.HasPrefix(got[0].Reason, "came back unprovisioned") {
			t.Errorf("got %v", got)
		}
	})
}

// A node whose replies are rejected, because its token has expired, is silent. Its event still shows that it restarted.
func TestARestartOfASilentNodeIntoProvisioningIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n", "other")
		target := f.sentLater("n", 0)
		f.in(delay, "n", stop)
		f.startupIn(delay+sec, "n", provisionComponent, false)
		f.startupIn(delay+2*sec, "n", provisionComponent, false) // a server says so every few seconds
		f.restartIn(delay, 5*sec, "other")
		proofs, _ := verify(t, f.options(Restart), group{targets: []batch.Target{target, f.accepted("other", delay+30*sec)}})
		said := 0
		for _, p := range proofs["n"] {
			if p.Found != batch.Unproved {
				t.Errorf("got %v", p)
			}
			if strings.HasPrefix(p.Reason, "came back unprovisioned") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("got %v", proofs["n"])
		}
	})
}

// TestAnEventFromBeforeTheSendingIsNoProof: the node went into provisioning mode by itself.
func TestAnEventFromBeforeTheSendingIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("n", "other")
		f.event(sec, choria.Event{Type: "startup", Identity: "n", Component: provisionComponent, Time: time.Now().Add(sec)}, false)
		f.in(sec, "n", stop)
		target := f.sentLater("n", 3*sec)
		target.Baseline = ""
		proofs, _ := verify(t, f.options(Reprovision), group{targets: []batch.Target{f.accepted("other", delay)}}, group{at: 25 * sec, targets: []batch.Target{target}})
		for _, p := range proofs["n"] {
			if p.Found == batch.Acted {
				t.Errorf("got %v", p)
			}
		}
	})
}
