package rpcclient

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// outage takes the connection away for a while.
func outage(b *fakeBus, from, to time.Duration) {
	time.AfterFunc(from, b.lose)
	if to > 0 {
		time.AfterFunc(to, b.restore)
	}
}

// present answers for the nodes that are connected, 20 ms after they were asked, unless the connection is lost by then.
func present(t *testing.T) func(*fakeBus, message) {
	answers := server(t, 20*time.Millisecond, "")
	return func(b *fakeBus, m message) { answers(b, m) }
}

func callAll(t *testing.T, c *Client, wait time.Duration, nodes ...string) (absent, answered []string, err error) {
	t.Helper()
	r := ping()
	r.Wait = wait
	for r, err := range c.Call(t.Context(), r, nodes) {
		switch {
		case err != nil:
			return absent, answered, err
		case r.Absent:
			absent = append(absent, r.Node)
		default:
			answered = append(answered, r.Node)
		}
	}
	slices.Sort(absent)
	slices.Sort(answered)
	return absent, answered, nil
}

// Two nodes of the broker that was restarted are on their way back: they are not absent before 30 s have passed.
func TestAfterAReconnectAbsentNodesAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = present(t)
		b.lose()
		b.restore()
		back := time.Now()
		b.connect(false, "soon", "late", "gone")
		time.AfterFunc(3*time.Second, func() { b.connect(true, "soon") })
		time.AfterFunc(25*time.Second, func() { b.connect(true, "late") })
		absent, answered, err := callAll(t, New(b, fakeIdentity{version: choria.V1}), 4*time.Second, "here", "soon", "late", "gone")
		if err != nil || !slices.Equal(answered, []string{"here", "late", "soon"}) || !slices.Equal(absent, []string{"gone"}) {
			t.Errorf("answered %q, absent %q, error %v", answered, absent, err)
		}
		if took := time.Since(back); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("took %v, want 30s", took)
		}
		asked := map[string]int{}
		for _, m := range b.published {
			asked[strings.TrimPrefix(m.subject, "mcollective.node.")]++
		}
		if asked["here"] != 1 || asked["soon"] != 3 || asked["gone"] != 16 {
			t.Errorf("asked %v times, want here once, soon at 0, 2 and 4 s, gone every 2 s", asked)
		}
		// Later, and on a connection that was never lost, absence counts at once.
		<-time.After(time.Second)
		start := time.Now()
		if absent, _, _ := callAll(t, New(b, fakeIdentity{version: choria.V1}), 4*time.Second, "gone"); len(absent) != 1 || time.Since(start) > 0 {
			t.Errorf("absent %q after %v", absent, time.Since(start))
		}
	})
}

// The connection is lost while the replies are on their way: those that are missing are asked again, the others not.
func TestACallThatLosesTheConnectionAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		slow := server(t, 2*time.Second, "")
		quick := server(t, 20*time.Millisecond, "")
		b.serve = func(b *fakeBus, m message) {
			switch {
			case strings.HasSuffix(m.subject, ".quick"), !b.back.IsZero():
				quick(b, m)
			case strings.HasSuffix(m.subject, ".unlucky"): // its reply is lost
			default:
				slow(b, m)
			}
		}
		outage(b, time.Second, 9*time.Second)
		start := time.Now()
		absent, answered, err := callAll(t, New(b, fakeIdentity{version: choria.V1}), 4*time.Second, "quick", "unlucky")
		if err != nil || len(absent) > 0 || !slices.Equal(answered, []string{"quick", "unlucky"}) {
			t.Errorf("answered %q, absent %q, error %v", answered, absent, err)
		}
		if took := time.Since(start); took < 9*time.Second || took > 10*time.Second {
			t.Errorf("took %v, want until shortly after the reconnect", took)
		}
		if n := len(b.published); n != 3 {
			t.Errorf("%d messages, want two and one again", n)
		}
	})
}

func TestAConnectionThatStaysAwayIsAnError(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, c *Client) error{
		"Call": func(t *testing.T, c *Client) error {
			_, _, err := callAll(t, c, 4*time.Second, "a", "silent")
			return err
		},
		"Ping": func(t *testing.T, c *Client) error {
			for _, err := range c.Ping(t.Context(), PingRequest{Collective: "mcollective", Window: choria.Window{Timeout: 2 * time.Second}}) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newFakeBus()
			b.serve = server(t, 20*time.Millisecond, "silent")
			outage(b, time.Second, 0)
			if err := ask(t, New(b, fakeIdentity{version: choria.V1})); !errors.Is(err, errAway) || !strings.Contains(err.Error(), "did not come back within 30s") {
				t.Errorf("%s: got %v, want the connection's own words, and how long it was waited for", name, err)
			}
		})
	}
}

// With a deadline there is no time to ask again: half of an answer is an error.
func TestALossWithinADeadlineIsAnError(t *testing.T) {
	for _, back := range []time.Duration{0, 2 * time.Second, 3900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := newFakeBus()
			b.serve = server(t, 20*time.Millisecond, "silent")
			outage(b, time.Second, back)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			var last error
			for _, err := range New(b, fakeIdentity{version: choria.V1}).Call(ctx, ping(), []string{"a", "silent"}) {
				last = err
			}
			if !errors.Is(last, ErrLost) {
				t.Errorf("back after %v: got %v, want ErrLost", back, last)
			}
		})
	}
}

