package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

const hop = 150 * time.Microsecond // from one machine to the next

// pingsGiveUp is when a broker ends a connection whose other side does not answer: at the third ping, and the first may be late
// (docs/protocol.md, absent nodes).
func pingsGiveUp(share float64) time.Duration {
	return 4*time.Minute + time.Duration(share*float64(4*time.Minute))
}

// broker is one server of the cluster.
type broker struct {
	w     *world
	index int
	up    bool
}

func (b *broker) fall() {
	if !b.up {
		return
	}
	b.up = false
	b.w.logf("broker  %d is down", b.index)
	for _, n := range b.w.nodes {
		if n.broker == b.index && n.subscribed {
			n.leave("its broker is down")
		}
	}
	for _, c := range b.w.conns {
		if c.broker == b {
			c.lose("broker down")
		}
	}
}

func (b *broker) rise() {
	if !b.up {
		b.up = true
		b.w.logf("broker  %d is up", b.index)
	}
}

// standing is a broker that is up, the preferred one if it is.
func (w *world) standing(preferred int) *broker {
	if preferred < len(w.brokers) && w.brokers[preferred].up {
		return w.brokers[preferred]
	}
	for _, b := range w.brokers {
		if b.up {
			return b
		}
	}
	return nil
}

var (
	errDown = errors.New("the connection is down")
	errDead = errors.New("the process is dead")
)

// message is what a connection received.
type message struct {
	subject string
	data    []byte
	arrived time.Time // zero while the operator's machine sleeps
	none    bool      // 503: no responders
	node    string    // of a genuine reply to the action
	request string
}

// conn is the connection of one operator's process.
type conn struct {
	w      *world
	broker *broker // nil while it is away
	epoch  int     // changes when it is lost
	dead   bool    // its process has ended
	lost   time.Time
	back   time.Time
	flying time.Time // when what was published last has reached the broker
	subs   []*subscription
	tape   *tape
	links  chan linkChange
	work   sync.WaitGroup
	count  int           // published so far
	asleep chan struct{} // nil, or closed when this process continues
}

// sleeps reports whether the machine of this process is suspended.
func (c *conn) sleeps() bool { return c.w.asleep != nil || c.asleep != nil }

// untilAwake holds up this process while its machine is suspended.
func (c *conn) untilAwake() {
	for {
		c.w.untilAwake()
		c.w.mu.Lock()
		asleep := c.asleep
		c.w.mu.Unlock()
		if asleep == nil {
			return
		}
		<-asleep
	}
}

// suspend stops the machine of this process alone for a while.
func (c *conn) suspend(d time.Duration) {
	if c.asleep != nil || c.dead {
		return
	}
	asleep := make(chan struct{})
	c.asleep = asleep
	c.w.after(d, func() {
		if c.asleep != asleep {
			return
		}
		if d > 4*time.Minute {
			c.lose("the broker gave up on it")
		}
		c.rouse()
	})
}

// rouse ends the suspension of this process.
func (c *conn) rouse() {
	if c.asleep != nil {
		close(c.asleep)
		c.asleep = nil
	}
}

// linkChange is a connection lost or found again.
type linkChange struct {
	at  time.Time
	up  bool
	err error
}

type subscription struct {
	c       *conn
	prefix  string
	deliver func(message)
	queue   []message
	wake    chan struct{} // holds one token when there may be messages
	done    chan struct{}
	once    sync.Once
}

// connectLocked connects a new process.
func (w *world) connectLocked() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &conn{w: w, broker: w.standing(0), links: make(chan linkChange, 256)}
	w.conns = append(w.conns, c)
	return c
}

func (c *conn) lose(why string) {
	if c.broker == nil || c.dead {
		return
	}
	c.broker = nil
	c.epoch++
	c.lost = time.Now()
	c.w.logf("conn    lost: %s", why)
	c.w.saw("connection lost")
	c.tell(linkChange{time.Now(), false, errors.New(why)})
	c.retry()
}

