package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", path, diff)
	}
}

func exampleNode() inventory.Node {
	return inventory.Node{
		Identity: "srv-01.example.net", Version: "0.29.4", Upgradable: true, MainCollective: "mcollective",
		Collectives: []string{"mcollective", "mt_collective"},
		Agents:      []string{"choria_provision", "choria_util", "discovery", "rpcutil", "scout"},
		Classes:     []string{"common", "country::mt", "role::web"},
		Facts: json.RawMessage(`{"virtual":true,"tags":["web","mt"],"site":"mt-dc1","role":"web","memorymb":2048,` +
			`"country":"mt","os":{"release":{"major":"8"},"family":"RedHat"}}`),
		Stats: &inventory.Stats{StartTime: time.Date(2026, 11, 22, 7, 24, 49, 0, time.UTC),
			ConfigFile: "/lab/v1/servers/srv-01.example.net/server.conf", PID: 7462, Total: 2, Passed: 2, Replies: 1, Events: 1},
	}
}

// manyReplies are 3 successes and 403 failures of four causes.
func manyReplies() []*rpcclient.Reply {
	var replies []*rpcclient.Reply
	for i := 1; i <= 3; i++ {
		replies = append(replies, &rpcclient.Reply{Node: fmt.Sprintf("db%d.example.net", i), Message: "OK",
			Data: json.RawMessage(`{"message":"Restarting after 3s"}`)})
	}
	for i := 1; i <= 400; i++ {
		replies = append(replies, &rpcclient.Reply{Node: fmt.Sprintf("web%d.example.net", i), Code: 1,
			Message: "Incorrect provision token supplied", Data: json.RawMessage(`{}`)})
	}
	return append(replies,
		&rpcclient.Reply{Node: "odd2", Code: 5, Message: "two\nlines \x1b[2J", Data: json.RawMessage(`{}`)},
		&rpcclient.Reply{Node: "odd1", Code: 3},
		&rpcclient.Reply{Node: "odd3", Code: 77})
}

func exampleTextOptions() TextOptions {
	return TextOptions{Outputs: map[string]Output{"message": {DisplayAs: "Message"}}, Width: 60,
		Groups:  []Group{{Cause: "accepted, and not seen restarting", Nodes: []string{"db3.example.net"}}},
		Verdict: "Run 20261122-a1b2: 2 of 406 nodes restarted, 403 refused, 1 unverified"}
}

// exampleSuite has a node in every state.
func exampleSuite() Suite {
	sent := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	reasons := map[batch.State]string{
		batch.Refused:    "Incorrect \"token\" <supplied> & \x1b[31mred\x1b[0m",
		batch.Unverified: "started again, but the expression does not hold: version 0.28.0",
	}
	s := Suite{Agent: "choria_provision", Action: "restart", Run: "20261122-100000-abcde", Verdict: "stopped", ExitCode: 5, Start: sent, Took: 90 * time.Second}
	for i, state := range batch.States() {
		n := batch.Result{Identity: fmt.Sprintf("web%d.example.net", i+1), Batch: 1, State: state, Reason: reasons[state]}
		switch state {
		case batch.Accepted, batch.Refused:
			n.Sent, n.Replied = sent, sent.Add(1500*time.Millisecond)
		case batch.Verified:
			n.Sent, n.Replied, n.Proved = sent, sent.Add(time.Second), sent.Add(12*time.Second)
		}
		if state == batch.Refused {
			n.Code = 1
		}
		s.Nodes = append(s.Nodes, n)
	}
	return s
}

