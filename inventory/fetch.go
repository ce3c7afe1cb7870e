package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync"

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

// Fetch asks one node for its inventory and its statistics, side by side, and returns when both have come or the context
// has ended. Without an inventory there is only the error. When only the statistics are missing, the node comes back
// with nil Stats together with the error. Errors: ErrNoReply, *RefusedError, *PayloadError, or the caller's.
func Fetch(ctx context.Context, caller Caller, collective, node string) (Node, error) {
	var (
		wait     sync.WaitGroup
		n        Node
		s        Stats
		nerr, er error
	)
	wait.Go(func() { n, nerr = one(ctx, caller, collective, node, actionInventory, decodeInventory) })
	wait.Go(func() { s, er = one(ctx, caller, collective, node, actionStats, decodeStats) })
	wait.Wait()
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
func one[T any](ctx context.Context, caller Caller, collective, node, action string,
	decode func(string, json.RawMessage) (T, error)) (T, error) {
	var zero T
	req := rpcclient.Request{Agent: agent, Action: action, Collective: collective}
	for r, err := range caller.Call(ctx, req, []string{node}) {
		if err != nil {
			return zero, fmt.Errorf("ask %s for rpcutil#%s: %w", node, action, err)
		}
		if r.Node != node {
			continue
		}
		if err := refusal(r, action); err != nil {
			return zero, err
		}
		return decode(node, r.Data)
	}
	return zero, fmt.Errorf("%w to rpcutil#%s from %s", ErrNoReply, action, node)
}

// refusal is nil for a reply with status OK.
func refusal(r rpcclient.Reply, action string) error {
	if r.Code == 0 {
		return nil
	}
	return &RefusedError{Node: r.Node, Action: action, Code: int(r.Code), Label: r.Code.String(), Message: r.Message}
}
