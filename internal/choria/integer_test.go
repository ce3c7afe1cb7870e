package choria

import "testing"

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