// goldenRequests are the files that show a request.
func goldenRequests() map[string]func(w io.Writer) error {
	many := Result{Agent: "choria_provision", Action: "restart", Replies: manyReplies(),
		Stats: Stats{Discovered: 406, OK: 3, Failed: 403, Responses: 406, RequestTime: 1234 * time.Millisecond}}
	colored := exampleTextOptions()
	colored.Color, colored.Verbose = true, true
	colored.Summaries = map[string][]string{"message": nil}
	few := many
	few.Replies = many.Replies[:4]
	few.Stats.NoResponses, few.Stats.UnexpectedResponses = []string{"b", "a", "c", "longer-name", "e"}, []string{"x"}
	long := few
	long.Replies, long.Stats.NoResponses = nil, nil
	for i := range 250 {
		long.Stats.NoResponses = append(long.Stats.NoResponses, fmt.Sprintf("n%03d", i))
	}
	return map[string]func(w io.Writer) error{
		"grouped.txt":   func(w io.Writer) error { return Text(w, many, exampleTextOptions()) },
		"colored.txt":   func(w io.Writer) error { return Text(w, few, colored) },
		"long-list.txt": func(w io.Writer) error { return Footer(w, long.Stats, TextOptions{}) },
		"run.json": func(w io.Writer) error {
			r := few
			r.Run = map[string]any{"id": "20261122-a1b2", "exit_code": 3}
			r.Replies = append(r.Replies[:1:1], &rpcclient.Reply{Node: "odd", Action: "restart", Data: json.RawMessage("not json")})
			return JSON(w, r)
		},
		"lines.jsonl": func(w io.Writer) error {
			l := NewLines(w)
			reply := *few.Replies[0]
			reply.Action, reply.Protocol = "restart", json.RawMessage(`{"protocol":"choria:reply:1"}`)
			return errors.Join(l.Discovery("mc"), l.Discovered(4, 2005*time.Millisecond, "mc"), l.Result(&reply),
				l.Result(many.Replies[3]), l.Run(map[string]int{"batches": 2}), l.Batch(map[string]int{"batch": 1}),
				l.Node(map[string]string{"identity": "n1"}), l.Plan(map[string]int{"nodes": 4}), l.Summaries(nil), l.Stats(few.Stats), l.Error(errors.New("did not discover any nodes")))
		},
		"run.junit.xml": func(w io.Writer) error { return JUnit(w, exampleSuite()) },
		"proved.junit.xml": func(w io.Writer) error {
			s := exampleSuite()
			s.Proved, s.Nodes = true, s.Nodes[2:4]
			return JUnit(w, s)
		},
		"nodeset.txt": func(w io.Writer) error {
			return errors.Join(Nodeset(w, nil), Nodeset(w, []string{"web10", "web2", "db3.ams1", "web9"}))
		},
		"outputs.csv": func(w io.Writer) error { return CSV(w, few, exampleTextOptions().Outputs) },
		"table-cells.txt": func(w io.Writer) error {
			r := Result{Replies: []*rpcclient.Reply{{Node: "n1", Data: json.RawMessage(`{"list":[{"b":1,"a":2}],"text":"x\u001b[31m\ty"}`)}}}
			return OutputTable(w, r, map[string]Output{"list": {}, "text": {DisplayAs: "Some Text"}, "none": {}})
		},
	}
}

// goldenReports are the files that show something else.
func goldenReports() map[string]func(w io.Writer) error {
	machines := exampleNode()
	machines.Stats, machines.Machines = nil, []inventory.Machine{{Name: "puppet", Version: "1.0.0", State: "RUN"},
		{Name: "long-name", Version: "10.2.0", State: "IDLE"}}
	machines.Facts = nil
	fleet, byRole := exampleFleet()
	before, after := Side{"before.json", time.Unix(1795332289, 0), 500}, Side{"the network", time.Unix(1795418689, 0), 501}
	values := []FactValue{{Value: "mt", Nodes: []string{"n3", "n1"}}, {Value: "nil", Nodes: []string{"n2"}}, {Value: "de", Nodes: []string{"n4"}}}
	pings := Pings{Overhead: 21 * time.Millisecond}
	for i := range 30 {
		pings.Times = append(pings.Times, time.Duration(17+i*i)*time.Millisecond)
	}
	return map[string]func(w io.Writer) error{
		"inventory.txt":         func(w io.Writer) error { return Inventory(w, exampleNode(), InventoryOptions{}) },
		"inventory-partial.txt": func(w io.Writer) error { return Inventory(w, machines, InventoryOptions{}) },
		"collectives.txt": func(w io.Writer) error {
			return Collectives(w, inventory.Collectives{Nodes: make([]string, 10),
				Counts: []inventory.Count{{Name: "mcollective", Nodes: 10}, {Name: "mt_collective", Nodes: 4}}})
		},
		"fleet.txt":       func(w io.Writer) error { return Fleet(w, fleet, FleetOptions{}) },
		"fleet-bars.txt":  func(w io.Writer) error { return Fleet(w, fleet, FleetOptions{Bars: 72}) },
		"fleet-group.txt": func(w io.Writer) error { return Fleet(w, byRole, FleetOptions{GroupBy: "role", Bars: 60}) },
		"fleet-group-table.txt": func(w io.Writer) error {
			header, rows := FleetGroups(byRole, "role")
			return Table(w, "", header, rows)
		},
		"fleet.json": func(w io.Writer) error {
			return FleetJSON(w, fleet, []json.RawMessage{[]byte(`{"identity":"srv-01"}`), []byte(`{"identity":"srv-02"}`)}, FleetOptions{})
		},
		"fleet-group.json": func(w io.Writer) error { return FleetJSON(w, byRole, nil, FleetOptions{GroupBy: "role"}) },
		"fleet.jsonl":      func(w io.Writer) error { return FleetLine(NewLines(w), fleet) },
		"token.txt":        func(w io.Writer) error { return WriteToken(w, exampleToken(), exampleDay) },
		"token.json":       func(w io.Writer) error { return TokenJSON(w, exampleToken()) },
		"fleet-none.txt":   func(w io.Writer) error { return Fleet(w, inventory.NewTally(nil), FleetOptions{Bars: 80}) },
		"difference.txt": func(w io.Writer) error {
			return Difference(w, exampleDifference(), before, after, TextOptions{Width: 60})
		},
		"difference.json": func(w io.Writer) error { return DifferenceJSON(w, exampleDifference(), before, after) },
		"no-difference.txt": func(w io.Writer) error {
			return Difference(w, inventory.Difference{Before: 500, After: 500, Same: 500}, before, before, TextOptions{})
		},
		"facts.txt": func(w io.Writer) error { return Facts(w, "country", values, FactOptions{}) },
		"facts-many.txt": func(w io.Writer) error {
			return Facts(w, "country", values, FactOptions{ShowNodes: true, Reverse: true})
		},
		"facts-box.txt": func(w io.Writer) error { return FactsTable(w, values, FactOptions{ShowNodes: true}) },
		"facts.json":    func(w io.Writer) error { return FactsJSON(w, values) },
		"facts-chart.txt": func(w io.Writer) error {
			long := append(values, FactValue{Value: strings.Repeat("long value ", 9), Nodes: []string{"n5"}})
			return errors.Join(FactsChart(w, "country", values, FactOptions{}, 60), FactsChart(w, "text", long, FactOptions{Reverse: true, ShowNodes: true}, 0),
				FactsChart(w, "none", nil, FactOptions{}, 1))
		},
		"ping.txt": func(w io.Writer) error {
			return errors.Join(Ping(w, "srv-01.example.net", 17*time.Millisecond), PingStatistics(w, pings, PingOptions{Graph: true}))
		},
		"checkup.txt": func(w io.Writer) error { return CheckupText(w, exampleCheckup(), CheckupOptions{Now: exampleDay}) },
		"checkup-verbose.txt": func(w io.Writer) error {
			return CheckupText(w, exampleCheckup(), CheckupOptions{Verbose: true, Now: exampleDay})
		},
		"checkup.json":  func(w io.Writer) error { return IndentedJSON(w, exampleCheckup()) },
		"ping-none.txt": func(w io.Writer) error { return PingStatistics(w, Pings{}, PingOptions{Silent: true}) },
		"nodes.txt": func(w io.Writer) error {
			return errors.Join(Nodes(w, []string{"n2", "n1"}), NodeSet(w, []string{"n2", "n1"}))
		},
		"nodes.json": func(w io.Writer) error { return errors.Join(NodesJSON(w, []string{"n2", "n1"}), NodesJSON(w, nil)) },
	}
}

