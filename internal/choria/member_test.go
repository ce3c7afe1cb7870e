package choria

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// FuzzMembers holds Members and Text against encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"b":1,"a":"x","b":[1,{"c":null}]}`, ` { "a" : "\u00e9\ud83d\ude00\/\n" , "":{} } `, `{"\u0061":true,"a":false}`,
		"{\"\xff\":\"\xfe\"}", `null`, `[1]`, `{"a":}`, `{"a":1}x`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		object := json.Unmarshal(data, &want) == nil && want != nil
		got, ok := Members(data)
		if ok != object {
			if !ok && (scanObject(data, nil) != nil) && json.Valid(data) {
				return // beyond the bounds
			}
			t.Fatalf("read as an object: %v, want %v", ok, object)
		}
		if !ok {
			return
		}
		if names := slices.Sorted(maps.Keys(want)); len(names) != len(got) {
			t.Fatalf("%d members, want %d", len(got), len(names))
		}
		for _, m := range got {
			if string(m.Value) != string(want[m.Name]) {
				t.Fatalf("%q is %q, want %q", m.Name, m.Value, want[m.Name])
			}
			var text string
			isText := len(m.Value) > 0 && m.Value[0] == '"' && json.Unmarshal(m.Value, &text) == nil
			if read, ok := Text(m.Value); ok != isText || read != text {
				t.Fatalf("%q reads as %q, %v; want %q, %v", m.Value, read, ok, text, isText)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) }) {
			t.Fatal("not sorted")
		}
	})
}
