package rpcclient

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// Session is one reply subscription that any number of requests share, for as long as a run lives: a reply that
// comes after all callers stopped waiting for it is still delivered. Replies arrive on
// <collective>.reply.<caller hash>.<session>.<request id>, so that replies to another run of the same caller do not arrive here. The
// subscription only dates and queues what arrives; goroutines behind it decode and check,
// and deliver in the order of arrival.
type Session struct {
	client     *Client
	collective string
	prefix     string
	elsewhere  string // where replies go in place of here; "" is the rule
	stop       func()
	inbox      *inbox
	out        chan Reply
	deliver    func(r Reply, done <-chan struct{})
	done       chan struct{}
	closeOnce  sync.Once
	worker     sync.WaitGroup // of all of them
	// droppedBefore is what the connection had dropped when the session was opened.
	droppedBefore int
	logs          bool // what is sent and what comes back

	mu      sync.Mutex // guards pending, what it points to, and strays
	pending map[string]*pending
	strays  Strays
}

// heard is what is known of a node that was asked.
type heard uint8

const (
	silent heard = iota
	reportedAbsent
	answered
)

// pending is a request that was sent: the nodes asked, and whether each has answered.
type pending struct {
	id     string
	agent  string
	action string       // "" for the discovery agent's
	sent   time.Time    // when publishing began
	sealed func() error // see Request.Sealed; may be nil
	// patience is Request.Patience.
	patience time.Duration
	open     bool             // any sender may answer: broadcasts and service requests
	heard    map[string]heard // nil when replied holds what is known
	// answers counts the nodes that have answered, published is true when the last copy was handed over. When all nodes
	// have answered, heard, nodes and tokens give way to replied: a run keeps its requests, to recognize duplicates.
	answers   int
	published bool
	replied   []uint64 // hashes of the nodes' names, sorted
	// concluded counts the nodes that have answered or are absent; keepsPace: publishing waits for them, until keepUntil, see
	// keepStep. Both of these are of the publishing goroutine alone.
	concluded int
	keepsPace bool
	keepUntil time.Time
	nodes     []string // in the order of their tokens
	tokens    []uint64 // see absentSubjects; nil where no notice can come
}

// newPending is a request to these nodes. With notices, the broker is asked to report those that are absent.
func newPending(agent string, nodes []string, notices bool) *pending {
	p := &pending{agent: agent, heard: make(map[string]heard, len(nodes))}
	for _, n := range nodes {
		p.heard[n] = silent
	}
	if notices {
		p.nodes, p.tokens = slices.Clone(nodes), newTokens(len(nodes))
	}
	return p
}

// nameSeed is for pending.replied.
var nameSeed = maphash.MakeSeed()

// settle gives memory back when every node has answered. The caller holds the session's lock.
func (p *pending) settle() {
	if p.open || !p.published || p.heard == nil || p.answers < len(p.heard) {
		return
	}
	p.replied = make([]uint64, 0, len(p.heard))
	for node := range p.heard {
		p.replied = append(p.replied, maphash.String(nameSeed, node))
	}
	slices.Sort(p.replied)
	p.heard, p.nodes, p.tokens = nil, nil, nil
}

// of is what was heard of a node; asked is false for one that was not asked. The caller holds the session's lock.
func (p *pending) of(node string) (h heard, asked bool) {
	if p.heard == nil {
		if _, asked = slices.BinarySearch(p.replied, maphash.String(nameSeed, node)); asked {
			h = answered
		}
		return h, asked
	}
	h, asked = p.heard[node]
	return h, asked
}

func (s *Session) register(id string, p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.id, p.sent = id, time.Now()
	s.pending[id] = p
}

// Open subscribes to the replies of a new session. The caller must Close it, and must read Replies until then.
func (c *Client) Open(ctx context.Context, collective string) (*Session, error) {
	out := make(chan Reply, 256)
	s, err := c.OpenTo(ctx, collective, func(r Reply, done <-chan struct{}) {
		select {
		case out <- r:
		case <-done:
		}
	})
	if err != nil {
		return nil, err
	}
	s.out = out
	return s, nil
}

// OpenTo is Open with a function in place of the channel: it is called with every accepted reply, one after another,
// until the session is closed. It may block, until done ends at the latest.
func (c *Client) OpenTo(ctx context.Context, collective string, deliver func(r Reply, done <-chan struct{})) (*Session, error) {
	s := &Session{
		client: c, collective: collective,
		prefix:  choria.ReplyPrefix(collective, c.id.Caller(), c.hash) + "." + strings.ToLower(rand.Text()[:16]) + ".",
		deliver: deliver,
		inbox:   newInbox(c.workers, c.groupSize()),
		done:    make(chan struct{}),
		pending: map[string]*pending{},
	}
	s.droppedBefore, s.logs = c.connDropped(), c.log.Enabled(ctx, slog.LevelDebug)
	stop, err := c.conn.Subscribe(ctx, s.prefix+"*", s.receive)
	if err != nil {
		return nil, fmt.Errorf("listen for replies: %w", err)
	}
	s.stop = stop
	for range c.workers {
		s.worker.Go(s.work)
	}
	return s, nil
}

