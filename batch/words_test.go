package batch

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestEveryWordIsTotalAndReadsBack(t *testing.T) {
	seen := map[string]bool{}
	for s := range State(255) {
		if s.String() == "" || seen[s.String()] {
			t.Errorf("state %d reads %q", s, s)
		}
		seen[s.String()] = true
		text, err := s.MarshalText()
		if valid := s >= Planned && s < stateEnd; valid != (err == nil) {
			t.Errorf("state %s: %v", s, err)
		} else if valid {
			var back State
			if err := back.UnmarshalText(text); back != s || err != nil {
				t.Errorf("state %s reads back as %s, %v", s, back, err)
			}
		}
	}
	if len(States()) != 10 {
		t.Errorf("%d states", len(States()))
	}
	for v := range Verdict(255) {
		var back Verdict
		text, _ := v.MarshalText()
		if err := back.UnmarshalText(text); v < verdictEnd && (err != nil || back != v) {
			t.Errorf("verdict %s reads back as %s, %v", v, back, err)
		}
	}
	for k := range StopKind(255) {
		var back StopKind
		text, _ := k.MarshalText()
		if err := back.UnmarshalText(text); k < stopEnd && (err != nil || back != k) {
			t.Errorf("stop %s reads back as %s, %v", k, back, err)
		}
	}
	for p := range phase(255) {
		if p.String() == "" || p < phaseEnd && p > 0 && len(follows[p]) == 0 != (p == phaseEnded) {
			t.Errorf("phase %d reads %q and leads to %v", p, p, follows[p])
		}
	}
	for k := range timerKind(255) {
		if k.String() == "" {
			t.Errorf("timer %d has no word", k)
		}
	}
	for f := range Finding(255) {
		var back Finding
		text, err := f.MarshalText()
		if valid := f >= Acted && f < findingEnd; valid != (err == nil) || valid && (back.UnmarshalText(text) != nil || back != f) {
			t.Errorf("finding %s: %v, reads back as %s", f, err, back)
		}
	}
}

func TestCountsListAllTenStates(t *testing.T) {
	c := CountsOf(map[State]int{Verified: 3, NoReply: 1})
	text, err := json.Marshal(c)
	want := `{"planned":0,"sending":0,"accepted":0,"refused":0,"absent":0,"no-reply":1,"verified":3,"unverified":0,"unknown":0,"not-sent":0}`
	if string(text) != want || err != nil {
		t.Errorf("got %s, %v", text, err)
	}
	var back Counts
	if err := json.Unmarshal(text, &back); err != nil || back != c {
		t.Errorf("reads back as %v, %v", back, err)
	}
}

func TestAmounts(t *testing.T) {
	for _, tc := range []struct {
		text string
		set  int
		want int // -1: refused
	}{
		{"20", 10, 10}, {"20", 100, 20}, {"5%", 100, 5}, {"5%", 101, 6}, {"1%", 3, 1}, {"100%", 7, 7}, {"0.5%", 100_000, 500},
		{"7%", 100, 7}, {"0.0001%", 1_000_000, 1}, {"20", 0, 0}, {"0", 0, -1}, {"0%", 0, -1}, {"101%", 0, -1}, {"100.1%", 0, -1},
		{"-5", 0, -1}, {"+5", 0, -1}, {"5 %", 0, -1}, {"", 0, -1}, {"five", 0, -1}, {"1.00001%", 0, -1}, {"5.%", 0, -1}, {"9999999999", 0, -1},
	} {
		a, err := ParseAmount(tc.text)
		if (err != nil) != (tc.want < 0) {
			t.Errorf("%q: %v", tc.text, err)
		} else if err == nil && (a.Of(tc.set) != tc.want || a.String() != tc.text || a.Validate() != nil) {
			t.Errorf("%q of %d is %d, want %d; prints %q", tc.text, tc.set, a.Of(tc.set), tc.want, a)
		}
	}
}

