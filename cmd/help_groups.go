package cmd

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is a section of the flags in the help of a command, by the names of the flags.
type flagGroup struct {
	title  string
	common []string // the short help explains these, in this order
	more   []string // the short help only names these
}

// flagGroups are the sections of the help of req, and of each command that has some of its flags. A flag of req that
// stands in none of them fails TestEveryFlagOfReqHasAGroup.
var flagGroups = []flagGroup{
	targetGroup,
	{"Batches", []string{"batch", "batch-sleep", "canary", "mode", "deadline"}, []string{"confirm-each", "last-if", "max-per", "not-since", "outside", "reply-timeout", "spread-by", "ttl", "within"}},
	{"Stop rules and gates", []string{"max-failed", "max-no-reply", "fail-fast", "gate"},
		[]string{"gate-every", "gate-for", "gate-promql", "gate-timeout", "gate-wait", "max-absent", "max-collateral", "max-failed-batch", "max-no-reply-batch", "prometheus"}},
	{"Proof", []string{"verify-version", "no-verify"}, []string{"settle", "verify", "verify-expr", "verify-timeout"}},
	{"Safety", []string{"dry-run", "save-plan", "max-nodes", "yes"}, []string{"allow-expiring", "expect", "expect-file", "insecure-token", "no-input", "plan-expires"}},
	{"Several operators", []string{"lock"}, []string{"budget-wait", "lock-wait", "max-down"}},
	outputGroup,
	{"Record", []string{"resume", "detach", "on-event"}, []string{"journal", "no-journal", "state-dir", "trust-record"}},
}

// targetGroup are the flags of every command that chooses nodes.
var targetGroup = flagGroup{"Targets", []string{"wf", "wi", "nodes", "exclude", "limit"},
	[]string{"discovery-timeout", "discovery-window", "dm", "do", "federations", "known", "limit-seed", "select", "target", "wa", "wc", "with"}}

// outputGroup are the flags of every command that prints results of nodes.
var outputGroup = flagGroup{"Output", []string{"json", "output", "output-file"},
	[]string{"display", "filter-replies", "jsonl", "reply-to", "senders", "sort", "table", "verbose"}}

// flagSection is a flagGroup with the flags that a command has.
type flagSection struct {
	title        string
	common, more []*pflag.Flag
}

// sections are the command's own flags in groups: first those that no group has, then the groups. Only commands that
// send in batches, or choose nodes, are large enough for groups.
func sections(c *cobra.Command) []flagSection {
	groups, local := []flagGroup(nil), c.LocalFlags()
	switch {
	case local.Lookup("dry-run") != nil:
		groups = flagGroups
	case local.Lookup("wi") != nil:
		groups = []flagGroup{targetGroup, outputGroup}
	}
	pick := func(names []string) (flags []*pflag.Flag) {
		for _, name := range names {
			if f := local.Lookup(name); f != nil {
				flags = append(flags, f)
			}
		}
		return flags
	}
	own := flagSection{title: "Flags"}
	local.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != helpFlag && !slices.ContainsFunc(groups, func(g flagGroup) bool { return g.has(f.Name) }) {
			own.common = append(own.common, f)
		}
	})
	out := []flagSection{own}
	for _, g := range groups {
		out = append(out, flagSection{g.title, pick(g.common), pick(g.more)})
	}
	return slices.DeleteFunc(out, func(s flagSection) bool { return len(s.common)+len(s.more) == 0 })
}

func (g flagGroup) has(name string) bool {
	return slices.Contains(g.common, name) || slices.Contains(g.more, name)
}
