package proof

import (
	"container/heap"
	"context"
	"iter"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

const (
	forgetPoll = 12 * time.Second // answers to a poll that come later are not waited for
	eventTries = 3                // to subscribe to lifecycle events
	maxEarly   = 10_000           // provisioning starts kept of nodes that are not watched yet
)

// loop is one Verify. All its state belongs to one goroutine, that of the iterator's consumer.
type loop struct {
	v       *Verifier
	ctx     context.Context // of this one Verify
	base    time.Time       // moment zero
	session *rpcclient.Session
	replies <-chan rpcclient.Reply // nil until there is a session
	nodes   map[string]*watched
	queue   queue
	open    int // nodes among them that the run waits for
	polls   []sentPoll
	sentAt  map[string]moment // of the polls that are not forgotten
	slowest time.Duration     // the longest that an answer took so far
	rest    moment            // nothing is asked before: answers are read between large polls
	yield   func(batch.Proof) bool
	stopped bool // the consumer has left

	inbox      *inbox
	stopEvents func() // nil while there is no subscription
	eventTries int
	early      map[string]int64 // provisioning starts of nodes that are not watched yet
}

type sentPoll struct {
	id string
	at moment
}

// Verify implements batch.Verifier.
func (v *Verifier) Verify(ctx context.Context, targets <-chan []batch.Target) iter.Seq[batch.Proof] {
	return func(yield func(batch.Proof) bool) {
		l := &loop{
			v: v, ctx: ctx, base: time.Now(), yield: yield, nodes: map[string]*watched{}, sentAt: map[string]moment{},
			inbox: newInbox(), early: map[string]int64{}, eventTries: eventTries,
		}
		defer l.close()
		l.listen()
		l.run(targets)
	}
}

func (l *loop) now() moment { return time.Since(l.base) }

func (l *loop) close() {
	if l.session != nil {
		l.session.Close()
	}
	if l.stopEvents != nil {
		l.stopEvents()
	}
}

// listen subscribes to lifecycle events. They are best effort: a broker that does not allow them costs speed, and the
// proof of nodes that stay in provisioning mode. A connection that was just lost gets another try. Servers that shut
// down send none.
func (l *loop) listen() {
	if l.v.o.Events == nil || l.v.o.Action == Shutdown || l.stopEvents != nil || l.eventTries == 0 {
		return
	}
	l.eventTries--
	if l.v.o.Action != Reprovision {
		l.eventTries = 0 // polling finds it as well
	}
	ctx, cancel := context.WithTimeout(l.ctx, sendTimeout(0))
	defer cancel()
	stop, err := l.v.o.Events.Subscribe(ctx, choria.LifecycleSubject("startup", ">"), l.inbox.deliver)
	if err == nil {
		l.stopEvents = stop
	}
}

func (l *loop) run(targets <-chan []batch.Target) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !l.stopped && (targets != nil || l.open > 0) {
		timer.Reset(l.untilNext())
		select {
		case <-l.ctx.Done():
			return
		case group, ok := <-targets:
			if !ok {
				targets = nil
				continue
			}
			for _, t := range group {
				l.watch(t)
			}
		case r := <-l.replies:
			l.reply(r)
		case <-l.inbox.wake:
			for _, e := range l.inbox.take() {
				l.event(e)
			}
		case <-timer.C:
			l.tick()
		}
	}
}

// watch begins with a target. One that is handed over again has replied meanwhile, and begins anew.
func (l *loop) watch(t batch.Target) {
	old, known := l.nodes[t.Node]
	if l.stopped || known && old.replied && t.Replied.IsZero() {
		return
	}
	if known {
		l.drop(old)
	}
	if !l.v.provable(t) {
		l.looked(t.Node)
		return
	}
	w := l.v.watch(t, l.base)
	l.nodes[w.node] = w
	heap.Push(&l.queue, w)
	if w.replied {
		l.open++
	}
	if at, ok := l.early[w.node]; ok && w.known() {
		delete(l.early, w.node)
		l.event(startup{node: w.node, at: at, provisioning: true})
	}
}

func (l *loop) drop(w *watched) {
	delete(l.nodes, w.node)
	heap.Remove(&l.queue, w.slot)
	if w.replied {
		l.open--
	}
}

// fix moves a node to its place in the queue, after its next moment has changed.
func (l *loop) fix(w *watched) { heap.Fix(&l.queue, w.slot) }

// untilNext is the time until something has to be done.
func (l *loop) untilNext() time.Duration {
	if len(l.queue) == 0 {
		return time.Hour
	}
	return max(0, max(l.queue[0].next, l.rest)-l.now())
}

// tick looks at the nodes whose time has come, as many as one request asks. The rest follow soon, after what came in
// meanwhile: the answers of a large fleet must not wait behind the next questions.
func (l *loop) tick() {
	now := l.now()
	var ask []*watched
	for len(l.queue) > 0 && l.queue[0].next <= now && len(ask) < maxPoll && !l.stopped {
		w := l.queue[0]
		if over, found := l.over(w, now); over {
			l.end(w, found)
			continue
		}
		ask = append(ask, w)
		w.next = now + time.Hour // out of the way; planned when asked
		heap.Fix(&l.queue, 0)
	}
	for len(l.polls) > 0 && now-l.polls[0].at > forgetPoll {
		l.session.Forget(l.polls[0].id)
		delete(l.sentAt, l.polls[0].id)
		l.polls = l.polls[1:]
	}
	if len(ask) > 0 && !l.stopped {
		l.ask(ask)
	}
}

