package cmd

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"fleetctl/internal/ddl"
	"fleetctl/internal/plain"
	"fleetctl/internal/run"
)

// secretForms are the ways to give a secret without typing it.
var secretForms = []string{"@", "-", "env:"}

// completeInput offers the inputs that are not given yet, and the values of inputs with a fixed list.
func completeInput(action *ddl.Action, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if key, _, ok := strings.Cut(typed, "="); ok {
		in, known := action.Inputs[key]
		values, directive := in.List, cobra.ShellCompDirectiveNoFileComp
		switch {
		case known && in.Secret():
			return completeSecret(key, typed)
		case known && in.Type == "boolean":
			values = []string{"true", "false"}
		}
		var out []cobra.Completion
		for _, v := range values {
			out = append(out, key+"="+v)
		}
		return out, directive
	}
	var out []cobra.Completion
	for _, key := range slices.Sorted(maps.Keys(action.Inputs)) {
		if slices.ContainsFunc(given, func(arg string) bool { return strings.HasPrefix(arg, key+"=") || strings.HasPrefix(arg, key+":") }) {
			continue
		}
		out = append(out, cobra.CompletionWithDesc(key+"=", action.Inputs[key].Description))
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeSecret offers the ways to give a secret, and the files behind @. The files are found here: a shell does not
// know where the name of the file begins.
func completeSecret(key, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	before, name, isFile := strings.Cut(typed, "=@")
	if !isFile || before != key {
		return offer(secretForms, typed, key+"=", ""), directive
	}
	dir, start := filepath.Split(name)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return nil, directive
	}
	var out []cobra.Completion
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), start) || start == "" && strings.HasPrefix(e.Name(), ".") || e.Name() != plain.Line(e.Name()) {
			continue
		}
		path := key + "=@" + dir + e.Name()
		if e.IsDir() {
			path += "/"
		} else {
			directive &^= cobra.ShellCompDirectiveNoSpace
		}
		out = append(out, path)
	}
	if len(out) > 1 { // the shell adds no blank before there is one left
		directive &^= cobra.ShellCompDirectiveNoSpace
	} else if len(out) == 1 && strings.HasSuffix(out[0], "/") {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return out, directive
}

// completeRun completes the id of a run.
func completeRun(a *app, o *recordOptions) cobra.CompletionFunc {
	return completeRunThat(a, o, nil)
}

// The runs that a command is for.
func openRun(r run.Stored) bool    { return !r.Live && r.Progress.Open() > 0 }
func liveRun(r run.Stored) bool    { return r.Live }
func runningRun(r run.Stored) bool { return r.Live && !r.Progress.Summary().Paused }
func pausedRun(r run.Stored) bool  { return r.Live && r.Progress.Summary().Paused }
func failedRun(r run.Stored) bool {
	states, failed := r.Progress.Summary().States, 0
	for _, s := range (retryStates{failed: true, noReply: true, absent: true, notSent: true, unknown: true}).states() {
		failed += states.Of(s)
	}
	return !r.Live && failed > 0
}

// completeRunThat completes the id of a run that fits, of any run where fits is nil, with its action and state, and behind it the secrets that the run
// needs again.
func completeRunThat(a *app, o *recordOptions, fits func(run.Stored) bool) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		store := a.store(*o)
		if len(args) > 0 {
			return completeAgain(store, args, typed)
		}
		runs, err := store.List()
		if err != nil || len(runs) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for i, r := range runs[:min(len(runs), shownRuns)] {
			stored, err := store.Read(r.ID)
			if fits != nil && (err != nil || !fits(stored)) {
				continue
			}
			about := "cannot be read"
			if err == nil {
				about = stored.Meta.Agent + "#" + stored.Meta.Action + ", " + plain.Count(stored.Progress.Summary().Nodes, "node") + ", " + stored.Status()
			}
			if i == 0 {
				out = append(out, cobra.CompletionWithDesc("last", about))
			}
			out = append(out, cobra.CompletionWithDesc(r.ID, about))
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeAgain completes the secrets that a recorded run needs again.
func completeAgain(store run.Store, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	stored, err := store.Named(args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []cobra.Completion
	for _, name := range stored.Meta.Secrets {
		if strings.HasPrefix(typed, name+"=") {
			return completeSecret(name, typed)
		}
		if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, name+"=") }) {
			out = append(out, name+"=")
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
