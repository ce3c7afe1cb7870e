package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

const (
	// budgetWait is how long a run waits for room where nothing else was asked for: nodes of others come back meanwhile.
	budgetWait = 10 * time.Minute
	// budgetLook is how soon a full budget is looked at again; the time doubles up to budgetPace.
	budgetLook = 100 * time.Millisecond
	budgetPace = 2 * time.Second
	// budgetSay is how long a run waits before it shows as waiting.
	budgetSay = time.Second
	// budgetTime bounds the last write of a run.
	budgetTime = 10 * time.Second
)

// budgetGuard is the name of the guard, and of the flag.
const budgetGuard = "--max-down"

// budgeting is a call as one whose nodes count in the ledger of all runs.
type budgeting struct{ *call }

// budget is what holds a run back while too many nodes are down.
type budget struct {
	store   lease.Store
	own     lease.Limits // asked for by the command and the settings
	ledger  lease.Ledger // as it was when the run was planned
	rule    downRule
	wait    time.Duration
	values  map[string]map[string]string // of the facts that are limited, by fact and by node; nil before they were asked
	account *lease.Account               // nil before the guards
	locks   *locks                       // asked next; nil without

	once  sync.Once
	begun chan struct{}      // closed when the record has a plan
	stop  context.CancelFunc // ends the writes
	keep  sync.WaitGroup
}

// validateBudget refuses what a budget cannot be kept with.
func (s Shared) validateBudget(r Request) error {
	switch {
	case len(s.MaxDown) == 0:
	case r.Record.Off:
		return usage(errors.New("--max-down excludes --no-journal: a node counts as down until its record proves that it is up"), "")
	case r.ReplyTo != "":
		return usage(errors.New("--max-down excludes --reply-to: this process does not learn when the nodes are up again"), "")
	}
	return nil
}

// asked are the limits that the command and the settings ask for.
func (c budgeting) asked() lease.Limits {
	limits := c.req.Shared.MaxDown
	if c.changes() {
		for _, text := range c.Settings.MaxDown {
			setting, _ := lease.ParseLimits([]string{text}, false) // validated
			limits = limits.And(setting)
		}
	}
	return limits
}

// look reads the ledger, before the nodes are planned. Limits in it bind every run that takes nodes down. Where nothing
// else asks for a budget, a fleet without a ledger has none. early means that it is asked again before the guards.
func (c budgeting) look(ctx context.Context, early bool) error {
	asked := c.asked()
	takes := proof.Of(c.req.Agent, c.req.Action)
	if c.budget != nil || c.service() || len(asked) == 0 && (takes == 0 || c.about.Collective == fleet.ProvisioningCollective) {
		return nil
	}
	if !c.changes() {
		return usage(fmt.Errorf("--max-down is for actions that take nodes down: %s#%s changes nothing", c.req.Agent, c.req.Action), "leave it out")
	}
	store, err := sharing(c).bucket(ctx, lease.Shared)
	var ledger lease.Ledger
	switch {
	case err == nil:
		ledger, err = lease.ReadLedger(ctx, store, c.about.Collective)
	case early && len(asked) == 0:
		return nil // the guards come first, and ask again
	}
	switch {
	case err == nil:
	case len(asked) > 0:
		return BucketFailure(err)
	default:
		return c.unbound(ctx, err)
	}
	if len(asked.And(ledger.Limits)) > 0 {
		c.budget = &budget{store: store, own: asked, ledger: ledger, rule: downRule{takes, c.proves() != 0}, wait: c.req.Shared.BudgetWait.or(budgetWait)}
	}
	return sharing(c).checkTTL()
}

// unbound is called for a run that asks for no budget, where the ledger cannot be read.
func (c budgeting) unbound(ctx context.Context, err error) error {
	_, denied := errors.AsType[*lease.DeniedError](err)
	switch {
	case denied, errors.Is(err, lease.ErrNoStreams), errors.Is(err, lease.ErrNoBucket):
		return nil
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return c.Reporter.Report(Noted{Warning, "the brokers' streams do not answer: limits of `fleetctl shared limits` are not kept by this run"})
	}
	return BucketFailure(err)
}

