//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// sitting is how the command lines of a page are run: in the order of the page, in one folder, on a fleet of their own.
type sitting struct {
	lab   lab.Options
	setup string      // shell commands before the first line
	edits [][2]string // what is replaced in the lines, so that they end soon or need no terminal; each has to be in one
	codes [][2]string // words of a line, and the exit code that it ends with, where that is not 0
}

// sittings are those of the pages that need more than others.
var sittings = map[string]sitting{
	"README.md":       {edits: [][2]string{{"73ce620b5a21.choria.local", "web01.mla1.example.net"}, {"--batch 1,10,100", "--batch 1,10,100 --batch-sleep 0"}}},
	"CONTRIBUTING.md": {edits: [][2]string{{"lab --", "lab --nodes 4 --"}}},
	"docs/ci.md": {
		setup: "fleetctl req choria_provision restart token=@token --save-plan web.plan",
		edits: [][2]string{{"fleetctl plan approve", `FLEETCTL_CONFIG="$BOB" fleetctl plan approve`}},
	},
	"docs/fleet-management.md": {
		lab: lab.Options{Version: "0.28.0", Upgradable: lab.Amount{N: 3}, ProvisionAfter: 100 * time.Millisecond},
		edits: [][2]string{
			{"--default --upgrade", "--default --upgrade --token s3cret"}, {"--batch-sleep 30", "--batch-sleep 0"},
			{"--batch 10%", "--batch 50% --batch-sleep 0"}, {"--max-nodes 8", "--max-nodes 8 --yes --settle 1"},
		},
	},
	"docs/gates.md": {setup: "echo true > check.sh; chmod 700 check.sh"},
	"docs/json.md":  {edits: [][2]string{{"--batch 10%", "--batch 50% --batch-sleep 0"}}},
	"docs/lab.md": {edits: [][2]string{
		{"lab -- fleetctl", "lab --nodes 2 -- fleetctl"}, {"--nodes 200 --silent 2% --refuse 1%", "--nodes 3 --refuse 1%"}, {"token=s3cret", "token=s3cret splay=1"},
		{"lab --protocol 2", "lab --protocol 2 --nodes 4"},
	}, codes: [][2]string{{"--refuse 1%", "3"}}},
	"docs/notifications.md": {setup: `printf '#!/bin/sh\necho "$FLEETCTL_EVENT" >> events\n' > bin/notify-chat; chmod 700 bin/notify-chat`},
	"docs/plans.md": {edits: [][2]string{
		{"--batch 10%", "--batch 50%"},
		{"fleetctl plan approve", `FLEETCTL_CONFIG="$BOB" fleetctl plan approve`}, {"fleetctl apply", `FLEETCTL_CONFIG="$CAROL" fleetctl apply`},
	}},
	"docs/reports.md": {setup: "fleetctl req rpcutil ping --journal"},
	"docs/runs.md": {edits: [][2]string{
		{"--batch 1,10,5%", "--batch 1,10,50% --batch-sleep 0"}, {"fleetctl runs watch $id ", "fleetctl runs watch $id & "},
		// The run waits for the lines that pause and continue it.
		{"--batch 10 --detach", "--batch 10 --gate 'test -f continued || exit 75' --gate-every 1s --detach"}, {"fleetctl runs wait $id ", "touch continued; fleetctl runs wait $id "},
	}},
	"docs/shared.md":  {lab: lab.Options{Streams: true}, codes: [][2]string{{"runs forget", "2"}, {"runs settle 2026", "2"}}}, // no node counts, and no run has that name
	"cmd/apply.go":    {setup: "fleetctl req choria_provision restart token=@token -F role=db --save-plan restart.plan"},
	"cmd/jwt.go":      {setup: "cp issuer.seed signer.pem", edits: [][2]string{{"@/run/secrets/token", "@token"}}},
	"cmd/jwt_view.go": {setup: "fleetctl jwt provisioning client.jwt issuer.seed --urls nats://provision.example.net:4222 --default --token s3cret; cp client.jwt provisioning.jwt"},
	"cmd/lab.go":      {setup: "echo 'fleetctl ping' > upgrade-drill.sh"},
	"cmd/plan.go": {
		setup: "fleetctl req choria_provision restart token=@token -F role=db --save-plan restart.plan",
		edits: [][2]string{{"fleetctl plan approve", `FLEETCTL_CONFIG="$BOB" fleetctl plan approve`}},
	},
	"cmd/req.go": {
		setup: "cp token FILE",
		codes: [][2]string{{"fleetctl req choria_provision   ", "2"}}, // without an action it lists them
	},
	"cmd/runs_shared.go":   {lab: lab.Options{Streams: true}, setup: "fleetctl shared init"},
	"cmd/sites.go":         {setup: `mkdir -p fleetctl; echo "sites: {ams: {config: $FLEETCTL_CONFIG}}" > fleetctl/config.yaml`},
	"cmd/runs.go":          {setup: "fleetctl req choria_provision restart token=@token -F role=lb --spread-by rack", codes: [][2]string{{"runs retry", "8"}}}, // it has nothing to retry
	"cmd/runs_report.go":   {setup: "fleetctl req choria_provision restart token=@token -F role=lb --spread-by rack"},
	"cmd/runs_settle.go":   {setup: "fleetctl req choria_provision restart token=@token -F role=lb", codes: [][2]string{{"runs forget", "2"}}},
	"cmd/shared_limits.go": {lab: lab.Options{Streams: true}, setup: "fleetctl shared init"},
}

