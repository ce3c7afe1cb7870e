package lease

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// rackOf is the fact of a node "a1": its rack is a.
func rackOf(node, fact string) string {
	if fact == "rack" {
		return node[:1]
	}
	return ""
}

func budgetOf(run string, limits Limits, down ...string) Budget {
	return Budget{Collective: "c", Run: run, Party: Party{Caller: "choria=" + run, Host: "op"}, Limits: limits, Facts: limits.Facts(), Values: rackOf, Down: down}
}

func mustOpen(t *testing.T, s Store, b Budget) *Account {
	t.Helper()
	a, err := OpenAccount(t.Context(), s, b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// keepUp has an account written until the end of the test, and returns a way to kill its process.
func keepUp(t *testing.T, a *Account) (kill func()) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Keep(ctx) }()
	end := func() { stop(); <-done }
	t.Cleanup(end)
	return end
}

// downOf is what the ledger counts of a run.
func downOf(t *testing.T, s Store, run string) map[string]int {
	t.Helper()
	return partyOf(t, s, run).Down
}

func partyOf(t *testing.T, s Store, run string) Party {
	t.Helper()
	l, err := ReadLedger(t.Context(), s, "c")
	if err != nil {
		t.Fatal(err)
	}
	return l.Runs[run]
}

func wantDown(t *testing.T, s Store, run string, want map[string]int) {
	t.Helper()
	if got := downOf(t, s, run); !maps.Equal(got, want) {
		t.Errorf("run %s has %v down, want %v", run, got, want)
	}
}

func TestTwoRunsKeepOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 3, "rack": 1}
		a, b := mustOpen(t, s, budgetOf("r1", limits)), mustOpen(t, s, budgetOf("r2", limits))
		keepUp(t, a)
		keepUp(t, b)
		if err := a.Admit(t.Context(), []string{"a1", "b1"}); err != nil {
			t.Fatal(err)
		}
		wantDown(t, s, "r1", map[string]int{All: 2, "rack=a": 1, "rack=b": 1})
		err := b.Admit(t.Context(), []string{"a2"})
		if full, ok := errors.AsType[*fullError](err); !ok || full.Down != 1 || err.Error() != "1 node with rack=a may be down at once, and 1 is: run r1 of choria=r1 on op (1)" {
			t.Errorf("a node of a full rack: %v", err)
		}
		if err := b.Admit(t.Context(), []string{"c1"}); err != nil {
			t.Fatal(err)
		}
		err = b.Admit(t.Context(), []string{"d1"})
		if full, ok := errors.AsType[*fullError](err); !ok || full.Down != 3 || !slices.Equal(full.By, []string{"this run (1)", "run r1 of choria=r1 on op (2)"}) {
			t.Errorf("the fourth node: %v", err)
		}
		if err := b.Admit(t.Context(), []string{"d1", "d2"}); !strings.Contains(err.Error(), "a batch has 2") || Passes(err) {
			t.Errorf("two of a rack: %v", err)
		}
		a.Leave("a1")
		pass(t, time.Second)
		if err := b.Admit(t.Context(), []string{"a2"}); err != nil {
			t.Errorf("after a1 is up: %v", err)
		}
		if err := b.Admit(t.Context(), []string{"a2", "c1"}); err != nil {
			t.Errorf("what was admitted before: %v", err)
		}
		for _, n := range b.Down() {
			b.Leave(n)
		}
		pass(t, time.Second)
		wantDown(t, s, "r2", nil)
	})
}

func TestLimitsThatBindEveryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		now, err := SetLimits(t.Context(), s, "c", Limits{All: 9, "rack": 1, "dc": 4})
		if err != nil || now.String() != "9, 4 per dc, 1 per rack" {
			t.Fatal(now, err)
		}
		if now, err = SetLimits(t.Context(), s, "c", Limits{"dc": 0, All: 2}); err != nil || now.String() != "2, 1 per rack" {
			t.Fatal(now, err)
		}
		a := mustOpen(t, s, budgetOf("r1", nil)) // it does not count by racks
		if err := a.Admit(t.Context(), []string{"a1"}); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, s, budgetOf("r2", Limits{"rack": 5}))
		// The node of r1 may be in any rack.
		if err := b.Admit(t.Context(), []string{"b1"}); err == nil || !strings.Contains(err.Error(), "(1, of which it does not report rack)") {
			t.Errorf("a rack that may be full: %v", err)
		}
	})
}

func TestAWriteWithoutAnAnswerCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		a := mustOpen(t, s, budgetOf("r1", Limits{All: 1}))
		s.set(func(s *fakeStore) { s.deaf = true })
		if err := a.Admit(t.Context(), []string{"a1"}); err != nil {
			t.Fatal(err)
		}
		if s.writes != 1 {
			t.Errorf("%d writes", s.writes)
		}
		wantDown(t, s, "r1", map[string]int{All: 1})
		s.set(func(s *fakeStore) { s.deaf, s.away = false, true })
		if err := a.Admit(t.Context(), []string{"a2"}); err == nil || !Passes(err) {
			t.Errorf("without the brokers: %v", err)
		}
		s.set(func(s *fakeStore) { s.away = false })
		if got := a.Down(); !slices.Equal(got, []string{"a1"}) {
			t.Errorf("down: %v", got)
		}
	})
}

