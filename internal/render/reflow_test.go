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

    a command that is longer than the width stays

The end`
	want := `How things are done, in a paragraph of
two lines that is one.

  --flag N      what the flag does, in
                many words and on two
                lines
  --other       short

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
	if got, want := TableWidth(header, rows), utf8.RuneCountInString(first); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
