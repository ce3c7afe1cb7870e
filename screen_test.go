package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// screen is what a terminal shows: as much of one as the output of fleetctl needs.
type screen struct {
	rows    [][]cell
	columns int
	x, y    int
	style   string // of what is written next: the parameters of the last SGR sequence
}

type cell struct {
	char  rune
	style string
}

var escape = regexp.MustCompile(`^\x1b\[([0-9;]*)([A-Za-z])`)

func newScreen(rows, columns int) *screen {
	return &screen{rows: make([][]cell, rows), columns: columns}
}

// write shows what a program has written. An unknown sequence is an error, because the picture would be wrong.
func (s *screen) write(text string) error {
	for text != "" {
		if m := escape.FindStringSubmatch(text); m != nil {
			if err := s.sequence(m[1], m[2]); err != nil {
				return err
			}
			text = text[len(m[0]):]
			continue
		}
		for _, c := range text {
			text = text[len(string(c)):]
			if err := s.put(c); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func (s *screen) put(c rune) error {
	switch {
	case c == '\r':
		s.x = 0
	case c == '\n':
		s.down()
	case c == '\b':
		s.x = max(s.x-1, 0)
	case c < ' ':
		return fmt.Errorf("unknown control character %q", c)
	default:
		if s.x == s.columns {
			s.x = 0
			s.down()
		}
		row := s.rows[s.y]
		for len(row) <= s.x {
			row = append(row, cell{char: ' '})
		}
		row[s.x] = cell{c, s.style}
		s.rows[s.y] = row
		s.x++
	}
	return nil
}

// down goes to the next row; below the last one, the first is lost.
func (s *screen) down() {
	if s.y++; s.y == len(s.rows) {
		s.rows = append(s.rows[1:], nil)
		s.y--
	}
}

func (s *screen) sequence(parameters, name string) error {
	n, _ := strconv.Atoi(parameters) // "" is 0
	switch {
	case name == "A":
		s.y = max(s.y-max(n, 1), 0)
	case name == "K" && n == 0:
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
	case name == "J" && n == 0:
		s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		for y := s.y + 1; y < len(s.rows); y++ {
			s.rows[y] = nil
		}
	case name == "m":
		if s.style = parameters; n == 0 {
			s.style = ""
		}
	default:
		return fmt.Errorf("unknown sequence ESC [ %s %s", parameters, name)
	}
	return nil
}

// run is text of one style.
type textRun struct{ text, style string }

// row returns a row in runs of one style, without blanks at its end.
func (s *screen) row(y int) []textRun {
	cells := s.rows[y]
	for len(cells) > 0 && cells[len(cells)-1].char == ' ' {
		cells = cells[:len(cells)-1]
	}
	var runs []textRun
	for _, c := range cells {
		if len(runs) == 0 || runs[len(runs)-1].style != c.style && c.char != ' ' {
			runs = append(runs, textRun{style: c.style})
		}
		runs[len(runs)-1].text += string(c.char)
	}
	return runs
}

// shot is a screen at a time after the first one.
type shot struct {
	at   time.Duration
	rows [][]textRun
}

// film is a recording to be drawn.
type film struct {
	title, description string
	shots              []shot
	columns            int
	speed              float64       // how many times faster than it was recorded
	hold               time.Duration // how long the last shot stays
}

// classes are the styles that the product has, and the names of their colors in the picture.
var classes = map[string]string{"31": "r", "32": "g", "33": "y", "1": "b"}

const (
	charWidth, lineHeight = 8.43, 19 // of the font at 14 pixels
	margin, bar           = 16, 30   // around the text, and above it
)

// svg draws the film. It moves where the reader allows that, and shows the last shot elsewhere. It has no script and loads nothing.
func (f film) svg() (string, error) {
	height := 0
	for _, s := range f.shots {
		height = max(height, len(s.rows))
	}
	page := height * lineHeight
	rows := map[string]int{}
	var drawn, frames, steps strings.Builder
	shown := func(s shot) time.Duration { return time.Duration(float64(s.at-f.shots[0].at) / f.speed) }
	length := shown(f.shots[len(f.shots)-1]) + f.hold
	for i, s := range f.shots {
		fmt.Fprintf(&steps, "%.2f%%{transform:translateY(-%dpx)}", float64(shown(s))/float64(length)*100, i*page)
		for y, row := range s.rows {
			text, err := svgRow(row)
			if err != nil {
				return "", err
			}
			if text == "" {
				continue
			}
			id, ok := rows[text]
			if !ok {
				id = len(rows)
				rows[text] = id
				fmt.Fprintf(&drawn, "<text id=\"t%d\">%s</text>\n", id, text)
			}
			fmt.Fprintf(&frames, `<use href="#t%d" y="%d"/>`, id, i*page+(y+1)*lineHeight-5)
		}
		frames.WriteString("\n")
	}
	width := int(float64(f.columns)*charWidth) + 2*margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="title desc" xml:space="preserve">
<title id="title">%[3]s</title>
<desc id="desc">%[4]s</desc>
<style>
svg{--back:#f6f8fa;--edge:#d0d7de;--text:#1f2328;--red:#a40e26;--green:#116329;--yellow:#7d4e00}
@media (prefers-color-scheme:dark){svg{--back:#0d1117;--edge:#30363d;--text:#e6edf3;--red:#ff7b72;--green:#7ee787;--yellow:#e3b341}}
.window{fill:var(--back);stroke:var(--edge)}.dot{fill:var(--edge)}
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;fill:var(--text);white-space:pre}
.r{fill:var(--red)}.g{fill:var(--green)}.y{fill:var(--yellow)}.b{font-weight:bold}
.film{transform:translateY(-%[5]dpx)}
@media (prefers-reduced-motion:no-preference){.film{animation:film %.1[6]fs step-end infinite}}
@keyframes film{%[7]s}
</style>
<defs>
%[8]s</defs>
<rect class="window" x=".5" y=".5" width="%[9]d" height="%[10]d" rx="8"/>
<circle class="dot" cx="18" cy="16" r="5"/><circle class="dot" cx="36" cy="16" r="5"/><circle class="dot" cx="54" cy="16" r="5"/>
<svg x="%[11]d" y="%[12]d" width="%[13]d" height="%[14]d"><g class="film">
%[15]s</g></svg>
</svg>
`, width, page+bar+margin, escaped(f.title), escaped(f.description), (len(f.shots)-1)*page, length.Seconds(), steps.String(), drawn.String(),
		width-1, page+bar+margin-1, margin, bar, width-2*margin, page, frames.String()), nil
}

func svgRow(row []textRun) (string, error) {
	var b strings.Builder
	for _, run := range row {
		class, ok := classes[run.style]
		switch {
		case run.style == "":
			b.WriteString(escaped(run.text))
		case ok:
			fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, escaped(run.text))
		default:
			return "", fmt.Errorf("the style %q has no color", run.style)
		}
	}
	return b.String(), nil
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}

func TestScreen(t *testing.T) {
	for in, want := range map[string]string{
		"one\r\ntwo":                        "one|two",
		"abc\rX":                            "Xbc",
		"one\r\ntwo\r\nthree\r\nfour":       "two|three|four",
		"abcdefghij12":                      "abcdefghij|12",
		"one\r\ntwo\x1b[1A\x1b[Kxy":         "one" + "xy|two",
		"one\r\ntwo\r\x1b[1A\x1b[J\x1b[2Jx": "error",
		"one\r\ntwo\r\x1b[1A\x1b[Jx":        "x",
		"\x1b[31mred\x1b[0m not":            "{31 red }not",
		"\x1b[7mreverse":                    "{7 reverse}",
		"a\tb":                              "error",
	} {
		s := newScreen(3, 10)
		got := ""
		if err := s.write(in); err != nil {
			got = "error"
		} else {
			var rows []string
			for y := range s.rows {
				row := ""
				for _, run := range s.row(y) {
					if run.style != "" {
						run.text = "{" + run.style + " " + run.text + "}"
					}
					row += run.text
				}
				rows = append(rows, row)
			}
			got = strings.TrimRight(strings.Join(rows, "|"), "|")
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

const (
	pictureFile = "docs/run.svg"
	maxPicture  = 60 << 10 // bytes
)

// TestThePictureOfARun looks at the recording in README.md: `make picture` writes it.
func TestThePictureOfARun(t *testing.T) {
	data, err := os.ReadFile(filepath.FromSlash(pictureFile))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if len(data) > maxPicture {
		t.Errorf("%d bytes, limit is %d", len(data), maxPicture)
	}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && !slices.Contains([]string{"svg", "title", "desc", "style", "defs", "text", "tspan", "rect", "circle", "g", "use"}, e.Name.Local) {
			t.Errorf("the element %s: only shapes and text are wanted", e.Name.Local)
		}
	}
	for _, want := range []string{"<title ", "<desc ", "prefers-color-scheme:dark", "prefers-reduced-motion", "[y/N]", "proved", "verified", "refused"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{host, "/home", "/root", "/tmp", "://"} {
		if strings.Contains(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), bad) {
			t.Errorf("it has %q", bad)
		}
	}
	if readme, err := os.ReadFile("README.md"); err != nil || !strings.Contains(string(readme), pictureFile) {
		t.Errorf("README.md does not show %s: %v", pictureFile, err)
	}
}
