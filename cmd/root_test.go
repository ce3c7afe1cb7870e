package cmd

import (
	"os"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A line makes only the command that it begins with, and makes it as the whole command line does.
func TestALineMakesItsCommandOnly(t *testing.T) {
	a := &app{name: productName, env: environment{os.LookupEnv}}
	whole := newRoot(a)
	for _, m := range commands(a) {
		root := newRoot(&app{name: productName, env: environment{os.LookupEnv}}, m.name, "--np")
		if made := root.Commands(); len(made) != 1 || made[0].Name() != m.name {
			t.Errorf("%s: makes %v", m.name, made)
		}
		want, _, err := whole.Find([]string{m.name})
		if err != nil {
			t.Fatal(err)
		}
		var lacks func(want *cobra.Command)
		lacks = func(want *cobra.Command) {
			path := commandWords(want)
			got, rest, err := root.Find(path)
			if err != nil || len(rest) > 0 {
				t.Errorf("%v is not made: %v %v", path, rest, err)
				return
			}
			want.Flags().VisitAll(func(f *pflag.Flag) {
				if got.Flags().Lookup(f.Name) == nil {
					t.Errorf("%v lacks --%s", path, f.Name)
				}
			})
			for _, sub := range want.Commands() {
				lacks(sub)
			}
		}
		lacks(want)
	}
	for _, args := range [][]string{nil, {"--help"}, {"help", "req"}, {"find"}, {"--np", "req"}, {"exit-codes"}, {cobra.ShellCompRequestCmd, "r"}} {
		if got := len(newRoot(a, args...).Commands()); got < len(commands(a)) {
			t.Errorf("%v: %d commands are made", args, got)
		}
	}
}

// commandWords is how a command is typed, without the program.
func commandWords(c *cobra.Command) []string {
	if !c.HasParent() {
		return nil
	}
	return append(commandWords(c.Parent()), c.Name())
}

// BenchmarkRoot is what the command line costs before a command begins.
func BenchmarkRoot(b *testing.B) {
	for name, args := range map[string][]string{"version": {"version"}, "req": {"req"}, "help": {"--help"}, "completion": {cobra.ShellCompRequestCmd}} {
		b.Run(name, func(b *testing.B) {
			a := &app{name: productName, env: environment{os.LookupEnv}}
			b.ReportAllocs()
			for b.Loop() {
				newRoot(a, args...)
			}
		})
	}
}
