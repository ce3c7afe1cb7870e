package batch

import (
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
