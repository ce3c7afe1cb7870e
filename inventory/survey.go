package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"fleetctl/internal/plain"
	"fleetctl/rpcclient"
)

// Survey is a question to many nodes. The zero value asks for rpcutil#inventory alone.
type Survey struct {
	Collective string
	// Stats asks for rpcutil#daemon_stats, AgentVersions for rpcutil#agent_inventory as well.
	Stats, AgentVersions bool
	// Facts keeps the facts. They are most of an answer: without this they are dropped as soon as they arrive.
	Facts bool
	// Timeout is how long the nodes of one chunk have to answer; zero is 4 s.
	Timeout time.Duration
	// Chunk is how many nodes one request goes to, Flight how many chunks are asked before the first answers have been
	// taken. Together they bound the memory that a survey needs; zero chooses.
	Chunk, Flight int
}

const (
	actionAgents   = "agent_inventory"
	defaultTimeout = 4 * time.Second // rpcutil answers within 2 s, and upstream adds 2 (docs/protocol.md, rpcutil)
	defaultChunk   = 500
	factChunk      = 200
	defaultFlight  = 4
	// A chunk makes room for the next one when nothing has come for this long: one dead node must not hold up the fleet.
	// It keeps listening until the timeout.
	quiet      = 300 * time.Millisecond
	firstQuiet = time.Second
)

func (s Survey) withDefaults() Survey {
	s.Timeout, s.Flight = cmp.Or(s.Timeout, defaultTimeout), cmp.Or(s.Flight, defaultFlight)
	if s.Chunk == 0 {
		s.Chunk = defaultChunk
		if s.Facts {
			s.Chunk = factChunk
		}
	}
	return s
}

func (s Survey) actions() []string {
	list := []string{actionInventory}
	if s.Stats {
		list = append(list, actionStats)
	}
	if s.AgentVersions {
		list = append(list, actionAgents)
	}
	return list
}

// Ask asks every node and yields a Node for each, in no order that can be relied on: answers as they come, silence
// when the time is up. However many nodes there are, only a few chunks are in memory. An error ends the sequence; so
// does the end of the context, without an error: the caller knows its cause. Stopping the loop stops the work.
func (s Survey) Ask(ctx context.Context, caller Caller, nodes []string) iter.Seq2[Node, error] {
	s = s.withDefaults()
	return func(yield func(Node, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		out := make(chan part)
		var wait sync.WaitGroup
		defer wait.Wait()
		defer cancel()
		wait.Go(func() { s.dispatch(ctx, caller, nodes, out) })
		for p := range out {
			if p.err != nil {
				yield(Node{}, p.err)
				return
			}
			for _, n := range p.nodes {
				if !yield(n, nil) {
					return
				}
			}
		}
	}
}

// part is some nodes of a chunk, or the error that ends the survey.
type part struct {
	nodes []Node
	err   error
}

func (s Survey) dispatch(ctx context.Context, caller Caller, nodes []string, out chan<- part) {
	defer close(out)
	slots := make(chan struct{}, s.Flight)
	var wait sync.WaitGroup
	defer wait.Wait()
	place := 0
	for chunk := range slices.Chunk(nodes, s.Chunk) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c := newChunk(s, place, chunk)
		c.out, c.release = out, sync.OnceFunc(func() { <-slots })
		place += len(chunk)
		wait.Go(func() { c.run(ctx, caller) })
	}
}

// chunk is some nodes that are asked with the same requests. One goroutine decides; others only carry.
type chunk struct {
	survey  Survey
	nodes   []string
	byName  map[string]*pending
	left    []*pending // not delivered, in the order of nodes
	caller  Caller
	out     chan<- part
	release func()
	carry   sync.WaitGroup
}

// pending is a node of a chunk.
type pending struct {
	node  Node
	heard map[string]bool // by action
}

func newChunk(s Survey, place int, nodes []string) *chunk {
	c := &chunk{survey: s, nodes: nodes, byName: make(map[string]*pending, len(nodes))}
	for i, name := range nodes {
		p := &pending{node: Node{Place: place + i, Identity: name}, heard: map[string]bool{}}
		c.byName[name] = p
		c.left = append(c.left, p)
	}
	return c
}

// answer is one reply to one of the requests.
type answer struct {
	action string
	reply  rpcclient.Reply
	err    error
}

