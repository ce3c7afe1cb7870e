package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/fleet"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
	"fleetctl/rpcclient"
)

// A server of protocol v2 that starts with an expired token deletes its token and its seed, and goes into provisioning
// (docs/protocol.md, expired server tokens). So a restart is not sent to a node whose token ends soon, unless the operator
// says so.

// tokenMargin is how long a token must be good after the restart at the latest.
const tokenMargin = 10 * time.Minute

// tokenWatch is how a call looks at the nodes' tokens.
type tokenWatch struct{ *call }

// applies reports whether this call restarts v2 servers whose replies, and so their tokens, are checked. Nodes in
// provisioning mode have no token.
func (c tokenWatch) applies() bool {
	if proof.Of(c.req.Agent, c.req.Action) != proof.Restart || c.about.Collective == fleet.ProvisioningCollective {
		return false
	}
	who, err := c.fleet.Who()
	return err == nil && who.Version == choria.V2 && who.ChecksReplies
}

// refuses reports whether nodes with an expiring token are refused (no --allow-expiring).
func (c tokenWatch) refuses() bool { return c.applies() && !c.req.Guards.AllowExpiring }

// splay is the input of restart, zero where none was given.
func (c *call) splay() time.Duration {
	var in struct {
		Splay float64 `json:"splay"`
	}
	if c.data == nil { // not resolved: a dry run of what is left of a run
		return splayOf(c.req.Inputs)
	}
	if json.Unmarshal(c.data, &in) != nil {
		in.Splay = 0
	}
	return time.Duration(in.Splay) * time.Second
}

// splayOf is the splay of inputs as they are recorded.
func splayOf(inputs map[string]string) time.Duration {
	splay, _ := strconv.ParseFloat(inputs["splay"], 64) // checked when the run was begun
	return time.Duration(splay) * time.Second
}

// margin is how long the tokens of a batch must be good when it is sent.
func (c tokenWatch) margin() time.Duration {
	return proof.LongestDelay(proof.Restart, c.splay()) + tokenMargin
}

// tokenLook is what was seen of the tokens of all nodes that may be sent to.
type tokenLook struct {
	within           time.Duration // those that end sooner from now are expiring
	expiring, unseen []string      // nodes; absent ones are neither
}

// look looks at the token of every node that may be sent to, once a call: that of a reply to the discovery where
// there was any, else of a reply to the question for the baseline.
func (c tokenWatch) look(ctx context.Context, p guardInput) (tokenLook, error) {
	if c.tokens != nil {
		return *c.tokens, nil
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return tokenLook{}, err
	}
	var ask []string
	nodes := p.targets()
	for _, n := range nodes {
		if t, seen := client.Token(n); !seen || !t.Believed {
			ask = append(ask, n)
		}
	}
	o := proof.Options{Client: client, Collective: c.about.Collective, Action: proof.Restart, TTL: c.message().TTL, Tokens: true}
	asked, err := proof.New(o).Baseline(ctx, ask)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return tokenLook{}, fmt.Errorf("look at the nodes' tokens: %w", err)
	}
	look := tokenLook{within: noter(c).estimate(p.plan).Typical + tokenMargin}
	if c.blind() { // the estimate ends with the last reply
		look.within += c.margin() - tokenMargin
	}
	limit := time.Now().Add(look.within)
	for _, n := range nodes {
		switch t, seen := client.Token(n); {
		case asked[n].Absent && c.req.ReplyTo == "": // its batch looks again
		case seen && t.Ends.Before(limit):
			look.expiring = append(look.expiring, n)
		case !seen, !t.Believed:
			look.unseen = append(look.unseen, n)
		}
	}
	c.tokens = &look
	return look, nil
}

// noted adds to the plan what it must say of the nodes' tokens.
func (c tokenWatch) noted(ctx context.Context, p guardInput) (guardInput, error) {
	if !c.refuses() || p.nodes == 0 {
		return p, nil
	}
	look, err := c.look(ctx, p)
	if err == nil && len(look.unseen) > 0 {
		p.plan.Notes = append(p.plan.Notes, fmt.Sprintf("the token of %s was not seen: %s; a node that is still silent when its batch is sent is left out",
			plain.Count(len(look.unseen), "node"), discovery.Fold(look.unseen)))
	}
	return p, err
}

// expiring is the guard's check.
func (c tokenWatch) expiring(ctx context.Context, p guardInput) error {
	if p.nodes == 0 {
		return nil
	}
	look, err := c.look(ctx, p)
	if err != nil {
		return err
	}
	hint := func(nodes []string, first string) string {
		if p.stored != nil {
			return first + "or go ahead anyway: --allow-expiring"
		}
		return fmt.Sprintf("%sleave them out: --exclude '%s'; or go ahead anyway: --allow-expiring", first, discovery.Fold(nodes))
	}
	if n := len(look.expiring); n > 0 {
		return refuse(hint(look.expiring, "renew their tokens, "),
			"cannot restart %s: the token ends within %s, and a server that starts with an expired token deletes its identity and goes into provisioning: %s",
			plain.Count(n, "node"), look.within.Round(time.Second), discovery.Fold(look.expiring))
	}
	if n := len(look.unseen); n > 0 && c.blind() {
		return refuse(hint(look.unseen, ""), "cannot restart %s without a look at the token first: %s", plain.Count(n, "node"), discovery.Fold(look.unseen))
	}
	return nil
}

// blind reports that no baseline shows the tokens again before the nodes are sent to.
func (c tokenWatch) blind() bool { return c.proves() == 0 || c.req.ReplyTo != "" }

// good looks at the tokens of a batch where there are no baselines to do so. A node that was absent when all were asked may be
// connected by now: its token was never seen.
func (c tokenWatch) good(client *rpcclient.Client, nodes []string) error {
	limit := time.Now().Add(c.margin())
	var expiring, unseen []string
	for _, n := range nodes {
		switch t, seen := client.Token(n); {
		case !seen:
			unseen = append(unseen, n)
		case t.Ends.Before(limit):
			expiring = append(expiring, n)
		}
	}
	if len(unseen) > 0 {
		return errors.New("the token of " + plain.Count(len(unseen), "node") + " was not seen: " + discovery.Fold(unseen))
	}
	if len(expiring) == 0 {
		return nil
	}
	return errors.New("the token of " + plain.Count(len(expiring), "node") + " ends within " + c.margin().String() + ": " + discovery.Fold(expiring))
}

// targets are the nodes that may be sent to.
func (p guardInput) targets() []string { return append(p.plan.Names(), p.open...) }

// openNodes are those that a probe may prove untouched.
func openNodes(p batch.Progress) []string {
	var nodes []string
	for r := range p.Results() {
		if r.State == batch.Unknown || r.State == batch.Sending {
			nodes = append(nodes, r.Identity)
		}
	}
	return nodes
}
