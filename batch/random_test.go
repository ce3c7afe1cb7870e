package batch

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestAnyOrderOfEventsKeepsTheInvariants plays random events, sensible and not,
// with deaths and resumes between them; audit checks every step. At the end the
// world behaves, and the run must end.
func TestAnyOrderOfEventsKeepsTheInvariants(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		if playRandom(t, uint64(seed)); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func playRandom(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	d := &driver{t: t, audit: newAudit(t), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	pick := func(words ...string) string { return words[rng.IntN(len(words))] }
	rolling := rng.IntN(2) == 0
	plan := []string{fmt.Sprintf("nodes=%d", 1+rng.IntN(7)), "batch=" + pick("1", "2", "1,3"), "sleep=" + pick("0s", "1s", "9s"), "reply=5s",
		"canary=" + pick("0", "1"), "max-failed=" + pick("", "", "2"), "max-no-reply=" + pick("", "", "2"), "max-absent=" + pick("", "", "2")}
	if rolling {
		plan = append(plan, "rolling", "hold="+pick("6s", "1m"), "rack=a,b", "max-per="+pick("", "1", "2"), pick("spread", "plain"))
	}
	for _, word := range []string{"verify", "probe", "confirm", "gates", "nothing", "deadline=2m"} {
		if rng.IntN(3) > 0 && !(rolling && word == "confirm") {
			plan = append(plan, word)
		}
	}
	if rng.IntN(4) == 0 {
		plan = append(plan, "doubt=n1")
	}
	d.event("plan", plan)
	d.event("start", nil)
	for range 20 + rng.IntN(60) {
		d.random(rng, pick)
	}
	for range 200 { // from here on everything answers
		if d.m.phase == phaseEnded {
			return
		}
		d.settle()
	}
	t.Errorf("the run does not end: %s, %s, queue %v, paused %v", d.m.phase, counts(d.m.l.counts.all), d.m.queue, d.m.paused)
}

// random plays one event.
func (d *driver) random(rng *rand.Rand, pick func(...string) string) {
	node := fmt.Sprintf("n%d", 1+rng.IntN(len(d.m.l.rows)))
	batch := fmt.Sprint(1 + rng.IntN(max(1, len(d.m.l.batches))))
	question := fmt.Sprint(max(d.m.questions-rng.IntN(3), 0))
	switch rng.IntN(18) {
	case 0, 1, 2:
		d.event("reply", []string{batch, node, pick("ok", "ok", "4"), "why"})
	case 3:
		d.event("absent", []string{batch, node})
	case 4, 5:
		said := []string{question}
		for i := range d.m.l.rows {
			if word := pick("=x", "=x@1h", "=absent", ""); word != "" {
				said = append(said, fmt.Sprintf("n%d%s", i+1, word))
			}
		}
		d.event("baseline", said)
	case 6, 7:
		batch = fmt.Sprint(d.m.last)
		d.event("sent", [][]string{{batch}, {batch}, {batch}, {batch, "error"}, {batch, "unsent=" + node}, {batch, "unsent=" + node, "uncertain"},
			{batch, "unsent=" + node, "uncertain", "again"}, {batch, "unsent=", "uncertain", "again"}, {batch, "unsent=", "again"}}[rng.IntN(9)])
	case 8, 9:
		d.event("proof", []string{node, pick("acted", "acted", "unproved", "unasked")})
	case 10:
		d.event("probe", []string{node, pick("acted", "unproved", "untouched")})
	case 11:
		d.event("wait", []string{pick("1s", "2s", "5s", "40s")})
	case 12:
		d.event("link", []string{pick("down", "up")})
	case 13:
		d.event(pick("pause", "continue"), nil)
	case 14:
		d.event("confirm", []string{pick("yes", "yes", "yes", "no")})
	case 16, 17:
		asked := fmt.Sprint(max(d.m.gates.asked-rng.IntN(2), 0))
		d.event("gate", [][]string{{asked, "passed", "decided"}, {asked, "passed", "decided"}, {asked, "passed", "decided"}, {asked, "inconclusive"}, {asked, "passed"},
			{asked, pick("failed", "inconclusive"), "decided"}}[rng.IntN(6)])
		if rng.IntN(20) == 0 {
			d.event("gate-ended", []string{asked, "error"})
		}
	case 15:
		switch rng.IntN(4) {
		case 0:
			d.event(pick("interrupt", "abandon", "verifier-ended", "probe-ended"), nil)
		case 1:
			d.event("kill", nil)
			d.event("start", nil)
		}
	}
}

// settle plays the event that a run waits for, so that it continues.
func (d *driver) settle() {
	d.event("link", []string{"up"})
	d.event("continue", nil)
	var said []string
	for i := range d.m.l.rows {
		said = append(said, fmt.Sprintf("n%d=x@1h", i+1))
	}
	for question := max(1, d.m.questions-10); question <= d.m.questions; question++ {
		d.event("baseline", append([]string{fmt.Sprint(question)}, said...))
	}
	d.event("confirm", []string{"yes"})
	if d.m.last > 0 {
		d.event("sent", []string{fmt.Sprint(d.m.last)})
	}
	if d.m.gates.round > 0 {
		d.event("gate", []string{fmt.Sprint(d.m.gates.round), "passed", "decided"})
	}
	d.event("probe-ended", nil)
	for i := range d.m.l.rows {
		d.event("proof", []string{fmt.Sprintf("n%d", i+1), "acted"})
	}
	d.event("wait", []string{"16s"})
}