func TestDecide(t *testing.T) {
	nothing := Rules{StopWhenNothing: true}
	for _, tc := range []struct {
		name       string
		rules      Rules
		run, batch Tally
		want       string
	}{
		{"no rule", Rules{}, Tally{Nodes: 10, Refused: 10}, Tally{Nodes: 10, Refused: 10, Batch: 1}, ""},
		{"below", Rules{MaxFailed: Number(3)}, Tally{Nodes: 10, Refused: 1, Unverified: 1}, Tally{}, ""},
		{"reached by both kinds", Rules{MaxFailed: Number(2)}, Tally{Nodes: 10, Refused: 1, Unverified: 1}, Tally{}, RuleMaxFailed},
		{"silence is not failure", Rules{MaxFailed: Number(1)}, Tally{Nodes: 10, NoReply: 5}, Tally{}, ""},
		{"failure is not silence", Rules{MaxNoReply: Number(1)}, Tally{Nodes: 10, Refused: 5}, Tally{}, ""},
		{"silence", Rules{MaxNoReply: percentage(10)}, Tally{Nodes: 20, NoReply: 2}, Tally{}, RuleMaxNoReply},
		{"share below", Rules{MaxNoReply: percentage(10)}, Tally{Nodes: 21, NoReply: 2}, Tally{}, ""},
		{"fail fast", Rules{FailFast: true}, Tally{Nodes: 10, Unverified: 1}, Tally{}, RuleMaxFailed},
		{"batch", Rules{MaxFailedBatch: percentage(50)}, Tally{Nodes: 100, Refused: 50}, Tally{Nodes: 10, Refused: 5, Open: 5, Batch: 3}, RuleMaxFailedBatch},
		{"other batches", Rules{MaxFailedBatch: Number(5)}, Tally{Nodes: 100, Refused: 50}, Tally{Nodes: 10, Refused: 4, Batch: 3}, ""},
		{"batch silence", Rules{MaxNoReplyBatch: Number(2)}, Tally{Nodes: 100}, Tally{Nodes: 10, NoReply: 2, Batch: 3}, RuleMaxNoReplyBatch},
		{"limit above the set", Rules{MaxFailedBatch: Number(5)}, Tally{Nodes: 9}, Tally{Nodes: 3, Refused: 3, Batch: 1}, ""},
		{"all of one refused", nothing, Tally{Nodes: 9}, Tally{Nodes: 1, Refused: 1, Batch: 1}, RuleWholeBatch},
		{"one silent", nothing, Tally{Nodes: 9}, Tally{Nodes: 1, NoReply: 1, Batch: 1}, ""},
		{"one unverified", nothing, Tally{Nodes: 9}, Tally{Nodes: 1, Unverified: 1, Batch: 1}, ""},
		{"one silent canary", nothing, Tally{Nodes: 9}, Tally{Nodes: 1, NoReply: 1, Batch: 1, Canary: true}, RuleWholeBatch},
		{"two silent", nothing, Tally{Nodes: 9}, Tally{Nodes: 2, NoReply: 2, Batch: 1}, RuleWholeBatch},
		{"two unverified", nothing, Tally{Nodes: 9}, Tally{Nodes: 2, Unverified: 2, Batch: 1}, RuleWholeBatch},
		{"a mix", nothing, Tally{Nodes: 9}, Tally{Nodes: 3, Unverified: 1, Refused: 1, NoReply: 1, Batch: 1}, RuleWholeBatch},
		{"one good", nothing, Tally{Nodes: 9}, Tally{Nodes: 3, Refused: 2, Batch: 1}, ""},
		{"one open", nothing, Tally{Nodes: 9}, Tally{Nodes: 3, Refused: 2, Open: 1, Batch: 1}, ""},
		{"empty batch", nothing, Tally{Nodes: 9}, Tally{Batch: 1}, ""},
		{"absent", Rules{MaxAbsent: Number(2)}, Tally{Nodes: 10, Absent: 2}, Tally{}, RuleMaxAbsent},
		{"absence is not silence", Rules{MaxNoReply: Number(1), MaxFailed: Number(1)}, Tally{Nodes: 10, Absent: 5}, Tally{}, ""},
		{"all absent", nothing, Tally{Nodes: 9}, Tally{Nodes: 2, Absent: 2, Batch: 1}, RuleWholeBatch},
		{"one absent", nothing, Tally{Nodes: 9}, Tally{Nodes: 1, Absent: 1, Batch: 1}, ""},
		{"absent, with a rule", and(Rules{MaxAbsent: Number(5)}), Tally{Nodes: 9, Absent: 2}, Tally{Nodes: 2, Absent: 2, Batch: 1}, ""},
		{"refused, with a rule", and(Rules{MaxFailed: Number(5)}), Tally{Nodes: 9, Refused: 1}, Tally{Nodes: 1, Refused: 1, Batch: 1}, ""},
		{"refused, with a batch rule", and(Rules{MaxFailedBatch: Number(5)}), Tally{Nodes: 9, Refused: 1}, Tally{Nodes: 3, Refused: 3, Batch: 1}, ""},
		{"silent, with a rule for failures", and(Rules{MaxFailed: Number(5)}), Tally{Nodes: 9}, Tally{Nodes: 2, NoReply: 2, Batch: 1}, RuleWholeBatch},
		{"a mix, with a rule for one kind", and(Rules{MaxNoReply: Number(5)}), Tally{Nodes: 9}, Tally{Nodes: 2, NoReply: 1, Refused: 1, Batch: 1}, RuleWholeBatch},
		{"a mix, with rules for both kinds", and(Rules{MaxNoReplyBatch: Number(5), FailFast: true}), Tally{Nodes: 9}, Tally{Nodes: 2, NoReply: 1, Refused: 1, Batch: 1}, ""},
		{"old failures of a batch", Rules{MaxFailedBatch: Number(2)}, Tally{Nodes: 9}, Tally{Nodes: 4, Refused: 2, Batch: 1, Fresh: &Tally{Nodes: 4, Refused: 1}}, ""},
	} {
		stop, met := decide(tc.rules, tc.run, tc.batch)
		if met != (tc.want != "") || stop.Rule != tc.want || met && (stop.Reason == "" || stop.Kind != StopRule) {
			t.Errorf("%s: %+v, %v; want %q", tc.name, stop, met, tc.want)
		}
	}
}

