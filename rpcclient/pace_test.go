package rpcclient

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// pacedBus answers each direct request after a while, and notes when the copies were published and how many were
// unanswered at once.
type pacedBus struct {
	*fakeBus
	mu        sync.Mutex // guards what follows
	published []time.Time
}

func newPacedBus(t *testing.T, answer func(b *fakeBus, m message)) *pacedBus {
	p := &pacedBus{fakeBus: newFakeBus()}
	p.serve = func(b *fakeBus, m message) {
		p.mu.Lock()
		p.published = append(p.published, time.Now())
		p.mu.Unlock()
		answer(b, m)
	}
	return p
}

// took is the time between the first and the last copy.
func (p *pacedBus) took() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.published[len(p.published)-1].Sub(p.published[0])
}

func checking() groupIdentity {
	return groupIdentity{fakeIdentity{version: choria.V2}, nil, new(atomic.Int64)}
}

// Servers silently drop a request that is older than its time to live. Copies never wait for the answers of others
// beyond half of it.
func TestPublishingKeepsPaceWithinTheTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var next time.Time // each node answers 1 ms after the one before
		b := newPacedBus(t, func(b *fakeBus, m message) {
			next = later(next, time.Now()).Add(time.Millisecond)
			crowd(t, []string{"unused"}, time.Until(next))(b, m)
		})
		c := New(b, checking())
		c.flying = publishStep
		s, err := c.OpenTo(t.Context(), "mcollective", func(Reply, <-chan struct{}) {})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		req := ping()
		req.TTL = 4 * time.Second
		if _, err := s.Send(t.Context(), req, manyNodes(6*publishStep)); err != nil {
			t.Fatal(err)
		}
		if took := b.took(); took > req.TTL/2+keepPatience {
			t.Errorf("the last copy left %v after the first, and servers drop it after %v", took, req.TTL)
		}
	})
}

// Call and Ping read replies only between their own steps: what is answered while they publish must not look like silence.
func TestAnswersAreTakenWhileAQuestionIsPublished(t *testing.T) {
	const flying = 2 * publishStep
	nodes := manyNodes(flying + 4*publishStep)
	for name, ask := range map[string]func(ctx context.Context, c *Client, taken func()) error{
		"Call": func(ctx context.Context, c *Client, taken func()) error {
			for _, err := range c.Call(ctx, ping(), nodes) {
				if taken(); err != nil {
					return err
				}
			}
			return nil
		},
		"Ping": func(ctx context.Context, c *Client, taken func()) error {
			for _, err := range c.Ping(ctx, PingRequest{Collective: "mcollective", Nodes: nodes, Window: choria.Window{Timeout: time.Minute}}) {
				if taken(); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPacedBus(t, crowd(t, []string{"unused"}, 20*time.Millisecond))
				c := New(b, checking())
				c.flying = flying
				taken := 0
				if err := ask(t.Context(), c, func() { taken++ }); err != nil || taken != len(nodes) {
					t.Errorf("%d of %d answers taken, %v", taken, len(nodes), err)
				}
				if took := b.took(); took >= keepPatience {
					t.Errorf("publishing took %v: it waited for answers that were there", took)
				}
			})
		})
	}
}

// A reader that has enough while answers are still to be taken ends the question.
func TestAReaderThatHasEnoughEndsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPacedBus(t, crowd(t, []string{"unused"}, time.Millisecond))
		for r, err := range New(b, checking()).Call(t.Context(), ping(), manyNodes(3000)) {
			if err != nil || !strings.HasPrefix(r.Node, "n") {
				t.Fatal(r.Node, err)
			}
			break
		}
	})
}