// over tells whether a node is to be asked no more. A node past its deadline is asked once more; what had begun to hold
// by then may settle.
func (l *loop) over(w *watched, now moment) (bool, batch.Finding) {
	settle, answer := l.v.o.Settle, l.answerTime()
	if l.v.o.Action == Shutdown {
		if w.settled(now, settle, answer) {
			return true, batch.Acted
		}
		return now >= w.deadline && w.quiet == never, batch.Unproved
	}
	switch {
	case now < w.deadline:
		return false, 0
	case w.since != never:
		return now >= w.since+settle+answer && now >= w.deadline+answer, batch.Unproved
	case w.last:
		return true, batch.Unproved
	}
	w.last = true
	return false, 0
}

// answerTime is how long an answer may be on its way, what waits in our own queues included.
func (l *loop) answerTime() time.Duration {
	return min(max(answerTime, l.slowest+time.Second), forgetPoll)
}

// ask polls nodes with one request, and plans the next look at them. A poll that could not be sent proves nothing.
func (l *loop) ask(nodes []*watched) {
	err := l.send(nodes)
	now := l.now()
	if len(nodes) == maxPoll {
		l.rest = now + window
	}
	shutdown := l.v.o.Action == Shutdown
	for _, w := range nodes {
		switch {
		case err == nil:
			if !w.replied && !w.looked && w.asked != never { // the first poll has had its time
				w.looked = true
				l.looked(w.node)
			}
			w.asked, w.trouble = now, ""
			if w.quiet == never {
				w.quiet = now
			}
		default:
			w.trouble, w.quiet = err.Error(), never
			if shutdown {
				w.since = max(w.since, now) // nobody listened for a while
			}
		}
		w.plan(now, shutdown, l.v.o.Settle, l.answerTime())
		if w.last && w.since == never {
			w.next = grid(now + lastGrace)
		}
		l.fix(w)
	}
}

// send polls nodes with one request. The subscription for the answers is made here, as often as it takes: a connection
// that is away when the first node is due must not cost the run its proofs.
func (l *loop) send(nodes []*watched) error {
	l.listen()
	names := make([]string, len(nodes))
	for i, w := range nodes {
		names[i] = w.node
	}
	slices.Sort(names)
	ctx, cancel := context.WithTimeout(l.ctx, sendTimeout(len(nodes)))
	defer cancel()
	if l.session == nil {
		session, err := l.v.o.Client.Open(ctx, l.v.o.Collective)
		if err != nil {
			return err
		}
		l.session, l.replies = session, session.Replies()
	}
	sent, err := l.session.Send(ctx, l.v.poll(), names)
	at := l.now()
	if sent.ID != "" {
		l.polls = append(l.polls, sentPoll{sent.ID, at})
		l.sentAt[sent.ID] = at
	}
	return err
}

func (l *loop) reply(r rpcclient.Reply) {
	now := l.now()
	if at, ok := l.sentAt[r.RequestID]; ok {
		l.slowest = max(l.slowest, now-at)
	}
	w, ok := l.nodes[r.Node]
	if !ok {
		return
	}
	before := w.start
	sees, start, note := l.v.judge(w.past, r)
	w.heard, w.quiet, w.sees, w.start, w.note, w.trouble = now, never, sees, start, note, ""
	if l.v.o.Action == Shutdown {
		w.since = max(w.since, now)
		return
	}
	switch {
	case sees != later:
		w.since = never
		if !w.replied && !w.looked {
			w.looked = true
			l.looked(w.node)
		}
		return
	case w.since != never && start == before:
	case now > w.deadline+lastGrace && l.v.o.Settle > 0:
		w.since, w.tardy = never, true // too late to see whether it stays
		return
	default:
		w.since = now
	}
	if now-w.since >= l.v.o.Settle {
		l.end(w, batch.Acted)
		return
	}
	if settled := grid(w.since + l.v.o.Settle); settled < w.next {
		w.next = settled
		l.fix(w)
	}
}

// event looks at the start of a node: it may be a proof, or a reason to look at once. One that is not later than what
// is known of the node's past is stale. Repeated ones do no harm.
func (l *loop) event(e startup) {
	w, ok := l.nodes[e.node]
	if !ok {
		if e.provisioning && l.v.o.Action == Reprovision && len(l.early) < maxEarly {
			l.early[e.node] = e.at
		}
		return
	}
	if w.known() && !w.before(e.at) {
		return
	}
	if e.provisioning && l.v.o.Action == Reprovision {
		w.entered = e.at
		if l.v.o.Expr == nil {
			w.sees = unseen
			l.end(w, batch.Acted)
		}
		return
	}
	look := l.now()
	if w.asked != never {
		look = max(look, w.asked+firstPause)
	}
	if look = grid(look); look < w.next {
		w.next, w.pause = look, firstPause
		l.fix(w)
	}
}

// looked reports that a silent node was looked at once; it may still be proved later.
func (l *loop) looked(node string) {
	l.stopped = l.stopped || !l.yield(batch.Proof{Node: node, Found: batch.Unproved, Time: time.Now(), Reason: "no reply"})
}

// end answers for a node. A node that never replied was reported when it was first looked at.
func (l *loop) end(w *watched, f batch.Finding) {
	l.drop(w)
	if f == batch.Unproved && !w.replied {
		return
	}
	p := batch.Proof{Node: w.node, Found: f, Time: time.Now()}
	if f == batch.Acted {
		p.Reason = l.v.proved(w)
	} else {
		p.Reason = l.v.unproved(w, l.stopEvents == nil)
	}
	l.stopped = l.stopped || !l.yield(p)
}
