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
	sentAt  map[string]sentPoll // by request id
	slowest time.Duration       // the longest that an answer took so far
	rest    moment              // nothing is asked before: answers are read between large polls
	breath  moment              // answers and events are read again from then on
	yield   func(batch.Proof) bool
	stopped bool   // the consumer has left
	hurries func() // not nil while the connection may read late

	inbox      *inbox
	stopEvents func() // nil while there is no subscription
	eventTries int
	early      map[string]startup // provisioning starts of nodes that are not watched yet

	learned, silenceCounts bool // shutdown: the broker was asked; it does not report absent nodes
}

type sentPoll struct {
	id    string
	start time.Time // before it left
	at    moment    // when it had left
}

// Verify implements batch.Verifier.
func (v *Verifier) Verify(ctx context.Context, targets <-chan []batch.Target) iter.Seq[batch.Proof] {
	return func(yield func(batch.Proof) bool) {
		l := &loop{
			v: v, ctx: ctx, base: time.Now(), yield: yield, nodes: map[string]*watched{}, sentAt: map[string]sentPoll{},
			inbox: newInbox(), early: map[string]startup{}, eventTries: eventTries,
		}
		defer l.close()
		l.listen()
		l.learn()
		l.run(targets)
	}
}

func (l *loop) now() moment { return time.Since(l.base) }

func (l *loop) close() {
	l.relax(0)
	if l.session != nil {
		l.session.Close()
	}
	if l.stopEvents != nil {
		l.stopEvents()
	}
}

// listen subscribes to lifecycle events. They are optional: without them proofs are slower, and nodes that stay in
// provisioning mode are not proved. A connection that was just lost gets another try. Servers that shut
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
		l.relax(len(l.nodes))
		wait := l.untilNext()
		replies, wake := l.replies, l.inbox.wake
		if rest := l.breath - l.now(); rest > 0 {
			replies, wake, wait = nil, nil, min(wait, rest)
		}
		timer.Reset(wait)
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
		case r := <-replies:
			l.reply(r)
			l.rests(1 + l.takeReplies())
		case <-wake:
			l.rests(l.takeEvents())
		case <-timer.C:
			l.tick()
		}
	}
}

