package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostile is text as a node of an attacker could send it.
const hostile = "</script><img src=x onerror=alert(1)>\"'`|${1}\u202e[x](javascript:alert(1)) <!-- \x1b[2J @all"

// sample is a run over nodes whose names begin with web, one of them refuses.
func sample(reason string) Document {
	d := Document{
		Title: "choria_provision#restart", Verdict: "Failed: 1 refused of 3 nodes", Tone: Bad,
		Facts:  []Pair{{"Command", "req choria_provision restart"}, {"Empty", ""}},
		Notes:  []string{"the plan's note"},
		Counts: []Count{{Name: "verified", N: 2, Tone: Good}, {Name: "refused", N: 1, Tone: Bad}},
		Groups: []Group{{Cause: "refused: " + reason, N: 1, Nodes: "web02", Tone: Bad, Where: []Pair{{"state", "refused"}, {"reason", reason}}}},
		Spans:  []Span{{Name: "batch 1", Nodes: 3, Answered: time.Second, Ended: 4 * time.Second, Result: "2 verified, 1 refused", Tone: Bad}, {Name: "batch 2", Sent: -1, Answered: -1, Ended: -1}},
		Checks: []Check{{Place: "after batch 1", Result: "inconclusive", Reason: "no data", Rounds: 3, At: 2 * time.Second, Took: 20 * time.Second, Tone: Warn}},
		Bars:   []Bars{Histogram("From request to reply", []time.Duration{time.Second, 2 * time.Second, 3 * time.Second})},
		Nodes: Table{By: "state", Tones: map[string]Tone{"verified": Good, "refused": Bad}, Columns: []Column{
			{Key: "node", Title: "Node", Kind: Text}, {Key: "batch", Title: "Batch", Kind: Number}, {Key: "state", Title: "State", Kind: Choice},
			{Key: "reason", Title: "Proof or reason", Kind: Text}, {Key: "replied", Title: "Reply after", Kind: Seconds}, {Key: "fact:rack", Title: "rack", Kind: Choice, Map: true},
		}},
	}
	d.Nodes.Rows = [][]any{
		{"web01", 1, "verified", "started at 10:00", 3 * time.Second, "r1"},
		{"web02", 1, "refused", reason, time.Second, "r2"},
		{"web10", 1, "verified", "started at 10:01", 20 * time.Second, "r2"},
	}
	return d
}

// inject puts a text into every place of a document that holds one.
func inject(d Document, text string) Document {
	d.Title, d.Verdict = text, text
	d.Facts, d.Notes = []Pair{{"Command", text}}, []string{text}
	d.Counts[0].Name, d.Groups[0].Nodes, d.Groups[0].Cause = text, text, text
	d.Spans[0].Name, d.Spans[0].Note, d.Spans[0].Result = text, text, text
	d.Checks[0].Place, d.Checks[0].Result, d.Checks[0].Reason = text, text, text
	d.Bars[0].Title, d.Bars[0].Note, d.Bars[0].Unit, d.Bars[0].Items[0].Label = text, text, text, text
	d.Nodes.Columns[5].Title, d.Nodes.Columns[5].Key = text, text
	d.Nodes.Rows[0][0], d.Nodes.Rows[1][2], d.Nodes.Rows[2][5] = text, text, text
	return d
}

func htmlOf(t *testing.T, d Document) string {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func markdownOf(t *testing.T, d Document) string {
	t.Helper()
	var out bytes.Buffer
	if err := Markdown(&out, d); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	element = regexp.MustCompile(`(?s)<(script|style)([^>]*)>(.*?)</(script|style)>`)
	tags    = regexp.MustCompile(`<[a-z][^<>]*>`)
)

// The policy must allow exactly what stands in the page: another hash, and the browser runs no script.
func TestThePolicyAllowsTheScriptAndNothingElse(t *testing.T) {
	text := htmlOf(t, sample("not today"))
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(text)
	if policy == nil {
		t.Fatal("no policy")
	}
	allowed := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policy[1])
	for _, rule := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(allowed, rule) {
			t.Errorf("the policy lacks %s: %s", rule, allowed)
		}
	}
	var kinds strings.Builder
	for _, e := range element.FindAllStringSubmatch(text, -1) {
		kind := e[1]
		if strings.Contains(e[2], "application/json") {
			kind = "data"
		} else if !strings.Contains(allowed, kind+"-src '"+hashOf(e[3])+"'") {
			t.Errorf("the policy forbids the page's own %s: %s", kind, allowed)
		}
		kinds.WriteString(kind + " ")
	}
	if kinds.String() != "style data script " {
		t.Errorf("the page has %s", kinds.String())
	}
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(text, outside) {
			t.Errorf("the page refers to something outside: %s", outside)
		}
	}
}