func (c *chunk) run(ctx context.Context, caller Caller) {
	c.caller = caller
	defer c.release()
	defer c.carry.Wait()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := c.call(asked, caller)
	timer := time.NewTimer(firstQuiet)
	defer timer.Stop()
	for {
		select {
		case r, open := <-replies:
			switch {
			case !open && ctx.Err() != nil:
				return
			case !open:
				c.deliver(ctx, true)
				return
			case r.err != nil:
				cancel()
				for range replies { // until the others have ended
				}
				if ctx.Err() == nil {
					c.send(ctx, part{err: fmt.Errorf("ask %s for rpcutil#%s: %w", plain.Count(len(c.nodes), "node"), r.action, r.err)})
				}
				return
			}
			c.note(r)
			timer.Reset(quiet)
		case <-timer.C:
			c.deliver(ctx, false)
		}
	}
}

// call asks for every action side by side. The channel is closed when all have ended.
func (c *chunk) call(ctx context.Context, caller Caller) <-chan answer {
	replies := make(chan answer)
	var wait sync.WaitGroup
	for _, action := range c.survey.actions() {
		wait.Go(func() {
			req := request(action, c.survey.Collective, nil)
			req.Wait = c.survey.Timeout
			for r, err := range caller.Call(ctx, req, c.nodes) {
				replies <- answer{action, r, err} // run reads until the channel is closed
				if err != nil {
					return
				}
			}
		})
	}
	c.carry.Go(func() {
		wait.Wait()
		close(replies)
	})
	return replies
}

// note reads one reply.
func (c *chunk) note(r answer) {
	p, ok := c.byName[r.reply.Node]
	if !ok || p.heard[r.action] {
		return
	}
	p.heard[r.action] = true
	err := refusal(r.reply, r.action)
	switch {
	case r.reply.Absent:
		err = absence(r.reply.Node)
	case err == nil:
		err = p.read(r, c.survey.Facts)
	}
	if err != nil && (p.node.Err == nil || r.action == actionInventory) {
		p.node.Err = err
	}
}

func (p *pending) read(r answer, facts bool) (err error) {
	n := &p.node
	switch r.action {
	case actionInventory:
		told, err := readInventory(r.reply)
		if err != nil {
			return err
		}
		if !facts {
			told.Facts = nil
		}
		told.Place, told.AgentVersions, told.Stats, told.Uptime, told.Err = n.Place, n.AgentVersions, n.Stats, n.Uptime, n.Err
		*n = told
	case actionStats:
		stats, err := decodeStats(n.Identity, r.reply.Data)
		if err != nil {
			return err
		}
		n.Stats, n.Uptime = &stats, max(r.reply.Time.Sub(stats.StartTime), 0)
	case actionAgents:
		n.AgentVersions, err = decodeAgents(n.Identity, r.reply.Data)
	}
	return err
}

// finish makes the node whole: what has not come is missing.
func (p *pending) finish(caller Caller, actions []string) Node {
	for _, action := range actions {
		if !p.heard[action] && p.node.Err == nil {
			p.node.Err = silence(caller, p.node.Identity, action)
		}
	}
	return p.node
}

// deliver hands on what is complete, or all that is left. It never waits for the reader: that would make nodes look
// silent that are not. The slot is free when the reader has taken the answers.
func (c *chunk) deliver(ctx context.Context, all bool) {
	actions := c.survey.actions()
	var ready []Node
	c.left = slices.DeleteFunc(c.left, func(p *pending) bool {
		if !all && len(p.heard) < len(actions) {
			return false
		}
		ready = append(ready, p.finish(c.caller, actions))
		return true
	})
	c.carry.Go(func() {
		c.send(ctx, part{nodes: ready})
		c.release()
	})
}

func (c *chunk) send(ctx context.Context, p part) {
	select {
	case c.out <- p:
	case <-ctx.Done():
	}
}

// decodeAgents reads rpcutil#agent_inventory: the version of each agent.
func decodeAgents(node string, data json.RawMessage) (map[string]string, error) {
	var list []struct {
		Agent   string `json:"agent"`
		Version string `json:"version"`
	}
	f := readFields(node, actionAgents, data)
	if f.err == nil && f.member("agents") == nil {
		f.fail("agents", "missing")
	}
	f.read("agents", "an array of objects with agent and version", &list)
	versions := make(map[string]string, len(list))
	for _, a := range list {
		versions[a.Agent] = a.Version
	}
	return versions, f.err
}
