package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

// The commands that only look, against a fleet in this process. Most name their nodes, so that nothing is waited for.
func TestCommandsThatLook(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 12, Seed: 1})
	all, first := strings.Join(p.names, ","), p.names[0]
	const gone = "-I nosuch.example.net -I nowhere.example.net --reply-timeout 0.3"
	nothing := "-C nothing --discovery-timeout 0.3"
	p.check([]practiceRow{
		{"discover --discovery-timeout 5 -v", 0, []string{strings.Join(p.names, "\n") + "\n", "Discovering nodes ....", "Discovered 12 nodes using the mc method in "}},
		{"discover --discovery-window", 0, []string{".example.net\n"}}, // how many depends on how busy this machine is
		{"discover -j -I " + first, 0, []string{`"` + first + `"`}},
		{"discover --output nodeset -I " + p.names[1] + " -I " + first, 0, []string{first + "," + p.names[1]}},
		{"discover " + nothing, exitNoNodes, []string{"no node matched", "hint: no server matches the filter"}},
		{"discover --json " + nothing, exitNoNodes, []string{"[]"}},
		{"find -I " + all + " --limit 5 --output nodeset", 0, nil},

		{"ping --expect 12", 0, []string{"12 replies", first}},
		{"ping --expect 12 --silent", 0, []string{"12 replies"}},
		{"ping --expect 12 --graph", 0, []string{"12 replies"}},
		{"ping --expect 13 --timeout 0.5", exitGuard, []string{"expected 13 nodes to answer: 12 did"}},
		{"ping --expect 1 -C nothing --timeout 0.3", exitGuard, []string{"expected 1 node to answer: 0 did"}},
		{"ping -I nosuch.example.net", exitNoReply, []string{"1 of 1 node not connected: nosuch.example.net"}},
		{"ping -C nothing --timeout 0.3", exitNoNodes, []string{"no node matched"}},

		{"facts country -I " + all, 0, []string{"Report for fact: country", "Finished processing 12 / 12 hosts"}},
		{"facts country --json -I " + all, 0, []string{`"count": `, `"identities"`}},
		{"facts country --table -I " + all, 0, []string{"│ Fact │ Matches │"}},
		{"facts country --chart -r -I " + all, 0, []string{"█"}},
		{"facts country -v -I " + first, 0, []string{first}},
		{"facts country " + gone, exitNoReply, []string{"2 of 2 nodes not connected: nosuch.example.net,nowhere.example.net"}},
		{"facts country " + nothing, exitNoNodes, []string{"no node matched"}},

		{"inventory " + first, 0, []string{"Inventory for " + first, "Facts:"}},
		{"inventory --no-facts " + first, 0, []string{"Inventory for " + first}},
		{"inventory -j " + first, 0, []string{`"identity": "` + first + `"`}},
		{"inventory nosuch.example.net --reply-timeout 0.3", exitNoReply, []string{"is the name right (case counts)"}},
		{"inventory --collectives -I " + all, 0, []string{"12"}},
		{"inventory --collectives --json -I " + all, 0, []string{`"collectives"`}},
		{"inventory --collectives " + gone, exitNoReply, []string{"2 of 2 nodes not connected: nosuch.example.net,nowhere.example.net"}},
		{"inventory " + nothing, exitNoNodes, []string{"no node matched"}},

		{"doctor --discovery-timeout 1", 0, []string{"all 12 steps passed", "12 nodes answered"}},
		{"doctor --json --discovery-timeout 1", 0, []string{`"exit_code": 0`, `"permissions": [`}},
	})
	if got := p.run("ping --names --expect 12"); len(strings.Fields(got.out)) != 12 || got.code != 0 {
		t.Errorf("ping --names: %+v", got)
	}
	if got := p.run("discover --limit 5 -I " + all); len(strings.Fields(got.out)) != 5 {
		t.Errorf("discover --limit 5: %+v", got)
	}
	if got := p.run("inventory --no-facts " + first); strings.Contains(got.out, "Facts:") {
		t.Errorf("--no-facts: %+v", got)
	}
}

