package proof

import "time"

// How often answers and events are read. They come one by one while nodes restart.

const (
	few    = 64 // answers or events: when fewer were read, the next look at them is a breath later
	breath = 50 * time.Millisecond
)

// rests lets more answers and events arrive when there were few: to read each at once costs more in waking up than in
// reading. When they arrived counts, and a decision that they may change reads them first.
func (l *loop) rests(taken int) {
	if taken < few {
		l.breath = l.now() + breath
	}
}

// relax lets the connection, too, read late while many nodes are watched: their events and answers come one by one.
func (l *loop) relax(nodes int) {
	switch {
	case nodes >= few && l.hurries == nil:
		l.hurries = l.v.o.Client.Unhurried()
	case nodes < few && l.hurries != nil:
		l.hurries()
		l.hurries = nil
	}
}

func (l *loop) takeReplies() (n int) {
	for ; n < cap(l.replies); n++ {
		select {
		case r := <-l.replies:
			l.reply(r)
		default:
			return n
		}
	}
	return n
}

func (l *loop) takeEvents() int {
	events := l.inbox.take()
	for _, e := range events {
		l.event(e)
	}
	return len(events)
}
