package inventory

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// documented are a node that told everything, one that told little, and one with statistics alone besides.
func documented() []Node {
	whole := exampleNode()
	whole.Uptime, whole.AgentVersions = 90*time.Second, map[string]string{"rpcutil": "0.29.4", "choria_provision": "0.29.4"}
	return []Node{whole, {Identity: "n2", Version: "1"}, {Identity: "n3", Version: "1", Stats: &Stats{StartTime: time.Unix(1795332289, 0)}}}
}

func stored(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The files in testdata were written when a node had three types: documents and snapshots stay what they were, byte for byte.
func TestDocumentsOfANodeStayTheSameBytes(t *testing.T) {
	lines := func(encode func(Node) ([]byte, error), nodes []Node) []byte {
		var b bytes.Buffer
		for _, n := range nodes {
			line, err := encode(n)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		return b.Bytes()
	}
	nodes := documented()
	info := SnapshotInfo{Taken: time.Date(2026, 7, 28, 10, 0, 0, 0, time.UTC), Collective: "m", Selection: []string{"-F", "a=b"}, AgentVersions: true}
	for name, got := range map[string][]byte{
		"node.jsonl":    lines(func(n Node) ([]byte, error) { return json.Marshal(n) }, nodes[:2]),
		"records.jsonl": lines(Node.Record, nodes),
		"old.snap":      snapshotBytes(t, info, []string{"n9"}, nodes...),
	} {
		if want := stored(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestAnOldSnapshotIsReadAndDiffersInNothing(t *testing.T) {
	if d := compareWith(t, stored(t, "old.snap"), nil, documented()); d.Same != 3 || len(d.Groups) > 0 {
		t.Errorf("%d the same, and %v", d.Same, texts(d))
	}
}