// reconnectedLocked is when the connection came back after its last loss, and whether it is away.
func (c *conn) reconnectedLocked() (time.Time, bool) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.back, c.broker == nil
}

func (c *conn) tell(l linkChange) {
	select {
	case c.links <- l:
	default:
	}
}

// retry reconnects as nats.go does with our options: every 500 to 750 ms.
func (c *conn) retry() {
	epoch := c.epoch
	c.w.after(500*time.Millisecond+time.Duration(c.w.rng.IntN(250))*time.Millisecond, func() {
		if c.dead || c.epoch != epoch || c.broker != nil {
			return
		}
		b := c.w.standing(0)
		if b == nil {
			c.retry()
			return
		}
		c.broker, c.back = b, time.Now()
		c.w.logf("conn    back, broker %d", b.index)
		c.w.saw("connection back")
		c.tell(linkChange{time.Now(), true, nil})
	})
}

// kill is the end of the process: nothing leaves it and nothing reaches it any more.
func (c *conn) kill() {
	if c.dead {
		return
	}
	c.dead, c.broker = true, nil
	c.epoch++
}

// closeLocked ends the connection and waits for its subscriptions.
func (c *conn) closeLocked() {
	c.w.mu.Lock()
	c.kill()
	subs := slices.Clone(c.subs)
	c.w.mu.Unlock()
	for _, s := range subs {
		s.end()
	}
	c.work.Wait()
}

// publish hands a message to the broker; it gets there a moment later, if the connection lives so long.
func (c *conn) publish(subject, reply string, data []byte) error {
	req := c.judgedLocked(subject, data)
	c.untilAwake()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	node := strings.TrimPrefix(subject, collective+".node.")
	if c.broker == nil {
		if req.acts {
			c.w.sends = append(c.w.sends, send{time.Now(), node, req.id, true})
		}
		if c.dead {
			return errDead
		}
		return errDown
	}
	c.count++
	if req.acts {
		c.w.sends = append(c.w.sends, send{time.Now(), node, req.id, false})
		c.w.logf("send    %s to %s (%s)", req.action, node, short(req.id))
	}
	epoch, leaves := c.epoch, c.w.rng.IntN(2) == 0
	c.flying = time.Now().Add(hop)
	c.w.after(hop, func() {
		if c.epoch != epoch && !(c.dead && leaves) {
			return // it was still in the buffer
		}
		c.w.route(c, subject, reply, req)
	})
	if req.acts {
		c.w.pass("send")
	} else {
		c.w.pass("ask")
	}
	if c.dead {
		return errDead
	}
	return nil
}

// judgedLocked reads a request and lets the judge see it.
func (c *conn) judgedLocked(subject string, data []byte) asked {
	c.w.mu.Lock()
	defer c.w.mu.Unlock() // also when this panics: what is deferred elsewhere takes the lock
	req := c.w.decode(data)
	c.w.judgeSend(c, req, subject)
	return req
}

// route is the broker's work.
func (w *world) route(c *conn, subject, reply string, req asked) {
	name, ok := strings.CutPrefix(subject, collective+".node.")
	if !ok {
		return
	}
	n := w.named[name]
	if n == nil || !n.subscribed {
		if req.acts {
			w.logf("broker  knows no subscriber for %s (%s)", name, short(req.id))
			w.saw("action sent to an absent node")
		}
		if reply != "" && !w.mute503 {
			w.toClient(c, message{subject: reply, none: true})
		}
		return
	}
	if reply != "" && w.rng.Float64() < w.noise.forged {
		w.saw("forged 503")
		w.toClient(c, message{subject: req.replyTo + "-0-00000000deadbeef", none: true})
	}
	n.arrive(req)
}

// toClient brings a message to one process.
func (w *world) toClient(c *conn, m message) {
	epoch := c.epoch
	w.after(hop, func() {
		if c.epoch != epoch || c.broker == nil {
			return
		}
		for _, s := range c.subs {
			if strings.HasPrefix(m.subject, s.prefix) {
				s.push(m)
			}
		}
	})
}

