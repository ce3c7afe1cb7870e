package secret

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hidden = "hunter2-hunter2"

// However a value is printed or encoded, alone or in something else, it is not shown.
func TestAValueIsNotShown(t *testing.T) {
	v := New(hidden)
	type holder struct {
		Name  string
		Value Value
		inner Value
		list  []Value
	}
	h := holder{"n", v, v, []Value{v}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", v, &v, h)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v, "h", h)
	for _, encode := range []func(any) ([]byte, error){json.Marshal, xml.Marshal} {
		data, err := encode(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(data)
	}
	if text := out.String(); strings.Contains(text, hidden) || strings.Contains(text, "hunter") || !strings.Contains(text, Redacted) {
		t.Errorf("printed %s", text)
	}
	if v.Reveal() != hidden || v.String() != Redacted || v.GoString() != Redacted || v.Empty() {
		t.Errorf("%v, revealed %q", v, v.Reveal())
	}
	var none Value
	if none.Reveal() != "" || !none.Empty() || !New("").Empty() || none.String() != Redacted {
		t.Error("the empty secret is one like others")
	}
	if !v.Equal(New(hidden)) || v.Equal(none) || !none.Equal(New("")) {
		t.Error("values compare by their texts")
	}
}

func TestASecretIsReadFromWhereItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := func() Source {
		return Source{In: strings.NewReader("from stdin\n"), Getenv: func(name string) (string, bool) { return map[string]string{"V": "from variable"}[name], name != "W" }}
	}
	asked := source()
	asked.Ask = func(_ context.Context, question string) (string, error) { return "answer to " + question, nil }
	silent, gone := source(), source()
	silent.Ask = func(context.Context, string) (string, error) { return "", nil }
	gone.Ask = func(context.Context, string) (string, error) { return "", context.Canceled }
	for _, tt := range []struct {
		from       Source
		text, want string
		literal    bool
		bad        string
	}{
		{source(), hidden, hidden, true, ""}, {source(), "", "", true, ""}, {source(), "@@x", "@x", true, ""},
		{source(), "@" + file, "from file", false, ""}, {source(), "@/nowhere", "", false, `input "token": there is no file /nowhere`}, {source(), "@", "", false, "the name of the file is empty"}, {source(), "@" + filepath.Dir(file), "", false, "neither a file nor a pipe"},
		{source(), "-", "from stdin", false, ""}, {Source{}, "-", "", false, "stdin: there is none"},
		{source(), "env:V", "from variable", false, ""}, {source(), "env:W", "", false, "the variable W is not set"}, {source(), "env:X", "", false, "the variable X is not set"},
		{Source{}, "env:V", "", false, "the variable V is not set"},
		{asked, "-", "answer to token: ", false, ""}, {silent, "-", "", false, "nothing was typed"}, {gone, "-", "", false, "context canceled"},
	} {
		v, literal, err := tt.from.Read(t.Context(), "token", tt.text)
		if v.Reveal() != tt.want || literal != tt.literal || (err != nil) != (tt.bad != "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("%q: got %q, literal %t, %v", tt.text, v.Reveal(), literal, err)
		}
		if e, ok := errors.AsType[*ReadError](err); err != nil && (!ok || e.Name != "token" || e.Unwrap() == nil) {
			t.Errorf("%q: the error is %T", tt.text, err)
		}
	}
}

func TestAScrubbedWriterKeepsLinesWhole(t *testing.T) {
	var s Scrubber
	var out bytes.Buffer
	s.Add(New(hidden), New("ab"), New(""))
	w := s.Writer(&out)
	line := "before " + hidden + " after ab\n"
	if n, err := fmt.Fprint(w, line); n != len(line) || err != nil { // the length of what was given, as io.Writer has it
		t.Errorf("wrote %d of %d, %v", n, len(line), err)
	}
	if got := out.String(); got != "before [redacted] after ab\n" {
		t.Errorf("got %q", got)
	}
	if _, err := fmt.Fprint(s.Writer(broken{}), line); err == nil {
		t.Error("an error of writing is lost")
	}
	plain := []byte("nothing to hide")
	if got := (&Scrubber{}).Bytes(plain); &got[0] != &plain[0] {
		t.Error("data without secrets was copied")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }
