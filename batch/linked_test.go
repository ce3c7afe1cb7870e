package batch

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestReadHeaderReadsWhatARunWrites(t *testing.T) {
	plan := Plan{Batches: []Batch{{Number: 1, Nodes: []string{"n1"}}}}
	want := Header{Run: "b", Parent: "a", Created: time.Unix(1, 0).UTC(), Meta: []byte(`{"agent":"x"}`)}
	line, err := encodeRecord(Record{Kind: KindPlan, Time: time.Unix(2, 0), Begin: &Beginning{Header: want, Plan: &plan}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadHeader(line)
	if err != nil || got.Run != want.Run || got.Parent != want.Parent || !got.Created.Equal(want.Created) || string(got.Meta) != string(want.Meta) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"plan":1}`, `{"plan":{"rules":{}}}`, `{"plan":{"header":[]}}`, `{"plan"`} {
		if h, err := ReadHeader([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, h)
		}
	}
}

// A program of record version 2 does not know left-out records: their version makes it say so. All other records stay
// readable for it.
func TestRecordsCarryTheVersionOfTheirKind(t *testing.T) {
	for kind, want := range map[Kind]int{KindPlan: 2, KindIntent: 2, KindRunEnd: 2, KindLeftOut: 3, KindAdopted: 4} {
		line, err := encodeRecord(Record{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Version int `json:"v"`
		}
		if err := json.Unmarshal(line, &got); err != nil || got.Version != want {
			t.Errorf("a %s record has version %d, %v, want %d", kind, got.Version, err, want)
		}
		if _, err := decodeRecord(line); err != nil {
			t.Errorf("a %s record: %v", kind, err)
		}
	}
	if _, err := decodeRecord([]byte(`{"v":5,"k":"x"}`)); err == nil || !strings.Contains(err.Error(), "a newer fleetctl wrote this record") {
		t.Errorf("a newer record: %v", err)
	}
}
