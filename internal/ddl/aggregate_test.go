package ddl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func aggregateOf(t *testing.T, aggregate string, outputs string, replies ...string) *Aggregator {
	t.Helper()
	d, err := parse([]byte(`{"metadata":{"name":"x"},"actions":[{"action":"a","output":` + outputs + `,"aggregate":` + aggregate + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	g := d.Actions[0].NewAggregator()
	for _, r := range replies {
		g.Add(json.RawMessage(r))
	}
	return g
}

func TestAggregates(t *testing.T) {
	tests := []struct {
		name, aggregate string
		replies         []string
		json            string
		text            map[string][]string
	}{
		{"nothing", `[]`, []string{`{"o":1}`}, `{}`, map[string][]string{}},
		{"summary", `[{"function":"summary","args":["o"]}]`, []string{`{"o":"mt"}`, `{"o":"de"}`, `{"o":"germany"}`, `{"o":"de"}`},
			`{"o":{"de":2,"germany":1,"mt":1}}`, map[string][]string{"o": {"     de: 2", "germany: 1", "     mt: 1"}}},
		{"a list is one value", `[{"function":"summary","args":["o"]}]`, []string{`{"o":["a", 1]}`, `{"o":["a",1]}`, `{"o":null}`, `{"o":1.0}`},
			`{"o":{"1":1,"[\"a\",1]":2,"null":1}}`, map[string][]string{"o": {`["a",1]: 2`, "      1: 1", "   null: 1"}}},
		{"format", `[{"function":"summary","args":["o",{"format":"%s on %d nodes"}]}]`, []string{`{"o":"x"}`},
			`{"o":{"x":1}}`, map[string][]string{"o": {"x on 1 nodes"}}},
		{"labels", `[{"function":"boolean_summary","args":["o",{"true":"Yes","false":"No","2":"Two"}]}]`, []string{`{"o":true}`, `{"o":false}`, `{"o":2}`, `{"o":true}`},
			`{"o":{"No":1,"Two":1,"Yes":2}}`, map[string][]string{"o": {"Yes: 2", " No: 1", "Two: 1"}}},
		{"average", `[{"function":"average","args":["o"]}]`, []string{`{"o":1}`, `{"o":"2.5"}`, `{"o":"x"}`, `{}`},
			`{"o":{"average":1.75}}`, map[string][]string{"o": {"Average: 1.750"}}},
		{"average of nothing", `[{"function":"average","args":["o"]}]`, nil, `{}`, map[string][]string{"o": {"Average: NaN"}}},
		{"average format", `[{"function":"average","args":["o",{"format":"mean %.1f"}]}]`, []string{`{"o":1}`}, `{"o":{"average":1}}`, map[string][]string{"o": {"mean 1.0"}}},
		{"default", `[{"function":"summary","args":["d"]}]`, []string{`{}`, `{"d":"y"}`}, `{"d":{"none":1,"y":1}}`, map[string][]string{"d": {"none: 1", "   y: 1"}}},
		{"no object", `[{"function":"summary","args":["d"]}]`, []string{`"{}"`, `null`, `[]`, ``, `{`}, `{"d":{}}`, map[string][]string{"d": {}}},
		{"last declared wins", `[{"function":"summary","args":["o"]},{"function":"average","args":["o"]}]`, []string{`{"o":1}`},
			`{"o":{"average":1}}`, map[string][]string{"o": {"Average: 1.000"}}},
		{"unknown function", `[{"function":"magic","args":["o"]}]`, []string{`{"o":1}`}, `{}`, map[string][]string{}},
	}
	for _, tt := range tests {
		g := aggregateOf(t, tt.aggregate, `{"o":{},"d":{"default":"none"}}`, tt.replies...)
		if got := string(g.JSON()); got != tt.json {
			t.Errorf("%s: JSON is %s, want %s", tt.name, got, tt.json)
		}
		if d := cmp.Diff(tt.text, g.Text()); d != "" {
			t.Errorf("%s: text (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestChartIsAPlotOfItsSize(t *testing.T) {
	g := aggregateOf(t, `[{"function":"chart","args":["o"]}]`, `{}`, `{"o":1}`, `{"o":"9"}`, `{"o":4}`, `{"o":"x"}`)
	lines := strings.Split(g.Text()["o"][0], "\n")
	if len(lines) != plotHeight+1 || !strings.HasPrefix(lines[0], " 9.00 ┤") || !strings.HasPrefix(lines[plotHeight], " 1.00 ┤─") {
		t.Errorf("plot is\n%s", strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		if _, curve, ok := strings.Cut(line, "┤"); !ok || len([]rune(curve)) > plotWidth {
			t.Errorf("line %q is not a row of %d columns", line, plotWidth)
		}
	}
	var got map[string]map[string]string
	if err := json.Unmarshal(g.JSON(), &got); err != nil || got["o"]["chart"] != strings.Join(lines, "\n") {
		t.Errorf("JSON is %s, %v", g.JSON(), err)
	}
}

func TestPlotDrawsOddValues(t *testing.T) {
	for _, values := range [][]float64{{}, {1}, {2, 2, 2}, {-1.7e308, 1.7e308}, {0, 1e-300}, make([]float64, 1000)} {
		got := plot(values)
		if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") || (got == "") != (len(values) == 0) {
			t.Errorf("plot(%v) is\n%s", values, got)
		}
	}
}

func BenchmarkAggregatorAdd(b *testing.B) {
	g := mustAction(b, "rpcutil", "daemon_stats").NewAggregator()
	reply := json.RawMessage(`{"agents":["rpcutil","choria_util","scout"],"version":"0.29.4","pid":1,"times":{"stime":0},"configfile":"/etc/choria/server.conf","total":100}`)
	for b.Loop() {
		g.Add(reply)
	}
}