// watch starts to watch a target. A target that is handed over again starts anew: it has replied meanwhile, or its silence is
// to be looked at once more. A silent target does not replace one that has replied.
func (l *loop) watch(t batch.Target) {
	old, known := l.nodes[t.Node]
	if l.stopped || known && old.replied && t.Replied.IsZero() {
		return
	}
	if known {
		l.drop(old)
	}
	w := l.v.watch(t, l.base)
	l.nodes[w.node] = w
	heap.Push(&l.queue, w)
	if w.replied {
		l.open++
	}
	if e, ok := l.early[w.node]; ok {
		delete(l.early, w.node)
		l.event(e)
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
	l.takeEvents()
	now, drained := l.now(), false
	var ask []*watched
	for len(l.queue) > 0 && l.queue[0].next <= now && len(ask) < maxPoll && !l.stopped {
		w := l.queue[0]
		if over, found := l.over(w, now); over {
			if !drained && found != batch.Acted { // what has arrived in time counts, though it waits to be read
				drained = true
				l.drain()
				continue
			}
			l.end(w, found)
			continue
		}
		if l.noSign(w) {
			if !drained {
				drained = true
				l.drain()
				continue
			}
			l.reportSilent(w)
		}
		ask = append(ask, w)
		w.next = now + time.Hour // out of the way; planned when asked
		heap.Fix(&l.queue, 0)
	}
	if len(l.polls) > 0 && now-l.polls[0].at > forgetPoll && !drained {
		l.drain()
	}
	for len(l.polls) > 0 && now-l.polls[0].at > forgetPoll {
		l.session.Forget(l.polls[0].id)
		delete(l.sentAt, l.polls[0].id)
		l.polls = l.polls[1:]
	}
	ask = slices.DeleteFunc(ask, func(w *watched) bool { return l.nodes[w.node] != w }) // the answers from drain may have ended some
	if len(ask) > 0 && !l.stopped {
		l.ask(ask)
	}
}

// over reports whether a node needs no more requests. A node past its deadline is asked once more; what had begun to hold
// by then may settle.
func (l *loop) over(w *watched, now moment) (bool, batch.Finding) {
	settle, answer := l.v.o.Settle, l.answerTime()
	if l.v.o.Action == Shutdown {
		return l.overDown(w, now)
	}
	switch {
	case now < w.deadline:
		return false, 0
	case w.since != never:
		return now >= w.since+settle+answer && now >= w.deadline+answer, l.failed(w)
	case w.last:
		return true, l.failed(w)
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
	now, err := l.send(nodes)
	if len(nodes) == maxPoll {
		l.rest = now + window
	}
	shutdown := l.v.o.Action == Shutdown
	for _, w := range nodes {
		w.broken()
		switch {
		case err == nil:
			w.asked, w.unsent = now, false
			if w.quiet == never {
				w.quiet = now
			}
			if !w.replied && w.decisive == never && now >= w.due {
				w.decisive = now
			}
		default:
			w.unsent, w.quiet = true, never
			if shutdown {
				w.since = max(w.since, now) // not listened to for a while
			}
		}
		w.plan(now, shutdown, l.v.o.Settle, l.answerTime())
		if w.last && (shutdown || w.since == never) {
			w.next = grid(now + lastGrace)
		}
		l.fix(w)
	}
}

// send polls nodes with one request, and returns when it had left: the moment that identifies
// this poll. The subscription for the answers is made here, as often as it takes: a connection that is away when the first node
// is due must not cost the run its proofs.
func (l *loop) send(nodes []*watched) (moment, error) {
	l.listen()
	l.learn()
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
			return l.now(), err
		}
		l.session, l.replies = session, session.Replies()
	}
	sent, err := l.session.Send(ctx, l.v.poll(), names)
	at := l.now()
	if sent.ID != "" {
		poll := sentPoll{sent.ID, sent.Start, at}
		l.polls = append(l.polls, poll)
		l.sentAt[sent.ID] = poll
	}
	return at, err
}

func (l *loop) reply(r rpcclient.Reply) {
	poll, polled := l.sentAt[r.RequestID]
	now := r.Received.Sub(l.base) // when it came in counts, not when it was read
	w, ok := l.nodes[r.Node]
	if !ok || l.stopped {
		return
	}
	if r.Absent {
		if polled {
			l.absent(w, poll.at)
		}
		return
	}
	if polled {
		l.slowest = max(l.slowest, now-poll.at)
	}
	seen, before := lookOf(r, poll.start), w.start
	sees, note := l.v.judge(w.past, r, seen, w.track.add(seen))
	w.heard, w.quiet, w.gone, w.sees, w.start, w.note, w.unsent = max(w.heard, now), never, never, sees, seen.start, note, false
	defer l.reportSilent(w)
	if l.v.o.Action == Shutdown {
		w.since = max(w.since, now)
		return
	}
	if sees == uncertain && w.track.looks < 2 && l.now()+firstPause < w.next { // its age may prove it
		w.next = grid(l.now() + firstPause)
		l.fix(w)
	}
	switch {
	case sees != later:
		w.since = never
		return
	case w.since != never && seen.start == before:
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

// drain handles every answer that has arrived by now.
func (l *loop) drain() {
	if l.session == nil {
		return
	}
	drain(l.ctx, l.session, func(r rpcclient.Reply) bool {
		l.reply(r)
		return !l.stopped
	})
}

// end answers for a node. What was already reported of a node that never replied is not repeated.
func (l *loop) end(w *watched, f batch.Finding) {
	l.drop(w)
	if f != batch.Acted && w.reported {
		return
	}
	p := batch.Proof{Node: w.node, Found: f, Time: time.Now()}
	switch f {
	case batch.Acted:
		p.Reason = l.v.proved(w)
	case batch.Unasked:
		if p.Reason = lostReason; w.unsent {
			p.Reason = l.v.unaskedReason()
		}
	default:
		p.Reason = l.v.unproved(w, l.stopEvents == nil)
	}
	l.yieldProof(p)
}

func (l *loop) yieldProof(p batch.Proof) { l.stopped = l.stopped || !l.yield(p) }
