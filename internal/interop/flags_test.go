//go:build unix

package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// use is one way to use flags that the page on differences calls *same*: both clients run it, and say the same as far
// as view tells.
type use struct {
	command string // the real client's name of it
	args    []string
	view    func(*testing.T, result) any
	code    int // ours; the real client ends with 0 whatever nodes say
}

// uses of the flags on a network of real servers. The files are in folder, where prepareUses puts them.
func uses(folder string) []use {
	file := func(name string) string { return filepath.Join(folder, name) }
	list := []use{
		{command: "find", args: []string{"-v"}, view: lines},
		{command: "find", args: []string{"--json"}, view: jsonNames},
		{command: "find", args: []string{"--config", file("other.conf"), "-j"}, view: jsonNames},
		{command: "find", args: []string{"--help"}, view: isHelp},
		{command: "ping", args: nil, view: pings},
		{command: "ping", args: []string{"--silent"}, view: pings},
		{command: "ping", args: []string{"--no-silent"}, view: pings},
		{command: "ping", args: []string{"--names"}, view: lines},
		{command: "ping", args: []string{"--expect", "6", "--timeout", "60"}, view: pings},
		{command: "ping", args: []string{"--timeout", "1", "--workers", "2"}, view: pings},
		{command: "ping", args: []string{"--config", file("other.conf")}, view: pings},
		{command: "ping", args: []string{"--help"}, view: isHelp},
		{command: "inventory", args: []string{"srv-01.example.net", "--no-facts"}, view: text},
		{command: "inventory", args: []string{"srv-01.example.net", "--facts"}, view: text},
		{command: "inventory", args: []string{"--config", file("other.conf"), "srv-02.example.net"}, view: text},
		{command: "inventory", args: []string{"--collectives"}, view: lines},
		{command: "inventory", args: []string{"--help"}, view: isHelp},
		{command: "facts", args: []string{"memorymb", "-j"}, view: distribution},
		{command: "facts", args: []string{"country", "-t"}, view: lines},
		{command: "facts", args: []string{"memorymb", "--reverse"}, view: lines},
		{command: "facts", args: []string{"country", "-n"}, view: lines},
		{command: "facts", args: []string{"country", "-v"}, view: lines},
		{command: "facts", args: []string{"country", "--config", file("other.conf"), "--json"}, view: distribution},
		{command: "facts", args: []string{"--help"}, view: isHelp},
		{command: "req", args: []string{"rpcutil", "ping", "--json", "--np"}, view: request},
		{command: "req", args: []string{"rpcutil", "collective_info", "--sort", "--np"}, view: text},
		{command: "req", args: []string{"rpcutil", "collective_info", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=country", "--table", "--np"}, view: lines},
		{command: "req", args: []string{"rpcutil", "ping", "--senders"}, view: lines},
		{command: "req", args: []string{"rpcutil", "ping", "--senders", "--json"}, view: jsonNames},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=country", "--jsonl"}, view: events},
		{command: "req", args: []string{"rpcutil", "daemon_stats", "-v", "--sort", "--np"}, view: shape},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=kernel", "--display", "ok", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=kernel", "--display", "all", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=country", "--display", "none"}, view: lines},
		{command: "req", args: []string{"choria_provision", "restart", "token=wrong-sauce", "--display", "failed", "--sort"}, view: text, code: 3},
		{command: "req", args: []string{"choria_provision", "restart", "token=wrong-sauce", "--display", "ok"}, view: text, code: 3},
		{command: "req", args: []string{"rpcutil", "ping", "--batch", "4", "--batch-sleep", "0", "--sort", "--np"}, view: text},
		{command: "req", args: []string{"rpcutil", "ping", "--workers", "1", "--config", file("other.conf"), "--senders"}, view: lines},
		{command: "req", args: []string{"rpcutil", "collective_info", "--filter-replies", `ok() && include(data("collectives"), "mt_collective")`, "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_fact", "fact=country", "--filter-replies", `data("value") != "mt"`, "--json"}, view: request},
		{command: "req", args: []string{"rpcutil", "ping", "--limit", "50%", "--json"}, view: counts},
		{command: "req", args: []string{"rpcutil", "ping", "--limit", "6", "--limit-seed", "3", "--senders"}, view: lines},
		{command: "req", args: []string{"rpcutil", "inventory", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "inventory", "-v", "--sort"}, view: shape},
		{command: "req", args: []string{"rpcutil", "agent_inventory", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_config_item", "item=identity", "--table"}, view: lines},
		{command: "req", args: []string{"rpcutil", "get_config_item", "item=nosuch", "--sort", "--display", "failed"}, view: text, code: 3},
		{command: "req", args: []string{"rpcutil", "get_config_item", "item=nosuch", "--table"}, view: lines, code: 3},
		{command: "req", args: []string{"rpcutil", "get_config_item", "item=nosuch", "--senders"}, view: lines, code: 3},
		{command: "req", args: []string{"rpcutil", "get_config_item", "item=nosuch", "--jsonl"}, view: events, code: 3},
		{command: "req", args: []string{"choria_util", "info", "--sort"}, view: shape},
		{command: "req", args: []string{"choria_util", "machine_states", "--sort"}, view: text},
		{command: "req", args: []string{"scout", "checks", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_facts", "facts=country, os.family,nosuch", "--sort"}, view: text},
		{command: "req", args: []string{"rpcutil", "get_data", "source=choria", "--sort"}, view: shape},
		{command: "req", args: []string{"--help"}, view: isHelp},
	}
	for command, verb := range map[string][]string{
		"find": {"--json"}, "ping": {"--names"}, "facts": {"country", "--json"}, "inventory": {"--collectives"}, "req": {"rpcutil", "ping", "--senders"},
	} {
		view := map[string]func(*testing.T, result) any{"find": jsonNames, "facts": distribution}[command]
		if view == nil {
			view = lines
		}
		for _, target := range targetUses(command, file) {
			list = append(list, use{command: command, args: slices.Concat(verb, target), view: view})
		}
	}
	return list
}

// federatedUses are uses on a network behind the federation alpha.
var federatedUses = []use{
	{command: "find", args: []string{"--federations", "alpha", "--json"}, view: jsonNames},
	{command: "ping", args: []string{"--federations", "alpha", "--names"}, view: lines},
	{command: "req", args: []string{"rpcutil", "ping", "--federations", "alpha", "--senders"}, view: lines},
}

// targetUses are the flags by which a command takes nodes.
func targetUses(command string, file func(string) string) [][]string {
	list := [][]string{
		{"-F", "country=mt", "-C", "role::web"}, {"-A", "choria_provision", "-I", "/srv-0[1-3]/"}, {"-W", "role::web country=mt"},
		{"--wf", "memorymb>1024", "--wc", "/role/", "--wa", "/rpc/", "--wi", "/srv/", "--with", "common"},
	}
	if command == "inventory" {
		return list
	}
	list = append(list, []string{"-S", `fact("country") == "mt"`}, []string{"-T", "mt_collective"}, []string{"--select", `with("role::db")`, "--target", "mt_collective"})
	if command == "ping" {
		return list
	}
	return append(list,
		[]string{"--discovery-timeout", "1", "-C", "common"}, []string{"--discovery-window", "-C", "common"},
		[]string{"--nodes", file("nodes.txt")}, []string{"--nodes", file("nodes.json")}, []string{"--nodes", file("nodes.yaml")},
		[]string{"--dm", "mc", "-C", "common"}, []string{"--dm", "flatfile", "--do", "file=" + file("nodes.txt"), "--do", "format=text"},
		[]string{"--dm", "inventory", "--do", "file=" + file("inventory.json"), "-F", "country=mt"},
		[]string{"--dm", "inventory", "--do", "file=" + file("inventory.json"), "-I", "group:maltese"},
		[]string{"--dm", "external", "--do", "command=" + file("external.sh")},
	)
}

// prepareUses writes the files that uses name.
func (n *network) prepareUses(t *testing.T) string {
	t.Helper()
	dir := n.folder(t, "uses")
	file := func(name, content string) { write(t, filepath.Join(dir, name), []byte(content)) }
	file("nodes.txt", "srv-02.example.net\nsrv-01.example.net\n")
	file("nodes.json", `["srv-04.example.net", "srv-03.example.net"]`)
	file("nodes.yaml", "- srv-05.example.net\n- srv-01.example.net\n")
	file("external.sh", `#!/bin/sh
grep -q '"collective":"'`+n.collective+`'"' "$1" || exit 1
printf '{"protocol":"io.choria.choria.discovery.v1.external_reply","nodes":["srv-03.example.net","srv-01.example.net"]}' >"$2"
`)
	if err := os.Chmod(filepath.Join(dir, "external.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(n.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	file("other.conf", string(conf)+"discovery_timeout = 1\n")
	var nodes []any
	for i, node := range n.Nodes {
		nodes = append(nodes, map[string]any{
			"name": node, "collectives": []string{n.collective}, "classes": []string{"common"}, "agents": []string{"rpcutil"},
			"facts": map[string]any{"country": []string{"mt", "us", "de"}[i%3]},
		})
	}
	inventory, err := json.Marshal(map[string]any{
		"$schema": "https://choria.io/schemas/choria/discovery/v1/inventory_file.json", "nodes": nodes,
		"groups": []any{map[string]any{"name": "maltese", "filter": map[string]any{"facts": []string{"country=mt"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file("inventory.json", string(inventory))
	return dir
}

// testFlags runs every use with both clients. What differs once is asked again: a busy machine makes either client miss
// a node.
func (n *network) testFlags(t *testing.T) { n.compareUses(t, uses(n.prepareUses(t))) }

func (n *network) compareUses(t *testing.T, list []use) {
	t.Helper()
	equal := 0
	for _, p := range n.bothUse(t, list) {
		diff := p.difference(t)
		if diff != "" {
			t.Logf("once more: %s %q: %s", p.command, p.args, diff)
			diff = n.bothUse(t, []use{p.use})[0].difference(t)
		}
		if diff != "" {
			t.Errorf("%s %q: %s", p.command, p.args, diff)
			continue
		}
		equal++
	}
	t.Logf("%d of %d uses of flags are the same", equal, len(list))
}

// usePair is what both clients said to the same use.
type usePair struct {
	use
	theirs, ours result
}

func (n *network) bothUse(t *testing.T, list []use) []usePair {
	t.Helper()
	cases := make([][]string, len(list))
	for i, u := range list {
		cases[i] = append([]string{u.command}, u.args...)
	}
	both := make([]usePair, len(list))
	for i, p := range n.Both(t, [2][]string{}, cases) {
		both[i] = usePair{list[i], p.theirs, p.ours}
	}
	return both
}

func (p usePair) difference(t *testing.T) string {
	t.Helper()
	if p.theirs.Code != 0 || p.ours.Code != p.code || p.code == 0 && p.theirs.Stdout+p.theirs.Stderr == "" {
		return fmt.Sprintf("choria ends with %d, fleetctl with %d, want 0 and %d\n%s%s\n%s%s", p.theirs.Code, p.ours.Code, p.code,
			p.theirs.Stdout, p.theirs.Stderr, p.ours.Stdout, p.ours.Stderr)
	}
	if diff := cmp.Diff(p.view(t, p.theirs), p.view(t, p.ours)); diff != "" {
		return "(-choria +fleetctl)\n" + diff
	}
	return ""
}

var (
	// moments are what differs between two looks at the same fleet.
	moments = regexp.MustCompile(`\d+(\.\d+)?(µs|ms|s)\b|\d+ ms\b|in \d+\.\d+ seconds|\b1\d{9}\b|\d{4}-\d\d-\d\dT\S+|\b(max|min|avg|overhead): *`)
	// numbers in verbose replies are counters as well.
	numbers = regexp.MustCompile(`\d+(\.\d+)?`)
	// onStderr are the lines that we write to stderr, and onStdout the verdict that only we write.
	onStderr = regexp.MustCompile(`^(Discovering nodes |Discovered \d+ nodes )`)
	onStdout = regexp.MustCompile(`^(Done|Failed|Incomplete): `)
	escapes  = regexp.MustCompile(`\x1b\[\d*[A-Z]`)
	bar      = regexp.MustCompile(`^ *\d+ / \d+ .*\[.*\].*%$`)
)

// text is what a command printed, without times, progress and blank lines.
func text(t *testing.T, res result) any {
	t.Helper()
	got := []string{}
	for line := range strings.FieldsFuncSeq(escapes.ReplaceAllString(res.Stdout, "\n"), func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimRight(line, " ")
		if line == "" || onStderr.MatchString(line) || onStdout.MatchString(line) || bar.MatchString(line) {
			continue
		}
		got = append(got, counters.ReplaceAllString(moments.ReplaceAllString(line, "N"), "${1}N"))
	}
	return got
}

// lines is text whose lines come in the order of replies.
func lines(t *testing.T, res result) any {
	t.Helper()
	got := text(t, res).([]string)
	slices.Sort(got)
	return got
}

// pings are the lines of ping; that of a node has no other number than its time.
func pings(t *testing.T, res result) any { return lines(t, res) }

// shape is text without any number but those of names.
func shape(t *testing.T, res result) any {
	t.Helper()
	got := text(t, res).([]string)
	for i, line := range got {
		if !strings.HasPrefix(line, "srv-") {
			got[i] = numbers.ReplaceAllString(line, "N")
		}
	}
	return got
}

func jsonNames(t *testing.T, res result) any { return names(t, res) }

func request(t *testing.T, res result) any { return []any{essence(t, res), keyOrder(t, res)} }

// counts are the numbers of a `req --json` document.
func counts(t *testing.T, res result) any {
	t.Helper()
	var doc document
	decode(t, res, &doc)
	return []int{len(doc.Replies), doc.Stats.Discovered, doc.Stats.OK, doc.Stats.Failed}
}

// distribution is what facts --json says, its names sorted.
func distribution(t *testing.T, res result) any {
	t.Helper()
	var doc map[string]struct {
		Count      int      `json:"count"`
		Identities []string `json:"identities"`
	}
	decode(t, res, &doc)
	for _, v := range doc {
		slices.Sort(v.Identities)
	}
	return doc
}

// events are the lines of --jsonl that upstream knows, sorted, volatile values replaced.
func events(t *testing.T, res result) any {
	t.Helper()
	var got []string
	for line := range strings.Lines(res.Stdout) {
		var event map[string]any
		decode(t, result{Stdout: line}, &event)
		switch event["k"] {
		case "plan", "batch", "node", "run":
			continue
		}
		if event["dt"] != nil {
			event["dt"] = "some time"
		}
		if reply, ok := event["pr"].(map[string]any); ok {
			if envelope, v1 := reply["envelope"].(map[string]any); v1 {
				reply = envelope
			}
			for _, key := range []string{"time", "id", "request"} {
				if reply[key] != nil {
					reply[key] = fmt.Sprintf("some %T", reply[key])
				}
			}
		}
		blank(event)
		canonical, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(string(canonical), keyOrder(t, result{Stdout: line})))
	}
	slices.Sort(got)
	return got
}

// isHelp only reports that there is one: the texts are each client's own.
func isHelp(_ *testing.T, res result) any {
	return strings.Contains(strings.ToLower(res.Stdout+res.Stderr), "usage")
}
