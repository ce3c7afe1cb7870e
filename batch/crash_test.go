package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// crashFleet has every kind of node among 200.
func crashFleet() *fleet {
	f := newFleet()
	f.perNode, f.grid = 500*time.Microsecond, 20*time.Millisecond
	for k := 7; k <= 200; k += 40 {
		f.replyIn[fmt.Sprintf("n%d", k)] = -1
		f.replyIn[fmt.Sprintf("n%d", k+1)] = 21 * time.Second
		f.refuse[fmt.Sprintf("n%d", k+2)] = true
		f.unproved[fmt.Sprintf("n%d", k+3)] = true
		f.vague[fmt.Sprintf("n%d", k+4)] = true
		f.gone[fmt.Sprintf("n%d", k+5)] = true
		f.leaving[fmt.Sprintf("n%d", k+6)] = true
	}
	return f
}

// life runs or resumes until the end or the death of the tape, and checks that
// no node was sent to without an intent on record.
func life(t *testing.T, f *fleet, tp *tape, from Progress) Summary {
	t.Helper()
	f.mu.Lock()
	f.dead, f.recorded = false, tp.intended
	f.mu.Unlock()
	tp.onDeath = func() {
		f.mu.Lock()
		f.dead = true
		f.mu.Unlock()
	}
	r := Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Pace: calm}
	s, err := r.Run(t.Context(), from)
	if (err != nil) != (tp.dieAt > 0 && tp.appends >= tp.dieAt) {
		t.Fatalf("append %d of a tape that dies at %d: %v", tp.appends, tp.dieAt, err)
	}
	<-time.After(time.Minute) // replies to the dead
	for len(f.outcomes) > 0 {
		<-f.outcomes
	}
	return s
}

// reborn replays the tape, continues, and checks the state.
func reborn(t *testing.T, tp *tape, total int) Progress {
	t.Helper()
	p, err := Replay(tp.all())
	if err == ErrNoPlan {
		return fleetPlan(total, crashPolicy)
	}
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if c := p.Counts(); c.Total() != total || c.Of(Sending)+c.Of(Planned) > 0 {
		t.Fatalf("replayed %s", counts(c))
	}
	return p
}

var crashPolicy = Policy{Sizes: Sizes{Number(1), Number(10), percentage(25)}}

// settledWell checks that no node got two requests and that the states are true.
func settledWell(t *testing.T, f *fleet, s Summary, total int) {
	t.Helper()
	if s.States.Total() != total {
		t.Fatalf("%d nodes accounted for", s.States.Total())
	}
	for r := range s.Results() {
		n := f.delivered[r.Identity]
		switch {
		case n > 1:
			t.Fatalf("node %s got %d requests", r.Identity, n)
		case n == 1 && (r.State == NotSent || r.State == Planned || r.State == Sending):
			t.Fatalf("node %s got a request and is %s", r.Identity, r.State)
		case n == 1 && r.State == Absent:
			t.Fatalf("node %s got a request and is %s", r.Identity, r.State)
		case n == 0 && r.State == Absent && (f.gone[r.Identity] || f.leaving[r.Identity]):
		case n == 0 && (r.State != Unknown || !f.vague[r.Identity]):
			t.Fatalf("node %s got no request and is %s", r.Identity, r.State)
		}
	}
	if len(f.unlawful) > 0 {
		t.Fatalf("sent before the intent was recorded: %v", f.unlawful)
	}
}

func TestDeathAtEveryAppendIsSafe(t *testing.T) {
	const total = 200
	synctest.Test(t, func(t *testing.T) {
		walked := 0
		for dieAt, over := 1, false; !over; dieAt++ {
			for keep := range deaths {
				f, tp := crashFleet(), &tape{dieAt: dieAt, keep: keep}
				life(t, f, tp, fleetPlan(total, crashPolicy))
				if over = tp.appends < dieAt; over {
					break
				}
				walked++
				tp.dieAt = 0
				settledWell(t, f, life(t, f, tp, reborn(t, tp, total)), total)
			}
		}
		if walked < 3*25 {
			t.Errorf("walked %d deaths only", walked)
		}
		t.Logf("walked %d deaths", walked)
	})
}

func TestDeathAfterDeathIsSafe(t *testing.T) {
	const total = 200
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			f, tp := crashFleet(), &tape{}
			from := fleetPlan(total, crashPolicy)
			for range 4 {
				tp.dieAt, tp.appends, tp.keep = 1+rng.IntN(40), 0, death(rng.IntN(int(deaths)))
				if s := life(t, f, tp, from); tp.appends < tp.dieAt && s.Open == 0 {
					break
				}
				from = reborn(t, tp, total)
			}
			tp.dieAt = 0
			settledWell(t, f, life(t, f, tp, from), total)
		}
	})
}

// TestDeathAfterAReplyIsSafe kills the process a moment after a reply, while it waits to be kept with others: what was
// shown is on the tape, and a resume sends to no node twice.
func TestDeathAfterAReplyIsSafe(t *testing.T) {
	const total = 200
	synctest.Test(t, func(t *testing.T) {
		waited := 0
		for k := 1; k < 150; k += 8 {
			f, tp := crashFleet(), &tape{keep: writeNothing}
			w := &watcher{tape: tp}
			for k := range total { // replies trickle in
				if name := fmt.Sprintf("n%d", k+1); f.replyIn[name] == 0 {
					f.replyIn[name] = time.Duration(1+k%97*13) * time.Millisecond
				}
			}
			kept := 0
			kill := func() {
				answered := f.answered()
				tp.mu.Lock()
				defer tp.mu.Unlock()
				tp.dieAt, kept = tp.appends+1, len(tp.lines)
				if answered > repliesOn(tp) {
					waited++
				}
			}
			f.recorded, f.replied = tp.intended, func(n int) {
				if n == k {
					time.AfterFunc(10*time.Millisecond, kill)
				}
			}
			r := Runner{Actor: f, Outcomes: f.outcomes, Verifier: f, Prober: f, Journal: tp, Observer: w, Pace: calm}
			_, err := r.Run(t.Context(), fleetPlan(total, crashPolicy))
			if err == nil || w.early > 0 || w.records != kept || w.records != len(tp.lines) {
				t.Errorf("killed after reply %d: %d records shown, %d of them early; %d kept then, %d now; error %v", k, w.records, w.early, kept, len(tp.lines), err)
			}
			<-time.After(time.Minute)
			for len(f.outcomes) > 0 {
				<-f.outcomes
			}
			tp.dieAt = 0
			settledWell(t, f, life(t, f, tp, reborn(t, tp, total)), total)
		}
		if waited < 10 {
			t.Errorf("%d deaths came while replies waited to be kept", waited)
		}
	})
}

// answered is how many replies have come in, and repliesOn how many are on a tape.
func (f *fleet) answered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replies
}

func repliesOn(tp *tape) (n int) {
	for _, line := range tp.lines {
		if r, err := decodeRecord(line); err == nil {
			n += len(r.Outcomes)
		}
	}
	return n
}