// otherForm are the lines besides those of fleetctl that are run: a page sets a variable, or looks at the exit code.
var otherForm = regexp.MustCompile(`^(export|echo|cat) `)

// helpMarks are the marks of command lines in the help, which has no comments.
var helpMarks = []mark{
	{"not run", "fleetctl login", "needs a login service; package cmd has its tests"},
	{"not run", "lab --protocol 2 --nodes 200 --silent 2%", "it stays up until Ctrl-C"},
	{"not run", "runs diff 2026", "names a run that exists nowhere"},
	{"not run", "runs adopt 2026", "names a run that exists nowhere"},
}

// tally counts the command lines by what was done with them.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// TestCommandLinesOfThePages runs every command line of the pages and of the help against a lab, as far as none of them is marked.
// Lines that are marked, and those in running text, are parsed by the real program.
func TestCommandLinesOfThePages(t *testing.T) {
	t.Parallel()
	tests := readSource(t).names
	count := &tally{counts: map[string]int{}}
	seen := map[string]bool{} // what pages have run, so that the help need not run it again
	pages := map[string][]listing{}
	inline, help := map[string]string{}, map[mark]bool{}
	for _, page := range trackedFiles(t) {
		if !strings.HasSuffix(page, ".md") || page == "CHANGELOG.md" || strings.HasPrefix(page, "docs/adr/") {
			continue // these describe the past
		}
		data, err := os.ReadFile(page)
		if err != nil {
			continue // deleted, not committed yet
		}
		for _, l := range listings(page, string(data)) {
			pages[page] = append(pages[page], l)
			for _, line := range l.lines {
				seen[words(line.text)] = true
			}
		}
		for _, line := range inlineCommands(page, string(data)) {
			inline[line.text] = fmt.Sprintf("%s:%d", page, line.at)
		}
	}
	for _, l := range helpListings(t) {
		before := len(l.lines)
		l.lines = slices.DeleteFunc(l.lines, func(line pageLine) bool { return seen[words(line.text)] })
		for range before - len(l.lines) {
			count.add("in the help, as in a page")
		}
		for _, m := range helpMarks {
			if slices.ContainsFunc(l.lines, func(line pageLine) bool { return strings.Contains(line.text, m.words) }) {
				l.marks = append(l.marks, m)
				help[m] = true
			}
		}
		pages[l.page] = append(pages[l.page], l)
	}
	for _, m := range helpMarks {
		if !help[m] {
			t.Errorf("the mark %q holds for no line of the help", m)
		}
	}
	for page := range sittings {
		if len(pages[page]) == 0 {
			t.Errorf("%s has no command lines: remove its sitting", page)
		}
	}
	t.Run("page", func(t *testing.T) {
		for page, list := range pages {
			t.Run(strings.ReplaceAll(page, "/", "_"), func(t *testing.T) {
				t.Parallel()
				playPage(t, page, list, tests, count)
			})
		}
		t.Run("in_the_text", func(t *testing.T) {
			t.Parallel()
			for _, text := range slices.Sorted(maps.Keys(inline)) {
				count.add("in the text: parsed")
				if err := parseLine(t, text); err != nil {
					t.Errorf("%s: `%s`: %v", inline[text], text, err)
				}
			}
		})
	})
	total := 0
	for what, n := range count.counts {
		total += n
		t.Logf("%3d %s", n, what)
	}
	t.Logf("%3d command lines", total)
}

