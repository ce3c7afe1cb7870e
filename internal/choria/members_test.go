package choria

import (
	"encoding/json"
	"testing"
)

// FuzzMembers compares with encoding/json: the same objects are valid, and have the same keys and values.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a": "x\"}" , "b":[1,{"c":null}], "a":true}`, `{"\u0061":{}}`, `{"a":1,}`, `{"a"}`, `null`, `[]`, `{"a":1}x`, "{\"\xff\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var want map[string]json.RawMessage
		valid := json.Unmarshal(data, &want) == nil && want != nil
		list, err := Members(nil, data)
		if err != nil {
			if valid && len(data) < 1000 { // what is large may be nested too deep
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		got := map[string]json.RawMessage{}
		for _, m := range list {
			got[string(m.Key)] = m.Value
		}
		if !valid || len(got) != len(want) {
			t.Fatalf("%q has %d members, want %d (valid: %v)", data, len(got), len(want), valid)
		}
		for key, value := range want {
			if string(got[key]) != string(value) {
				t.Errorf("%q: %q is %s, want %s", data, key, got[key], value)
			}
		}
	})
}

func TestIntegerReadsOneNumber(t *testing.T) {
	for data, want := range map[string]int64{
		`{"a":"starttime","starttime":12}`: 12, `{"starttime":-1}`: -1, `{"x":{"starttime":3}}`: 0, `{"starttime":"5"}`: 0, `{"starttime":1.5}`: 0,
		`{"starttime":null}`: 0, `"starttime"`: 0, `{"starttime":7`: 0, `{"starttime":1,"starttime":2}`: 2,
	} {
		n, ok := Integer([]byte(data), "starttime")
		if n != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v; want %d", data, n, ok, want)
		}
	}
}
