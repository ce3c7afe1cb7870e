package cmd

import (
	"context"
	"fmt"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
)

// findNodes asks the source that the flags or the configuration choose.
func (a *app) findNodes(ctx context.Context, n *network, t *targets, f filter.Filter, agent string) (discovery.Result, error) {
	choice, err := t.choose(n, f)
	if err != nil {
		return discovery.Result{}, err
	}
	if choice.Note != "" {
		fmt.Fprintln(a.err, "note: "+choice.Note)
	}
	settings, err := a.sourceSettings(ctx, n, t, f, choice)
	if err != nil {
		return discovery.Result{}, err
	}
	source, err := discovery.Open(choice.Method, settings)
	if err != nil {
		return discovery.Result{}, err
	}
	return source.Discover(ctx, discovery.Query{
		Filter: f, Collective: n.collective, Agent: agent,
		Timeout: t.timeout.or(n.cfg.DiscoveryTimeout), Window: t.window || n.cfg.DiscoveryWindow,
	})
}

func (t *targets) choose(n *network, f filter.Filter) (discovery.Choice, error) {
	return discovery.Choose(discovery.Wish{
		Method: t.method, NodesFile: t.nodesFile, Options: t.do, Filter: f,
		DefaultMethod: n.cfg.DiscoveryMethod, Defaults: n.cfg.DiscoveryOptions,
	})
}

// methodName is what upstream calls the method in its output: the name that was chosen, as it was written.
func (t *targets) methodName(n *network, f filter.Filter) string {
	choice, err := t.choose(n, f)
	if err != nil {
		return "unknown"
	}
	for _, written := range []string{t.method, n.cfg.DiscoveryMethod} {
		if method, err := discovery.Method(written); err == nil && written != "" && method == choice.Method {
			return written
		}
	}
	return choice.Method
}

func (a *app) sourceSettings(ctx context.Context, n *network, t *targets, f filter.Filter, c discovery.Choice) (discovery.Settings, error) {
	home := a.home()
	path, _ := a.getenv("PATH")
	s := discovery.Settings{
		Options: c.Options, NodesFile: t.nodesFile, Stdin: a.in, Home: home, Path: path,
		InventoryFile: n.cfg.InventorySource, Command: n.cfg.DiscoveryCommand, Federations: n.federations,
		Dial: func(ctx context.Context) (discovery.Broadcaster, error) {
			client, err := n.dial(ctx)
			if err != nil {
				return nil, err
			}
			return client, nil
		},
	}
	if c.Method != discovery.MethodPuppetDB {
		return s, nil
	}
	s.PuppetDB = discovery.PuppetDBServer{
		Host: n.cfg.PuppetDBHost, Port: n.cfg.PuppetDBPort, UseSRV: n.cfg.UseSRV, Domain: n.srvDomain(), Timeout: t.timeout.or(0),
	}
	if _, exact := f.ExactIdentities(); exact {
		return s, nil // nobody is asked
	}
	id, err := n.identity()
	if err != nil {
		return s, err
	}
	s.PuppetDB.TLS, err = id.TLS()
	return s, err
}