func TestTextIsNeverMarkupOnThePage(t *testing.T) {
	want, got := htmlOf(t, inject(sample("x"), "plain text")), htmlOf(t, inject(sample("x"), hostile))
	names := func(text string) []string {
		text = element.ReplaceAllString(text, "<$1>")
		var list []string
		for _, tag := range tags.FindAllString(text, -1) {
			list = append(list, strings.Trim(strings.Fields(tag)[0], "<>"))
		}
		return list
	}
	if a, b := names(want), names(got); !slices.Equal(a, b) {
		t.Errorf("the elements of the page depend on text:\n%s\n%s", a, b)
	}
	if strings.ContainsAny(got, "\x1b\u202e") {
		t.Error("control characters are on the page")
	}
	data := element.FindAllStringSubmatch(got, -1)[1][3]
	if strings.ContainsAny(data, "<>") {
		t.Errorf("the data hold markup: %s", data)
	}
	var read tableData
	if err := json.Unmarshal([]byte(data), &read); err != nil || len(read.Rows) != 3 || !strings.HasPrefix(fmt.Sprint(read.Rows[0][0]), "</script><img") {
		t.Errorf("the data are %v, %v", read, err)
	}
}

func TestThePageShowsEveryPart(t *testing.T) {
	text := htmlOf(t, sample("not today"))
	for _, piece := range []string{
		"<h1>choria_provision#restart</h1>", `<p class="verdict bad">Failed: 1 refused of 3 nodes</p>`, `<a href="#state=verified"><b>2</b> verified</a>`,
		"<dt>Command</dt><dd>req choria_provision restart</dd>", "<li>the plan&#39;s note</li>", `<a href="#reason=not%20today&amp;state=refused">1: refused: not today</a>`, "<code>web02</code>",
		`x="0" width="250" height="10"`, `x="250" width="750" height="10"`, "median 2.0 s, 95% within 3.0 s, longest 3.0 s", "<h2>By rack</h2>", "<h2>Gates</h2>",
		`<th scope="row">after batch 1</th><td class="n">2.0 s</td><td class="n">3</td><td class="n">20.0 s</td><td class="warn">inconclusive</td><td>no data</td>`,
		`<td class="bad i8"><a href="#fact%3Arack=r2&amp;state=refused">1</a></td>`, `["web02",1,1,"not today",1,1]`, `"tones":["good","bad"]`,
	} {
		if !strings.Contains(text, piece) {
			t.Errorf("the page lacks %s", piece)
		}
	}
	if strings.Contains(text, "Empty") {
		t.Error("a fact without a value is shown")
	}
}

func TestAHistogramGathersTheLongestTimes(t *testing.T) {
	times := []time.Duration{time.Hour}
	for i := range 999 {
		times = append(times, time.Duration(i)*10*time.Millisecond)
	}
	h := Histogram("x", times)
	total := 0
	for _, b := range h.Items {
		total += b.N
	}
	last := h.Items[len(h.Items)-1]
	if total != 1000 || len(h.Items) > 12 || last.Label != "9 and more" || last.N != 100 {
		t.Errorf("%d times in %v", total, h.Items)
	}
	if h.Note != "median 5.0 s, 95% within 9.5 s, longest 1h0m" {
		t.Errorf("note: %s", h.Note)
	}
	if h := Histogram("x", nil); len(h.Items) != 0 {
		t.Errorf("without times: %v", h)
	}
}