// words is a command line without its comment, and with single blanks.
func words(text string) string {
	text = regexp.MustCompile(` #.*`).ReplaceAllString(strings.ReplaceAll(text, "\\\n", " "), "")
	return strings.Join(strings.Fields(text), " ")
}

// playPage runs the lines of a page that have no mark, and parses the others.
func playPage(t *testing.T, page string, list []listing, tests map[string]bool, count *tally) {
	used := map[mark]bool{}
	run := 0
	for i, l := range list {
		var left []pageLine
		for _, line := range l.lines {
			m := l.markFor(line)
			if m == nil && line.isFlag() {
				m = &mark{kind: "flags"}
			}
			if m == nil {
				if line.isCommand() || otherForm.MatchString(line.text) {
					left = append(left, line)
				}
				if line.isCommand() {
					run++
					count.add("run")
				}
				continue
			}
			used[*m] = true
			if !line.isCommand() {
				continue
			}
			count.add(map[string]string{"flags": "flags alone: parsed", "ci": "run by .ci/run: parsed", "run by": "run by another test: parsed", "not run": "marked as not run: parsed"}[m.kind])
			if err := parseLine(t, line.text); err != nil {
				t.Errorf("%s:%d: %s: %v", l.page, line.at, line.text, err)
			}
		}
		for _, m := range l.marks {
			if !used[m] {
				t.Errorf("%s:%d: the mark %q holds for no line", l.page, l.lines[0].at, m)
			}
			if name := testForm.FindString(m.text); m.kind == "run by" && name != ".ci/run" && !tests[name] {
				t.Errorf("%s:%d: %q runs lines of this page, and is not there", l.page, l.lines[0].at, m.text)
			}
		}
		list[i].lines = left
	}
	if run == 0 {
		if _, ok := sittings[page]; ok {
			t.Errorf("no line of %s is run: remove its sitting", page)
		}
		return
	}
	newDesk(t, page).play(list)
}

// desk is a folder with a shell, at which the lines of a page are typed.
type desk struct {
	*fleet
	sitting
	env  []string
	seen map[int]bool // the edits that were of use
}