func TestVerdictOrder(t *testing.T) {
	l := &ledger{}
	c := &l.counts.all
	steps := []struct {
		add  func()
		want Verdict
	}{
		{func() { c.n[Verified]++ }, Done},
		{func() { c.n[Absent]++ }, Silent},
		{func() { c.n[NoReply]++ }, Silent},
		{func() { c.n[Unverified]++ }, Failed},
		{func() { c.n[Unknown]++ }, Uncertain},
		{func() { c.n[NotSent]++ }, Stopped},
		{func() { l.stops = append(l.stops, Stop{Kind: StopRule}, Stop{Kind: StopSignal}) }, Interrupted},
		{func() { l.stops = append(l.stops, Stop{Kind: StopFault}) }, Fault},
	}
	for _, s := range steps {
		if s.add(); l.verdict() != s.want {
			t.Errorf("got %s, want %s", l.verdict(), s.want)
		}
	}
	l = &ledger{begin: Beginning{Proved: true}}
	if l.counts.all.n[Accepted]++; l.verdict() != Uncertain {
		t.Errorf("accepted without its proof: %s", l.verdict())
	}
	if l.begin.Proved = false; l.verdict() != Done {
		t.Errorf("accepted with no proof to wait for: %s", l.verdict())
	}
}

func TestPolicyGoesThroughJSON(t *testing.T) {
	p := Policy{Sizes: Sizes{Number(1), percentage(5)}, Canary: 2, SpreadBy: "rack", MaxPer: []MaxPer{{"site", 3}}}
	r := Rules{MaxFailed: percentage(3), MaxNoReplyBatch: Number(2), StopWhenNothing: true}
	text, err := json.Marshal(Beginning{Plan: &Plan{Policy: p}, Rules: r, Pace: calm})
	if err != nil {
		t.Fatal(err)
	}
	var back Beginning
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Rules != r || back.Pace != calm || !slices.Equal(back.Plan.Policy.Sizes, p.Sizes) || !slices.Equal(back.Plan.Policy.MaxPer, p.MaxPer) {
		t.Errorf("%s reads back as %+v", text, back)
	}
}

// and adds the default rule.
func and(r Rules) Rules {
	r.StopWhenNothing = true
	return r
}

// percentage is p per cent of a set.
func percentage(p int) Amount { return Amount{Millionths: p * percent} }
