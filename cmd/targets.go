package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
)

// targets are the flags that say which nodes are meant.
type targets struct {
	filter     filter.Flags
	collective string
	nodesFile  string
	exclude    []string
	method     string
	do         []string
	timeout    seconds
	window     bool
	limit      string
	limitSeed  int64
}

func (t *targets) addFilter(f *pflag.FlagSet) {
	f.StringArrayVarP(&t.filter.Facts, "wf", "F", nil, "nodes with a `FACT`, such as country=mt (repeat: all must hold)")
	f.StringArrayVarP(&t.filter.Classes, "wc", "C", nil, "nodes with a `CLASS` or /regex/ (repeat: all must hold)")
	f.StringArrayVarP(&t.filter.Agents, "wa", "A", nil, "nodes with an `AGENT` or /regex/ (repeat: all must hold)")
	f.StringArrayVarP(&t.filter.Identities, "wi", "I", nil, "nodes by `NAME`, node set such as web[01-12].ams, or /regex/ (repeat: any may hold)")
	f.StringArrayVarP(&t.filter.With, "with", "W", nil, "classes and facts, `PIECES` separated by spaces")
	f.StringArrayVarP(&t.filter.Select, "select", "S", nil, "a compound filter, `EXPR`, that each node evaluates about itself")
	f.StringVarP(&t.collective, "target", "T", "", "the sub-`COLLECTIVE` to address")
}

func (t *targets) addSource(f *pflag.FlagSet) {
	f.StringVar(&t.nodesFile, "nodes", "", "take the nodes from `FILE`, or - for stdin: text, node sets, JSON, YAML, an earlier --json result")
	f.StringArrayVar(&t.exclude, "exclude", nil, "leave out `NODES`: a name, node set or /regex/ as -I takes them, or those of @FILE (repeat)")
	f.StringVar(&t.method, "dm", "", "discovery `METHOD`: broadcast (mc), choria (puppetdb), flatfile (file), inventory, external")
	f.StringArrayVar(&t.do, "do", nil, "an option of the discovery method: `KEY=VALUE`")
	f.Var(&t.timeout, "discovery-timeout", "wait this long for discovery (2s)")
	f.BoolVar(&t.window, "discovery-window", false, "end discovery when no new node has answered for 300ms: quick, and misses slow nodes (--expect tells)")
}

func (t *targets) addLimit(f *pflag.FlagSet) {
	f.StringVar(&t.limit, "limit", "", "at most `N` nodes, or N% of them")
	f.Int64Var(&t.limitSeed, "limit-seed", 0, "choose the limited nodes at random, the same ones for the same `SEED`")
}

// filtered tells that a filter was given.
func (t *targets) filtered() bool {
	f := t.filter
	return len(f.Facts)+len(f.Classes)+len(f.Agents)+len(f.Identities)+len(f.With)+len(f.Select) > 0
}

// arguments are the flags as they would be typed, for the record.
func (t *targets) arguments() []string {
	var out []string
	for _, set := range []struct {
		flag   string
		values []string
	}{
		{"-F", t.filter.Facts}, {"-C", t.filter.Classes}, {"-A", t.filter.Agents}, {"-I", t.filter.Identities},
		{"-W", t.filter.With}, {"-S", t.filter.Select}, {"-T", once(t.collective)}, {"--nodes", once(t.nodesFile)},
		{"--dm", once(t.method)}, {"--do", t.do},
		{"--exclude", t.exclude}, {"--limit", once(t.limit)}, {"--limit-seed", once(seedText(t.limitSeed))},
	} {
		for _, v := range set.values {
			out = append(out, set.flag, v)
		}
	}
	return out
}

func seedText(seed int64) string {
	if seed == 0 {
		return ""
	}
	return strconv.FormatInt(seed, 10)
}

func once(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// parse checks the flags without any network.
func (t *targets) parse() (filter.Filter, error) {
	if _, err := discovery.Method(t.method); err != nil {
		return filter.Filter{}, err
	}
	if t.limit != "" {
		if _, err := discovery.Limit([]string{"any"}, t.limit, "first", 0); err != nil {
			return filter.Filter{}, usage(err, "")
		}
	}
	if t.timeout.set && t.timeout.d == 0 {
		return filter.Filter{}, usage(errors.New("--discovery-timeout 0 finds no node"), "")
	}
	flags := t.filter
	var err error
	if flags.Identities, err = discovery.UnfoldIdentities(flags.Identities); err != nil {
		return filter.Filter{}, err
	}
	f, err := filter.Parse(flags)
	if err != nil {
		return filter.Filter{}, usage(err, "")
	}
	if t.method != "" || t.nodesFile != "" { // else the configuration has a say, which is not read yet
		if _, err := discovery.Choose(discovery.Wish{Method: t.method, NodesFile: t.nodesFile, Options: t.do, Filter: f}); err != nil {
			return filter.Filter{}, err
		}
	}
	return f, nil
}

// nodesOf finds the nodes: from the file where one is named, from the network otherwise. The result is sorted
// naturally, unique, and never blank. agent is the one that will be called; "" for none.
func (a *app) nodesOf(ctx context.Context, n *network, t *targets, f filter.Filter, agent string) (discovery.Result, error) {
	out, err := discovery.ReadExclusions(ctx, t.exclude, a.home())
	if err != nil {
		return discovery.Result{}, err
	}
	res, err := a.findNodes(ctx, n, t, f, agent)
	if err != nil || len(res.Nodes) == 0 {
		return res, err
	}
	res.Nodes, res.Excluded = out.From(res.Nodes)
	for _, e := range res.Excluded {
		if note := e.Note(); note != "" {
			fmt.Fprintln(a.err, "warning: "+note)
		}
	}
	if t.limit != "" && len(res.Nodes) > 0 {
		method, seed := n.cfg.LimitMethod, t.limitSeed
		switch {
		case seed != 0:
			method = "random"
		case method == "random":
			seed = discovery.DrawSeed()
			fmt.Fprintf(a.err, "note: --limit chooses at random: --limit-seed %d makes the same choice of the same nodes\n", seed)
		}
		if res.Nodes, err = discovery.Limit(res.Nodes, t.limit, method, seed); err != nil {
			return res, usage(err, "")
		}
		res.Seed = seed
	}
	return res, nil
}