func newDesk(t *testing.T, page string) *desk {
	s := sittings[page]
	s.lab.Hasty, s.lab.Seed = true, 1
	if s.lab.Nodes == 0 {
		s.lab.Nodes = 12
	}
	if s.lab.Protocol == 0 {
		s.lab.Protocol = 2
	}
	if s.lab.Upgradable == (lab.Amount{}) {
		s.lab.Upgradable = lab.Amount{N: 40, Percent: true} // as in the program
	}
	d := &desk{fleet: newFleet(t, s.lab), sitting: s, seen: map[int]bool{}}
	bin := filepath.Join(d.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("fleetctl")
	if err != nil {
		t.Fatal(err)
	}
	// Wrong usage is a fault of the page wherever it is, in front of a pipe too.
	d.write("bin/fleetctl", fmt.Sprintf("#!/bin/sh\n%s --connect-timeout 30s \"$@\"\ncode=$?\n[ $code != 2 ] || echo \"fleetctl $*\" >> %s\nexit $code\n", program, filepath.Join(d.dir, "misused")))
	d.write("token", "s3cret\n")
	d.write("token.txt", "s3cret\n")
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	d.write("issuer.seed", hex.EncodeToString(key.Seed()))
	d.write("issuer.public", hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	d.env = append(slices.DeleteFunc(d.command(patient(t)).Env, func(v string) bool { return strings.HasPrefix(v, "FLEETCTL_TOKEN=") || strings.HasPrefix(v, "PATH=") }),
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "GITHUB_STEP_SUMMARY="+filepath.Join(d.dir, "summary.md"))
	if s.lab.Protocol == 2 {
		d.env = append(d.env, "BOB="+d.tokenCaller(t, "BOB"), "CAROL="+d.tokenCaller(t, "CAROL"))
	}
	return d
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o700); err != nil {
		d.t.Fatal(err)
	}
}

// play types the setup and then the blocks of a page, each into a shell of its own.
func (d *desk) play(list []listing) {
	d.t.Helper()
	if d.setup != "" {
		d.block("the setup", []pageLine{{0, d.setup}})
	}
	for _, l := range list {
		if len(l.lines) > 0 {
			d.block(l.page, l.lines)
		}
	}
	for i, e := range d.edits {
		if !d.seen[i] {
			d.t.Errorf("no line has %q any more: remove its edit", e[0])
		}
	}
}

// block runs the lines of a block, and demands the exit code of each.
func (d *desk) block(page string, lines []pageLine) {
	d.t.Helper()
	var script strings.Builder
	for i, line := range lines {
		// The file has the exit code of each line; the next line finds it in $? as well.
		fmt.Fprintf(&script, "echo '=== %s:%d'; (exit ${code:-0})\n%s\ncode=$?; echo \"%d $code\" >> codes\n", page, line.at, forShell(d.edited(line.text)), i)
	}
	d.write("block.sh", script.String())
	d.write("codes", "")
	d.write("misused", "")
	out, err := os.Create(filepath.Join(d.dir, "output"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(d.t.Context(), 3*patience) // a block has many lines
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "block.sh")
	c.Dir, c.Env = d.dir, d.env
	c.Stdout, c.Stderr = out, out // a file: a run in the background may hold it longer than the shell
	began := time.Now()
	err = c.Run()
	d.t.Logf("%s:%d: %d lines in %v", page, lines[0].at, len(lines), time.Since(began).Round(100*time.Millisecond))
	text, _ := os.ReadFile(out.Name())
	codes, _ := os.ReadFile(filepath.Join(d.dir, "codes"))
	misused, _ := os.ReadFile(filepath.Join(d.dir, "misused"))
	got := strings.Fields(string(codes))
	for i, line := range lines {
		want := "0"
		for _, code := range d.codes {
			if strings.Contains(line.text, code[0]) {
				want = code[1]
			}
		}
		if at := 2*i + 1; at >= len(got) || got[at-1] != strconv.Itoa(i) || got[at] != want {
			d.t.Errorf("%s:%d: %s\nended with another exit code than %s: %v, %v\n%s", page, line.at, line.text, want, got, err, text)
			return
		}
	}
	if len(misused) > 0 && !slices.Contains(got, "2") {
		d.t.Errorf("%s:%d: wrong usage: %s\n%s", page, lines[0].at, misused, text)
	}
}

// edited is a line as it is run.
func (d *desk) edited(text string) string {
	for i, e := range d.edits {
		if strings.Contains(text, e[0]) {
			text, d.seen[i] = strings.ReplaceAll(text, e[0], e[1]), true
		}
	}
	return text
}

// What would be wrong in a page is found in a line that is only parsed, too.
func TestTheCheckOfCommandLinesBites(t *testing.T) {
	notRaced(t)
	t.Parallel()
	for line, want := range map[string]string{
		"fleetctl ping --expect 4":                          "",
		"fleetctl ping --expct 4":                           "--expct",
		"fleetctl runs rsume last":                          `no command "rsume"`,
		"fleetctl png | cat":                                `no command "png"`,
		"--gate 'fleetctl ping --expct 4'":                  "--expct",
		"--gat true":                                        "--gat",
		"fleetctl help batchs":                              "batchs",
		"fleetctl discover | fleetctl req a b --batsh 1":    "--batsh",
		"go run . lab --nodes 2 -- fleetctl pong":           `no command "pong"`,
		"fleetctl lab -- sh -c 'fleetctl ping --expct 4'":   "--expct",
		"id=$(fleetctl req choria_provision restart --ttl)": "--ttl",
	} {
		err := parseLine(t, line)
		if got := fmt.Sprint(err); (err == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %v, want an error with %q", line, err, want)
		}
	}
}
