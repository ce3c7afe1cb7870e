package run

import (
	"fmt"
	"slices"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/plain"
)

// Next makes the commands about a run that messages offer: typed as they are printed, they work. An input @FILE stands for
// the operator's own file.
type Next struct {
	Run     string
	Secrets []string // inputs that a command that sends needs again
	Folder  string   // --state-dir as it was typed, "" where it was not
}

// sends are the commands about a run that need its secrets again.
var sends = []string{"resume", "retry", "adopt"}

// Command is `fleetctl runs VERB RUN`, with what the verb needs besides.
func (n Next) Command(verb string, flags ...string) string {
	return n.with(append([]string{"fleetctl", "runs", verb, n.Run}, flags...), slices.Contains(sends, verb))
}

// Apply is the command that applies the plan in a file.
func (n Next) Apply(file string) string {
	return n.with([]string{"fleetctl", "apply", plain.Word(file)}, true)
}

func (n Next) with(words []string, secrets bool) string {
	if n.Folder != "" {
		words = append(words, "--state-dir", plain.Word(n.Folder))
	}
	if secrets {
		for _, name := range slices.Sorted(slices.Values(n.Secrets)) {
			words = append(words, name+"=@FILE")
		}
	}
	return strings.Join(words, " ")
}

// ambiguous refuses the beginning of the names of several runs. It names the first ones.
func ambiguous(name string, found []string) error {
	const shown = 5
	list := strings.Join(found[:min(len(found), shown)], ", ")
	if len(found) > shown {
		list += ", ..."
	}
	return usage(fmt.Errorf("%q is the beginning of %d runs: %s", name, len(found), list), "type more of the name of the run")
}

// Next makes the commands about a run of this store.
func (s Store) Next(id string, secrets []string) Next { return Next{id, secrets, s.Typed} }

// Next makes the commands about the run.
func (s Stored) Next() Next { return Next{s.ID, s.Meta.Secrets, s.folder} }

// where are the flags by which a command finds the run.
func (s Stored) where() []string {
	if s.shared != nil {
		return []string{"--shared"}
	}
	return nil
}

// RetryFlags are those of a retry over the nodes that did not succeed, and the states that these nodes are in; failed is how
// many of the refused and unverified nodes a retry can help.
func RetryFlags(c batch.Counts, failed int) (flags, states []string) {
	for _, kind := range []struct {
		nodes  int
		flag   string
		states []batch.State
	}{
		{failed, "--failed", []batch.State{batch.Refused, batch.Unverified}},
		{c.Of(batch.NoReply), "--no-reply", []batch.State{batch.NoReply}},
		{c.Of(batch.Absent), "--absent", []batch.State{batch.Absent}},
	} {
		if kind.nodes == 0 {
			continue
		}
		flags = append(flags, kind.flag)
		for _, s := range kind.states {
			if c.Of(s) > 0 {
				states = append(states, s.String())
			}
		}
	}
	return flags, states
}

// further is the command by which the run is continued.
func (s Stored) further() string {
	counts := s.Progress.Counts()
	flags, _ := RetryFlags(counts, counts.Failed())
	switch {
	case s.Progress.Open() > 0:
		return s.Next().Command("resume")
	case len(flags) > 0:
		return s.Next().Command("retry", flags...)
	}
	return s.Next().Command("show")
}

// next makes the commands about a run of this operator. They name all secrets, except a token that the environment gives.
func (c job) next(id string) Next {
	if c.Token != "" && c.req.Agent == provisionAgent {
		return c.Store.Next(id, nil)
	}
	return c.Store.Next(id, c.secretNames())
}
