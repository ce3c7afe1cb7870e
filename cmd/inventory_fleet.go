package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/inventory"
)

// fleetOptions are the flags of `fleetctl inventory` without an identity: which nodes are shown, and how.
type fleetOptions struct {
	upgradable, notUpgradable bool
	version                   string
	groupBy                   string
	sort, columns             []string
	output                    string
	kind                      format // of output, set by validate; unset means text
	agentVersions             bool
	withFacts                 bool // --facts was typed
	save, diff, to            string
	ignoreFacts               []string
}

// fleetFormats are what an inventory of a fleet can be written as.
var fleetFormats = []format{formatText, formatTable, formatJSON, formatLines, formatCSV, formatNodeset}

func (o *fleetOptions) add(f *pflag.FlagSet) {
	f.BoolVar(&o.upgradable, "upgradable", false, "only nodes that can be upgraded during provisioning")
	f.BoolVar(&o.notUpgradable, "not-upgradable", false, "only nodes that cannot be upgraded during provisioning")
	f.StringVar(&o.version, "version", "", "only nodes with a version in this `RANGE`, such as '<0.28' or '>=0.28 <0.29.4'")
	f.StringVar(&o.groupBy, "group-by", "", "count by version, class, collective, agent, upgradable or a `FACT` (fact:NAME where a fact is called so)")
	f.StringSliceVar(&o.sort, "sort", nil, "sort by these `COLUMNS`; -COLUMN is from the greatest")
	f.StringSliceVar(&o.columns, "columns", nil, "`COLUMNS` of the table and of CSV: "+columnNames()+", fact:NAME")
	f.StringVar(&o.output, "output", "", "`FORMAT`: "+formatList(fleetFormats))
	f.BoolVar(&o.agentVersions, "agent-versions", false, "ask for the versions of the agents too")
	f.StringVar(&o.save, "save", "", "keep what the nodes say in `FILE`")
	f.StringVar(&o.diff, "diff", "", "say what has changed since `FILE` was saved")
	f.StringVar(&o.to, "to", "", "with --diff: compare with this saved `FILE`, not with the fleet")
	f.StringArrayVar(&o.ignoreFacts, "ignore-fact", nil, "with --diff: leave out this `FACT`, and those below it")
}

// given tells whether any of these flags was typed.
func (o *fleetOptions) given() bool {
	return o.upgradable || o.notUpgradable || o.version != "" || o.groupBy != "" || len(o.sort)+len(o.columns)+len(o.ignoreFacts) > 0 ||
		o.output != "" || o.agentVersions || o.save != "" || o.diff != "" || o.to != ""
}

func (o *fleetOptions) validate() error {
	wrong := func(text string) error { return usage(errors.New(text), "") }
	if o.output != "" {
		var err error
		if o.kind, err = formatOf(o.output, fleetFormats...); err != nil {
			return err
		}
	}
	switch {
	case o.upgradable && o.notUpgradable:
		return wrong("--upgradable and --not-upgradable exclude each other")
	case o.to != "" && o.diff == "":
		return wrong("--to needs --diff: it names the other file")
	case o.to != "" && (o.save != "" || o.upgradable || o.notUpgradable || o.version != ""):
		return wrong("--to compares two files: nothing is asked, selected or saved")
	case len(o.ignoreFacts) > 0 && o.diff == "":
		return wrong("--ignore-fact needs --diff")
	case o.diff != "" && (o.groupBy != "" || !slices.Contains([]format{0, formatText, formatJSON}, o.kind)):
		return wrong("--diff is shown as text or JSON, and not grouped")
	case o.groupBy != "" && o.kind == formatNodeset:
		return wrong("a node set has no groups: drop --group-by")
	case o.groupBy != "" && len(o.sort)+len(o.columns) > 0:
		return wrong("--group-by has its own columns and order")
	case len(o.columns) > 0 && o.kind != formatTable && o.kind != formatCSV:
		return wrong("--columns belongs to --output table or csv")
	case len(o.sort) > 0 && !slices.Contains([]format{formatTable, formatCSV, formatJSON, formatLines}, o.kind):
		return wrong("--sort belongs to --output table, csv, json or jsonl")
	}
	return o.checkColumns()
}

func (o *fleetOptions) checkColumns() error {
	for _, name := range o.columns {
		if _, err := columnOf(name); err != nil {
			return usage(err, "")
		}
	}
	if _, err := orderOf(o.sort); err != nil {
		return usage(err, "")
	}
	if o.version != "" {
		if _, err := filter.ParseVersions(o.version); err != nil {
			return usage(err, "write '<0.28', '>=0.28 <0.29.4' or '0.28.x || 0.29.x'")
		}
	}
	return nil
}

// selection are the flags that choose, as they would be typed, for the snapshot.
func (o *fleetOptions) selection(t *targets) []string {
	list := t.arguments()
	if o.upgradable {
		list = append(list, "--upgradable")
	}
	if o.notUpgradable {
		list = append(list, "--not-upgradable")
	}
	if o.version != "" {
		list = append(list, "--version", o.version)
	}
	return list
}