// Of two times, the shorter one is no bound for 95 % of them.
func TestAHistogramBoundsAtLeastTheShareThatItNames(t *testing.T) {
	for _, c := range []struct {
		times []time.Duration
		note  string
	}{
		{[]time.Duration{7}, "median 7.0 s, 95% within 7.0 s, longest 7.0 s"},
		{[]time.Duration{5, 3}, "median 3.0 s, 95% within 5.0 s, longest 5.0 s"},
		{[]time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, "median 10.0 s, 95% within 19.0 s, longest 20.0 s"},
	} {
		for i := range c.times {
			c.times[i] *= time.Second
		}
		if h := Histogram("x", c.times); h.Note != c.note {
			t.Errorf("%v: %s, want %s", c.times, h.Note, c.note)
		}
	}
}

func TestAHeatMapBeginsWithTheWorstValue(t *testing.T) {
	d := sample("not today")
	d.Nodes.Rows[0][5] = nil
	h := d.Nodes.heats()
	if len(h) != 1 || len(h[0].Rows) != 2 || h[0].Rows[0].Name != "r2" || h[0].Rows[1].Name != "" || !slices.Equal(h[0].Rows[1].Cells, []int{1, 0}) {
		t.Errorf("got %+v", h)
	}
	for i := range 100 {
		d.Nodes.Rows = append(d.Nodes.Rows, []any{fmt.Sprint("db", i), 2, "verified", "", nil, fmt.Sprint("x", i)})
	}
	if h := d.Nodes.heats(); len(h[0].Rows) != heatRows || h[0].More != 102-heatRows || h[0].Rows[0].Name != "r2" {
		t.Errorf("of 102 values: %d and %d", len(h[0].Rows), h[0].More)
	}
}

func TestMarkdownHasEveryPart(t *testing.T) {
	text := markdownOf(t, sample("not today"))
	for _, piece := range []string{
		"# choria_provision#restart\n", "**Failed: 1 refused of 3 nodes**", "| 2 | verified |", "- **1: refused: not today** – web02", "| Command | req choria_provision restart |",
		"- the plan's note", "| batch 1 | 3 | 0.00 s | 1.0 s | 4.0 s | 2 verified, 1 refused |", "| batch 2 | 0 |  |  |  |  |", "| after batch 1 | 2.0 s | 3 | 20.0 s | inconclusive | no data |", "## From request to reply", "| r2 | 1 | 1 | 2 |",
	} {
		if !strings.Contains(text, piece) {
			t.Errorf("the text lacks %q:\n%s", piece, text)
		}
	}
	if strings.Contains(text, "web10") {
		t.Errorf("a node without a problem is listed:\n%s", text)
	}
	d := sample("x")
	d.Nodes.Tones = nil
	if text := markdownOf(t, d); !strings.Contains(text, "| web10 | 1 | verified |") {
		t.Errorf("no table of nodes:\n%s", text)
	}
}

func TestTextIsNeverMarkupInMarkdown(t *testing.T) {
	want, got := markdownOf(t, inject(sample("x"), "plain")), markdownOf(t, inject(sample("x"), hostile))
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(a) != len(b) {
		t.Fatalf("%d lines became %d", len(a), len(b))
	}
	for i := range a {
		for _, c := range "|*`<[\\" {
			if n, m := strings.Count(a[i], string(c)), strings.Count(b[i], string(c)); n != m {
				t.Errorf("%d %c became %d: %s", n, c, m, b[i])
			}
		}
	}
	for in, out := range map[string]string{
		"choria_provision": "choria_provision", "_a_": "&#95;a&#95;", "http://x": "http&#58;//x", "10:00:01": "10:00:01", "WWW.x.org": "WWW&#46;x.org", "a\nb": `a&#92;nb`, "é": "é",
		"rpcutil#ping": "rpcutil#ping", "a#1": "a&#35;1", "#a": "&#35;a", "ann@desk": "ann@desk", "ann@x.org": "ann&#64;x.org", "@all": "&#64;all", "a#": "a&#35;", "a@ x.y": "a&#64; x.y",
	} {
		if got := escape(in); got != out {
			t.Errorf("escape(%q) = %q, want %q", in, got, out)
		}
	}
}

// A job's summary may have 1 MiB at most.
func TestALongListOfNodesIsCut(t *testing.T) {
	names := strings.Repeat("web01.example.net,", 5000)
	if got := cut(names); len(got) > markdownNodes+10 || !strings.HasSuffix(got, ".net, …") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-20:])
	}
	if got := cut("web01,web02"); got != "web01,web02" {
		t.Errorf("a short one is %s", got)
	}
}
