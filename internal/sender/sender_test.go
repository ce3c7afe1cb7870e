package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/secret"
	"fleetctl/rpcclient"
)

// line is a connection that is lost at a message, or refuses one.
type line struct {
	published, lostAt, deniedAt int // messages count from 1; 0: never
	lostAtFlush                 bool
	back                        time.Time
	down                        bool
}

var errRefused = errors.New("refused")

func (l *line) Publish(string, string, []byte) error {
	l.published++
	switch {
	case l.published == l.deniedAt:
		return errRefused
	case l.published == l.lostAt:
		l.down = true
	}
	if l.down {
		return errors.New("away")
	}
	return nil
}

func (l *line) Subscribe(context.Context, string, func(choria.Message)) (func(), error) {
	return func() {}, nil
}

func (l *line) Flush(context.Context) error {
	if l.lostAtFlush { // and it is back at once: what was published is gone
		l.back = l.back.Add(time.Second)
	}
	if l.down {
		return errors.New("away")
	}
	return nil
}

func (l *line) URL() string                    { return "nats://broker.example.net:4222" }
func (l *line) Reconnected() (time.Time, bool) { return l.back, l.down }

type identity struct{}

func (identity) Version() choria.Version { return choria.V1 }
func (identity) Caller() string          { return "choria=rip.mcollective" }
func (identity) Sender() string          { return "client.example.net" }
func (identity) Seal(_ context.Context, request []byte) ([]byte, error) {
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: choria.V1, Request: request, Caller: "e30.e30.e30"})
}
func (identity) OpenReply(choria.SecureReply, string) (string, error) { return "", nil }

// What the engine hears of a batch that did not leave as it should: a lost connection passes, a refusal does not.
func TestALostConnectionPassesAndARefusalDoesNot(t *testing.T) {
	nodes := []string{"a", "b", "c"}
	for _, c := range []struct {
		name             string
		line             line
		unsent           []string // nil: none was sent to
		uncertain, again bool
	}{
		{name: "lost before the first", line: line{lostAt: 1}, again: true},
		{name: "lost at the second", line: line{lostAt: 2}, unsent: []string{"b", "c"}, uncertain: true, again: true},
		{name: "lost at the flush", line: line{lostAtFlush: true}, unsent: []string{}, uncertain: true, again: true},
		{name: "refused at the first", line: line{deniedAt: 1}, unsent: nodes},
		{name: "refused at the second", line: line{deniedAt: 2}, unsent: []string{"b", "c"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open(t.Context(), rpcclient.New(&c.line, identity{}), Options{
				Request: rpcclient.Request{Agent: "choria_provision", Action: "restart", Collective: "mcollective"}, Scrub: &secret.Scrubber{},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Act(t.Context(), 1, nodes)
			not, ok := errors.AsType[*batch.NotSentError](err)
			if !ok {
				t.Fatalf("got %v", err)
			}
			if (not.Nodes == nil) != (c.unsent == nil) || !slices.Equal(not.Nodes, c.unsent) || not.Uncertain != c.uncertain || not.Again != c.again {
				t.Errorf("got %+v", not)
			}
		})
	}
}

// A guard that asks the broker before each batch may find that the connection is lost: that passes, what it refuses does not.
func TestALostConnectionPassesBeforeABatchIsPublished(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		again bool
	}{
		{"lost", fmt.Errorf("look at the connection: %w", rpcclient.ErrLost), true},
		{"refused", errRefused, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &line{}
			s, err := Open(t.Context(), rpcclient.New(l, identity{}), Options{
				Request: rpcclient.Request{Agent: "choria_provision", Action: "restart", Collective: "mcollective"}, Scrub: &secret.Scrubber{},
				Allowed: []func(context.Context, []string) error{func(context.Context, []string) error { return c.err }},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			err = s.Act(t.Context(), 1, []string{"a", "b"})
			not, ok := errors.AsType[*batch.NotSentError](err)
			if !ok || not.Nodes != nil || not.Uncertain || not.Again != c.again || l.published > 0 {
				t.Errorf("got %+v, %v; %d published", not, err, l.published)
			}
		})
	}
}
