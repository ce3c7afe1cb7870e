package inventory

import (
	"encoding/json"
	"reflect"
	"testing"
)

// What quick decodes it decodes as encoding/json does.
func FuzzQuick(f *testing.F) {
	for _, text := range []string{
		`1`, `-7`, `0`, `1e3`, `9223372036854775808`, `true`, `false`, `null`, `""`, `"a"`, `"\u0041"`, `"é"`, `[]`, `["a"]`, `["a","b"]`, `["a", "b"]`,
		`[ ]`, `["a",1]`, `["]"]`, `["a,b"]`, `[["a"]]`, `{}`, `"` + "\xff" + `"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		for _, pair := range [][2]any{{new(int64), new(int64)}, {new(bool), new(bool)}, {new(string), new(string)}, {new([]string), new([]string)}} {
			if !quick(data, pair[0]) {
				continue
			}
			if err := json.Unmarshal(data, pair[1]); err != nil || !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%T of %s: got %v, want %v, %v", pair[0], data, pair[0], pair[1], err)
			}
		}
	})
}
