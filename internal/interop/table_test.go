//go:build unix

package interop

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compared are the commands, by the real client's names, whose flags the page on differences judges.
var compared = []string{"req", "find", "ping", "inventory", "facts"}

// verdicts are what the page says of each command's flags, which are called by their long names: "same", "better" or
// "not there", and why.
type verdicts map[string]struct{ verdict, why string }

// TestTheTableOfFlagsIsTrue holds the page on differences against the real client's help, against ours, and against the
// uses that the other tests compare.
func TestTheTableOfFlagsIsTrue(t *testing.T) {
	choria := choriaBinary(t)
	table := readTable(t, filepath.Join("..", "..", "docs", "choria-differences.md"))
	used := map[string]bool{}
	home := t.TempDir()
	for _, command := range compared {
		help := run(t, home, environment(home), choria, command, "--help")
		theirs, short := flagsOf(help.Stdout + help.Stderr)
		if diff := cmp.Diff(theirs, slices.Sorted(maps.Keys(table[command]))); diff != "" || len(theirs) < 5 {
			t.Errorf("flags of %s (-choria --help +the page)\n%s", command, diff)
		}
		for _, u := range slices.Concat(uses(""), federatedUses) {
			if u.command == command {
				used = u.flags(short, used)
			}
		}
		ours, _ := flagsOf(fleetctl(t, "help", command, "--all").Stdout + fleetctl(t, "--help").Stdout) // of the command, and global ones
		for flag, says := range table[command] {
			switch says.verdict {
			case "same":
				if !used[command+" "+flag] {
					t.Errorf("%s --%s is called the same, and no use of it is compared", command, flag)
				}
				continue // hidden ones are not in our help
			case "better":
				if !slices.Contains(ours, flag) {
					t.Errorf("%s --%s is called better, and is not there", command, flag)
				}
			case "not there":
				if res := fleetctl(t, command, "--"+flag); res.Code != 2 {
					t.Errorf("%s --%s is called not there, and ends with %d", command, flag, res.Code)
				}
			default:
				t.Errorf("%s --%s is called %q", command, flag, says.verdict)
			}
			if says.why == "" {
				t.Errorf("%s --%s is called %s, and not why", command, flag, says.verdict)
			}
		}
	}
}

// flags adds what the use is a use of.
func (u use) flags(short map[string]string, to map[string]bool) map[string]bool {
	for _, arg := range u.args {
		name, long := strings.CutPrefix(arg, "--")
		if !long {
			name = short[strings.TrimPrefix(arg, "-")]
		}
		to[u.command+" "+name] = true
		to[u.command+" "+strings.TrimPrefix(name, "no-")] = true
	}
	return to
}

var flagLine = regexp.MustCompile(`(?m)^ +(?:-(\w), )?--(?:\[no-\])?([a-z][a-z-]*)`)

// flagsOf reads a help text: the flags' long names, sorted, and the long names of the short ones.
func flagsOf(help string) (long []string, short map[string]string) {
	short = map[string]string{}
	for _, m := range flagLine.FindAllStringSubmatch(help, -1) {
		long = append(long, m[2])
		if m[1] != "" {
			short[m[1]] = m[2]
		}
	}
	slices.Sort(long)
	return slices.Compact(long), short
}

var (
	tableHead = "| Flag | " + fmt.Sprint("`", strings.Join(compared, "` | `"), "`") + " | Why |"
	flagName  = regexp.MustCompile("`--(?:\\[no-\\])?([a-z-]+)`")
)

// readTable reads the table of flags of the page.
func readTable(t *testing.T, page string) map[string]verdicts {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rows, ok := strings.Cut(string(text), tableHead+"\n")
	if !ok {
		t.Fatalf("%s has no table %q", page, tableHead)
	}
	table := map[string]verdicts{}
	for _, command := range compared {
		table[command] = verdicts{}
	}
	for line := range strings.Lines(rows) {
		cells := strings.Split(strings.Trim(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|"), "|")
		if len(cells) != len(compared)+2 {
			break
		}
		for _, m := range flagName.FindAllStringSubmatch(cells[0], -1) {
			for i, command := range compared {
				if verdict := strings.Trim(cells[i+1], " *"); verdict != "" {
					table[command][m[1]] = struct{ verdict, why string }{verdict, strings.TrimSpace(cells[len(cells)-1])}
				}
			}
		}
	}
	return table
}