// BucketFailure is SharedFailure for our own bucket.
func BucketFailure(err error) error {
	if errors.Is(err, lease.ErrNoBucket) {
		return &SharedError{Err: errors.New("the brokers have no bucket FLEETCTL for what runs share"), Hint: "make it once, for the whole fleet: `fleetctl shared init`, or `choria kv add FLEETCTL --history 1 --replicas 3`"}
	}
	if _, ok := errors.AsType[*SharedError](err); ok {
		return err
	}
	return SharedFailure(err)
}

// limits are all that bind this run.
func (b *budget) limits() lease.Limits { return b.own.And(b.ledger.Limits) }

// theirs reports that it is not this run that asks about a fact.
func (b *budget) theirs(fact string) bool {
	_, shared := b.ledger.Limits[fact]
	_, own := b.own[fact]
	return shared && !own
}

// caps adds the limits to a policy, for so many nodes: no batch is larger than what may be down.
func (c budgeting) caps(p batch.Policy, nodes int) batch.Policy {
	if c.budget == nil {
		return p
	}
	limits := c.budget.limits()
	p.MaxPer = slices.Clone(p.MaxPer)
	for _, fact := range limits.Facts() {
		n := limits[fact]
		if i := slices.IndexFunc(p.MaxPer, func(m batch.MaxPer) bool { return m.Fact == fact }); i >= 0 {
			p.MaxPer[i].N = min(p.MaxPer[i].N, n)
		} else {
			p.MaxPer = append(p.MaxPer, batch.MaxPer{Fact: fact, N: n})
		}
	}
	most, ok := limits[lease.All]
	if !ok || nodes == 0 {
		return p
	}
	p.Canary, p.Sizes = min(p.Canary, most), slices.Clone(p.Sizes)
	for i, size := range p.Sizes {
		if size.Of(nodes) > most {
			p.Sizes[i] = batch.Number(most)
		}
	}
	if len(p.Sizes) == 0 && nodes > most {
		p.Sizes = batch.Sizes{batch.Number(most)}
	}
	return p
}

// downRule is when a node of a record counts as down.
type downRule struct {
	takes  proof.Action // 0: it is not known that the action takes nodes down
	proves bool
}

// ruleOf is the rule of a recorded run.
func ruleOf(s *Stored) downRule {
	return downRule{proof.Of(s.Meta.Agent, s.Meta.Action), s.Proves()}
}

// down reports whether a node counts: a request may have acted on it, and it is not proved that the node is up. What was
// shut down, or left for provisioning, is not up when that is proved.
func (d downRule) down(p batch.Progress, node string) bool {
	if _, reached := p.Reached(node); !reached {
		return false
	}
	switch p.State(node) {
	case batch.Verified:
		return d.takes == proof.Shutdown || d.takes == proof.Reprovision
	case batch.Accepted:
		return d.takes != 0 || d.proves
	}
	return true
}

// lasts reports whether no node stops counting while the run drives it: the proof of the act is none that it is up.
func (d downRule) lasts() bool {
	switch d.takes {
	case 0:
		return false
	case proof.Shutdown, proof.Reprovision:
		return true
	}
	return !d.proves
}

// all are the nodes of a record that count.
func (d downRule) all(p batch.Progress) (nodes []string) {
	for r := range p.Results() {
		if d.down(p, r.Identity) {
			nodes = append(nodes, r.Identity)
		}
	}
	return nodes
}

// open takes up this run's part of the ledger, before the guards.
func (c budgeting) open(ctx context.Context, p guardInput) error {
	if c.budget == nil {
		return nil
	}
	who, err := c.fleet.Who()
	if err != nil {
		return err
	}
	b := lease.Budget{
		Collective: c.about.Collective, Run: c.runID(), Limits: c.budget.own, Facts: c.budget.limits().Facts(),
		Party: lease.Party{Caller: who.ID, Host: c.Host, Action: c.req.Agent + "#" + c.req.Action},
	}
	b.Down = c.down(p)
	switch {
	case p.stored != nil && p.retry:
		b.Parents, err = c.parents(p.stored)
	case p.stored != nil:
		b.Parents, err = c.parentsOf(p.stored.Progress.Header().Parent)
	}
	if err != nil {
		return err
	}
	known, err := c.values(ctx, p)
	if err != nil {
		return err
	}
	b.Values = func(node, fact string) string { return known[fact][node] }
	b.Facts = slices.DeleteFunc(b.Facts, func(fact string) bool { return len(silentOf(known[fact], b.Down)) > 0 }) // they count with each value then
	c.budget.locks = c.locks
	c.budget.account, err = lease.OpenAccount(ctx, c.budget.store, b)
	if err != nil {
		return BucketFailure(err)
	}
	return nil
}

