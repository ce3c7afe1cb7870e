package rpcclient

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// slowVerifier takes its time for each signature, as a large fleet's replies do, and counts them.
func slowVerifier(cost time.Duration) (fakeIdentity, *atomic.Int64) {
	opened := new(atomic.Int64)
	return fakeIdentity{version: choria.V2, prove: func(r choria.SecureReply) (string, error) {
		opened.Add(1)
		if cost > 0 {
			<-time.After(cost)
		}
		reply, err := choria.DecodeReply(choria.V2, r.Reply)
		return reply.Sender, err
	}}, opened
}

// crowd answers a request for many nodes at once, after a while: a direct one by its node, a broadcast by all of them.
func crowd(t *testing.T, nodes []string, after time.Duration) func(*fakeBus, message) {
	return func(b *fakeBus, m message) {
		tr, req := request(t, m)
		answering := nodes
		if name, direct := strings.CutPrefix(m.subject, req.Collective+".node."); direct {
			answering = []string{name}
		}
		for i, node := range answering {
			a := answer{sender: node, id: req.ID, agent: req.Agent}
			if req.Agent == discoveryAgent {
				a.payload = choria.DiscoveryPong()
			}
			data := a.encode(t, choria.V2)
			time.AfterFunc(after+time.Duration(i)*time.Microsecond, func() { b.deliver(tr.ReplyTo, data) })
		}
	}
}

// Whatever arrives within a window counts, however long its check takes: 200 replies of 5 ms each need a second, and
// arrive 100 ms before the end.
func TestWindowsCloseOnArrival(t *testing.T) {
	const window = 2 * time.Second
	nodes := manyNodes(200)
	count := func(seq func(func(Reply, error) bool)) (n int, err error) {
		for r, e := range seq {
			if e != nil {
				return n, e
			}
			if trip := r.Received.Sub(r.Sent); trip < 1900*time.Millisecond || trip > window {
				return n, fmt.Errorf("round trip of %s: %v, want when it arrived", r.Node, trip)
			}
			n++
		}
		return n, nil
	}
	request := PingRequest{Collective: "mcollective", Window: choria.Window{Timeout: window}}
	for name, ask := range map[string]func(ctx context.Context, c *Client) (int, error){
		"Call": func(ctx context.Context, c *Client) (int, error) {
			r := ping()
			r.Wait = window
			return count(c.Call(ctx, r, append([]string{"silent"}, nodes...)))
		},
		"Call with a deadline": func(ctx context.Context, c *Client) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, window)
			defer cancel()
			return count(c.Call(ctx, ping(), append([]string{"silent"}, nodes...)))
		},
		"Ping": func(ctx context.Context, c *Client) (int, error) { return count(c.Ping(ctx, request)) },
		"Ping of names": func(ctx context.Context, c *Client) (int, error) {
			request := request
			request.Nodes = append([]string{"silent"}, nodes...)
			return count(c.Ping(ctx, request))
		},
		"Ping with a deadline": func(ctx context.Context, c *Client) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, window)
			defer cancel()
			return count(c.Ping(ctx, PingRequest{Collective: "mcollective"}))
		},
		"Broadcast": func(ctx context.Context, c *Client) (n int, err error) {
			for _, err := range c.Broadcast(ctx, "mcollective", choria.Filter{}, request.Window) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
		"Broadcast until it is quiet": func(ctx context.Context, c *Client) (n int, err error) {
			w := choria.Window{Timeout: window, Quiet: 50 * time.Millisecond}
			for _, err := range c.Broadcast(ctx, "mcollective", choria.Filter{}, w) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				answers := crowd(t, nodes, 1900*time.Millisecond)
				b.serve = func(b *fakeBus, m message) {
					if !strings.HasSuffix(m.subject, ".silent") {
						answers(b, m)
					}
				}
				id, _ := slowVerifier(5 * time.Millisecond)
				start := time.Now()
				n, err := ask(t.Context(), New(b, id))
				if n != len(nodes) || err != nil {
					t.Errorf("%d of %d replies that arrived in time were counted, error %v", n, len(nodes), err)
				}
				if took := time.Since(start); took < 2900*time.Millisecond || took > 3*time.Second {
					t.Errorf("took %v, want the time that checking needs", took)
				}
			})
		})
	}
}

func TestWhatArrivesAfterTheWindowDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = func(b *fakeBus, m message) {
			crowd(t, []string{"first"}, 100*time.Millisecond)(b, m)
			crowd(t, []string{"second"}, 399*time.Millisecond)(b, m)
			crowd(t, []string{"late"}, 701*time.Millisecond)(b, m)
			crowd(t, []string{"later"}, 900*time.Millisecond)(b, m)
		}
		id, _ := slowVerifier(200 * time.Millisecond)
		for quiet, want := range map[time.Duration]string{300 * time.Millisecond: "first second", 0: "first second late"} {
			var names []string
			for name, err := range New(b, id).Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: 800 * time.Millisecond, Quiet: quiet}) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("quiet %v: got %q, want %q", quiet, got, want)
			}
		}
	})
}

// The operator's wish to stop waits for no check.
func TestAnInterruptEndsACallAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = crowd(t, nil, 100*time.Millisecond)
		id, _ := slowVerifier(100 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(550*time.Millisecond, cancel)
		r, start, n := ping(), time.Now(), 0
		r.Wait = 300 * time.Millisecond
		for _, err := range New(b, id).Call(ctx, r, manyNodes(50)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if took := time.Since(start); n != 4 || took > 600*time.Millisecond {
			t.Errorf("%d replies in %v, want the 4 that were checked until the interrupt", n, took)
		}
	})
}

func TestSettleAndBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		id, _ := slowVerifier(time.Second)
		c := New(b, id)
		s := openSession(t, c)
		sent, err := s.Send(t.Context(), ping(), manyNodes(4))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		for i, n := range manyNodes(4) {
			time.AfterFunc(time.Duration(i)*100*time.Millisecond, func() {
				b.deliver(s.prefix+sent.ID, answer{sender: n, id: sent.ID, agent: "rpcutil"}.encode(t, choria.V2))
			})
		}
		<-time.After(500 * time.Millisecond)
		if n, oldest := s.Behind(); n != 4 || oldest != 500*time.Millisecond {
			t.Errorf("behind by %d messages, %v; want 4 and 500ms", n, oldest)
		}
		for _, tt := range []struct {
			arrived time.Duration
			replies int
			took    time.Duration
		}{{100 * time.Millisecond, 2, 2 * time.Second}, {350 * time.Millisecond, 4, 4 * time.Second}, {0, 4, 4 * time.Second}} {
			if err := s.Settle(t.Context(), at.Add(tt.arrived)); err != nil {
				t.Fatal(err)
			}
			if got, took := len(s.Replies()), time.Since(at); got != tt.replies || took != tt.took {
				t.Errorf("settled what arrived by %v: %d replies after %v, want %d after %v", tt.arrived, got, took, tt.replies, tt.took)
			}
		}
		if n, oldest := s.Behind(); n != 0 || oldest != 0 {
			t.Errorf("behind by %d messages, %v, with nothing left", n, oldest)
		}
		b.deliver(s.prefix+sent.ID, answer{sender: "n000.example.net", id: sent.ID, agent: "scout"}.encode(t, choria.V2))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Settle(ctx, time.Now()); err == nil && len(s.Replies()) != 4 {
			t.Error("settled without its message")
		}
	})
}