// TestLostWritesAreWrittenAgain: a power cut of all brokers takes them back to an earlier state.
func TestLostWritesAreWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 2}
		a, b := mustOpen(t, s, budgetOf("r1", limits)), mustOpen(t, s, budgetOf("r2", limits))
		keepUp(t, a)
		keepUp(t, b)
		if err := a.Admit(t.Context(), []string{"a1"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Admit(t.Context(), []string{"b1"}); err != nil {
			t.Fatal(err)
		}
		s.set(func(s *fakeStore) { s.keys, s.seq = map[string]Entry{}, 0 })
		err := b.Admit(t.Context(), []string{"b2"})
		if _, ok := errors.AsType[*rewoundError](err); !ok || !Passes(err) {
			t.Fatalf("an admission by a store that has lost writes: %v", err)
		}
		pass(t, renewEvery+time.Second)
		wantDown(t, s, "r1", map[string]int{All: 1})
		wantDown(t, s, "r2", map[string]int{All: 1})
		pass(t, calm)
		if _, ok := errors.AsType[*fullError](b.Admit(t.Context(), []string{"b2"})); !ok {
			t.Error("the budget is not kept after the loss")
		}
	})
}

// A run that has nothing in the ledger knows of the loss by the revision alone: the nodes of the others are missing.
func TestARunWithoutNodesNoticesLostWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 1}
		a := mustOpen(t, s, budgetOf("r1", limits))
		keepUp(t, a)
		if err := a.Admit(t.Context(), []string{"a1"}); err != nil {
			t.Fatal(err)
		}
		b := mustOpen(t, s, budgetOf("r2", limits))
		s.set(func(s *fakeStore) { s.keys, s.seq = map[string]Entry{}, 0 })
		err := b.Admit(t.Context(), []string{"b1"})
		if _, ok := errors.AsType[*rewoundError](err); !ok {
			t.Fatalf("an admission by a store that has lost the other run's writes: %v", err)
		}
		pass(t, calm+time.Second)
		if _, ok := errors.AsType[*fullError](b.Admit(t.Context(), []string{"b1"})); !ok {
			t.Error("the budget is not kept after the loss")
		}
	})
}

func TestADeadRunKeepsItsNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 2, "rack": 1}
		a := mustOpen(t, s, budgetOf("r1", limits))
		kill := keepUp(t, a)
		if err := a.Admit(t.Context(), []string{"a1", "b1"}); err != nil {
			t.Fatal(err)
		}
		kill()
		pass(t, 30*24*time.Hour)
		wantDown(t, s, "r1", map[string]int{All: 2, "rack=a": 1, "rack=b": 1})
		was := partyOf(t, s, "r1")
		was.Writes--
		if _, _, err := Settle(t.Context(), s, "c", "r1", was, []string{"a1"}, nil, []string{"rack"}, rackOf); !errors.Is(err, ErrTakenUp) {
			t.Error("settled, though the run has written since:", err)
		}
		// The record shows a1 alone: b1 was admitted, and the process died before its intent.
		gone, left, err := Settle(t.Context(), s, "c", "r1", partyOf(t, s, "r1"), []string{"a1"}, nil, []string{"rack"}, rackOf)
		if err != nil || len(gone) != 0 || !slices.Equal(left, []string{"a1"}) {
			t.Fatal(gone, left, err)
		}
		wantDown(t, s, "r1", map[string]int{All: 1, "rack=a": 1})
		// A resume takes over what is left, and the frozen process of before writes nothing any more.
		b := mustOpen(t, s, budgetOf("r1", limits, "a1"))
		keepUp(t, b)
		pass(t, time.Second)
		if err := a.Admit(t.Context(), []string{"c1"}); !errors.Is(err, errTaken) || Passes(err) {
			t.Errorf("the process of before: %v", err)
		}
		gone, err = Forget(t.Context(), s, "c", "r1", true, []string{"a1"}, []string{"rack"}, func(string, string) string { return "a" }, "alice: a1: broken")
		if err != nil || !slices.Equal(gone, []string{"a1"}) {
			t.Fatal(gone, err)
		}
		pass(t, renewEvery+time.Second) // the run takes the word for it
		if got := b.Down(); len(got) != 0 {
			t.Errorf("the run has %v down", got)
		}
		wantDown(t, s, "r1", nil)
	})
}

func TestNodesThatAreSettledCountNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 2, "rack": 1}
		if err := mustOpen(t, s, budgetOf("r1", limits)).Admit(t.Context(), []string{"a1", "b1"}); err != nil {
			t.Fatal(err)
		}
		down := []string{"a1", "b1"}
		settle := func(freed string) (gone, left []string) {
			gone, left, err := Settle(t.Context(), s, "c", "r1", partyOf(t, s, "r1"), down, []string{freed}, []string{"rack"}, rackOf)
			if err != nil {
				t.Fatal(err)
			}
			return gone, left
		}
		for _, want := range [][]string{{"a1"}, nil} { // again, there is nothing left to do
			if gone, left := settle("a1"); !slices.Equal(gone, want) || !slices.Equal(left, []string{"b1"}) {
				t.Errorf("%v count no more, %v still; want %v", gone, left, want)
			}
			wantDown(t, s, "r1", map[string]int{All: 1, "rack=b": 1})
		}
		if got := mustOpen(t, s, budgetOf("r1", limits, down...)).Down(); !slices.Equal(got, []string{"b1"}) {
			t.Errorf("a resume has %v down", got)
		}
		if gone, left := settle("b1"); !slices.Equal(gone, []string{"b1"}) || len(left) != 0 {
			t.Errorf("%v count no more, %v still", gone, left)
		}
		wantDown(t, s, "r1", nil)
	})
}

func TestARetryTakesTheNodesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		limits := Limits{All: 2}
		a := mustOpen(t, s, budgetOf("r1", limits))
		if err := a.Admit(t.Context(), []string{"a1", "b1"}); err != nil {
			t.Fatal(err)
		}
		again := budgetOf("r2", limits, "a1")
		again.Parents = map[string]map[string]bool{"r1": {"a1": true, "b1": true}}
		b := mustOpen(t, s, again)
		keepUp(t, b)
		pass(t, time.Second)
		wantDown(t, s, "r1", map[string]int{All: 1})
		wantDown(t, s, "r2", map[string]int{All: 1})
		if err := b.Admit(t.Context(), []string{"b1"}); err != nil { // it counts already
			t.Error(err)
		}
		wantDown(t, s, "r1", nil)
		wantDown(t, s, "r2", map[string]int{All: 2})
	})
}

func TestAnAdmissionThatIsNotWantedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.ttl = 0
		a := mustOpen(t, s, budgetOf("r1", Limits{All: 1}))
		keepUp(t, a)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.Admit(ctx, []string{"a1"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		pass(t, time.Second)
		wantDown(t, s, "r1", nil)
	})
}

func TestALedgerOfALaterVersionIsNotTouched(t *testing.T) {
	s := newFakeStore()
	s.ttl = 0
	for _, text := range []string{`{"v":2}`, `[]`} {
		value, _ := json.Marshal(json.RawMessage(text))
		s.keys["budget.c"] = Entry{Value: value, Revision: 1, Written: time.Now()}
		_, err := OpenAccount(t.Context(), s, budgetOf("r1", Limits{All: 1}))
		if !errors.Is(err, errUnreadable) || Passes(err) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLimitsAreParsed(t *testing.T) {
	for text, want := range map[string]Limits{
		"5": {All: 5}, "rack=1": {"rack": 1}, "os.family=2": {"os.family": 2}, "0": nil, "-1": nil, "rack": nil, "=1": nil, "rack=": nil, "a b=1": nil, "5%": nil,
	} {
		got, err := ParseLimits([]string{text}, false)
		if (err == nil) != (want != nil) || want != nil && !maps.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	twice := []string{"5", "rack=1", "9", "rack=2"}
	if got, err := ParseLimits(twice, false); err != nil || !maps.Equal(got, Limits{All: 5, "rack": 1}) {
		t.Errorf("of two limits the smaller one holds: %v, %v", got, err)
	}
	if got, err := ParseLimits(twice, true); err != nil || !maps.Equal(got, Limits{All: 9, "rack": 2}) {
		t.Errorf("what is set last holds for all: %v, %v", got, err)
	}
	if got, err := ParseLimits([]string{"rack=0"}, true); err != nil || got["rack"] != 0 || len(got) != 1 {
		t.Errorf("no limit: %v, %v", got, err)
	}
}

func FuzzTheBudgetCountsWhatItHolds(f *testing.F) {
	f.Add("a1 a2 b1", "a1 c1")
	f.Fuzz(func(t *testing.T, first, second string) {
		nodes, gone := strings.Fields(first), strings.Fields(second)
		slices.Sort(nodes)
		nodes = slices.Compact(nodes)
		p := Party{Facts: []string{"rack"}}
		p.count(nodes, rackOf)
		p.drop(set(nodes), gone, rackOf)
		left := Party{Facts: []string{"rack"}}
		left.count(slices.DeleteFunc(nodes, func(n string) bool { return slices.Contains(p.Left, n) }), rackOf)
		if !maps.Equal(p.Down, left.Down) {
			t.Errorf("%v, want %v", p.Down, left.Down)
		}
	})
}
