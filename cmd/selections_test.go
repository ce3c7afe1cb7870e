package cmd

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

// Selections mean what they say: earlier results, exclusions, files of another kind, seeds, and names that nothing has.
func TestSelectionsMeanWhatTheySay(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 12, Seed: 1})
	first := p.names[0]
	everything := strings.Join(p.names, "\n") + "\n"
	for name, text := range map[string]string{
		"all": everything, "gone": "gone.example.net\n", "hosts.yaml": "all:\n  hosts:\n    web1:\n", "wide": "\xff\xfew\x00e\x00b\x001\x00\n\x00",
		"mark": "\xef\xbb\xbfweb1\nweb2\n", "bolt.yaml": "groups:\n- targets: [web1, {uri: web2}]\n",
		"program": "#!/bin/sh\nPATH=/usr/bin:/bin\n" + `printf '{"error":%s}' "$(sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$/"/' "$1")" > "$2"` + "\n",
	} {
		p.write(name, text)
	}
	nodes := " --nodes " + p.path("all") + " "
	p.keep(t, "one.json", "req rpcutil ping --json --np"+nodes+"--filter-replies", "sender() == '"+first+"'")
	p.keep(t, "none.json", "req rpcutil ping --json --np"+nodes+"--filter-replies", "code == 5")
	p.keep(t, "all.csv", "req rpcutil ping --output csv --np"+nodes)
	p.write("numbers", "1\n3\n")
	p.keep(t, "numbers.set", "discover --output nodeset --nodes "+p.path("numbers"))
	for what, tt := range map[string]struct{ line, want string }{
		"the senders of a filtered result": {"discover --nodes " + p.path("one.json"), first + "\n"},
		"the same as results":              {"discover --dm file --do format=results --do file=" + p.path("one.json"), first + "\n"},
		"our CSV":                          {"discover --nodes " + p.path("all.csv"), everything},
		"our CSV, called text":             {"discover --dm file --do format=text --do file=" + p.path("all.csv"), everything},
		"without all of them":              {"discover" + nodes + "--exclude /^nothing/", everything},
		"a byte order mark":                {"discover --nodes " + p.path("mark"), "web1\nweb2\n"},
		"a node set of numbers":            {"discover --nodes " + p.path("numbers.set"), "1\n3\n"},
	} {
		if got := p.run(tt.line); got.code != 0 || got.out != tt.want {
			t.Errorf("%s: %s: exit %d, %q, want %q\n%s", what, tt.line, got.code, got.out, tt.want, got.err)
		}
	}
	restart := "req choria_provision restart --np "
	p.check([]practiceRow{
		{"req choria_provision shutdown --yes --nodes " + p.path("none.json"), exitNoNodes, nil},
		{"discover" + nodes + "--exclude /./", exitNoNodes, nil},
		{"discover" + nodes + "--exclude wbe99", 0, []string{`--exclude "wbe99" excludes no node`}},
		{restart + nodes + "--exclude wbe99", exitGuard, []string{`--exclude "wbe99" excludes no node`}},
		{restart + nodes + "--exclude " + strings.ToUpper(first), exitGuard, []string{"excludes no node"}},
		{restart + "--dry-run -I " + first + " --exclude @" + p.path("gone"), 0, []string{"1 of its 1 names are none of the nodes: gone.example.net"}},
		{"discover" + nodes + "--exclude role=web", exitUsage, nil},
		{"discover" + nodes + "--exclude web{01,02}", exitUsage, nil},
		{"discover -I web{01,02}", exitUsage, nil},
		{"discover --nodes " + p.path("hosts.yaml"), exitUsage, nil},
		{"discover --nodes " + p.path("wide"), exitUsage, nil},
		{"discover --do filter=groups.0.targets --nodes " + p.path("bolt.yaml"), exitUsage, nil},
		{"ping -I group:all", exitUsage, nil},
		{"inventory" + nodes + "--group-by versoin", exitUsage, []string{"did you mean one of these? version"}},
		{"inventory --output csv --columns versoin", exitUsage, nil},
		{restart + nodes + "--spread-by rakc --batch 3 --dry-run", exitUsage, []string{"did you mean one of these? rack"}},
		{restart + nodes + "--max-per rakc=1 --batch 3 --dry-run", exitUsage, []string{"did you mean one of these? rack"}},
		{"discover --federations one,two --dm external --do command=" + p.path("program"), exitFault, []string{`"federations":["one","two"]`}},
	})
	for _, n := range p.names {
		for _, action := range []string{"restart", "shutdown"} {
			if got := p.lab.Received(n, "choria_provision", action); got != 0 {
				t.Errorf("%s got %d requests to %s", n, got, action)
			}
		}
	}
	p.drawsAnew(t, nodes)
}

// keep writes what a command prints to a file of the practice's folder.
func (p *practice) keep(t *testing.T, name, line string, more ...string) {
	t.Helper()
	got := p.run(line, more...)
	if got.code != 0 || got.out == "" {
		t.Fatalf("%s %q: %+v", line, more, got)
	}
	p.write(name, got.out)
}

// drawsAnew wants another choice of nodes each time, where the configuration says that a limit chooses at random.
func (p *practice) drawsAnew(t *testing.T, nodes string) {
	t.Helper()
	p.write("random.conf", string(p.read(t, p.lab.ConfigFile()))+"\nrpclimitmethod = random\n")
	drawn := map[string]bool{}
	for range 6 {
		drawn[p.run("discover --limit 4 --config "+p.path("random.conf")+nodes).out] = true
	}
	if len(drawn) < 2 {
		t.Errorf("six draws of 4 nodes are all %q", fmt.Sprint(drawn))
	}
}

func (p *practice) read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
