package cmd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/internal/report"
	"fleetctl/inventory"
)

// fleetOptions are the flags of `fleetctl inventory` without an identity: which nodes are shown, and how.
type fleetOptions struct {
	inventory.Selection
	groupBy        string
	sort, columns  []string
	output         string
	kind           report.Format // of output, set by validate; unset means text
	agentVersions  bool
	withFacts      bool // --facts was typed
	save, diff, to string
	ignoreFacts    []string
}

func (o *fleetOptions) add(f *pflag.FlagSet) {
	f.BoolVar(&o.Upgradable, "upgradable", false, "only nodes that can be upgraded during provisioning")
	f.BoolVar(&o.NotUpgradable, "not-upgradable", false, "only nodes that cannot be upgraded during provisioning")
	f.StringVar(&o.Version, "version", "", "only nodes with a version in this `RANGE`, such as '<0.28' or '>=0.28 <0.29.4'")
	f.StringVar(&o.groupBy, "group-by", "", "count by version, class, collective, agent, upgradable, token-expiry or a `FACT` (fact:NAME where a fact is called so)")
	f.StringSliceVar(&o.sort, "sort", nil, "sort by these `COLUMNS`; -COLUMN is from the greatest")
	f.StringSliceVar(&o.columns, "columns", nil, "`COLUMNS` of tables: "+inventory.ColumnNames()+", fact:NAME")
	addOutput(f, &o.output, report.FleetFormats)
	f.BoolVar(&o.agentVersions, "agent-versions", false, "ask for the versions of the agents too")
	f.StringVar(&o.save, "save", "", "save the answers of the nodes in `FILE`")
	f.StringVar(&o.diff, "diff", "", "print what has changed since `FILE` was saved")
	f.StringVar(&o.to, "to", "", "with --diff: compare with this saved `FILE`, not with the fleet")
	f.Var((*texts)(&o.ignoreFacts), "ignore-fact", "with --diff: leave out this `FACT`, and those below it")
}

// given reports whether any of these flags was typed.
func (o *fleetOptions) given() bool {
	return o.Upgradable || o.NotUpgradable || o.Version != "" || o.groupBy != "" || len(o.sort)+len(o.columns)+len(o.ignoreFacts) > 0 ||
		o.output != "" || o.agentVersions || o.save != "" || o.diff != "" || o.to != ""
}

func (o *fleetOptions) validate() error {
	wrong := func(text string) error { return usage(errors.New(text), "") }
	if o.output != "" {
		var err error
		if o.kind, err = report.ParseFormat(o.output, report.FleetFormats...); err != nil {
			return err
		}
	}
	switch {
	case o.Upgradable && o.NotUpgradable:
		return wrong("--upgradable and --not-upgradable exclude each other")
	case o.to != "" && o.diff == "":
		return wrong("--to needs --diff: it names the other file")
	case o.to != "" && (o.save != "" || o.Upgradable || o.NotUpgradable || o.Version != ""):
		return wrong("--to compares two files: nothing is asked, selected or saved")
	case len(o.ignoreFacts) > 0 && o.diff == "":
		return wrong("--ignore-fact needs --diff")
	case o.diff != "" && (o.groupBy != "" || !slices.Contains([]report.Format{0, report.Text, report.JSON}, o.kind)):
		return wrong("--diff is shown as text or JSON, and not grouped")
	case o.groupBy != "" && o.kind == report.Nodeset:
		return wrong("a node set has no groups: drop --group-by")
	case o.groupBy != "" && len(o.sort)+len(o.columns) > 0:
		return wrong("--group-by has its own columns and order")
	case len(o.columns) > 0 && !o.tabular():
		return wrong("--columns belongs to --output table, csv, markdown or html")
	case len(o.sort) > 0 && !o.tabular() && o.kind != report.JSON && o.kind != report.Lines:
		return wrong("--sort belongs to --output table, csv, json, jsonl, markdown or html")
	}
	return o.checkColumns()
}

// tabular reports whether the format has columns.
func (o *fleetOptions) tabular() bool {
	return o.kind == report.Table || o.kind == report.CSV || o.kind.Paged()
}

func (o *fleetOptions) checkColumns() error {
	for _, name := range o.columns {
		if _, err := inventory.ColumnOf(name); err != nil {
			return usage(err, "")
		}
	}
	if _, err := inventory.OrderOf(o.sort); err != nil {
		return usage(err, "")
	}
	if o.Version != "" {
		if _, err := filter.ParseVersions(o.Version); err != nil {
			return usage(err, "write '<0.28', '>=0.28 <0.29.4' or '0.28.x || 0.29.x'")
		}
	}
	return nil
}

// selection are the flags that choose, as they would be typed, for the snapshot.
func (o *fleetOptions) selection(t *targets) []string {
	list := t.Arguments()
	if o.Upgradable {
		list = append(list, "--upgradable")
	}
	if o.NotUpgradable {
		list = append(list, "--not-upgradable")
	}
	if o.Version != "" {
		list = append(list, "--version", o.Version)
	}
	return list
}

