package fleet

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
	"fleetctl/internal/plain"
)

// Find finds the nodes: from the file where one is named, from the source that flags or configuration choose otherwise.
// The result is sorted naturally, unique, and never blank. agent is the one that will be called; "" for none.
func (f *Fleet) Find(ctx context.Context, t Targets, parsed filter.Filter, agent string) (discovery.Result, error) {
	res, err := f.find(ctx, t, parsed, agent)
	if log := f.o.Logger; log != nil && log.Enabled(ctx, slog.LevelDebug) {
		args := []any{"method", f.MethodName(t, parsed), "collective", f.Collective, "nodes", len(res.Nodes), "took", res.Took}
		if err != nil {
			args = append(args, "error", err)
		}
		log.DebugContext(ctx, "discovery", args...)
	}
	return res, err
}

func (f *Fleet) find(ctx context.Context, t Targets, parsed filter.Filter, agent string) (discovery.Result, error) {
	if err := f.MayAsk(t); err != nil {
		return discovery.Result{}, err
	}
	out, err := discovery.ReadExclusions(ctx, t.Exclude, f.o.Home)
	if err != nil {
		return discovery.Result{}, err
	}
	f.o.expect(listed(t.NodesFile))
	res, err := f.discover(ctx, t, parsed, agent)
	f.warnOfExpired()
	if res.Strange > 0 {
		f.o.tell("warning: ignored invalid node names: %d", res.Strange)
	}
	if err != nil || len(res.Nodes) == 0 {
		return res, err
	}
	res.Nodes, res.Excluded = out.From(res.Nodes)
	for _, e := range res.Excluded {
		if note := e.Note(); note != "" {
			f.o.tell("warning: %s", note)
		}
	}
	res, err = f.limit(t, res)
	f.o.expect(len(res.Nodes))
	return res, err
}

// listed is about how many nodes a file lists, by its size; 0 where that is not known before it is read.
func listed(path string) int {
	const name = 24 // bytes of one, and of its line end
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return int(info.Size() / name)
}

// warnOfExpired names the nodes whose replies were rejected because their token has expired: a broadcast does not find them.
func (f *Fleet) warnOfExpired() {
	if f.client == nil {
		return
	}
	if nodes := f.client.Expired(time.Now()); len(nodes) > 0 {
		f.o.tell("warning: left out: %s whose token has expired: %s; renew the token before a node restarts: without it the node loses its identity",
			plain.Count(len(nodes), "node"), discovery.Fold(nodes))
	}
}

// limit takes as many nodes as are wanted.
func (f *Fleet) limit(t Targets, res discovery.Result) (discovery.Result, error) {
	if t.Limit == "" || len(res.Nodes) == 0 {
		return res, nil
	}
	method, seed := f.Config.LimitMethod, t.LimitSeed
	switch {
	case seed != 0:
		method = "random"
	case method == "random":
		seed = discovery.DrawSeed()
		f.o.tell("note: --limit chooses at random: --limit-seed %d makes the same choice of the same nodes", seed)
	}
	var err error
	if res.Nodes, err = discovery.Limit(res.Nodes, t.Limit, method, seed); err != nil {
		return res, usage(err, "")
	}
	res.Seed = seed
	return res, nil
}

func (f *Fleet) discover(ctx context.Context, t Targets, parsed filter.Filter, agent string) (discovery.Result, error) {
	choice, err := f.choose(t, parsed)
	if err != nil {
		return discovery.Result{}, err
	}
	if choice.Note != "" {
		f.o.tell("note: %s", choice.Note)
	}
	settings, err := f.sourceSettings(t, parsed, choice)
	if err != nil {
		return discovery.Result{}, err
	}
	source, err := discovery.Open(choice.Method, settings)
	if err != nil {
		return discovery.Result{}, err
	}
	q := discovery.Query{
		Filter: parsed, Collective: f.Collective, Agent: agent,
		Timeout: cmp.Or(t.Timeout, f.Config.DiscoveryTimeout), Window: t.Window || f.Config.DiscoveryWindow,
	}
	if !broadcasts(choice, q) {
		return source.Discover(ctx, q)
	}
	var keep string
	if q.Known, keep, err = f.known(ctx, t, q); err != nil {
		return discovery.Result{}, err
	}
	f.o.expect(len(q.Known))
	answered := f.askOfAbsence(ctx)
	res, err := source.Discover(ctx, q)
	answered()
	if err == nil {
		f.keepKnown(ctx, keep, q.Known, res)
	}
	if f.client != nil && f.client.Crowded() {
		f.o.tell("warning: nodes were still answering when discovery ended after %v: more may be there; --discovery-timeout waits longer", max(res.Took.Round(100*time.Millisecond), q.Timeout))
	}
	return res, err
}

// askOfAbsence asks beside a broadcast. The function waits for the answer, for at most a quarter of a second after the
// broker has taken the question. An error leaves the question open: the client is asked again.
func (f *Fleet) askOfAbsence(ctx context.Context) (answered func()) {
	if !f.absent {
		return func() {}
	}
	client, err := f.Dial(ctx)
	if err != nil {
		return func() {} // the broadcast fails, too, and reports it
	}
	var asking sync.WaitGroup
	asking.Go(func() { _, _ = client.ReportsAbsence(ctx, f.Collective) })
	return asking.Wait
}

func (f *Fleet) choose(t Targets, parsed filter.Filter) (discovery.Choice, error) {
	return discovery.Choose(discovery.Request{
		Method: t.Method, NodesFile: t.NodesFile, Options: t.Do, Filter: parsed,
		DefaultMethod: f.Config.DiscoveryMethod, Defaults: f.Config.DiscoveryOptions,
	})
}

// MethodName is what upstream calls the method of discovery in its output: the name that was chosen, as it was written.
func (f *Fleet) MethodName(t Targets, parsed filter.Filter) string {
	choice, err := f.choose(t, parsed)
	if err != nil {
		return "unknown"
	}
	for _, written := range []string{t.Method, f.Config.DiscoveryMethod} {
		if method, err := discovery.Method(written); err == nil && written != "" && method == choice.Method {
			return written
		}
	}
	return choice.Method
}

func (f *Fleet) sourceSettings(t Targets, parsed filter.Filter, c discovery.Choice) (discovery.Settings, error) {
	path, _ := f.o.Getenv("PATH")
	s := discovery.Settings{
		Options: c.Options, NodesFile: t.NodesFile, Stdin: f.o.Stdin, Home: f.o.Home, Path: path,
		InventoryFile: f.Config.InventorySource, Command: f.Config.DiscoveryCommand, Federations: f.Federations,
		Dial: func(ctx context.Context) (discovery.Broadcaster, error) {
			client, err := f.Dial(ctx)
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
		Host: f.Config.PuppetDBHost, Port: f.Config.PuppetDBPort, UseSRV: f.Config.UseSRV, Domain: f.srvDomain(), Timeout: t.Timeout,
	}
	if _, exact := parsed.ExactIdentities(); exact {
		return s, nil // no server is asked
	}
	id, err := f.Identity()
	if err != nil {
		return s, err
	}
	s.PuppetDB.TLS, err = id.TLS()
	return s, err
}
