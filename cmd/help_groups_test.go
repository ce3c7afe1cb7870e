package cmd

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/ddl"
	"fleetctl/internal/proof"
)

// whole is the command line with all its commands.
func whole() *cobra.Command { return newRoot(&app{name: productName, env: environment{os.LookupEnv}}) }

func named(t *testing.T, path ...string) *cobra.Command {
	t.Helper()
	c, rest, err := whole().Find(path)
	if err != nil || len(rest) > 0 {
		t.Fatalf("no command %q: %v", path, err)
	}
	c.InitDefaultHelpFlag()
	return c
}

// A new flag of req needs a place in flagGroups: that of its kind, as one of the common ones or not.
func TestEveryFlagOfReqHasAGroup(t *testing.T) {
	places := map[string]int{}
	for _, g := range flagGroups {
		for _, name := range append(slices.Clone(g.common), g.more...) {
			places[name]++
		}
	}
	named(t, reqName).LocalFlags().VisitAll(func(f *pflag.Flag) {
		if n := places[f.Name]; n != 1 && !f.Hidden && f.Name != helpFlag {
			t.Errorf("--%s stands in %d groups of help_groups.go, want one", f.Name, n)
		}
		delete(places, f.Name)
	})
	for name := range places {
		t.Errorf("help_groups.go names --%s, which req does not have", name)
	}
}

func TestShortHelpFitsAScreen(t *testing.T) {
	for _, path := range [][]string{{reqName}, {"runs", "retry"}, {"inventory"}, {"discover"}} {
		for _, width := range []int{60, 80, 200} {
			text := helpOf(named(t, path...), width, false)
			if n := strings.Count(text, "\n"); n >= 75 && width >= 80 {
				t.Errorf("%q: %d lines at %d columns, want fewer than 75", path, n, width)
			}
			example := false
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if strings.HasSuffix(line, ":") || line == "" {
					example = strings.HasPrefix(line, "Examples") || strings.HasPrefix(line, "Usage") || example && line != ""
				}
				if len(line) > min(width, widestHelp) && !example && len(strings.Fields(line)) > 2 {
					t.Errorf("%q at %d columns: %d in %q", path, width, len(line), line)
				}
			}
		}
	}
	if text := helpOf(named(t, reqName), 80, false); strings.Index(text, "Examples:") > strings.Index(text, "Usage") {
		t.Errorf("examples do not come first:\n%s", text)
	}
}

func TestEveryFlagIsInTheHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		short, full := helpOf(c, 80, false), helpOf(c, 80, true)
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == helpFlag || c.IsAdditionalHelpTopicCommand() {
				return
			}
			if !strings.Contains(short, "--"+f.Name) {
				t.Errorf("the help of %s lacks --%s", c.CommandPath(), f.Name)
			}
			row := flagRowOf(f)
			if !strings.Contains(full, strings.TrimSpace(row[0])) || row[1] != "" && !strings.Contains(strings.Join(strings.Fields(full), " "), strings.Join(strings.Fields(row[1]), " ")) {
				t.Errorf("the full help of %s does not explain --%s: %q", c.CommandPath(), f.Name, row)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(whole())
	if code, out, errs := runApp(t, nil, "help", "req", "--all"); code != exitOK || !strings.Contains(out, "--verify-timeout DURATION") {
		t.Errorf("help req --all: exit %d, %q%q", code, out, errs)
	}
}

func TestHelpExplainsAgentsAndActions(t *testing.T) {
	env := noBroker(t)
	for _, tt := range []struct {
		line string
		code int
		says []string // on stdout, or on stderr where the code is not 0
	}{
		{"req choria_provision", exitUsage, []string{"an action is missing", "shutdown        stops ", "restart         restarts", "reprovision     resets", "stays down"}},
		{"req choria_provision --help", exitOK, []string{"gen25519        changes", "Inputs of an action"}},
		{"req rpcutil --help", exitOK, []string{"ping             reads", "changes nothing on a node"}},
		{"help req rpcutil", exitOK, []string{"daemon_stats     reads"}},
		{"req choria_provision restart --help", exitOK, []string{"token=@FILE", "splay=", "number, optional", "at most 128 bytes", "from 0 to 600", "20s"}},
		{"req --help choria_provision restart", exitOK, []string{"splay="}},
		{"rpc choria_provision restart --help", exitOK, []string{"splay="}},
		{"help req choria_provision configure", exitOK, []string{"config=CONFIG", "matches ^{.+}$", "at most 2048 bytes"}},
		{"req nosuch --help", exitUsage, []string{`agent "nosuch"`}},
		{"req nosuch", exitUsage, []string{`agent "nosuch"`}},
		{"req rpcutil pinf --help", exitUsage, []string{"unknown action rpcutil#pinf", "did you mean ping?"}},
		{"req rpcutil zzzzzz --help", exitUsage, []string{"rpcutil has agent_inventory"}},
	} {
		code, out, errs := runApp(t, env, strings.Fields(tt.line)...)
		if code != tt.code || (code == exitOK) != (errs == "") || (code == exitOK) == (out == "") {
			t.Errorf("%s: exit %d, want %d; stdout %q, stderr %q", tt.line, code, tt.code, out, errs)
		}
		for _, want := range tt.says {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s lacks %q:\n%s%s", tt.line, want, out, errs)
			}
		}
	}
}

func TestMistypedNamesAreProposed(t *testing.T) {
	env := noBroker(t)
	for line, want := range map[string]string{
		"inventroy":                      "did you mean inventory?",
		"resume last":                    "did you mean `fleetctl runs resume`?",
		"provisioning":                   "did you mean `fleetctl jwt provisioning`?",
		"runs rsume":                     "did you mean resume?",
		"jwt veiw":                       "did you mean view?",
		"zzzzzz":                         "see `fleetctl --help`",
		"req rpcutil ping --bacth 3":     "did you mean --batch?",
		"req rpcutil ping --max-fail":    "--max-failed",
		"req rpcutil ping -Z":            "see `fleetctl req --help`",
		"discover --nodse x":             "did you mean --nodes?",
		"help exitcodes":                 "did you mean exit-codes?",
		"help runs rsume":                "did you mean resume?",
		"help zzzzzz":                    "topics: batches",
		"req rpcutil ping --output jsno": "did you mean json? use one of",
		"inventory --output csv --columns vesion":                  "did you mean version?",
		"inventory --output csv --sort uptmie":                     "did you mean uptime?",
		"req choria_provision restart tokn=x --connect-timeout 1s": `did you mean "token"?`,
	} {
		if code, _, errs := runApp(t, env, strings.Fields(line)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q; want %q", line, code, errs, want)
		}
	}
}

// What can be proved is what interrupts a node: help must not call it a mere change.
func TestEveryProvedActionHasItsDanger(t *testing.T) {
	doc, err := ddl.Resolver{}.Resolve(t.Context(), "choria_provision")
	if err != nil {
		t.Fatal(err)
	}
	for a := proof.Restart; a < proof.Expression; a++ {
		if d := dangerOf(doc, a.String()); d <= changes {
			t.Errorf("%s is listed as %q", a, dangerWords[d][0])
		}
	}
	for d := reads; d < dangers; d++ {
		if dangerWords[d][0] == "" || dangerWords[d][1] == "" {
			t.Errorf("danger %d has no words", d)
		}
	}
}
