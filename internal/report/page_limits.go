package report

import (
	"fmt"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/page"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// limits are what a run waits for, holds and leaves out besides its batches: hours, locks, gates, the order of its nodes.
func limits(r run.Stored) []page.Pair {
	pace, rules, plan := r.Progress.Pace(), r.Progress.Rules(), r.Progress.Plan()
	hours, young, last := string(pace.Within), "", plan.Policy.LastIf
	if hours != "" && pace.StopOutside {
		hours += ", stops outside"
	}
	if held := r.Progress.Held(); !held.IsZero() {
		hours += "; waits until " + render.When(held)
	}
	if rules.NotSince > 0 {
		young = "processes younger than " + rules.NotSince.String()
	}
	if last != "" {
		last = fmt.Sprintf("%s for which this holds: %s", plain.Count(len(plan.Last), "node"), last)
	}
	pairs := []page.Pair{
		{Name: "Batches begin within", Value: hours}, {Name: "Left out", Value: young}, {Name: "Go last", Value: last},
		{Name: "Locks", Value: strings.Join(r.Meta.Locks, ", ")},
	}
	for _, text := range run.GateSentences(r.Progress.Gates(), plan.Rolls()) {
		pairs = append(pairs, page.Pair{Name: "Gates", Value: text})
	}
	return pairs
}

// maxChecks is how many places at which gates did not simply pass are shown.
const maxChecks = 60

// checks are the places at which gates were asked; those at which they passed at once are one line.
func checks(s batch.Summary) []page.Check {
	var all []page.Check
	since := func(t time.Time) time.Duration { return max(t.Sub(s.Started), 0) }
	once := page.Check{Result: batch.GatePassed.String(), At: -1, Took: -1, Tone: page.Good}
	for _, g := range s.Gates {
		if g.Decided && g.Verdict == batch.GatePassed && g.Rounds == 1 {
			once.Rounds++
			continue
		}
		c := page.Check{Place: render.GatePlace(g.Batch), Result: g.Verdict.String(), Reason: g.Reason, Rounds: g.Rounds, At: since(g.Began), Took: g.Time.Sub(g.Began), Tone: page.Bad}
		switch {
		case g.Verdict == batch.GatePassed:
			c.Tone = page.Good
		case g.Verdict == batch.GateInconclusive:
			c.Tone = page.Warn
		}
		if !g.Decided {
			c.Result += ", not decided"
		}
		all = append(all, c)
	}
	if n := len(all) - maxChecks; n > 0 {
		all = all[n:]
		all = append([]page.Check{{Place: plain.Count(n, "earlier place"), At: -1, Took: -1}}, all...)
	}
	if once.Rounds > 0 {
		once.Place = "at once, at " + plain.Count(once.Rounds, "place")
		all = append([]page.Check{once}, all...)
	}
	return all
}