// Replies is the stream of accepted replies. It is never closed: select on the end of your own wait as well.
func (s *Session) Replies() <-chan Reply { return s.out }

// Close ends the subscription. Replies that were not read are dropped.
func (s *Session) Close() {
	s.closeOnce.Do(func() {
		close(s.done)
		s.stop()
	})
	s.worker.Wait()
}

// Forget ends the wait for one request: a reply that arrives later is a stray. A session that polls forgets what it asked,
// so that it does not grow.
func (s *Session) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// Strays returns the messages that were rejected so far.
func (s *Session) Strays() Strays {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strays.clone()
}

func (s *Session) stray(k Kind, node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strays.Add(k, node)
}

// Send publishes one direct request to every node, the same bytes to each, and returns once the broker has taken
// them all. Federations get them in messages for up to 200 nodes, around the same signed bytes. On a *SendError some nodes may
// have been reached. Blank or unusable names are refused before anything is published. Nothing is ever sent again. Where the broker reports a node as absent, an absent Reply is delivered for it.
func (s *Session) Send(ctx context.Context, req Request, nodes []string) (Sent, error) {
	r, err := s.client.rpc(req)
	if err != nil {
		return Sent{}, err
	}
	r.Filter = choria.Filter{Agent: []string{req.Agent}}
	return s.direct(ctx, r, req, nodes)
}

// direct publishes a request to the nodes' own subjects.
func (s *Session) direct(ctx context.Context, r choria.Request, req Request, nodes []string) (Sent, error) {
	every := choria.NodeSubject(r.Collective, "")
	names := texts{n: len(nodes), append: func(text []byte, i int) []byte { return append(append(text, every...), nodes[i]...) }}
	subjects := make([]string, len(nodes))
	for i, n := range nodes {
		if err := choria.CheckIdentity(n); err != nil {
			return Sent{}, fmt.Errorf("cannot address node %q: %w", n, err)
		}
		subjects[i] = names.get(i)
	}
	before := s.client.link()
	notices := s.elsewhere == "" && len(s.client.federations) == 0
	p := newPending(r.Agent, nodes, notices)
	p.keepsPace = notices
	p.action, p.sealed, p.patience = req.Action, req.Sealed, req.Patience
	sent, published, err := s.publish(ctx, r, p, subjects)
	switch {
	case err == nil, published < 0:
		return sent, err
	case published == 0:
		// Nothing was handed over: there is nothing to find out.
		return sent, &SendError{Unsent: nodes, Certain: true, Lost: s.client.intact(before) != nil, Err: err}
	}
	return sent, s.interrupted(ctx, nodes[published:], before, err)
}

// interrupted finds the result of an interrupted publish: what was handed over is flushed, so that it cannot leave
// later. When only the context ended, after everything was handed over, that flush is all that was missing.
func (s *Session) interrupted(ctx context.Context, unsent []string, before link, err error) error {
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	flushed := s.client.conn.Flush(flush) == nil && s.client.intact(before) == nil
	if len(unsent) == 0 && flushed && context.Cause(ctx) != nil {
		return nil
	}
	return &SendError{Unsent: unsent, Certain: flushed && len(unsent) > 0, Lost: !flushed, Err: err}
}

// settleTimeout bounds the flush after an interrupted publish.
const settleTimeout = 5 * time.Second

// open publishes one request that any node may answer.
func (s *Session) open(ctx context.Context, r choria.Request, action, subject string) (Sent, error) {
	p := &pending{agent: r.Agent, action: action, open: true, heard: map[string]heard{}}
	sent, _, err := s.publish(ctx, r, p, []string{subject})
	return sent, err
}

// Broadcast asks every server of the session's collective that matches the filter to answer. An empty filter asks them all.
func (s *Session) Broadcast(ctx context.Context, f choria.Filter) (Sent, error) {
	return s.open(ctx, s.nameRequest(f), "", choria.BroadcastSubject(s.collective, discoveryAgent))
}

// nameRequest asks for the names of the nodes that match a filter.
func (s *Session) nameRequest(f choria.Filter) choria.Request {
	r := s.client.envelope(s.client.NewID(), s.collective, discoveryAgent)
	r.Filter, r.Payload = f, choria.DiscoveryPing()
	return r
}
