package inventory

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"fleetctl/rpcclient"
)

// The actions of rpcutil that this package understands (docs/protocol.md, rpcutil).
const (
	agent             = "rpcutil"
	actionInventory   = "inventory"
	actionStats       = "daemon_stats"
	actionCollectives = "collective_info"
	actionFact        = "get_fact"
)

// Caller sends a request to nodes and yields what they reply. It must be safe for concurrent use.
type Caller interface {
	Call(ctx context.Context, req rpcclient.Request, nodes []string) iter.Seq2[rpcclient.Reply, error]
}

// Fetch asks one node for its inventory and its statistics, side by side, and returns when both have come, the wait for
// them is over (zero: none) or the context has ended. Without an inventory there is only the error. When only the
// statistics are missing, the node comes back with nil Stats together with the error. Errors: ErrNoReply, ErrAbsent, ErrExpired,
// *RefusedError, *PayloadError, or the caller's.
func Fetch(ctx context.Context, caller Caller, collective, node string, wait time.Duration) (Node, error) {
	var (
		both     sync.WaitGroup
		n        Node
		s        Stats
		nerr, er error
	)
	ask := func(action string) rpcclient.Request {
		r := request(action, collective, nil)
		r.Wait = wait
		return r
	}
	both.Go(func() { n, nerr = one(ctx, caller, ask(actionInventory), node, readInventory) })
	both.Go(func() {
		s, er = one(ctx, caller, ask(actionStats), node, func(r rpcclient.Reply) (Stats, error) { return decodeStats(r.Node, r.Data) })
	})
	both.Wait()
	if nerr != nil {
		return Node{}, nerr
	}
	if er != nil {
		return n, er
	}
	n.Stats = &s
	return n, nil
}

// one asks for one action of one node and decodes the first reply of that node.
func one[T any](ctx context.Context, caller Caller, req rpcclient.Request, node string,
	decode func(rpcclient.Reply) (T, error)) (T, error) {
	var zero T
	for r, err := range caller.Call(ctx, req, []string{node}) {
		if err != nil {
			return zero, fmt.Errorf("ask %s for rpcutil#%s: %w", node, req.Action, err)
		}
		if r.Node != node {
			continue
		}
		if r.Absent {
			return zero, absence(node)
		}
		if err := refusal(r, req.Action); err != nil {
			return zero, err
		}
		return decode(r)
	}
	return zero, silence(caller, node, req.Action)
}

// readInventory reads a reply to rpcutil#inventory.
func readInventory(r rpcclient.Reply) (Node, error) {
	n, err := decodeInventory(r.Node, r.Data)
	n.TokenExpires = r.TokenEnds
	return n, err
}

// absence is the error of a node that is not connected.
func absence(node string) error { return fmt.Errorf("%s is %w", node, ErrAbsent) }

// refusal is nil for a reply with status OK.
func refusal(r rpcclient.Reply, action string) error {
	if r.Code == 0 {
		return nil
	}
	return &RefusedError{Node: r.Node, Action: action, Code: int(r.Code), Label: r.Code.String(), Message: r.Message}
}
