package rpcclient

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// groupIdentity checks groups, each in a time of its own, and doubts the senders named.
type groupIdentity struct {
	fakeIdentity
	doubts  map[string]bool
	largest *atomic.Int64
}

func (g groupIdentity) OpenReplies(group []choria.Opening, _ string) {
	g.largest.Store(max(g.largest.Load(), int64(len(group))))
	<-time.After(time.Duration(rand.IntN(10)) * time.Millisecond)
	for i := range group {
		o := &group[i]
		if o.Proven = o.Claimed; g.doubts[o.Claimed] {
			o.Proven, o.Err = "", errors.New("not believed")
		}
	}
}

// Several workers check groups of replies, each in a time of its own. Replies are delivered in the order in which they
// arrived, each once, and each forged one is named.
func TestGroupsAreDeliveredInTheOrderOfArrival(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := manyNodes(2000)
				forged := []string{nodes[0], nodes[255], nodes[1300], nodes[1999]}
				id := groupIdentity{fakeIdentity{version: choria.V2}, map[string]bool{}, new(atomic.Int64)}
				for _, n := range forged {
					id.doubts[n] = true
				}
				b := newFakeBus()
				c := New(b, id)
				c.workers = workers
				var got []string
				s, err := c.OpenTo(t.Context(), "mcollective", func(r Reply, _ <-chan struct{}) { got = append(got, r.Node) })
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				sent, err := s.Send(t.Context(), ping(), nodes)
				if err != nil {
					t.Fatal(err)
				}
				want := slices.Clone(nodes)
				rand.Shuffle(len(want), func(i, j int) { want[i], want[j] = want[j], want[i] })
				for i, n := range want {
					data := answer{sender: n, id: sent.ID, agent: "rpcutil"}.encode(t, choria.V2)
					b.deliver(s.prefix+sent.ID, data)
					if i%10 == 0 {
						b.deliver(s.prefix+sent.ID, data) // a duplicate in the same group
					}
				}
				settle(t, s)
				want = slices.DeleteFunc(want, func(n string) bool { return id.doubts[n] })
				if !slices.Equal(got, want) {
					t.Errorf("%d replies delivered, or not in the order of the %d that arrived and are believed", len(got), len(want))
				}
				strays := s.Strays()
				slices.Sort(forged)
				if names := strays.Names(BadSignature); !slices.Equal(names, forged) {
					t.Errorf("bad signatures of %v, want %v", names, forged)
				}
				if n := strays.Count[Duplicate]; n < 196 || n > 200 {
					t.Errorf("%d duplicates counted of 200, of which up to 4 are forged", n)
				}
				if n := id.largest.Load(); n < 2 || n > maxGroup {
					t.Errorf("the largest group had %d replies", n)
				}
			})
		})
	}
}

// One reply that waits alone is checked at once.
func TestALoneReplyWaitsForNoGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, opened := slowVerifier(0)
		b := newFakeBus()
		b.serve = crowd(t, []string{"a"}, time.Second)
		start := time.Now()
		for r, err := range New(b, id).Call(t.Context(), ping(), []string{"a"}) {
			if took := time.Since(start); err != nil || r.Node != "a" || took > time.Second+time.Millisecond {
				t.Errorf("got %q after %v, %v", r.Node, took, err)
			}
		}
		if opened.Load() != 1 {
			t.Errorf("%d replies checked, want 1", opened.Load())
		}
	})
}

// Checking takes longer than sending: copies are published in steps, so that what waits for its check is bounded. Silent
// nodes hold it up once, not at each step.
func TestPublishingKeepsPaceWithTheChecks(t *testing.T) {
	const most = 2 * publishStep
	nodes := manyNodes(most + 3*publishStep)
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				id := groupIdentity{fakeIdentity{version: choria.V2}, nil, new(atomic.Int64)}
				b := newFakeBus()
				c := New(b, id)
				c.flying = most
				var published, delivered, unanswered atomic.Int64
				s, err := c.OpenTo(t.Context(), "mcollective", func(Reply, <-chan struct{}) { delivered.Add(1) })
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				requestID := c.NewID()
				b.serve = func(b *fakeBus, m message) {
					unanswered.Store(max(unanswered.Load(), published.Add(1)-delivered.Load()))
					if silent {
						return
					}
					data := answer{sender: strings.TrimPrefix(m.subject, "mcollective.node."), id: requestID, agent: "rpcutil"}.encode(t, choria.V2)
					time.AfterFunc(20*time.Millisecond, func() { b.deliver(s.prefix+requestID, data) })
				}
				req := ping()
				req.ID = requestID
				start := time.Now()
				if _, err := s.Send(t.Context(), req, nodes); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); silent && took > keepPatience {
					t.Errorf("silent nodes held publishing up for %v", took)
				}
				if n := unanswered.Load(); !silent && n > most+publishStep {
					t.Errorf("%d requests were unanswered at once, want at most %d", n, most+publishStep)
				}
				if published.Load() != int64(len(nodes)) {
					t.Errorf("%d of %d copies left", published.Load(), len(nodes))
				}
			})
		})
	}
}
