package secret

import (
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

func TestReadLine(t *testing.T) {
	tests := []struct {
		in, want string
		bad      bool
	}{
		{in: "s3cret", want: "s3cret"}, {in: "s3cret\n", want: "s3cret"}, {in: "s3cret\r\n", want: "s3cret"}, {in: " with spaces ", want: " with spaces "},
		{in: "", bad: true}, {in: "\n", bad: true}, {in: "two\nlines\n", bad: true},
	}
	for _, tt := range tests {
		got, err := OneLine(strings.NewReader(tt.in))
		if (err != nil) != tt.bad || got != tt.want {
			t.Errorf("%q: got %q, %v", tt.in, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "two") {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
}
