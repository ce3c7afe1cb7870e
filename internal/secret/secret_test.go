package secret

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestScrubberTakesBothFormsOut(t *testing.T) {
	var s Scrubber
	s.Add(New(`qu"ote`), New("abc"))
	for _, text := range []string{`plain qu"ote here`, `{"message":"qu\"ote"}`} {
		if got := string(s.Bytes([]byte(text))); strings.Contains(got, "ote") || !strings.Contains(got, Redacted) {
			t.Errorf("%s became %s", text, got)
		}
	}
	if got := s.Text("abc stays: it is too short to look for"); !strings.HasPrefix(got, "abc") {
		t.Errorf("got %q", got)
	}
}

// A log writes a value in quotes of its own kind.
func TestAScrubbedLogHoldsNoSecret(t *testing.T) {
	var s Scrubber
	const text = "qu\"o<te>&\\x"
	s.Add(New(text))
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(s.Writer(&out), nil)), slog.New(slog.NewJSONHandler(s.Writer(&out), nil))} {
		log.Info(text, "value", text, "inside", "a server says: "+text+" is wrong", "error", errors.New(text))
	}
	if got := out.String(); strings.Contains(got, "te>") || strings.Contains(got, "te\\u003e") || strings.Count(got, Redacted) != 8 {
		t.Errorf("logged: %s", got)
	}
}

func TestReadLine(t *testing.T) {
	tests := []struct {
		in, want string
		bad      bool
	}{
		{in: "s3cret", want: "s3cret"}, {in: "s3cret\n", want: "s3cret"}, {in: "s3cret\r\n", want: "s3cret"}, {in: " with spaces ", want: " with spaces "},
		{in: "", bad: true}, {in: "\n", bad: true}, {in: "two\nlines\n", bad: true},
	}
	for _, tt := range tests {
		got, err := oneLine(strings.NewReader(tt.in))
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("%q: got %q, %v", tt.in, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "two") {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
}
