package cmd

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
)

// targets are the flags that choose the nodes.
type targets struct {
	fleet.Targets
	timeout seconds
}

// add adds all flags that choose nodes.
func (t *targets) add(a *app, f *pflag.FlagSet) {
	t.addFilter(f)
	addFederations(a, f)
	t.addSource(f)
	f.StringVar(&t.Limit, "limit", "", "at most `N` nodes, or N% of them")
	f.Int64Var(&t.LimitSeed, "limit-seed", 0, "choose the limited nodes at random, the same ones for the same `SEED`")
}

func (t *targets) addFilter(f *pflag.FlagSet) {
	f.VarP((*texts)(&t.Filter.Facts), "wf", "F", "nodes with a `FACT`, such as country=mt; repeat: all must hold")
	f.VarP((*texts)(&t.Filter.Classes), "wc", "C", "nodes with a `CLASS` or /regex/; repeat: all must hold")
	f.VarP((*texts)(&t.Filter.Agents), "wa", "A", "nodes with an `AGENT` or /regex/; repeat: all must hold")
	f.VarP((*texts)(&t.Filter.Identities), "wi", "I", "nodes by `NAME`, node set or /regex/; web[01-12].ams is a node set; repeat: any may hold")
	f.VarP((*texts)(&t.Filter.With), "with", "W", "classes and facts, `PIECES` separated by spaces")
	f.VarP((*texts)(&t.Filter.Select), "select", "S", "a compound filter, `EXPR`, that each node evaluates for itself")
	f.StringVarP(&t.Collective, "target", "T", "", "the sub-`COLLECTIVE` to address")
}

func (t *targets) addSource(f *pflag.FlagSet) {
	f.StringVar(&t.NodesFile, "nodes", "", "take the nodes from `FILE`, or - for stdin; as text, node sets, JSON, YAML, an earlier --json result")
	f.Var((*texts)(&t.Exclude), "exclude", "leave out `NODES`, or those of @FILE; a name, node set or /regex/ as -I takes them; repeat for more")
	f.StringVar(&t.Method, "dm", "", "discovery `METHOD`: broadcast (mc), choria (puppetdb), flatfile (file), inventory, external")
	completeWith(f, "dm", discovery.MethodNames()...)
	f.Var((*texts)(&t.Do), "do", "an option of the discovery method: `KEY=VALUE`")
	f.Var(&t.timeout, "discovery-timeout", "wait this long for discovery (2s)")
	f.BoolVar(&t.Window, "discovery-window", false, "end discovery when no new node has answered for 300ms, as choria does: misses slow nodes, and warns")
	f.StringVar(&t.Known, "known", "", "end discovery when the nodes of `FILE` are accounted for (else those of the last one that was whole)")
}

// value is the flags as a value.
func (t *targets) value() (fleet.Targets, error) {
	if t.timeout.set && t.timeout.d == 0 {
		return t.Targets, usage(errors.New("--discovery-timeout 0 finds no node"), "")
	}
	out := t.Targets
	out.Timeout = t.timeout.d
	return out, nil
}

func addFederations(a *app, f *pflag.FlagSet) {
	f.StringSliceVar(&a.flags.federations, "federations", nil, "reach the collectives of these federations, `NAME,...` (CHORIA_FED_COLLECTIVE wins)")
}

// withFleet checks the targets, reads the configuration, calls work and closes the connection.
func withFleet(ctx context.Context, a *app, t *targets, work func(n *fleet.Fleet, parsed filter.Filter) error) error {
	var err error
	if t.Targets, err = t.value(); err != nil {
		return err
	}
	parsed, err := t.Parse()
	if err != nil {
		return err
	}
	n, err := fleet.Open(ctx, a.fleetOptions(), t.Collective)
	if err != nil {
		return err
	}
	defer n.Close()
	a.colorless = !n.Config.Color
	return work(n, parsed)
}
