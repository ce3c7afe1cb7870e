package render

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestReflowKeepsColumnsAndCommands(t *testing.T) {
	text := `How things are
done, in a paragraph of two lines that is one.

  --flag N      what the flag does, in many words
                and on two lines
  --other       short
  --a-long-name 'of more columns'
                has its text on the next line

    a command that is longer than the width stays

The end`
	want := `How things are done, in a paragraph of
two lines that is one.

  --flag N      what the flag does, in
                many words and on two
                lines
  --other       short
  --a-long-name 'of more columns'
                has its text on the next
                line

    a command that is longer than the width stays

The end`
	if diff := cmp.Diff(want, Reflow(text, 40)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, width := range []int{200, 100} {
		if got := Reflow(text, width); got != text {
			t.Errorf("what fits into %d columns has changed: %q", width, got)
		}
	}
}

// At any width no word is lost, and none is added.
func TestReflowKeepsEveryWord(t *testing.T) {
	text := "one two  three four\n  a    list of things that are\n       long\n\n" + strings.Repeat("x", 90) + " y"
	for width := range 100 {
		if diff := cmp.Diff(strings.Fields(text), strings.Fields(Reflow(text, width))); diff != "" {
			t.Errorf("width %d: -want +got\n%s", width, diff)
		}
	}
}

func TestTableWidthIsThatOfTheTable(t *testing.T) {
	header, rows := []string{"Run", "Status"}, [][]string{{"20261122-141448-o3lzr", "é"}, {"b", "interrupted"}}
	var out strings.Builder
	if err := Table(&out, "", header, rows); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out.String(), "\n")
	if got, want := tableWidth(header, rows), utf8.RuneCountInString(first); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// A table becomes as narrow as its terminal: first it has fewer columns, then shorter cells; it is never wrapped.
func TestTablesFitTheTerminal(t *testing.T) {
	header := []string{"Node", "Version", "Uptime"}
	rows := [][]string{{"web01.ams1.example.net", "0.30.2", "3 days"}, {"db01.fra1.example.net", "a version as long as a sentence", ""}}
	for _, tt := range []struct {
		width int
		want  []string // of the first and the last row
	}{
		{0, []string{"web01.ams1.example.net", "3 days", "a version as long as a sentence"}},
		{80, []string{"web01.ams1.example.net", "3 days", "a version as long as a sentence"}},
		{62, []string{"web01.ams1.example.net", "a version as long as a sentence"}},
		{40, []string{"web01.ams1.example.net", "a version…"}},
		{24, []string{"web01.am…", "a versi…"}},
	} {
		var b strings.Builder
		if err := FitTable(&b, header, rows, tt.width, "Uptime"); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("width %d: no %q in\n%s", tt.width, want, b.String())
			}
		}
		if strings.Contains(b.String(), "Uptime") != (tt.width == 0 || tt.width == 80) {
			t.Errorf("width %d: the columns of\n%s", tt.width, b.String())
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); tt.width > 0 && n > tt.width {
				t.Errorf("width %d: a line of %d: %s", tt.width, n, line)
			}
		}
	}
}
