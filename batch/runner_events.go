package batch

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// The part of the runner that waits: what happens becomes events of the machine.

// wait returns the next event, nil when only targets were handed on, or queued records have to be kept.
func (x *execution) wait() event {
	var hand chan []Target
	if len(x.handed) > 0 {
		hand = x.targets
	}
	x.setTimer()
	select {
	case o, ok := <-x.Outcomes:
		if !ok {
			x.Outcomes = nil
			return nil
		}
		return x.replied(o)
	case e := <-x.events:
		return e
	case hand <- x.handed:
		x.handed = nil
	case <-x.timer.C:
		return x.due()
	case err, ok := <-x.Interrupt:
		if x.Interrupt = nil; ok {
			return interruptEvent{time.Now(), orUnknown(err)}
		}
	case l, ok := <-x.Link:
		if ok {
			return linked(l)
		}
		x.Link = nil
	case c, ok := <-x.Control:
		if ok {
			c.Time, c.By = timeOr(c.Time), strings.ToValidUTF8(c.By, "\uFFFD")
			return controlEvent{time.Now(), c}
		}
		x.Control = nil
	case <-x.abandon:
		x.abandon, x.abandoned = nil, x.cause()
		return abandonEvent{time.Now(), x.abandoned}
	}
	return nil
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("cause unknown")
	}
	return err
}

// timeOr is a time for the record; now, when there is none.
func timeOr(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.Round(0)
}

// handle steps the machine by one event and by the others that are there
// already; their records are kept as one group, or with those of the next events. Events of the connection and
// replies that are in go first: neither a timeout nor an interrupt may overtake
// them.
func (x *execution) handle(e event) {
	if link, ok := e.(linkEvent); ok { // older than what still waits: lost, then back, not the other way round
		x.step(link)
		e = nil
	}
	x.takeLinks()
	if _, reply := e.(*outcomeEvent); !reply {
		for x.takeReplies() == maxGroup && x.flush() {
		}
	}
	if e != nil {
		x.step(e)
	}
	if x.takeReplies() < maxGroup {
		x.takeEvents()
	}
	x.settle()
}

// takeLinks handles the events of the connection first: they explain what else happens.
func (x *execution) takeLinks() {
	for {
		select {
		case l, ok := <-x.Link:
			if !ok {
				x.Link = nil
				return
			}
			x.step(linked(l))
		default:
			return
		}
	}
}

func linked(l Link) linkEvent {
	at := l.Time // when it happened: an event from before the run is handled late
	if at.IsZero() {
		at = time.Now()
	}
	return linkEvent{at, Link{timeOr(l.Time), l.Up, l.Gone, l.Err}}
}

// takeReplies handles replies that are in, at most a group of them.
func (x *execution) takeReplies() int {
	for n := range maxGroup {
		select {
		case o, ok := <-x.Outcomes:
			if !ok {
				x.Outcomes = nil
				return n
			}
			x.step(x.replied(o))
		default:
			return n
		}
	}
	return maxGroup
}

// replied is the event of a reply, good until the next one.
func (x *execution) replied(o Outcome) *outcomeEvent {
	x.reply = replied(o)
	return &x.reply
}

// takeEvents handles what the other goroutines have reported already.
func (x *execution) takeEvents() {
	for range maxGroup {
		select {
		case e := <-x.events:
			x.step(e)
		default:
			return
		}
	}
}

func (x *execution) step(e event) {
	if a, ok := e.(admitEvent); ok && a.Waiting == "" {
		delete(x.admissions, a.Question) // it is answered
	}
	if !x.ended {
		x.do(x.m.step(e))
	}
}

// setTimer arms the timer for the earliest wait; there are a handful at most.
func (x *execution) setTimer() {
	var first time.Time
	if len(x.pending) > 0 {
		first = x.keepBy
	}
	for _, t := range x.timers {
		if first.IsZero() || t.At.Before(first) {
			first = t.At
		}
	}
	if first.IsZero() {
		x.timer.Stop()
		return
	}
	x.timer.Reset(time.Until(first))
}

// due takes the earliest wait that is over. A reply timeout counts what arrived by
// then: replies that still have to be decoded come first.
func (x *execution) due() event {
	now := time.Now()
	slices.SortStableFunc(x.timers, func(a, b timerCmd) int { return a.At.Compare(b.At) })
	if len(x.timers) == 0 || x.timers[0].At.After(now) {
		return nil
	}
	t := x.timers[0]
	x.timers = slices.Delete(x.timers, 0, 1)
	if settler, ok := x.Actor.(Settler); ok && t.Timer == timerReplies {
		x.wg.Go(func() {
			_ = settler.Settle(x.work, t.At) // the time is over even after an error
			x.tell(timerEvent{time.Now(), t.Timer, t.Batch})
		})
		return nil
	}
	return timerEvent{now, t.Timer, t.Batch}
}
