package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// noter adds to a plan what the operator should know of its nodes.
type noter struct{ *call }

// noted asks the nodes what the notes need.
func (c noter) noted(ctx context.Context, p guardInput) (guardInput, error) {
	p, err := tokenWatch(c).noted(ctx, p)
	if err != nil || p.nodes == 0 {
		return p, err
	}
	if note := stormNote(p.plan, c.proves(), c.splay()); note != "" {
		p.plan.Notes = append(p.plan.Notes, note)
	}
	lasting, err := budgeting(c).lasting(ctx, p)
	if err != nil {
		return p, err
	}
	if lasting != "" {
		p.plan.Notes = append(p.plan.Notes, lasting)
	}
	young, err := c.young(ctx, p)
	if note := youngNote(young, p.nodes, c.rules().NotSince); note != "" {
		p.plan.Notes = append(p.plan.Notes, note)
	}
	return p, err
}

// readsAges refuses --not-since where the start of a node's process is not read before its batch.
func (c noter) readsAges() error {
	if a := c.proves(); c.rules().NotSince == 0 || a != 0 && a != proof.Expression {
		return nil
	}
	return usage(errors.New("--not-since needs the proof of restart, reprovision, shutdown or release_update: it reads when a node's process started"),
		"leave out --no-verify and --verify")
}

// young are the nodes that --not-since leaves out as things are now; each batch looks again.
func (c noter) young(ctx context.Context, p guardInput) ([]string, error) {
	limit := c.rules().NotSince
	if limit == 0 {
		return nil, nil
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return nil, err
	}
	o := proof.Options{Client: client, Collective: c.about.Collective, Action: c.proves(), TTL: c.message().TTL}
	said, err := proof.New(o).Baseline(ctx, p.targets())
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("look since when the nodes run: %w", err)
	}
	var young []string
	for name, b := range said {
		if b.Age > 0 && b.Age < limit {
			young = append(young, name)
		}
	}
	slices.Sort(young)
	return young, nil
}

func youngNote(young []string, of int, limit time.Duration) string {
	switch {
	case limit == 0:
		return ""
	case len(young) == 0:
		return fmt.Sprintf("no node has started within %s (--not-since); each batch looks again", limit)
	}
	return fmt.Sprintf("%d of %s started within %s and will be left out (--not-since; each batch looks again): %s", len(young), plain.Count(of, "node"), limit, discovery.Fold(young))
}

// loginsASecond is how many servers one core of a broker takes back in a second, with half of it left for other work:
// measured with RSA certificates, 3 ms a login (docs/performance.md).
const loginsASecond = 160

// maxSplay is the longest splay that servers take, in seconds.
const maxSplay = 600

// stormNote warns of a batch, or of a window, whose nodes come back faster than one core of a broker takes them: the
// brokers' limit for a login is 2 s. It names the splay that spreads them.
func stormNote(p batch.Plan, action proof.Action, splay time.Duration) string {
	if action != proof.Restart && action != proof.Reprovision {
		return ""
	}
	largest := 0
	for _, b := range p.Batches {
		largest = max(largest, len(b.Nodes))
	}
	for i := range p.Policy.Sizes {
		if p.Rolls() {
			largest = max(largest, min(len(p.Pool), p.Policy.Sizes.At(i, p.Nodes())))
		}
	}
	spread := int((proof.LongestDelay(action, splay) - proof.LongestDelay(proof.Restart, time.Second)).Seconds()) // of the delays
	spread = max(spread, 1)                                                                                       // delays are whole seconds; a login may wait for two
	if largest <= spread*loginsASecond {
		return ""
	}
	text := fmt.Sprintf("%d nodes at once come back within %d s: more than one core of a broker can log in (about %d a second), and brokers drop a login after 2 s",
		largest, spread, loginsASecond)
	need := (largest+loginsASecond-1)/loginsASecond + 1
	if action != proof.Restart || need > maxSplay {
		return fmt.Sprintf("%s: for one core, use batches of at most %d", text, spread*loginsASecond)
	}
	return fmt.Sprintf("%s: for one core, splay=%d spreads them", text, need)
}