// broadcast brings a message to every process that listens for its subject.
func (w *world) broadcast(m message) {
	for _, c := range w.conns {
		if c.broker != nil {
			w.toClient(c, m)
		}
	}
}

// receive is the moment in which the operator's machine has a message.
func (s *subscription) receive(m *message) {
	m.arrived = time.Now()
	key := m.request + " " + m.node
	if _, twice := s.c.w.arrived[key]; m.node != "" && !twice {
		s.c.w.arrived[key] = m.arrived
	}
}

func (s *subscription) push(m message) {
	if !s.c.sleeps() {
		s.receive(&m)
	}
	s.queue = append(s.queue, m)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run hands messages over, one after another, in the order of their arrival.
func (s *subscription) run() {
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
		for {
			s.c.untilAwake()
			s.c.w.mu.Lock()
			if len(s.queue) == 0 || s.c.dead {
				s.c.w.mu.Unlock()
				break
			}
			m := s.queue[0]
			s.queue = s.queue[1:]
			if m.arrived.IsZero() {
				s.receive(&m)
			}
			s.c.w.mu.Unlock()
			s.deliver(m)
		}
	}
}

func (s *subscription) end() { s.once.Do(func() { close(s.done) }) }

// subscribe returns when the broker has the subscription.
func (c *conn) subscribe(ctx context.Context, subject string, deliver func(message)) (func(), error) {
	if err := c.flush(ctx); err != nil {
		return nil, err
	}
	s := &subscription{c: c, prefix: strings.TrimRight(subject, "*>"), deliver: deliver, wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.w.mu.Lock()
	c.subs = append(c.subs, s)
	c.w.mu.Unlock()
	c.work.Go(s.run)
	return func() {
		s.end()
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		c.subs = slices.DeleteFunc(c.subs, func(o *subscription) bool { return o == s })
	}, nil
}

// flush is a round trip to the broker.
func (c *conn) flush(ctx context.Context) error {
	c.untilAwake()
	c.w.mu.Lock()
	epoch, away, dead := c.epoch, c.broker == nil, c.dead
	c.w.mu.Unlock()
	switch {
	case dead:
		return errDead
	case away:
		return errDown
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(2 * hop):
	}
	c.untilAwake()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.epoch != epoch || c.broker == nil {
		return fmt.Errorf("flush: %w", errDown)
	}
	return nil
}

// reaches is what a guard that asks the broker before each batch finds.
func (c *conn) reaches(ctx context.Context, _ []string) error {
	if err := c.flush(ctx); errors.Is(err, errDown) {
		return fmt.Errorf("%w: %w", rpcclient.ErrLost, err)
	} else if err != nil {
		return err
	}
	return nil
}

// asked is a request as servers read it.
type asked struct {
	choria.Request
	rpc     choria.RPCRequest
	id      string
	replyTo string
	action  string
	acts    bool // it is the action of the case
}

// decode reads a request, and the same bytes only once.
func (w *world) decode(data []byte) asked {
	switch {
	case len(data) == 0:
		return asked{} // whether absent nodes are reported is asked with an empty message
	case len(w.last) > 0 && &w.last[0] == &data[0]:
		return w.lastAsked
	}
	t, err := choria.DecodeTransport(data)
	if err != nil {
		panic(err)
	}
	secure, err := choria.DecodeSecureRequest(t.Data)
	if err != nil {
		panic(err)
	}
	req, err := choria.DecodeRequest(t.Version, secure.Request)
	if err != nil {
		panic(err)
	}
	a := asked{Request: req, id: req.ID, replyTo: t.ReplyTo}
	if rpc, err := choria.DecodeRPCRequest(req.Body()); err == nil {
		a.rpc, a.action = rpc, rpc.Action
	}
	a.acts = req.Agent == "choria_provision"
	w.last, w.lastAsked = data, a
	return a
}
