package bus

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fleetctl/internal/choria"
)

// readAll reads what the other end writes, in chunks, and returns how long that took.
func readAll(t *testing.T, h *hurry, chunks, size int) time.Duration {
	t.Helper()
	ours, theirs := net.Pipe()
	conn := &restingConn{Conn: ours, hurry: h}
	defer conn.Close()
	start := time.Now()
	go func() {
		for range chunks {
			_, _ = theirs.Write(make([]byte, size)) // until it is read
		}
		_ = theirs.Close()
	}()
	n, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
	if want := int64(chunks * size); n != want || err != nil {
		t.Fatalf("read %d bytes of %d, %v", n, want, err)
	}
	return time.Since(start)
}

func TestAnUnhurriedConnectionReadsSeldom(t *testing.T) {
	const chunks = 100
	for name, test := range map[string]struct {
		set   func(*hurry)
		size  int
		rests bool
	}{
		"as always":                   {func(*hurry) {}, 600, false},
		"unhurried":                   {func(h *hurry) { h.unhurried.Add(1) }, 600, true},
		"unhurried, and much arrives": {func(h *hurry) { h.unhurried.Add(1) }, 64 << 10, false},
		"unhurried, and awaited":      {func(h *hurry) { h.unhurried.Add(1); h.await() }, 600, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHurry()
				test.set(h)
				took := readAll(t, h, chunks, test.size)
				if rested := took >= chunks*h.rest; rested != test.rests {
					t.Errorf("took %v for %d chunks", took, chunks)
				}
			})
		})
	}
}

// A rest ends when something is awaited, when the last caller that is unhurried ends, and when the connection is closed.
func TestARestEndsEarly(t *testing.T) {
	for name, end := range map[string]func(*Conn, net.Conn){
		"awaited": func(c *Conn, _ net.Conn) { c.hurry.await() },
		"hurried": func(c *Conn, _ net.Conn) {},
		"closed":  func(_ *Conn, conn net.Conn) { _ = conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				c := &Conn{hurry: newHurry()}
				conn := &restingConn{Conn: ours, hurry: c.hurry}
				stop := c.Unhurried()
				read := make(chan error, 1)
				go func() {
					_, err := conn.Read(make([]byte, 10)) // the first one rests as well
					if err == nil {
						_, err = conn.Read(make([]byte, 10))
					}
					read <- err
				}()
				if _, err := theirs.Write([]byte("a")); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				synctest.Wait() // the reader rests
				if name == "hurried" {
					stop()
					stop()
				}
				end(c, conn)
				go func() { _, _ = theirs.Write([]byte("b")) }()
				err := <-read
				if closed := errors.Is(err, io.ErrClosedPipe); closed != (name == "closed") || err != nil && !closed {
					t.Errorf("read: %v", err)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("the rest took %v", took)
				}
				_ = theirs.Close()
				_ = conn.Close()
			})
		})
	}
}

// On a real broker, a caller that waits for it ends a rest, which would last for an hour here.
func TestACallerThatWaitsForTheBrokerEndsARest(t *testing.T) {
	s := broker(t, server.Options{JetStream: true, StoreDir: t.TempDir()})
	c := connect(t, Options{Servers: []string{s.ClientURL()}})
	other := connect(t, Options{Servers: []string{s.ClientURL()}})
	c.hurry.rest = time.Hour
	defer c.Unhurried()()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(chan string, 10)
	stop, err := c.Subscribe(ctx, "events.*", func(m choria.Message) { got <- m.Subject })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, wait := range []struct {
		name string
		call func(context.Context) error
	}{
		{"flush", c.Flush},
		{"catch-up", c.CatchUp},
		{"request", func(ctx context.Context) error {
			_, err := c.Request(ctx, "$JS.API.INFO", nil, nil)
			return err
		}},
	} {
		if err := errors.Join(other.Publish("events."+wait.name, "", []byte("x")), other.Flush(ctx), wait.call(ctx)); err != nil {
			t.Fatalf("%s: %v", wait.name, err)
		}
		select {
		case subject := <-got:
			if subject != "events."+wait.name {
				t.Errorf("%s delivered %s", wait.name, subject)
			}
		case <-ctx.Done():
			t.Errorf("%s delivered nothing", wait.name)
		}
	}
}