// down are the nodes that earlier processes or runs of the chain have down, as far as this one takes them over.
func (c budgeting) down(p guardInput) (nodes []string) {
	switch {
	case p.stored != nil && p.retry:
		for _, d := range p.plan.Doubts {
			if !d.Sent.IsZero() {
				nodes = append(nodes, d.Node)
			}
		}
	case p.stored != nil:
		nodes = c.budget.rule.all(p.stored.Progress)
	}
	return nodes
}

// parents are the nodes that a run, and those before it in its chain of retries, have down.
func (c budgeting) parents(s *Stored) (map[string]map[string]bool, error) {
	all, err := c.parentsOf(s.Progress.Header().Parent)
	if err != nil {
		return nil, err
	}
	all[s.ID] = set(ruleOf(s).all(s.Progress))
	return all, nil
}

func (c budgeting) parentsOf(id string) (map[string]map[string]bool, error) {
	all := map[string]map[string]bool{}
	for id != "" && all[id] == nil {
		s, err := c.Store.Read(id)
		if err != nil { // it was deleted, and had ended long before
			return all, nil
		}
		all[id] = set(ruleOf(&s).all(s.Progress))
		id = s.Progress.Header().Parent
	}
	return all, nil
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// text is the guard's sentence.
func (c budgeting) text() string {
	b := c.budget
	from := []string{}
	if len(b.own) > 0 {
		from = append(from, budgetGuard)
	}
	if len(b.ledger.Limits) > 0 {
		from = append(from, "fleetctl shared limits")
	}
	text := fmt.Sprintf("at most %s down at once, with those of other runs: %s", b.limits(), strings.Join(from, ", "))
	var now []string
	for _, id := range slices.Sorted(maps.Keys(b.ledger.Runs)) {
		p := b.ledger.Runs[id]
		now = append(now, fmt.Sprintf("%d by run %s of %s", p.Down[lease.All], id, p.Caller))
	}
	if len(now) > 0 {
		text += "; down now: " + plain.Line(strings.Join(now, ", "))
	}
	return text
}

// check is the guard's: it refuses what could never be admitted.
func (c budgeting) check(ctx context.Context, p guardInput) error {
	switch {
	case !c.recorded():
		return refuse("leave out --no-journal", "cannot keep the limit of nodes that are down without a record of this run")
	case c.req.ReplyTo != "":
		return refuse("leave out --reply-to", "cannot keep the limit of nodes that are down: replies go elsewhere, and this process does not learn when the nodes are up again")
	}
	limits := c.budget.limits()
	hint := "choose smaller batches"
	if p.stored != nil {
		hint = "begin a new run over the nodes that were not sent to: `" + job(c).next(p.stored.ID).Command("retry", "--not-sent") + "`"
	}
	if c.req.plan != nil {
		hint = "save the plan again: `fleetctl req ... --save-plan FILE`"
	}
	most, ok := limits[lease.All]
	for _, b := range p.plan.Batches {
		if ok && len(b.Nodes) > most {
			return refuse(hint, "cannot send batch %d of %s: at most %d may be down at once", b.Number, plain.Count(len(b.Nodes), "node"), most)
		}
	}
	for i := range p.plan.Policy.Sizes {
		if n := min(p.plan.Policy.Sizes.At(i, p.plan.Nodes()), len(p.plan.Pool)); p.plan.Rolls() && ok && n > most {
			return refuse(hint, "cannot send with a window of %s: at most %d may be down at once", plain.Count(n, "node"), most)
		}
	}
	if err := c.placed(ctx, p); err != nil {
		return err
	}
	return c.spread(p, hint)
}
