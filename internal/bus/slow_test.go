package bus

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// stallable is a way to a broker on which nothing passes while it is locked. The connection stands.
type stallable struct {
	sync.RWMutex
	ends chan net.Conn // both ends of the one connection through it
}

// stalling connects through a stallable, with a short patience.
func stalling(t *testing.T) (c *Conn, way *stallable, events <-chan linkEvent) {
	t.Helper()
	s := broker(t, server.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	way = &stallable{ends: make(chan net.Conn, 2)}
	var work sync.WaitGroup
	pass := func(from, to net.Conn) {
		defer from.Close()
		defer to.Close()
		piece := make([]byte, 4096)
		for {
			n, err := from.Read(piece)
			way.RLock()
			_, failed := to.Write(piece[:n])
			way.RUnlock()
			if err != nil || failed != nil {
				return
			}
		}
	}
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				_ = client.Close()
				continue
			}
			select {
			case way.ends <- client:
			default: // of a later connection
			}
			work.Go(func() { pass(client, upstream) })
			work.Go(func() { pass(upstream, client) })
		}
	})
	o, events := watched(Options{Servers: []string{"nats://" + l.Addr().String()}})
	c, err = Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.slowAfter = 100 * time.Millisecond
	t.Cleanup(func() {
		_ = l.Close()
		c.Close()
		work.Wait()
	})
	return c, way, events
}

// A broker that stops answering counts as away until it answers, also when no caller waits for it any more. A flush that is
// patient enough succeeds then.
func TestABrokerThatDoesNotAnswerIsAwayUntilItDoes(t *testing.T) {
	c, way, events := stalling(t)
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	way.Lock()
	impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Publish("x", "", []byte("hello")); err != nil {
		t.Error(err)
	}
	if p := problem(t, c.Flush(impatient)); !p.Lost {
		t.Errorf("an impatient flush: %v", p)
	}
	if e := <-events; e.up || e.gone || !errors.Is(e.err, errSlow) {
		t.Errorf("the stall is reported as %+v", e)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- c.Flush(t.Context()) }()
	select {
	case e := <-events:
		t.Errorf("reported while nothing changed: %+v", e)
	case <-time.After(300 * time.Millisecond):
	}
	way.Unlock()
	if err := <-flushed; err != nil {
		t.Errorf("a patient flush: %v", err)
	}
	if e := <-events; !e.up || e.err != nil {
		t.Errorf("its answer is reported as %+v", e)
	}
	if at, down := c.Reconnected(); !at.IsZero() || down {
		t.Errorf("the connection was never lost: back %v, down %v", at, down)
	}
}

// A connection that is lost while its broker does not answer is back once, when another one stands.
func TestAStalledConnectionThatIsLostIsBackOnce(t *testing.T) {
	c, way, events := stalling(t)
	client := <-way.ends
	way.Lock()
	flushed := make(chan error, 1)
	go func() { flushed <- c.Flush(t.Context()) }()
	if e := <-events; e.up || !errors.Is(e.err, errSlow) {
		t.Errorf("the stall is reported as %+v", e)
	}
	_ = client.Close()
	way.Unlock()
	if p := problem(t, <-flushed); !p.Lost {
		t.Errorf("the flush: %v", p)
	}
	if e := <-events; e.up || e.gone || errors.Is(e.err, errSlow) {
		t.Errorf("the loss is reported as %+v", e)
	}
	if e := <-events; !e.up {
		t.Errorf("the return is reported as %+v", e)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case e := <-events:
		t.Errorf("reported afterwards: %+v", e)
	default:
	}
}

// Close does not wait for a broker that does not answer, and is no event.
func TestCloseDuringAStall(t *testing.T) {
	c, way, events := stalling(t)
	way.Lock()
	defer way.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	flushed := make(chan error, 1)
	go func() { flushed <- c.Flush(ctx) }()
	<-events
	cancel()
	c.Close()
	<-flushed
	select {
	case e := <-events:
		t.Errorf("our own Close is reported: %+v", e)
	default:
	}
}