// survey is what has to be asked for what is wanted, and no more: a fleet is large.
func (o *fleetOptions) survey(collective string, wait time.Duration) inventory.Survey {
	s := inventory.Survey{Collective: collective, Timeout: wait, AgentVersions: o.agentVersions}
	names := slices.Concat(o.columns, o.sort)
	if (o.kind == formatTable || o.kind == formatCSV) && len(o.columns) == 0 && o.groupBy == "" {
		names = append(names, defaultColumns...)
	}
	for _, name := range names {
		if c, err := columnOf(trimSort(name)); err == nil {
			s.Stats, s.Facts, s.AgentVersions = s.Stats || c.stats, s.Facts || c.facts, s.AgentVersions || c.agents
		}
	}
	_, byFact := grouping(o.groupBy)
	snapshot := o.save != "" || o.diff != ""
	s.Facts = s.Facts || byFact || snapshot || o.withFacts
	switch {
	case o.groupBy != "":
	case o.kind == formatJSON && o.diff == "", o.kind == formatLines, o.kind == formatText && o.diff == "", o.kind == 0 && !snapshot:
		s.Stats = true
	}
	return s
}

// selector says whether a node is wanted.
type selector struct {
	o        *fleetOptions
	versions *filter.Versions
	odd      map[string]int // versions that cannot be compared, and how many nodes have them
}

func newSelector(o *fleetOptions) (*selector, error) {
	s := &selector{o: o, odd: map[string]int{}}
	if o.version == "" {
		return s, nil
	}
	var err error
	s.versions, err = filter.ParseVersions(o.version)
	return s, err
}

func (s *selector) wants(n *inventory.Node) bool {
	if s.o.upgradable && !n.Upgradable || s.o.notUpgradable && n.Upgradable {
		return false
	}
	if s.versions == nil {
		return true
	}
	in, comparable := s.versions.Match(n.Version)
	if !comparable {
		s.odd[n.Version]++
	}
	return in
}

func (s *selector) warn(w io.Writer) {
	for _, version := range slices.Sorted(maps.Keys(s.odd)) {
		fmt.Fprintf(w, "warning: version %q of %d nodes cannot be compared with %q: they are not selected\n", version, s.odd[version], s.o.version)
	}
}

// reportFleet asks the nodes and hands each answer to the sinks as it comes.
func (a *app) reportFleet(ctx context.Context, n *network, o *inventoryOptions, nodes []string, wait time.Duration) error {
	selected, err := newSelector(&o.fleet)
	if err != nil {
		return usage(err, "")
	}
	survey := o.fleet.survey(n.collective, wait)
	sinks, err := a.fleetSinks(n, o, survey)
	if err != nil {
		return err
	}
	defer sinks.abandon()
	client, err := n.dial(ctx)
	if err != nil {
		return err
	}
	by, _ := grouping(o.fleet.groupBy)
	tally := inventory.NewTally(by)
	for answer, err := range survey.Ask(ctx, client, nodes) {
		switch {
		case err != nil:
			return err
		case answer.Node == nil:
			tally.Miss(answer)
		case !selected.wants(answer.Node):
			tally.Skip(answer)
		default:
			tally.Add(answer)
			if err := sinks.add(answer); err != nil {
				return err
			}
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := sinks.end(tally); err != nil {
		return err
	}
	selected.warn(a.err)
	a.warnOfMissing(tally)
	return fleetEnd(tally)
}

// warnOfMissing names the nodes that did not answer, folded.
func (a *app) warnOfMissing(t *inventory.Tally) {
	nodes := func(n int) string {
		if n == 1 {
			return "1 node"
		}
		return fmt.Sprintf("%d nodes", n)
	}
	if n := len(t.Absent); n > 0 {
		fmt.Fprintf(a.err, "warning: not connected: %s: %s\n", nodes(n), discovery.Fold(t.Absent))
	}
	if silent := without(t.Silent, t.Absent); len(silent) > 0 {
		fmt.Fprintf(a.err, "warning: %s did not reply: %s\n", nodes(len(silent)), discovery.Fold(silent))
	}
	for _, problems := range [][]inventory.Problem{t.Problems, t.Partial} {
		byReason := map[string][]string{}
		for _, p := range problems {
			byReason[p.Reason()] = append(byReason[p.Reason()], p.Node)
		}
		for _, reason := range slices.Sorted(maps.Keys(byReason)) {
			names := byReason[reason]
			fmt.Fprintf(a.err, "warning: %s: %s: %s\n", nodes(len(names)), reason, discovery.Fold(names))
		}
	}
}

// fleetEnd is the exit code: 3 where some refused, 4 where some were silent, 8 where all answered and none was wanted.
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
		return noNodes(fmt.Sprintf("%d nodes answered, and none is of the kind that was asked for", t.Told))
	}
	return nil
}