// Node sets, filters and sources reach the servers as they are meant.
func TestFiltersAndSourcesAgree(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 12, Seed: 1})
	names := func(line string, more ...string) string {
		got := p.run(line, more...)
		if got.code != 0 {
			t.Errorf("%s %q: %+v", line, more, got)
		}
		return strings.Join(strings.Fields(got.out), " ")
	}
	set := p.run("discover --output nodeset -I " + strings.Join(p.names, ",")).out
	p.write("set", set)
	p.write("list", "# two nodes\n"+p.names[0]+"\n\n"+p.names[1]+"\n")
	p.write("inventory.yaml", `$schema: https://choria.io/schemas/choria/discovery/v1/inventory_file.json
groups:
  - name: all
    filter:
      classes: [common]
nodes:
  - {name: web1.example.net, collectives: [choria], facts: {role: web}, classes: [common], agents: [rpcutil]}
  - {name: db1.example.net, collectives: [choria], facts: {role: db}, classes: [common], agents: [rpcutil]}
`)
	p.write("program", "#!/bin/sh\n"+`echo '{"protocol":"io.choria.choria.discovery.v1.external_reply","nodes":["from-program.example.net"]}' > "$2"`+"\n")
	p.write("bad.yaml", "nodes: 1\n")
	everything := strings.Join(p.names, " ")
	const whole = "discover --discovery-timeout 1 "
	country := names(whole + "-F country=mt")
	for what, tt := range map[string][2]string{
		"a folded set":       {names("discover --nodes " + p.path("set")), everything},
		"a list":             {names("discover --nodes " + p.path("list")), p.names[0] + " " + p.names[1]},
		"an exclusion":       {names("discover --nodes " + p.path("set") + " --exclude " + p.names[0]), strings.Join(p.names[1:], " ")},
		"a limit":            {names("discover --limit 2 --nodes " + p.path("set")), p.names[0] + " " + p.names[1]},
		"a compound filter":  {names(whole+"-S", `fact("country") == "mt"`), country},
		"with":               {names(whole+"-S", `with("country=mt") and "rpcutil" in agents and not ("nothing" in classes)`), country},
		"names and a filter": {names("discover --discovery-window -A rpcutil -I "+p.names[0]+",web77.ams1.example.net -S", `"rpcutil" in agents`), p.names[0]},
		"an inventory":       {names("discover --dm inventory -F role=web --do file=" + p.path("inventory.yaml")), "web1.example.net"},
		"a group":            {names("discover --dm inventory -I group:all --do file=" + p.path("inventory.yaml")), "db1.example.net web1.example.net"},
		"a program":          {names("discover --dm external --do command=" + p.path("program")), "from-program.example.net"},
	} {
		if tt[0] != tt[1] || tt[0] == "" {
			t.Errorf("%s finds %q, want %q", what, tt[0], tt[1])
		}
	}
	a, out, _ := newApp(t, p.names[2]+"\n", p.env())
	if code := a.execute(t.Context(), strings.Fields("discover --nodes -")); code != 0 || out.String() != p.names[2]+"\n" {
		t.Errorf("stdin: exit %d, %q", code, out)
	}
	p.check([]practiceRow{
		{"discover --dm inventory --do file=" + p.path("bad.yaml"), exitUsage, []string{"bad.yaml"}},
		{"discover --dm external --do command=/bin/false", exitFault, nil},
		{"discover --dm choria", exitNetwork, nil},
		{"discover --nodes " + p.path("set") + " -F a=b", exitUsage, []string{"cannot filter the nodes of a file"}},
		{"req rpcutil ping -I " + p.names[0] + ",web77.ams1.example.net --reply-timeout 0.3 --json", exitNoReply, []string{`"identity": "web77.ams1.example.net"`}},
	})
}