// More than fits is dropped and counted: memory is bounded, and the loss is not silent.
func TestMessagesThatDoNotFitAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		id, _ := slowVerifier(time.Second)
		s := openSession(t, New(b, id))
		nodes := manyNodes(20)
		sent, err := s.Send(t.Context(), ping(), nodes)
		if err != nil {
			t.Fatal(err)
		}
		one := answer{sender: nodes[0], id: sent.ID, agent: "rpcutil"}.encode(t, choria.V2)
		s.inbox.maxMessages, s.inbox.maxBytes = 10, 8*len(one)+len(one)/2
		for _, n := range nodes {
			b.deliver(s.prefix+sent.ID, answer{sender: n, id: sent.ID, agent: "rpcutil"}.encode(t, choria.V2))
			synctest.Wait() // the first one is being checked
		}
		if got := s.Dropped(); got != 11 {
			t.Errorf("dropped %d of 20, want 11: one is checked, eight fit by their bytes", got)
		}
		settle(t, s)
		if got := len(s.Replies()); got != 9 {
			t.Errorf("%d replies, want 9", got)
		}
		s.inbox.maxBytes = 1 << 20
		for range 12 {
			b.deliver(s.prefix+sent.ID, one)
		}
		synctest.Wait()
		if got := s.Strays().Count[Duplicate]; got < 10 {
			t.Errorf("%d duplicates were looked at, want at least the ten that fit", got)
		}
	})
}