func TestGoldenFiles(t *testing.T) {
	tests := goldenRequests()
	maps.Copy(tests, goldenReports())
	for name, write := range tests {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, name, b.String())
			if strings.HasSuffix(name, ".txt") && name != "colored.txt" && strings.Contains(b.String(), "\x1b") {
				t.Error("an escape sequence without color")
			}
		})
		t.Run(name+"/full disk", func(t *testing.T) {
			if err := write(brokenWriter{}); !errors.Is(err, errDisk) {
				t.Errorf("error %v, want the writer's", err)
			}
		})
	}
}

var errDisk = errors.New("disk full")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errDisk }

func TestVerdictIsTheLastLine(t *testing.T) {
	for d := displayUnset; d <= DisplayNone; d++ {
		var b strings.Builder
		o := exampleTextOptions()
		o.Display = d
		if err := Text(&b, Result{Replies: manyReplies()}, o); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(b.String(), "\n"+o.Verdict+"\n") {
			t.Errorf("%v: the last line is not the verdict:\n%s", d, b.String())
		}
	}
}

func TestGroupsCountEachFailureOnce(t *testing.T) {
	total := 0
	for _, g := range groupFailures(manyReplies()) {
		total += len(g.Nodes)
	}
	if total != 403 {
		t.Errorf("%d failures in groups, want 403", total)
	}
}

func TestDisplayWords(t *testing.T) {
	for d := displayUnset; d <= DisplayNone; d++ {
		if strings.HasPrefix(d.String(), "display ") {
			t.Errorf("display %d has no name", d)
		}
	}
	if got := Display(99).String(); got != "display 99" {
		t.Errorf("unknown display is %q", got)
	}
	tests := []struct {
		flag, document string
		want           Display
		ok             bool
	}{
		{"", "", DisplayDocFailed, true}, {"", "failed", DisplayDocFailed, true}, {"", "ok", DisplayDocOK, true},
		{"", "always", DisplayDocAlways, true}, {"", "flase", DisplayDocFailed, true}, {"ok", "always", DisplayOK, true},
		{"failed", "", DisplayFailed, true}, {"all", "ok", DisplayAll, true}, {"none", "always", DisplayNone, true},
		{"some", "", displayUnset, false},
	}
	for _, tt := range tests {
		if got, ok := ParseDisplay(tt.flag, tt.document); got != tt.want || ok != tt.ok {
			t.Errorf("ParseDisplay(%q, %q) = %v, %v, want %v, %v", tt.flag, tt.document, got, ok, tt.want, tt.ok)
		}
	}
}

