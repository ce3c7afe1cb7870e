package cmd

import (
	"context"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagRow is a part of a command line, and what it changes in the options that the command makes without it.
type flagRow[O any] struct {
	args string
	set  func(o *O)
}

// flagTable is a command whose work is replaced by a look at its options.
type flagTable[O any] struct {
	command string // its place in the tree, such as "runs show"
	words   string // the arguments that it needs
	build   func(a *app, see func(O)) *cobra.Command
	plain   O // what it makes without flags
	rows    []flagRow[O]
}

// setFlags are the flags that rows of tables have set, by the command's path and the flag's name.
type setFlags map[string]bool

// seen is the options that a command line makes.
func (ft flagTable[O]) seen(t *testing.T, set setFlags, args string) (got O, global globalFlags) {
	t.Helper()
	a := &app{name: productName, env: environment{func(string) (string, bool) { return "", false }}}
	root := &cobra.Command{Use: "fleetctl", SilenceErrors: true, SilenceUsage: true}
	a.flags.add(root.PersistentFlags())
	calls := 0
	c := ft.build(a, func(o O) { got, calls = o, calls+1 })
	parent := root
	if group, _, ok := strings.Cut(ft.command, " "); ok {
		parent = &cobra.Command{Use: group}
		root.AddCommand(parent)
	}
	parent.AddCommand(c)
	words := strings.Fields(ft.command + " " + ft.words + " " + args)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "␣", " ")
	}
	root.SetArgs(words)
	if err := root.ExecuteContext(t.Context()); err != nil || calls != 1 {
		t.Errorf("%s %s %s: the work was begun %d times, %v", ft.command, ft.words, args, calls, err)
	}
	c.Flags().Visit(func(f *pflag.Flag) { set[c.CommandPath()+" --"+f.Name] = true })
	return got, a.flags
}

// check holds every row against its command.
func (ft flagTable[O]) check(t *testing.T, set setFlags) {
	t.Helper()
	got, global := ft.seen(t, set, "")
	if !reflect.DeepEqual(got, ft.plain) || !reflect.DeepEqual(global, globalFlags{}) {
		t.Errorf("%s without flags:\n got %+v %+v\nwant %+v", ft.command, got, global, ft.plain)
	}
	for _, row := range ft.rows {
		want := ft.plain
		row.set(&want)
		if reflect.DeepEqual(want, ft.plain) {
			t.Errorf("%s %s: the row wants nothing", ft.command, row.args)
		}
		if got, _ := ft.seen(t, set, row.args); !reflect.DeepEqual(got, want) {
			t.Errorf("%s %s:\n got %+v\nwant %+v", ft.command, row.args, got, want)
		}
	}
}

// TestEveryFlagReachesTheOptions sets every flag of every command once. A flag that no row sets fails it.
func TestEveryFlagReachesTheOptions(t *testing.T) {
	set := setFlags{}
	checkRequestFlags(t, set)
	checkFleetFlags(t, set)
	checkOtherFlags(t, set)
	globals().check(t, set)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		local := c.NonInheritedFlags()
		if !c.HasParent() {
			local = c.PersistentFlags()
		}
		local.VisitAll(func(f *pflag.Flag) {
			path := c.CommandPath()
			if !c.HasParent() {
				path += " ping" // where the table of the global flags sets them
			}
			if f.Name != "help" && !set[path+" --"+f.Name] {
				t.Errorf("no row sets %s --%s", path, f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	a, _, _ := newApp(t, "", nil)
	walk(newRoot(a))
}

// globals are the flags of the root, which any command understands.
func globals() flagTable[globalFlags] {
	return flagTable[globalFlags]{
		command: "ping",
		build: func(a *app, see func(globalFlags)) *cobra.Command {
			return newPing(a, func(_ context.Context, a *app, _ pingOptions) error { see(a.flags); return nil })
		},
		rows: []flagRow[globalFlags]{
			{"--config f", func(g *globalFlags) { g.config = "f" }},
			{"--site s", func(g *globalFlags) { g.site = "s" }},
			{"--debug", func(g *globalFlags) { g.debug = true }},
			{"--log-file /dev/null", func(g *globalFlags) { g.logFile = "/dev/null" }},
			{"--no-color", func(g *globalFlags) { g.noColor = true }},
			{"--no-progress", func(g *globalFlags) { g.noProgress = true }},
			{"--np", func(g *globalFlags) { g.noProgress = true }},
			{"--connect-timeout 3", func(g *globalFlags) { g.connectTimeout = waiting(3 * time.Second) }},
			{"--insecure-broker", func(g *globalFlags) { g.insecureBroker = true }},
			{"--allow-unsigned-replies", func(g *globalFlags) { g.allowUnsigned = true }},
			{"--signer-ca f", func(g *globalFlags) { g.signerCA = "f" }},
			{"--insecure-signer", func(g *globalFlags) { g.insecureSigner = true }},
		},
	}
}

// waiting is a duration that was given.
func waiting(d time.Duration) seconds { return seconds{d: d, set: true} }

// checkFederations sets --federations, which every command that has it keeps where the way to the fleet is.
func (ft flagTable[O]) checkFederations(t *testing.T, set setFlags) {
	t.Helper()
	_, global := ft.seen(t, set, "--federations a,b --federations c")
	if want := []string{"a", "b", "c"}; !reflect.DeepEqual(global.federations, want) {
		t.Errorf("%s --federations: got %q, want %q", ft.command, global.federations, want)
	}
}

func TestTheVersionIsShownByFlagAndByCommand(t *testing.T) {
	_, byFlag, _ := runApp(t, nil, "--version")
	_, byCommand, _ := runApp(t, nil, "version")
	if byFlag != byCommand || !strings.HasPrefix(byFlag, "fleetctl ") {
		t.Errorf("--version shows %q, version shows %q", byFlag, byCommand)
	}
}

// versionFlags is `fleetctl version`, whose only option is a flag.
func versionFlags() flagTable[bool] {
	return flagTable[bool]{
		command: "version",
		build: func(_ *app, see func(bool)) *cobra.Command {
			return newVersion(func(_ io.Writer, asJSON bool) error { see(asJSON); return nil })
		},
		rows: []flagRow[bool]{{"--json", func(o *bool) { *o = true }}, {"-j", func(o *bool) { *o = true }}},
	}
}

// sitesFlags is `fleetctl sites`, in the same way.
func sitesFlags() flagTable[bool] {
	return flagTable[bool]{
		command: "sites",
		build: func(a *app, see func(bool)) *cobra.Command {
			return newSites(a, func(_ context.Context, _ *app, asJSON bool) error { see(asJSON); return nil })
		},
		rows: []flagRow[bool]{{"--json", func(o *bool) { *o = true }}, {"-j", func(o *bool) { *o = true }}},
	}
}
