package choria

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// agreeOnText decodes {"k":<literal>} both ways.
func agreeOnText(t *testing.T, literal string) {
	t.Helper()
	data := []byte(`{"k":` + literal + `}`)
	var want map[string]string
	slowErr := json.Unmarshal(data, &want)
	fields := [...]field{{key: "k"}}
	r := reader{layer: "test"}
	r.scan(data, fields[:])
	got := r.text(&fields[0])
	if (r.err == nil) != (slowErr == nil) {
		t.Errorf("%q: scanner %v, encoding/json %v", literal, r.err, slowErr)
	}
	if r.err == nil && got != want["k"] {
		t.Errorf("%q: got %q, want %q", literal, got, want["k"])
	}
}

// A byte that matters is found wherever it stands in the words that the
// scanner reads.
func TestScannerSeesEveryByteAtEveryPlace(t *testing.T) {
	for before := range 18 {
		for c := range 256 {
			for _, after := range []int{0, 9} {
				agreeOnText(t, `"`+strings.Repeat("a", before)+string([]byte{byte(c)})+strings.Repeat("b", after)+`"`)
			}
		}
	}
}

func TestScannerReadsEscapesAsEncodingJSONDoes(t *testing.T) {
	for _, literal := range []string{
		`""`, `"\""`, `"\\"`, `"\/"`, `"\b\f\n\r\t"`, `"\u0041"`, `"\u00fC"`, `"\u2028"`, `"\u0000"`, `"<\u003c>"`,
		`"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0041"`, `"\ud83dx"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\n"`,
		`"\x"`, `"\u12"`, `"\u12g4"`, `"\U0041"`, `"\`, `"\"`, `"`, `"a`, `"\u`, `"\'"`,
		"\"\xff\xfe\"", "\"\xe2\x82\"", "\"\xe2\x82\xac\"", "\"\xed\xa0\x80\"", "\"\x7f\"", "\"\u00fc\\n\"",
	} {
		agreeOnText(t, literal)
	}
}

func TestScannerAcceptsWhatEncodingJSONAccepts(t *testing.T) {
	values := []string{
		"0", "-0", "01", "1.", "1.5", ".5", "-", "+1", "1e5", "1E+5", "1e-05", "1e", "1e+", "0x1", "NaN", "-1.0e9", "00", "1_0",
		"true", "tru", "truex", "false", "null", "nul", "True", "[]", "[ ]", "[1]", "[1,]", "[,1]", "[1 2]", "[", "]", "[[]", "[1,[2,{\"a\":3}]]",
		"{}", "{ }", `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"a":2}`, `{1:2}`, "{", "\"a\"", "\v", "\u00a0", "", "/**/1",
	}
	for _, v := range values {
		for _, format := range []string{`{"k":%s}`, "\t{ \"k\" : %s \r\n}\n", `{"x":%s,"k":1}`, `%s`, `{"k":%s}x`, `{"k":[%s,{"y":%[1]s}]}`, "\ufeff{\"k\":%s}"} {
			data := fmt.Appendf(nil, format, v)
			err := scanObject(data, []field{{key: "k"}})
			_, slowErr := slowly(data)
			if (err == nil) != (slowErr == nil) {
				t.Errorf("%q: scanner %v, encoding/json %v", data, err, slowErr)
			}
		}
	}
}

func TestScannerKeys(t *testing.T) {
	for data, want := range map[string]string{
		`{"key":"1"}`:                     "1",
		`{"\u006bey":"1"}`:                "1",
		`{"Key":"1"}`:                     "",
		`{"key":"1","key":"2"}`:           "2",
		`{"key":"1","key":null}`:          "",
		`{"key":1,"key":"2"}`:             "2",
		`{"x":{"key":"1"},"y":["key"]}`:   "",
		`{"other":"0","key":"1","z":"2"}`: "1",
	} {
		fields := [...]field{{key: "z"}, {key: "key"}, {key: "other"}}
		r := reader{layer: "test"}
		r.scan([]byte(data), fields[:])
		if got := r.text(&fields[1]); got != want || r.err != nil {
			t.Errorf("%s: got %q, %v, want %q", data, got, r.err, want)
		}
	}
}