func TestWrapBreaksOnlyBetweenNames(t *testing.T) {
	set := "web[1-4,7,9-12].example.net,db1.example.net,a-name-that-is-longer-than-the-line-can-hold,x,y"
	for width := 20; width < 100; width++ {
		lines := wrapNames(set, width)
		if got := strings.Join(lines, ""); got != set {
			t.Fatalf("width %d: %q joined is not the set", width, lines)
		}
		for _, l := range lines {
			if strings.Count(l, "[") != strings.Count(l, "]") {
				t.Errorf("width %d: %q breaks inside brackets", width, l)
			}
			if len(l) > width && strings.Contains(strings.TrimSuffix(strings.ReplaceAll(l, "4,7,9", ""), ","), ",") {
				t.Errorf("width %d: %q is too long and could be broken", width, l)
			}
		}
	}
}

func TestHostileTextIsVisible(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[2J": `a\x1b[2J`, "\u202eevil": `\u202eevil`, "é\tü\n": "é\tü\n",
		"\r\u009b1m": `\x0d\u009b1m`, "\x7f": `\x7f`} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrettyJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `{"b":[1,2,{"a":"\u003c"}],"a":{"x":null}}`, `"x"`, ` [ 1 , 2.50 , [true] ] `,
		`{"a":1,"a":2}`, `[[],{},[{}]]`, `{"\"":"\\"}`, `x`, ``} {
		f.Add([]byte(seed), 80)
	}
	f.Fuzz(func(t *testing.T, data []byte, width int) {
		out := prettyJSON(data, "  ", width%200)
		if !strings.HasPrefix(string(out), "  ") {
			t.Errorf("no prefix before %q", out)
		}
		var want, got any
		if json.Unmarshal(data, &want) != nil || repeatsMember(json.NewDecoder(bytes.NewReader(data))) {
			return // of a member that is given twice, a decoder keeps the last: sorting may change which that is
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("another value: -in +out\n%s", diff)
		}
	})
}

// repeatsMember reports whether an object of a valid document has two members of one name.
func repeatsMember(d *json.Decoder) bool {
	open, _ := d.Token()
	if _, nested := open.(json.Delim); !nested {
		return false
	}
	names := map[json.Token]bool{}
	for d.More() {
		if open == json.Delim('{') {
			name, _ := d.Token()
			if names[name] {
				return true
			}
			names[name] = true
		}
		if repeatsMember(d) {
			return true
		}
	}
	_, _ = d.Token() // the end
	return false
}

func TestRepeatsMember(t *testing.T) {
	for doc, want := range map[string]bool{`{"a":1,"b":{"a":[{}]}}`: false, `[{"a":1},{"a":2}]`: false, `{"a":1,"\u0061":2}`: true, `{"b":[3,{"a":1,"a":2}]}`: true} {
		if got := repeatsMember(json.NewDecoder(strings.NewReader(doc))); got != want {
			t.Errorf("%s: %v", doc, got)
		}
	}
}

var exampleDay = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func exampleCheckup() Checkup {
	return Checkup{
		SchemaVersion: SchemaVersion, ExitCode: 9, Verdict: "1 of 4 steps failed: tls", Files: []string{"/etc/choria/client.conf"},
		Settings: []Setting{{"plugin.nats.pass", "[redacted]", "environment MCOLLECTIVE_NATS_PASSWORD"}, {"ttl", "60", "default"}},
		Credentials: []Credential{
			{Kind: "client certificate", Path: "/c.pem", Names: []string{"a.example.net", "b"}, Issuer: "CA", NotAfter: exampleDay.Add(25 * time.Hour)},
			{Kind: "token file", Path: "/t.jwt", Names: []string{"up=bob"}, Organization: "choria", NotAfter: exampleDay.AddDate(0, 0, 40), Permissions: []string{"fleet_management"}},
			{Kind: "CA file", Path: "/ca.pem", NotAfter: exampleDay.Add(-time.Hour), Problem: "expired"},
		},
		Steps: []Step{
			{Name: "configuration", Status: StepPassed, Detail: "/etc/choria/client.conf"},
			{Name: "tcp", Target: "broker:4222", Status: StepWarned, Detail: "slow", Milliseconds: 12},
			{Name: "tls", Target: "broker:4222", Status: StepFailed, Detail: "the certificate is\x1b[2J for\nanother name", Fix: "connect by its name"},
			{Name: "authentication", Status: StepSkipped},
		},
	}
}
