package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sampleTape is the journal of a run that met everything: late and silent nodes,
// a death, a resume with probes, a requeue and a stop.
func sampleTape(t testing.TB) [][]byte {
	text, err := os.ReadFile("testdata/sample.journal.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

// TestSampleJournalStillReads pins the record format: files written by earlier
// versions must keep their meaning. -update writes a new sample.
func TestSampleJournalStillReads(t *testing.T) {
	if *update {
		synctest.Test(t, func(t *testing.T) {
			f, tp := newFleet(), &tape{dieAt: 7, keep: writeAll}
			f.replyIn["n2"], f.replyIn["n3"] = -1, 21*time.Second
			f.refuse["n4"], f.unproved["n5"], f.unproved["n2"] = true, true, true
			f.perNode, f.grid = time.Millisecond, 3*time.Millisecond
			life(t, f, tp, fleetPlan(12, Policy{Sizes: Sizes{Number(4)}}))
			tp.dieAt = 0
			life(t, f, tp, reborn(t, tp, 12))
			if err := os.WriteFile("testdata/sample.journal.jsonl", append(bytes.Join(tp.lines, []byte("\n")), '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
	p, err := Replay(fromLines(sampleTape(t)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(p.Summary(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/sample.summary.json"
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestEveryPrefixReplays(t *testing.T) {
	lines := sampleTape(t)
	for n := range len(lines) + 1 {
		p, err := Replay(fromLines(lines[:n]))
		if n == 0 {
			if !errors.Is(err, ErrNoPlan) {
				t.Errorf("an empty journal: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d records: %v", n, err)
		}
		if c := p.Counts(); c.Total() != 12 || c.Of(Planned)+c.Of(Sending) > 0 {
			t.Errorf("%d records: %s", n, counts(c))
		}
		if got, want := Finished(lines[n-1]), n == len(lines) && p.Open() == 0; got != want {
			t.Errorf("%d records: finished %v, want %v", n, got, want)
		}
	}
}

func TestReplayRefusesContradictions(t *testing.T) {
	lines := sampleTape(t)
	kind := func(k Kind) int {
		i := slices.IndexFunc(lines, func(l []byte) bool { r, _ := decodeRecord(l); return r.Kind == k })
		if i < 0 {
			t.Fatalf("the sample holds no %s", k)
		}
		return i
	}
	without := func(i int) [][]byte { return slices.Delete(slices.Clone(lines), i, i+1) }
	twice := func(i int) [][]byte { return slices.Insert(slices.Clone(lines), i, lines[i]) }
	for name, bad := range map[string][][]byte{
		"no plan": lines[1:], "two plans": twice(0), "no intent": without(kind(KindIntent)), "intent twice": twice(kind(KindIntent)),
		"outcome twice": twice(kind(KindOutcomes)), "no end of replies": without(kind(KindReplies)), "newer": {[]byte(`{"v":3,"k":"plan"}`)},
		"unknown kind": {lines[0], []byte(`{"v":1,"k":"dance"}`)}, "no json": {lines[0], []byte(`{`)},
		"foreign batch": {lines[0], []byte(`{"v":1,"k":"intent","b":99}`)}, "empty stop": {lines[0], []byte(`{"v":1,"k":"stopped"}`)},
		"stranger": {lines[0], []byte(`{"v":1,"k":"intent","b":1,"nodes":["who"]}`)},
	} {
		p, err := Replay(fromLines(bad))
		if err == nil {
			t.Errorf("%s: %s", name, counts(p.Counts()))
			continue
		}
		if _, ok := errors.AsType[*RecordError](err); !ok {
			t.Errorf("%s: %v is no RecordError", name, err)
		}
	}
	torn := errors.New("line 3 is damaged")
	_, err := Replay(func(yield func([]byte, error) bool) { _ = yield(lines[0], nil) && yield(nil, torn) })
	if !errors.Is(err, torn) {
		t.Errorf("a journal that cannot be read: %v", err)
	}
}

// FuzzReplay cuts and damages records: whatever replays has every node in one
// state, and cutting alone never fails.
func FuzzReplay(f *testing.F) {
	lines := sampleTape(f)
	f.Add(uint8(3), uint8(0), uint16(0), byte(0))
	f.Add(uint8(200), uint8(2), uint16(40), byte('9'))
	f.Fuzz(func(t *testing.T, cut, line uint8, at uint16, to byte) {
		some := slices.Clone(lines[:min(int(cut), len(lines))])
		damaged := false
		if int(line) < len(some) && int(at) < len(some[line]) && to != 0 {
			some[line] = slices.Clone(some[line])
			damaged = some[line][at] != to
			some[line][at] = to
		}
		p, err := Replay(fromLines(some))
		if err != nil {
			if !damaged && !errors.Is(err, ErrNoPlan) {
				t.Fatalf("a prefix: %v", err)
			}
			return
		}
		n := 0
		for r := range p.Results() {
			n++
			if r.State < Planned || r.State >= stateEnd {
				t.Fatalf("node %q is %s", r.Identity, r.State)
			}
		}
		if p.Counts().Total() != n || p.Plan().Nodes() != n {
			t.Fatalf("%d nodes, counts %s", n, counts(p.Counts()))
		}
	})
}