// The inventory of a fleet in each format, chosen, grouped and sorted.
func TestTheInventoryCountsWhatTheLabMade(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 30, Seed: 1, Upgradable: lab.Amount{N: 10}})
	p.write("all", strings.Join(p.names, "\n"))
	inventory := "inventory --nodes " + p.path("all") + " "
	count := func(line string) int {
		got := p.run(line)
		if got.code != 0 {
			t.Errorf("%s: %+v", line, got)
		}
		return strings.Count(got.out, "\n")
	}
	for line, want := range map[string]int{
		inventory + "--output jsonl": 31, inventory + "--output csv": 31, inventory + "--not-upgradable --output csv --columns node": 21, inventory + "--limit 5 --output csv": 6,
		inventory + "--upgradable --output csv --columns node --sort -node": 11,
	} {
		if got := count(line); got != want {
			t.Errorf("%s writes %d lines, want %d", line, got, want)
		}
	}
	p.check([]practiceRow{
		{inventory, 0, []string{"30 nodes, 10 upgradable during provisioning."}},
		{inventory + "--output html --columns node,uptime,fact:country --sort -node", 0, []string{"<h1>Inventory</h1>", "30 nodes, 10 upgradable during provisioning.", `"key":"fact:country"`, "<h2>Agents</h2>"}},
		{inventory + "--output markdown --group-by country", 0, []string{"## By country", "| mt | "}},
		{inventory + "--output json --upgradable", 0, []string{`"asked": 30,`, `"upgradable": 10,`, "10 nodes, 10 upgradable during provisioning; 20 not selected."}},
		{inventory + "--output json --facts --limit 1", 0, []string{`"country"`}},
		{inventory + "--output table --columns node,started,agent_versions,fact:country,classes,main_collective", 0, []string{"Started", "Agent Versions", "country"}},
		{inventory + "--output table --sort version,-uptime", 0, []string{"Version", "Upgradable", "30 nodes"}},
		{inventory + "--output jsonl --sort node", 0, []string{`"identity":"` + p.names[0]}},
		{inventory + "--output nodeset", 0, []string{"["}},
		{inventory + "--group-by version --output table", 0, []string{"30 nodes"}},
		{inventory + "--group-by country --output json", 0, []string{`"groups"`}},
		{inventory + "--group-by class --output jsonl", 0, []string{`"k":"group"`}},
		{inventory + "--group-by collective --output csv", 0, []string{"collective,nodes,upgradable\n", "choria,30,10\n"}},
		{inventory + "--group-by upgradable --output csv", 0, []string{"yes,10,10\n", "no,20,0\n"}},
		{inventory + "--group-by agent", 0, []string{"rpcutil"}},
		{inventory + "--version <0.1", exitNoNodes, []string{"30 nodes answered, and no answer matches the selection"}},
		{"inventory -I nosuch -I " + p.names[0] + " --reply-timeout 0.3", exitNoReply, []string{"warning: not connected: 1 node: nosuch"}},
		{inventory + "--save " + p.path("all.snap"), 0, []string{"Saved 30 nodes to "}},
		{inventory + "--diff " + p.path("all.snap"), 0, []string{"No difference: 30 nodes the same."}},
		{inventory + "--save " + p.path("fewer.snap") + " --exclude " + p.names[0] + "," + p.names[1], 0, []string{"Saved 28 nodes"}},
		{"inventory --diff " + p.path("all.snap") + " --to " + p.path("fewer.snap"), 0, []string{"2 nodes: went"}},
		{"inventory --output json --diff " + p.path("all.snap") + " --to " + p.path("fewer.snap"), 0, []string{`"went"`}},
		{inventory + "--diff " + p.path("all.snap") + " --not-upgradable --save " + p.path("later.snap"), 0, []string{"10 nodes: went", "warning: the nodes were chosen differently"}},
		{"inventory --diff " + p.path("all") + " --to " + p.path("all.snap"), exitUsage, []string{"not an inventory snapshot"}},
		{inventory + "--diff /nowhere/f", exitUsage, []string{"read snapshot", "/nowhere/f"}},
		{inventory + "--diff " + p.dir, exitUsage, []string{"is no regular file"}},
		{inventory + "--save " + p.path("no/folder"), exitUsage, []string{"save the inventory"}},
	})
	if data, err := os.ReadFile(p.path("all.snap")); err != nil || strings.Contains(string(data), "uptime") || strings.Contains(string(data), "start_time") {
		t.Errorf("a snapshot holds what changes by itself: %v", err)
	}
	if info, err := os.Stat(p.path("all.snap")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	natural := p.run("discover --nodes " + p.path("all")).out
	if got := p.run(inventory + "--output csv --columns node --sort node").out; got != "node\n"+natural {
		t.Errorf("sorted by node: %s", got)
	}
}

