package rpcclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetctl/internal/choria"
)

const (
	// settling is how long nodes may take to come back after our connection was lost: servers reconnect to a restarted
	// broker within 20 s (docs/protocol.md, subjects).
	settling = 30 * time.Second
	// Until then an absent node is asked again, and a collective as a whole.
	askAbsentEvery = 2 * time.Second
	askAllEvery    = 5 * time.Second
	// lookEvery is how often the connection is looked at while answers are waited for.
	lookEvery = 250 * time.Millisecond
	// patience is how long a lost connection is waited for, and losses how often.
	patience = 30 * time.Second
	losses   = 5
)

// gathering collects the answers to one question that changes nothing. It closes by arrival: what arrived before the end
// is still decoded and taken. A connection that is lost meanwhile is waited for, and the question asked again: an answer of half
// of the fleet would look complete. It belongs to one goroutine.
type gathering struct {
	session *Session
	window  choria.Window // Timeout zero: until the context ends
	// ask publishes the question, the first time and again. It never repeats a request: each has a new id.
	ask func(ctx context.Context) error
	// again returns how often to repeat the question while nodes may be reconnecting, and whether to repeat it at all.
	again func() (every time.Duration, due bool)
	// take handles a reply, and reports whether it was a new node; enough ends the gathering.
	take   func(r Reply) (fresh bool)
	enough func() bool
	filter choria.Filter // of a broadcast
	roster *roster       // of the nodes that are expected; nil where none are

	link  link
	asked time.Time // when the question was last asked
	end   time.Time // of the window; zero when there is none
	last  time.Time // when the last new node's reply arrived
	read  time.Time // until when everything was read that the broker had sent when the window closed; zero before
	late  int       // replies that arrived after the end
	early []Reply   // that arrived while the question was published, not taken yet
	lost  int       // how often the connection was
	since time.Time // when it was first seen to be down; zero when it is not
}

// run returns nil when enough was taken, when the window has closed, or when the context has ended: the caller knows its
// cause. Otherwise it returns why the question could not be sent or the answers could not be awaited.
func (g *gathering) run(ctx context.Context) error {
	if err := g.send(ctx); err != nil {
		return err
	}
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for !g.enough() {
		timer.Reset(g.untilNext())
		select {
		case r := <-g.session.out:
			g.receive(r)
		case <-timer.C:
			if over, err := g.tick(ctx); over || err != nil {
				return err
			}
		case <-ctx.Done():
			return g.cut(ctx)
		}
	}
	return nil
}

// send asks and opens the window. A failure caused by a lost connection is handled by tick.
func (g *gathering) send(ctx context.Context) error {
	g.link = g.session.client.link()
	err := g.publish(func() error { return g.ask(ctx) })
	now := time.Now()
	g.asked = now
	if g.roster != nil {
		g.roster.begin(now)
		g.end = g.roster.end(g.window.Timeout)
	}
	if g.roster == nil && g.window.Timeout > 0 && now.Add(g.window.Timeout).After(g.end) {
		g.end = now.Add(g.window.Timeout)
	}
	g.takeEarly()
	if err == nil || ctx.Err() == nil && g.session.client.intact(g.link) != nil {
		return nil
	}
	return err
}

// publish asks while it reads the replies: publishing waits until its answers are read, see keepStep.
func (g *gathering) publish(ask func() error) error {
	asked := make(chan error, 1)
	go func() { asked <- ask() }()
	for {
		select {
		case r := <-g.session.out:
			g.early = append(g.early, r)
		case err := <-asked:
			return err
		}
	}
}

// takeEarly takes what arrived while a question was published.
func (g *gathering) takeEarly() {
	early := g.early
	g.early = nil
	for _, r := range early {
		if g.enough() {
			return
		}
		g.receive(r)
	}
}

// settled is the moment from which absence counts; in the past when the connection was not lost lately.
func (g *gathering) settled() time.Time {
	if g.link.since.IsZero() {
		return time.Time{}
	}
	return g.link.since.Add(g.session.client.settling)
}

// askAgain is when the question is due once more; false when it is not.
func (g *gathering) askAgain() (time.Time, bool) {
	every, due := g.again()
	if !due || !g.asked.Before(g.settled()) {
		return time.Time{}, false
	}
	next := g.asked.Add(every)
	if next.After(g.settled()) {
		next = g.settled()
	}
	return next, true
}