// survey is the smallest survey that has everything the flags need: a fleet is large.
func (o *fleetOptions) survey(collective string, wait time.Duration) inventory.Survey {
	s := inventory.Survey{Collective: collective, Timeout: wait, AgentVersions: o.agentVersions}
	names := slices.Concat(o.columns, o.sort)
	if o.tabular() && len(o.columns) == 0 && o.groupBy == "" {
		names = append(names, inventory.DefaultColumns...)
	}
	for _, name := range names {
		if c, err := inventory.ColumnOf(inventory.SortName(name)); err == nil {
			s.Stats, s.Facts, s.AgentVersions = s.Stats || c.Stats, s.Facts || c.Facts, s.AgentVersions || c.Agents
		}
	}
	_, byFact := inventory.Grouping(o.groupBy)
	snapshot := o.save != "" || o.diff != ""
	s.Facts = s.Facts || byFact || snapshot || o.withFacts
	switch {
	case o.groupBy != "":
	case o.kind == report.JSON && o.diff == "", o.kind == report.Lines, o.kind == report.Text && o.diff == "", o.kind == 0 && !snapshot:
		s.Stats = true
	}
	return s
}

// shown turns the flags into the options of the report.
func (o *inventoryOptions) shown(a *app, collective string, agentVersions bool) report.FleetOptions {
	f := &o.fleet
	out := report.FleetOptions{
		Format: f.kind, GroupBy: f.groupBy, Facts: f.withFacts, Save: f.save, Diff: f.diff, IgnoreFacts: f.ignoreFacts,
		Info: inventory.SnapshotInfo{Taken: time.Now(), Collective: collective, Selection: f.selection(&o.targets), AgentVersions: agentVersions},
		Out:  a.stream(a.io.out), Err: a.stream(a.io.err),
	}
	out.Order, _ = inventory.OrderOf(f.sort) // checked by validate, as the columns are
	out.Chosen = len(f.columns) > 0
	names := f.columns
	if len(names) == 0 {
		names = inventory.DefaultColumns
	}
	for _, name := range names {
		if c, err := inventory.ColumnOf(name); err == nil {
			out.Columns = append(out.Columns, c)
		}
	}
	return out
}

// reportFleet asks the nodes and hands each node to the sinks when its answers arrive.
func reportFleet(ctx context.Context, a *app, n *fleet.Fleet, o *inventoryOptions, nodes []string, wait time.Duration) error {
	selected, err := o.fleet.Selector()
	if err != nil {
		return usage(err, "")
	}
	survey := o.fleet.survey(n.Collective, wait)
	sinks, err := report.NewFleet(o.shown(a, n.Collective, survey.AgentVersions))
	if err != nil {
		return err
	}
	defer sinks.Abandon()
	client, err := n.Dial(ctx)
	if err != nil {
		return err
	}
	by, _ := inventory.Grouping(o.fleet.groupBy)
	tally := inventory.NewTally(by)
	var seen factsSeen
	for node, err := range counted(a.wait(len(nodes), "asking"), survey.Ask(ctx, client, nodes)) {
		switch {
		case err != nil:
			return err
		case !node.Told():
			tally.Miss(node)
		case !selected.Wants(node):
			tally.Skip(node)
		default:
			tally.Add(node)
			seen.add(node)
			if err := sinks.Add(node); err != nil {
				return err
			}
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	n.KeepFacts(slices.Collect(maps.Keys(seen.names)))
	if err := seen.checkGroup(o.fleet.groupBy, tally); err != nil {
		return err
	}
	if err := sinks.End(tally); err != nil {
		return err
	}
	for _, version := range slices.Sorted(maps.Keys(selected.Odd())) {
		a.say("warning: not selected: version %q of %s cannot be compared with %q", version, plain.Count(selected.Odd()[version], "node"), o.fleet.Version)
	}
	warnOfMissing(a, tally)
	return fleetEnd(tally)
}

// warnOfMissing names the nodes that did not answer, folded.
func warnOfMissing(a *app, t *inventory.Tally) {
	nodes := func(n int) string { return plain.Count(n, "node") }
	if n := len(t.Absent); n > 0 {
		a.say("warning: not connected: %s: %s", nodes(n), discovery.Fold(t.Absent))
	}
	if n := len(t.Expired); n > 0 {
		a.say("warning: replies rejected, the token has expired: %s: %s", nodes(n), discovery.Fold(t.Expired))
	}
	if silent := discovery.Without(t.Silent, slices.Concat(t.Absent, t.Expired)); len(silent) > 0 {
		a.say("warning: %s did not reply: %s", nodes(len(silent)), discovery.Fold(silent))
	}
	for _, problems := range [][]inventory.Problem{t.Problems, t.Partial} {
		byReason := map[string][]string{}
		for _, p := range problems {
			byReason[p.Reason()] = append(byReason[p.Reason()], p.Node)
		}
		for _, reason := range slices.Sorted(maps.Keys(byReason)) {
			names := byReason[reason]
			a.say("warning: %s: %s: %s", nodes(len(names)), reason, discovery.Fold(names))
		}
	}
}

// fleetEnd is the exit code: 3 when some nodes refused, 4 when some were silent, 8 when all answered and none was selected.
func fleetEnd(t *inventory.Tally) error {
	silent := len(t.Silent) > 0
	for _, p := range slices.Concat(t.Problems, t.Partial) {
		if !errors.Is(p.Err, inventory.ErrNoReply) {
			return ended(exitRefused)
		}
		silent = true
	}
	switch {
	case silent:
		return ended(exitNoReply)
	case t.Selected == 0:
		return noNodes(plain.Count(t.Told, "node") + " answered, and no answer matches the selection")
	}
	return nil
}
