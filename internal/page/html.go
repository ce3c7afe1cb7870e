package page

import (
	"crypto/sha256"
	_ "embed" // for the files of the page
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"net/url"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/plain"
)

var (
	//go:embed page.html
	layout string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// policyOf allows this style and this script, and nothing else: no network, no frame, no form.
func policyOf(style, script string) string {
	return fmt.Sprintf("default-src 'none'; img-src data:; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hashOf(style), hashOf(script))
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// page parses the layout when the first page is written: other commands do not wait for it.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"line": plain.Line, "time": offset, "link": link,
		"only": func(key, value string) template.URL { return link([]Pair{{key, value}}) },
	}).Parse(layout))
})

// view is a document as the layout needs it.
type view struct {
	Document
	Policy string
	Style  template.CSS
	Script template.JS
	Data   tableData
	Lines  []spanView
	Charts []barsView
	Heats  []heatView
}

// spanView is a line of the timeline with its bar: a part until the last answer, and one until the last proof. The bars
// are drawn on a field that is 1,000 units wide.
type spanView struct {
	Span
	From, Answer     int // where the first part begins, and how long it is
	ProofFrom, Proof int // the second part
}

type barsView struct {
	Bars
	Lines []barView
}

type barView struct {
	Bar
	Length int
}

// tableData is the table as the script reads it. A cell of a choice is a place in Values.
type tableData struct {
	Columns []dataColumn `json:"columns"`
	Rows    [][]any      `json:"rows"`
	By      int          `json:"by"`
	Tones   []Tone       `json:"tones"` // of the values of the column By
}

type dataColumn struct {
	Key    string   `json:"key"`
	Title  string   `json:"title"`
	Kind   Kind     `json:"kind"`
	Aside  bool     `json:"aside,omitempty"`
	Values []string `json:"values,omitempty"`
}

// HTML writes a document as one file.
func HTML(w io.Writer, d Document) error {
	v := view{Document: d, Policy: policyOf(style, script), Style: template.CSS(style), Script: template.JS(script), Data: dataOf(d.Nodes)}
	for _, h := range d.Nodes.heats() {
		v.Heats = append(v.Heats, heatViewOf(h, d.Nodes))
	}
	v.Lines = spanViews(d.Spans)
	for _, b := range d.Bars {
		v.Charts = append(v.Charts, barsViewOf(b))
	}
	if err := page().Execute(w, v); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

func dataOf(t Table) tableData {
	d := tableData{By: t.at(t.By), Rows: make([][]any, len(t.Rows))}
	places := make([]map[string]int, len(t.Columns))
	for i, c := range t.Columns {
		d.Columns = append(d.Columns, dataColumn{Key: plain.Line(c.Key), Title: plain.Line(c.Title), Kind: c.Kind, Aside: c.Aside})
		places[i] = map[string]int{}
	}
	for r, row := range t.Rows {
		cells := make([]any, len(row))
		for i, cell := range row {
			cells[i] = d.cell(i, cell, places[i])
		}
		d.Rows[r] = cells
	}
	if d.By >= 0 {
		for _, v := range d.Columns[d.By].Values {
			d.Tones = append(d.Tones, t.Tones[v])
		}
	}
	return d
}

func (d *tableData) cell(column int, cell any, places map[string]int) any {
	c := &d.Columns[column]
	switch v := cell.(type) {
	case string:
		v = plain.Line(v)
		if c.Kind != Choice {
			return v
		}
		at, ok := places[v]
		if !ok {
			at = len(c.Values)
			places[v] = at
			c.Values = append(c.Values, v)
		}
		return at
	case time.Duration:
		return math.Round(v.Seconds()*1000) / 1000
	}
	return cell
}

type heatView struct {
	heat
	Lines []heatLine
}

type heatLine struct {
	Name  string
	Total int
	Link  template.URL
	Cells []heatCell
}

type heatCell struct {
	N     int
	Class string
	Link  template.URL
}

// heatViewOf colors a cell by the root of its share of the row, in ten steps: a few nodes with a problem are visible.
func heatViewOf(h heat, t Table) heatView {
	v := heatView{heat: h}
	for _, r := range h.Rows {
		row := Pair{h.Key, r.Name}
		l := heatLine{Name: r.Name, Total: r.Total, Link: link([]Pair{row})}
		for i, n := range r.Cells {
			c := heatCell{N: n, Link: link([]Pair{row, {t.By, h.Heads[i]}})}
			if n > 0 {
				c.Class = fmt.Sprintf("%s i%d", t.Tones[h.Heads[i]], int(math.Ceil(10*math.Sqrt(float64(n)/float64(r.Total)))))
			}
			l.Cells = append(l.Cells, c)
		}
		v.Lines = append(v.Lines, l)
	}
	return v
}

// link leads to the rows of the table that have these values.
func link(where []Pair) template.URL {
	q := url.Values{}
	for _, p := range where {
		q.Set(plain.Line(p.Name), plain.Line(p.Value))
	}
	return template.URL("#" + strings.ReplaceAll(q.Encode(), "+", "%20")) // Encode leaves no character with a meaning in HTML but &
}

// offset is a time on the timeline; empty for one that there is not.
func offset(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return seconds(d)
}

// field is the width of the bars' drawings, in units.
const field = 1000

// scale is a part of a whole on the field.
func scale[N int | time.Duration](part, whole N) int {
	if part <= 0 || whole <= 0 {
		return 0
	}
	return int(min(field*float64(part)/float64(whole), field))
}

func spanViews(spans []Span) []spanView {
	var length time.Duration
	for _, s := range spans {
		length = max(length, s.Sent, s.Answered, s.Ended)
	}
	views := make([]spanView, len(spans))
	for i, s := range spans {
		v := spanView{Span: s, From: scale(s.Sent, length)}
		if s.Sent >= 0 {
			answered := max(scale(s.Answered, length), v.From)
			v.Answer, v.ProofFrom, v.Proof = answered-v.From, answered, max(scale(s.Ended, length)-answered, 0)
		}
		views[i] = v
	}
	return views
}

func barsViewOf(b Bars) barsView {
	most := 0
	for _, i := range b.Items {
		most = max(most, i.N)
	}
	v := barsView{Bars: b}
	for _, i := range b.Items {
		v.Lines = append(v.Lines, barView{i, scale(i.N, most)})
	}
	return v
}
