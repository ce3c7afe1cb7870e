package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func nodeWith(name, version, facts string) Node {
	return Node{Identity: name, Version: version, MainCollective: "m", Collectives: []string{"m"}, Agents: []string{"rpcutil"},
		Classes: []string{"common"}, Machines: []Machine{}, Facts: json.RawMessage(facts)}
}

func snapshotBytes(t testing.TB, info SnapshotInfo, silent []string, nodes ...Node) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewSnapshotWriter(&b, info)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if err := w.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(silent, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readBack(data []byte) (*Snapshot, error) {
	return ReadSnapshot(bytes.NewReader(data), int64(len(data)))
}

func TestSnapshotKeepsWhatNodesSaid(t *testing.T) {
	a := nodeWith("n1", "0.29.4", `{"a":{"b":[1,2]}}`)
	a.AgentVersions, a.Stats, a.Uptime = map[string]string{"rpcutil": "1"}, &Stats{StartTime: time.Unix(5, 0)}, 3*time.Second
	info := SnapshotInfo{Taken: time.Date(2026, 7, 28, 10, 0, 0, 0, time.UTC), Collective: "m", Selection: []string{"-F", "a=b"}, AgentVersions: true}
	data := snapshotBytes(t, info, []string{"n9"}, a, nodeWith("n2", "0.28.0", "{}"))
	s, err := readBack(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(info, s.SnapshotInfo); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if s.Len() != 2 || len(s.Silent) != 1 || s.Silent[0] != "n9" {
		t.Errorf("%d nodes, silent %v", s.Len(), s.Silent)
	}
	a.Stats, a.Uptime = nil, 0 // they change by themselves
	got, ok, err := s.Node("n1")
	if diff := cmp.Diff(a, got); diff != "" || !ok || err != nil {
		t.Errorf("%v, %v, -want +got\n%s", ok, err, diff)
	}
	if _, ok, err := s.Node("n3"); ok || err != nil {
		t.Errorf("a node that is not there: %v, %v", ok, err)
	}
	n := 0
	for _, err := range s.Nodes() {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 2 {
		t.Errorf("%d nodes, want 2", n)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	whole := string(snapshotBytes(t, SnapshotInfo{}, nil, nodeWith("n1", "1", "{}"), nodeWith("n2", "1", "{}")))
	lines := strings.SplitAfter(whole, "\n")
	for name, tt := range map[string]struct{ data, want string }{
		"empty":      {"", "empty"},
		"other file": {"{}\n", "not an inventory snapshot"},
		"json list":  {"[1]\n", "not an inventory snapshot"},
		"cut":        {strings.Join(lines[:2], ""), "cut short after line 2"},
		"torn":       {whole[:len(whole)-10], "line 4"},
		"one less":   {lines[0] + lines[1] + lines[3], "has 1 node, and its last line counts 2"},
		"twice":      {lines[0] + lines[1] + lines[1] + lines[3], "line 3: node n1 is there twice"},
		"more":       {whole + lines[1], "line 5: more after the end"},
		"newer":      {strings.Replace(whole, `"schema_version":1`, `"schema_version":2`, 1), "version 2"},
		"no name":    {strings.Replace(whole, `"identity":"n1"`, `"identity":""`, 1), "line 2: a node without a name"},
		"no object":  {strings.Replace(whole, `"facts":{}`, `"facts":[]`, 1), "no object"},
		"odd line":   {lines[0] + `{"k":"x"}` + "\n", "unknown kind"},
	} {
		if s, err := readBack([]byte(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, s, err, tt.want)
		}
	}
	if _, err := readBack(nil); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("error %v, want ErrNoSnapshot", err)
	}
}

func compareWith(t *testing.T, before []byte, ignored []string, after []Node, silent ...string) Difference {
	t.Helper()
	s, err := readBack(before)
	if err != nil {
		t.Fatal(err)
	}
	c := NewComparison(s, ignored, true)
	for _, n := range after {
		if err := c.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	return c.Finish(silent, nil)
}

// texts are the groups as people read them.
func texts(d Difference) []string {
	var list []string
	for _, g := range d.Groups {
		var changes []string
		for _, c := range g.Changes {
			changes = append(changes, c.String())
		}
		list = append(list, fmt.Sprintf("%d: %s: %s", g.Count, strings.Join(changes, "; "), strings.Join(g.Nodes, " ")))
	}
	return list
}

func TestDifferenceIsFoldedIntoGroups(t *testing.T) {
	before := []Node{
		nodeWith("n1", "0.28.0", `{"os":{"full":"9.4","name":"A"},"up":1}`), nodeWith("n2", "0.28.0", `{"os":{"full":"9.4","name":"A"},"up":1}`),
		nodeWith("n3", "0.28.0", `{"os":{"full":"9.4","name":"A"}}`), nodeWith("n4", "0.29.4", `{}`),
		nodeWith("n5", "0.29.4", `{}`), nodeWith("n6", "0.29.4", `{"l":[1, 2],"a.b":null}`),
	}
	after := []Node{
		nodeWith("n1", "0.29.4", `{"os":{"full":"9.5","name":"A"},"up":2}`), nodeWith("n2", "0.29.4", `{"os":{"name":"A","full":"9.5"},"up":3}`),
		nodeWith("n3", "0.29.4", `{"os":{"full":"9.4","name":"A"}}`), nodeWith("n4", "0.29.4", ` {} `),
		nodeWith("n6", "0.29.4", `{"l":[1,3],"new":"x"}`), nodeWith("n9", "0.29.4", `{}`),
	}
	after[2].Upgradable, after[2].Agents = true, []string{"rpcutil", "scout"}
	after[2].Classes = nil
	data := snapshotBytes(t, SnapshotInfo{AgentVersions: true}, nil, before...)
	got := compareWith(t, data, []string{"up"}, after, "n5", "n77")
	want := []string{
		"1: came: n9",
		"1: did not answer now: n5",
		"3: version 0.28.0 -> 0.29.4: n1 n2 n3",
		"2: fact os.full 9.4 -> 9.5: n1 n2",
		"1: now upgradable; agent scout is new; class common is gone: n3",
		`1: fact a\.b is gone: null; fact l [1,2] -> [1,3]; fact new is new: x: n6`,
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got.Before != 6 || got.After != 6 || got.Same != 1 {
		t.Errorf("%d before, %d after, %d same; want 6, 6, 1", got.Before, got.After, got.Same)
	}
	if same := compareWith(t, data, nil, before); len(same.Groups) != 0 || same.Same != 6 {
		t.Errorf("a fleet and itself: %v", texts(same))
	}
	if gone := compareWith(t, data, nil, before[:5]); len(gone.Groups) != 1 || gone.Groups[0].Changes[0].What != nodeWent {
		t.Errorf("without n6: %v", texts(gone))
	}
}

func TestChangesOfAThousandKindsAreOne(t *testing.T) {
	var before, after []Node
	for i := range 50 {
		name := fmt.Sprintf("n%02d", i)
		before = append(before, nodeWith(name, "1", fmt.Sprintf(`{"uptime":%d,"k":"v"}`, i)))
		after = append(after, nodeWith(name, "1", fmt.Sprintf(`{"uptime":%d,"k":"w"}`, i+1000)))
	}
	got := compareWith(t, snapshotBytes(t, SnapshotInfo{}, nil, before...), nil, after)
	if len(got.Groups) != 1 {
		t.Fatalf("groups %v, want 1", texts(got))
	}
	if g := got.Groups[0]; g.Count != 50 || g.Changes[0].String() != "fact k v -> w" || g.Changes[1].String() != "fact uptime changed, in 50 different ways" {
		t.Errorf("%v", texts(got))
	}
	if text, err := json.Marshal(got); err != nil || !strings.Contains(string(text), `"ways":50`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestAgentVersionsCountOnlyWhereBothSidesKnowThem(t *testing.T) {
	a, b := nodeWith("n1", "1", "{}"), nodeWith("n1", "1", "{}")
	a.AgentVersions, b.AgentVersions = map[string]string{"rpcutil": "1", "old": "1"}, map[string]string{"rpcutil": "2"}
	if got := texts(compareWith(t, snapshotBytes(t, SnapshotInfo{AgentVersions: true}, nil, a), nil, []Node{b})); len(got) != 1 || got[0] != "1: agent version rpcutil 1 -> 2: n1" {
		t.Errorf("%v", got)
	}
	if got := texts(compareWith(t, snapshotBytes(t, SnapshotInfo{}, nil, a), nil, []Node{b})); len(got) != 0 {
		t.Errorf("%v, want nothing", got)
	}
}

// Whatever the bytes: no panic; what is read is all there, and a prefix of a snapshot is none.
func FuzzReadSnapshot(f *testing.F) {
	f.Add(snapshotBytes(f, SnapshotInfo{Collective: "m"}, []string{"s"}, nodeWith("n1", "1", `{"a":1}`), nodeWith("n2", "1", "{}")), 20)
	f.Add([]byte("{}\n"), 1)
	f.Add(bytes.ReplaceAll(snapshotBytes(f, SnapshotInfo{}, nil, nodeWith("n1", "1", "{}")), []byte("\n"), []byte("\r\n")), 0)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		s, err := readBack(data)
		if err != nil {
			return
		}
		n := 0
		for r, err := range s.Nodes() {
			if err != nil {
				t.Fatalf("a node that was read before: %v", err)
			}
			if n++; r.Identity == "" {
				t.Error("a node without a name")
			}
		}
		if n != s.Len() {
			t.Errorf("%d nodes, want %d", n, s.Len())
		}
		if short := bytes.TrimRight(data, "\r\n"); cut > 0 && cut < len(short) {
			if _, err := readBack(short[:len(short)-cut]); err == nil {
				t.Error("a prefix was taken for a snapshot")
			}
		}
	})
}