// Expensive comes last: what can be found without a signature check is found without one.
func TestNoSignatureIsCheckedNeedlessly(t *testing.T) {
	b := newFakeBus()
	id, opened := slowVerifier(0)
	c := New(b, id)
	s := openSession(t, c)
	nodes := manyNodes(3)
	sent, err := s.Send(t.Context(), ping(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	to, other := s.prefix+sent.ID, c.NewID()
	reply := func(sender, id string) []byte {
		return answer{sender: sender, id: id, agent: "rpcutil"}.encode(t, choria.V2)
	}
	first := reply(nodes[0], sent.ID)
	b.deliver(to, first)
	settle(t, s)
	if n := opened.Load(); n != 1 {
		t.Fatalf("a good reply: %d signatures checked, want 1", n)
	}
	foreign, stranger := reply(nodes[1], other), reply("stranger", sent.ID)
	badHash := answer{sender: nodes[1], id: sent.ID, agent: "rpcutil", hash: make([]byte, 32)}.encode(t, choria.V2)
	const flood = 300
	for i := range flood {
		b.deliver(s.prefix+c.NewID(), reply(nodes[1], other)) // unknown ids, each another
		b.deliver(s.prefix+strings.Repeat("x", 100+i), []byte("no message at all"))
		b.deliver(to, foreign)
		b.deliver(to, stranger)
		b.deliver(to, first)
		b.deliver(to, badHash)
	}
	settle(t, s)
	if n := opened.Load(); n != 1 {
		t.Errorf("%d signatures were checked for a flood that needs none", n-1)
	}
	got := s.Strays()
	for kind, want := range map[Kind]int{WrongRequest: 3 * flood, Stranger: flood, Duplicate: flood, BadHash: flood, BadSignature: 0, Malformed: 0} {
		if got.Count[kind] != want {
			t.Errorf("%s: %d, want %d", kind, got.Count[kind], want)
		}
	}
	if len(s.Replies()) != 1 {
		t.Errorf("%d replies, want the good one", len(s.Replies()))
	}
}

func TestStraysAreCountedBySender(t *testing.T) {
	var s Strays
	for range 3 {
		s.Add(WrongRequest, "loud")
	}
	s.Add(Duplicate, "loud")
	s.Add(Duplicate, "quiet")
	s.Add(Malformed, "")
	s.Add(Malformed, strings.Repeat("x", 300))
	s.Add(Malformed, "no name")
	want := map[claim]bool{{WrongRequest, "loud"}: true, {Duplicate, "loud"}: true, {Duplicate, "quiet"}: true}
	if !maps.Equal(s.senders, want) || s.Total() != 8 {
		t.Errorf("senders %v, total %d; want %v, 8", s.senders, s.Total(), want)
	}
	for i := range 2 * maxNamed {
		s.Add(Stranger, fmt.Sprintf("forged%d", i))
	}
	s.Add(WrongRequest, "loud")
	if len(s.senders) != maxNamed || s.Count[WrongRequest] != 4 || s.Count[Stranger] != 2*maxNamed {
		t.Errorf("%d names, counts %v", len(s.senders), s.Count)
	}
}

// A fleet that is still answering when the window closes need not be whole: that is known afterwards.
func TestACrowdedWindowIsKnown(t *testing.T) {
	for name, tt := range map[string]struct {
		after, quiet time.Duration
		want         bool
	}{
		"all at once":          {50 * time.Millisecond, 0, false},
		"to the last moment":   {1950 * time.Millisecond, 0, true},
		"none":                 {time.Minute, 0, false},
		"until quiet":          {50 * time.Millisecond, 300 * time.Millisecond, false},
		"the end, until quiet": {1950 * time.Millisecond, 300 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id, _ := slowVerifier(0)
				b := newFakeBus()
				b.serve = crowd(t, manyNodes(20), tt.after)
				c := New(b, id)
				for _, err := range c.Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: 2 * time.Second, Quiet: tt.quiet}) {
					if err != nil {
						t.Fatal(err)
					}
				}
				if got := c.Crowded(); got != tt.want {
					t.Errorf("crowded %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// lateBus is the bus of a process that does not get the CPU: what has come in is read when it catches up.
type lateBus struct {
	*fakeBus
	wire []func() // what has come in
}

func (b *lateBus) CatchUp(context.Context) error {
	for _, read := range b.wire {
		read()
	}
	b.wire = nil
	return nil
}

// A reply that this process has received and not come to read counts, also when it is read after the end.
func TestWhatWasNotReadInTimeCounts(t *testing.T) {
	late := func(t *testing.T, nodes ...string) *lateBus {
		b := &lateBus{fakeBus: newFakeBus()}
		b.serve = func(_ *fakeBus, m message) {
			tr, req := request(t, m)
			a := answer{sender: strings.TrimPrefix(m.subject, "mcollective.node."), id: req.ID, agent: req.Agent}
			if req.Agent == discoveryAgent {
				a.payload = choria.DiscoveryPong()
			}
			for _, n := range nodes {
				if a.sender == n || strings.HasPrefix(m.subject, "mcollective.broadcast.") {
					a.sender = n
					data := a.encode(t, choria.V2)
					b.wire = append(b.wire, func() { b.deliver(tr.ReplyTo, data) })
				}
			}
		}
		return b
	}
	window := choria.Window{Timeout: time.Second}
	for name, ask := range map[string]func(ctx context.Context, c *Client) func(func(Reply, error) bool){
		"Call": func(ctx context.Context, c *Client) func(func(Reply, error) bool) {
			r := ping()
			r.Wait = time.Second
			return c.Call(ctx, r, []string{"a", "b", "silent"})
		},
		"Ping": func(ctx context.Context, c *Client) func(func(Reply, error) bool) {
			return c.Ping(ctx, PingRequest{Collective: "mcollective", Window: window})
		},
		"Ping with a deadline": func(ctx context.Context, c *Client) func(func(Reply, error) bool) {
			return func(yield func(Reply, error) bool) {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				c.Ping(ctx, PingRequest{Collective: "mcollective"})(yield)
			}
		},
		"Ping of names": func(ctx context.Context, c *Client) func(func(Reply, error) bool) {
			return c.Ping(ctx, PingRequest{Collective: "mcollective", Nodes: []string{"a", "b", "silent"}, Window: window})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := 0
				for _, err := range ask(t.Context(), New(late(t, "a", "b"), fakeIdentity{version: choria.V2})) {
					if err != nil {
						t.Fatal(err)
					}
					got++
				}
				if got != 2 {
					t.Errorf("%d of 2 replies taken", got)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := late(t, "a")
		s := openSession(t, New(b, fakeIdentity{version: choria.V2}))
		if _, err := s.Send(t.Context(), ping(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		<-time.After(time.Millisecond)
		if err := s.Settle(t.Context(), at); err != nil || len(s.Replies()) != 1 {
			t.Errorf("Settle left the reply: %v", err)
		}
	})
}