// A whole run by the command line: what is sent, recorded, looked up, resumed and retried.
func TestARequestFromTheCommandLine(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 4, Seed: 1, Faults: lab.Faults{Refuse: lab.Amount{N: 1}}})
	all := " -I " + strings.Join(p.names, ",")
	record := p.path("result.json")
	p.check([]practiceRow{
		{"req rpcutil ping" + all, 0, []string{"Done: 4 accepted of 4 nodes", "Discovering nodes using the "}},
		{"req rpcutil ping --json -o " + record + all, 0, []string{"Done: 4 accepted of 4 nodes"}},
		{"discover --nodes " + record, 0, []string{p.names[3]}},
		{"req choria_registry names plugin_type=agent", 0, nil},
		{"req choria_provision restart splay=1 --no-verify --canary 0 --jsonl" + all, exitRefused, []string{`"exit_code":3`, "Failed: 3 accepted, 1 refused of 4 nodes", "runs retry "}},
		{"runs list", 0, []string{"choria_provision#restart", "failed"}},
		{"runs show last", 0, []string{"req choria_provision restart splay=1 --canary 0 --connect-timeout 30s --jsonl --no-verify -I ", "3 accepted, 1 refused"}},
		{"runs resume last", exitRefused, []string{"is finished: nothing is left to resume"}},
		{"runs retry last --failed --dry-run", 0, []string{"1 node in 1 batch"}},
		{"runs retry last --not-sent", exitNoNodes, []string{"the run has no nodes in these states"}},
		{"req choria_provision restart --expect 3" + all, exitGuard, []string{"expected 3 nodes, found 4"}},
		{"req choria_provision shutdown" + all, exitGuard, []string{"cannot shut down 4 nodes without asking", "add --yes"}},
		{"req choria_provision restart --dry-run --max-nodes 9" + all, 0, []string{"4 nodes in 1 batch", "at most 9 nodes: --max-nodes"}},
		{"req rpcutil ping --reply-to site.x" + all, 0, nil},
	})
	for _, n := range p.names {
		if got := p.lab.Received(n, "choria_provision", "restart"); got != 1 {
			t.Errorf("%s got %d requests to restart", n, got)
		}
	}
}

// Nodes in provisioning mode are in an account and a collective of their own. The lab's second configuration has its
// login; replies there are not signed, in protocol v2 neither.
func TestNodesInProvisioningModeAreReachedWithTheProvisionersLogin(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{1, 2} {
		t.Run(fmt.Sprint("protocol ", protocol), func(t *testing.T) {
			t.Parallel()
			p := newPractice(t, lab.Options{Nodes: 3, Protocol: protocol, ProvisionAfter: -1, Seed: 7})
			node := p.names[0]
			there := " -T provisioning --config " + filepath.Join(filepath.Dir(p.lab.ConfigFile()), "provisioner.conf")
			p.check([]practiceRow{
				{"discover -T provisioning", exitUsage, []string{"plugin.nats.user"}},
				{"req choria_provision reprovision -I " + node, 0, []string{"Done: 1 verified of 1 node"}},
				{"discover --discovery-window" + there, 0, []string{node + "\n"}},
				{"ping --expect 1" + there, 0, []string{node}},
				{"inventory " + node + there, 0, []string{"Main Collective: provisioning"}},
				{"facts role --discovery-window" + there, 0, []string{"Report for fact: role"}},
				{"req rpcutil ping --discovery-window" + there, 0, []string{"1 accepted of 1 node"}},
				{"req rpcutil ping --discovery-window --senders" + strings.TrimPrefix(there, " -T provisioning"), 0, []string{node + "\n"}},
				// A restart there is refused by the node: that is no silence.
				{"req choria_provision restart -I " + node + there, exitRefused, []string{"1 refused of 1 node"}},
			})
		})
	}
}