func TestAConnectionThatIsLostAgainAndAgainIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, 20*time.Millisecond, "silent")
		for i := range 20 {
			at := time.Duration(i) * time.Second
			outage(b, at+100*time.Millisecond, at+200*time.Millisecond)
		}
		if _, _, err := callAll(t, New(b, fakeIdentity{version: choria.V1}), 4*time.Second, "silent"); !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
	})
}

// fleetOf answers broadcasts for the nodes that are connected by then.
func fleetOf(t *testing.T, back map[string]time.Duration) func(*fakeBus, message) {
	began := time.Now()
	return func(b *fakeBus, m message) {
		tr, req := request(t, m)
		for node, at := range back {
			if at < 0 && !b.back.IsZero() || at > 0 && time.Since(began) < at {
				continue
			}
			data := answer{sender: node, id: req.ID, agent: req.Agent, payload: choria.DiscoveryPong()}.encode(t, choria.V1)
			time.AfterFunc(20*time.Millisecond, func() { b.deliver(tr.ReplyTo, data) })
		}
	}
}

// Discovery that loses its connection half-way never returns half the fleet: it asks until the servers have had the time
// to come back.
func TestABroadcastThatLosesTheConnectionAsksAgain(t *testing.T) {
	for _, quiet := range []time.Duration{0, 300 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := newFakeBus()
			b.serve = fleetOf(t, map[string]time.Duration{"first": -1, "second": 5 * time.Second, "third": 20 * time.Second, "last": 31 * time.Second})
			outage(b, 100*time.Millisecond, 3*time.Second)
			start := time.Now()
			var names []string
			w := choria.Window{Timeout: 2 * time.Second, Quiet: quiet}
			for name, err := range New(b, fakeIdentity{version: choria.V1}).Broadcast(t.Context(), "mcollective", choria.Filter{}, w) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			if !slices.Equal(names, []string{"first", "second", "third", "last"}) {
				t.Errorf("quiet %v: found %q", quiet, names)
			}
			if took := time.Since(start); took < 33*time.Second || took > 36*time.Second {
				t.Errorf("quiet %v: took %v, want 30 s from the return, and a window", quiet, took)
			}
		})
	}
}

// What was handed to a connection that was lost before the flush is gone, also when the flush on the next one works.
func TestASendOverAReconnectIsReported(t *testing.T) {
	b := newFakeBus()
	c := New(b, fakeIdentity{version: choria.V1})
	s := openSession(t, c)
	b.onFlush = func(b *fakeBus) {
		b.lose()
		b.restore()
	}
	_, err := s.Send(t.Context(), ping(), []string{"a", "b"})
	e, ok := errors.AsType[*SendError](err)
	if !ok || !errors.Is(err, ErrLost) || len(e.Unsent) != 0 || e.Certain {
		t.Errorf("got %+v, want a send of which it is not known what left", err)
	}
	if len(b.published) != 2 {
		t.Errorf("%d messages: a request is never repeated", len(b.published))
	}
	// The same in an interrupted one: what was handed over before is not certain.
	b.failAt = 4
	_, err = s.Send(t.Context(), ping(), []string{"a", "b"})
	if e, ok := errors.AsType[*SendError](err); !ok || e.Certain || !slices.Equal(e.Unsent, []string{"b"}) {
		t.Errorf("got %+v, want b unsent and a uncertain", err)
	}
}

func TestTheDefaultTTLReachesEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ttl, want := range map[time.Duration]time.Duration{0: DefaultTTL, 90 * time.Second: 90 * time.Second} {
			b := newFakeBus()
			b.serve = server(t, time.Millisecond, "")
			c := New(b, fakeIdentity{version: choria.V1}).WithTTL(ttl)
			if _, _, err := callAll(t, c, time.Second, "a"); err != nil {
				t.Fatal(err)
			}
			for _, ping := range []PingRequest{{Collective: "mcollective"}, {Collective: "mcollective", Nodes: []string{"a"}}} {
				ping.Window.Timeout = time.Second
				for _, err := range c.Ping(t.Context(), ping) {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if _, err := c.Service(t.Context(), ping()); err != nil {
				t.Fatal(err)
			}
			own := ping()
			own.TTL = 45 * time.Second
			if _, err := c.Forward(t.Context(), own, []string{"a"}, "elsewhere"); err != nil {
				t.Fatal(err)
			}
			if len(b.published) != 5 {
				t.Fatalf("%d messages", len(b.published))
			}
			for i, m := range b.published {
				want := want
				if i == 4 {
					want = own.TTL
				}
				if _, req := request(t, m); req.TTL != want {
					t.Errorf("message %d to %s has TTL %v, want %v", i, m.subject, req.TTL, want)
				}
			}
		}
	})
}
