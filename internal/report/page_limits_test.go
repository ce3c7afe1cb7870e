package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// The HTML and the Markdown report show what a run waited for, held and left out.
func TestAPageShowsTheLimitsOfARun(t *testing.T) {
	plan := planOf([]string{"a"}, []string{"b"})
	b := plan.Begin
	b.Plan.Policy.LastIf, b.Plan.Last = `fact("role") == "leader"`, []string{"b"}
	b.Pace.Within, b.Pace.StopOutside = "01:00-05:00 UTC", true
	b.Rules.NotSince = 24 * time.Hour
	b.Gates = batch.Gates{Commands: []string{"./check lb"}, Every: 10 * time.Second, Wait: 10 * time.Minute, Timeout: 30 * time.Second}
	gate := func(after time.Duration, number int, v batch.GateVerdict, decided bool, reason string) batch.Record {
		return batch.Record{Kind: batch.KindGate, Time: begun.Add(after), Batch: number, Gate: &batch.GateRound{Verdict: v, Decided: decided, Reason: reason}}
	}
	p, err := batch.Follow(journal(t, plan, gate(time.Second, 0, batch.GatePassed, true, ""), intent(1, 2*time.Second),
		gate(10*time.Second, 1, batch.GateInconclusive, false, "no data"), gate(30*time.Second, 1, batch.GateFailed, true, "3 of 4"),
		batch.Record{Kind: batch.KindHours, Time: begun, Until: begun.Add(time.Hour)}))
	if err != nil {
		t.Fatal(err)
	}
	r := run.Stored{ID: "r", Live: true, Meta: run.Meta{Agent: "choria_provision", Action: "restart", Locks: []string{"web", "db"}}, Progress: p}
	for f, want := range map[Format][]string{
		HTML: {
			"<dt>Batches begin within</dt><dd>01:00-05:00 UTC, stops outside; waits until ", "<dt>Left out</dt><dd>processes younger than 24h0m0s</dd>",
			"<dd>1 node for which this holds: fact(&#34;role&#34;) == &#34;leader&#34;</dd>", "<dt>Locks</dt><dd>web, db</dd>", "asks gate &#34;./check lb&#34; before the first batch and after each",
			`<th scope="row">at once, at 1 place</th>`, `<th scope="row">after batch 1</th><td class="n">10.0 s</td><td class="n">2</td><td class="n">20.0 s</td><td class="bad">failed</td><td>3 of 4</td>`,
		},
		Markdown: {
			"| Batches begin within | 01:00-05:00 UTC, stops outside; waits until ", "| Left out | processes younger than 24h0m0s |", "| Go last | 1 node for which this holds: ", "| Locks | web, db |",
			"| Gates | inconclusive gates pause the run: asked again every 10s, for 10m0s at most |", "## Gates", "| after batch 1 | 10.0 s | 2 | 20.0 s | failed | 3 of 4 |",
		},
	} {
		var out bytes.Buffer
		if err := WriteStored(&out, r, StoredOptions{Format: f}); err != nil {
			t.Fatal(err)
		}
		for _, piece := range want {
			if !strings.Contains(out.String(), piece) {
				t.Errorf("%s lacks %q:\n%s", f, piece, out.String())
			}
		}
	}
}

// Of very many places the latest are shown.
func TestManyGatesAreCut(t *testing.T) {
	s := batch.Summary{Started: begun}
	for i := range maxChecks + 5 {
		s.Gates = append(s.Gates, batch.GateResult{Batch: i, Began: begun, Time: begun, Rounds: 2, GateRound: batch.GateRound{Verdict: batch.GatePassed, Decided: true}})
	}
	if all := checks(s); len(all) != maxChecks+1 || all[0].Place != "5 earlier places" || all[maxChecks].Place != "after batch 64" {
		t.Errorf("%d lines, from %+v to %+v", len(all), all[0], all[len(all)-1])
	}
}