// crowded reports that answers were still coming in when the window closed: in the last tenth of one that closes by the
// clock, or after its end.
func (g *gathering) crowded() bool {
	byClock := !g.end.IsZero() && !g.end.Before(g.asked.Add(g.window.Timeout))
	return g.late > 0 || byClock && g.last.After(g.end.Add(-g.window.Timeout/10))
}

func (g *gathering) untilNext() time.Duration {
	wait := lookEvery
	if !g.end.IsZero() {
		wait = min(wait, time.Until(g.end))
	}
	if next, due := g.askAgain(); due {
		wait = min(wait, time.Until(next))
	}
	if g.roster != nil {
		if next, due := g.roster.due(); due {
			wait = min(wait, time.Until(next))
		}
	}
	return max(wait, time.Millisecond)
}

func (g *gathering) receive(r Reply) {
	if !g.end.IsZero() && r.Received.After(later(g.end, g.read)) {
		if g.roster == nil || r.RequestID != g.roster.byName {
			g.late++
		}
		return
	}
	if g.roster != nil {
		if g.roster.heard(r) && g.take(r) {
			g.last = r.Received
		}
		g.end = g.roster.end(g.window.Timeout)
		return
	}
	if !g.take(r) {
		return
	}
	g.last = r.Received
	if g.window.Quiet > 0 {
		if early := r.Received.Add(g.window.Quiet); early.Before(g.asked.Add(g.window.Timeout)) {
			g.end = early
		} else {
			g.end = g.asked.Add(g.window.Timeout)
		}
	}
}

// tick looks at the connection, asks again where that is due, and closes the window.
func (g *gathering) tick(ctx context.Context) (over bool, err error) {
	client := g.session.client
	switch at, down := client.conn.Reconnected(); {
	case down:
		return false, g.wait(ctx)
	case !at.Equal(g.link.since):
		g.since = time.Time{}
		if g.lost++; g.lost > losses {
			return false, fmt.Errorf("%w %d times while answers were waited for", ErrLost, g.lost)
		}
		return false, g.send(ctx)
	}
	g.since = time.Time{}
	now := time.Now()
	if next, due := g.askAgain(); due {
		if now.Before(next) {
			return false, nil
		}
		return false, g.send(ctx)
	}
	if err := g.askByName(ctx, now); err != nil || g.end.IsZero() || now.Before(g.end) {
		return false, err
	}
	if !g.close(ctx) {
		return false, nil
	}
	return client.intact(g.link) == nil, nil
}

// askByName asks the known nodes that are left by name, where that is due and what has arrived has been looked at. A
// failure that the connection's loss explains is for the next tick.
func (g *gathering) askByName(ctx context.Context, now time.Time) error {
	if g.roster == nil {
		return nil
	}
	if next, due := g.roster.due(); !due || now.Before(next) || !g.session.inbox.isSettled(now) {
		return nil
	}
	err := g.publish(func() error { return g.session.askByName(ctx, g.roster, g.filter) })
	g.takeEarly()
	g.end = g.roster.end(g.window.Timeout)
	if ctx.Err() != nil || g.session.client.intact(g.link) != nil {
		return nil
	}
	return err
}

// wait gives a lost connection time to come back.
func (g *gathering) wait(ctx context.Context) error {
	if g.since.IsZero() {
		g.since = time.Now()
	}
	if time.Since(g.since) < patience {
		return nil
	}
	err := g.session.client.conn.Flush(ctx) // it knows the words
	if err == nil {
		err = ErrLost
	}
	return fmt.Errorf("%w, and did not come back within %v", err, patience)
}

// close takes what arrived before the end, however long it takes to read and to check. False: the end has moved.
func (g *gathering) close(ctx context.Context) bool {
	end, done := g.end, ctx.Done()
	if read, ok := g.session.catchUp(ctx); ok {
		g.read = read
	}
	settled := g.session.inbox.settled(later(end, g.read))
	for !g.enough() {
		select {
		case r := <-g.session.out:
			g.receive(r)
			continue
		case <-settled:
		case <-done:
			return true
		}
		for drained := false; !drained && !g.enough(); {
			select {
			case r := <-g.session.out:
				g.receive(r)
			default:
				drained = true
			}
		}
		return !g.end.After(end)
	}
	return true
}

// cut handles the end of the context. A deadline ends the window; any other cause means that the operator wants to stop.
func (g *gathering) cut(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	if now := time.Now(); now.Before(deadline) {
		deadline = now
	}
	g.end = deadline
	g.close(context.WithoutCancel(ctx))
	if g.enough() {
		return nil
	}
	if g.lost > 0 {
		return ErrLost // there was no time to ask properly again
	}
	return g.session.client.intact(g.link)
}
