package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fleetctl/internal/choria"
)

// What the broker has sent counts, though this process has not come to read it: CatchUp returns when it was delivered.
func TestCatchUpDeliversWhatTheBrokerHasSent(t *testing.T) {
	const messages = 2000
	s := broker(t, server.Options{})
	c := connect(t, Options{Servers: []string{s.ClientURL()}})
	other := connect(t, Options{Servers: []string{s.ClientURL()}})
	var delivered atomic.Int64
	begun, goOn := make(chan struct{}), make(chan struct{})
	stop, err := c.Subscribe(t.Context(), "replies.*", func(choria.Message) {
		if delivered.Add(1) == 1 {
			close(begun)
			<-goOn
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for i := range messages {
		if err := other.Publish(fmt.Sprintf("replies.%d", i), "", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	caughtUp := make(chan error, 1)
	go func() { caughtUp <- c.CatchUp(ctx) }()
	select {
	case err := <-caughtUp:
		t.Errorf("caught up after %d messages of %d, %v", delivered.Load(), messages, err)
	default:
	}
	close(goOn)
	if err := <-caughtUp; err != nil || delivered.Load() != messages {
		t.Errorf("caught up after %d messages of %d, %v", delivered.Load(), messages, err)
	}
	s.Shutdown()
	c.Close()
	if err := c.CatchUp(ctx); err == nil {
		t.Error("caught up with a broker that is gone")
	}
}
