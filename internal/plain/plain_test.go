package plain

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                      "",
		"plain, 日本 ü 👍🏽 \ufffd": "plain, 日本 ü 👍🏽 \ufffd",
		"a\tb\nc":               "a\tb\nc",
		"\x1b[2J":               `\x1b[2J`,
		"nul\x00":               `nul\x00`,
		"a\rb\x7f\x07":          `a\x0db\x7f\x07`,
		"\u009b31m":             `\u009b31m`,
		"\u202egnp.exe\u202c":   `\u202egnp.exe\u202c`,
		"\u2066x\u2069":         `\u2066x\u2069`,
		"\u200e\u200f\u061c":    `\u200e\u200f\u061c`,
		"\u2028\u2029":          `\u2028\u2029`,
		"\xff\xc3(":             `\xff\xc3(`,
		"\x9b31m":               `\x9b31m`,
	} {
		if got := Text(s); got != want {
			t.Errorf("Text(%q) = %q, want %q", s, got, want)
		}
	}
	if got := Line("a\tb\nc\x1b"); got != `a\tb\nc\x1b` {
		t.Errorf("Line: %q", got)
	}
}

func TestEveryHostileCharacterIsReplaced(t *testing.T) {
	hostile := 0
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		in := string(r)
		got := Text(in)
		if Hostile(r) {
			hostile++
		}
		if Hostile(r) != (got != in) {
			t.Errorf("%U becomes %q", r, got)
		}
		if Hostile(r) && (r > 0xffff || strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' })) {
			t.Errorf("%U becomes %q, which is not ASCII", r, got)
		}
	}
	if want := 30 + 33 + 3 + 7 + 4; hostile != want { // C0, DEL and C1, marks, separators and embeddings, isolates
		t.Errorf("%d characters are hostile, want %d", hostile, want)
	}
}

func TestJSONKeepsItsMeaning(t *testing.T) {
	for _, s := range []string{"", "plain ü 日本 👍", "\u202e", "\u009b", "\x7f", "\u2028", "a\tb\r\nc\x00\x1b", "\ufffd", "\u061c\u200e\u200f\u2066\u2069"} {
		raw, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder // as an encoder writes that escapes nothing it need not
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(map[string]string{s: s}); err != nil {
			t.Fatal(err)
		}
		for _, doc := range []string{string(raw), b.String(), "\r\n" + b.String()} {
			out := JSON([]byte(doc))
			var got, want map[string]string
			if err := json.Unmarshal(out, &got); err != nil {
				t.Errorf("%q: %v", out, err)
			}
			if err := json.Unmarshal([]byte(doc), &want); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %q, want %q (%v)", out, got, want, err)
			}
		}
	}
	if got := string(JSON([]byte("\"\xff\""))); got != `"\ufffd"` {
		t.Errorf("not UTF-8: %q", got)
	}
}

func TestHarmlessTextIsNotCopied(t *testing.T) {
	s, doc := strings.Repeat("harmless ü ", 100), []byte(`{"a":"`+strings.Repeat("b", 1000)+`"}`)
	if n := testing.AllocsPerRun(10, func() { Text(s); Line(s); JSON(doc) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLogLinesAreHarmless(t *testing.T) {
	var b strings.Builder
	logger := slog.New(slog.NewJSONHandler(Log{&b}, nil))
	logger.Info("\u202e\x1b[2J", "node", "\u009b\xff")
	if strings.ContainsFunc(b.String(), Hostile) || !strings.Contains(b.String(), `\u202e`) || !json.Valid([]byte(b.String())) {
		t.Errorf("%q", b.String())
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Text": Text(s), "Line": Line(s), "JSON": string(JSON([]byte(s)))} {
			if !utf8.ValidString(got) {
				t.Errorf("%s(%q) is not UTF-8: %q", name, s, got)
			}
			for _, r := range got {
				if Hostile(r) && !(name == "JSON" && r == '\r') || name == "Line" && (r == '\n' || r == '\t') {
					t.Errorf("%s(%q) = %q keeps %U", name, s, got, r)
				}
			}
		}
		if got := Text(Text(s)); got != Text(s) {
			t.Errorf("Text twice: %q, once: %q", got, Text(s))
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte("{\"a\u202e\": [\"\x7f\u0085\", 1.0, null]}"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var want, got any
		if json.Unmarshal(doc, &want) != nil {
			return
		}
		if err := json.Unmarshal(JSON(doc), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q becomes %q (%v)", doc, JSON(doc), err)
		}
	})
}

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"0 nodes": Count(0, "node"), "1 node": Count(1, "node"), "2 nodes": Count(2, "node"), "1 reply": Count(1, "reply"),
		"3 replies": Count(3, "reply"), "1 batch": Count(1, "batch"), "4 batches": Count(4, "batch"), "2 days": Count(2, "day"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
