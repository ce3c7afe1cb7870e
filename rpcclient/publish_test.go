package rpcclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

func manyNodes(n int) []string {
	nodes := make([]string, n)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("n%03d.example.net", i)
	}
	return nodes
}

func openSession(t *testing.T, c *Client) *Session {
	t.Helper()
	s, err := c.Open(t.Context(), "mcollective")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestFederationsGetChunksAroundTheSameSignedBytes(t *testing.T) {
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		b := newFakeBus()
		c := NewFederated(b, fakeIdentity{version: v}, []string{"alpha", "beta", "alpha"})
		nodes := manyNodes(401)
		sent, err := openSession(t, c).Send(t.Context(), ping(), nodes)
		if err != nil {
			t.Fatal(err)
		}
		var subjects []string
		reached := map[string][]string{}
		var signed []byte
		for _, m := range b.published {
			subjects = append(subjects, m.subject)
			tr, req := request(t, m)
			if signed == nil {
				signed = tr.Data
			}
			if string(tr.Data) != string(signed) {
				t.Fatalf("%s: the messages hold different signed bytes", v)
			}
			if req.ID != sent.ID || tr.Federation == nil || tr.Federation.RequestID != sent.ID || tr.Federation.ReplyTo != "" {
				t.Fatalf("%s: federation headers %+v of request %s", v, tr.Federation, req.ID)
			}
			if n := len(tr.Federation.Targets); n > 200 {
				t.Errorf("%s: %d targets in one message", v, n)
			}
			if !strings.HasSuffix(tr.ReplyTo, "."+sent.ID) {
				t.Errorf("%s: replies go to %q", v, tr.ReplyTo)
			}
			reached[m.subject] = append(reached[m.subject], tr.Federation.Targets...)
		}
		alpha, beta := "choria.federation.alpha.federation", "choria.federation.beta.federation"
		if want := []string{alpha, beta, alpha, beta, alpha, beta}; !slices.Equal(subjects, want) {
			t.Errorf("%s: published to %q, want %q", v, subjects, want)
		}
		var want []string
		for _, n := range nodes {
			want = append(want, "mcollective.node."+n)
		}
		for name, got := range reached {
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s names %d targets, want every node once, in order", v, name, len(got))
			}
		}
		if b.flushes == 0 {
			t.Errorf("%s: sent without a flush", v)
		}
	}
}

func TestBroadcastsAndServicesHaveOneFederatedTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		c := NewFederated(b, fakeIdentity{version: choria.V2}, []string{"alpha"})
		if _, err := openSession(t, c).Broadcast(t.Context(), choria.Filter{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Service(ctx, ping()); !errors.Is(err, ErrNoReply) {
			t.Errorf("service: %v", err)
		}
		for i, want := range []string{"mcollective.broadcast.agent.discovery", "mcollective.broadcast.service.rpcutil"} {
			tr, _ := request(t, b.published[i])
			if b.published[i].subject != "choria.federation.alpha.federation" || !slices.Equal(tr.Federation.Targets, []string{want}) {
				t.Errorf("published to %q for %+v, want target %q", b.published[i].subject, tr.Federation, want)
			}
		}
	})
}

func TestAFederatedReplyIsBelievedAsAnyOther(t *testing.T) {
	b := newFakeBus()
	c := NewFederated(b, fakeIdentity{version: choria.V1}, []string{"alpha"})
	b.serve = func(b *fakeBus, m message) {
		tr, req := request(t, m)
		for _, target := range tr.Federation.Targets {
			name := strings.TrimPrefix(target, "mcollective.node.")
			b.deliver(tr.ReplyTo, answer{sender: name, id: req.ID, agent: "rpcutil"}.encode(t, choria.V1))
		}
		b.deliver(tr.ReplyTo, answer{sender: "stranger", id: req.ID, agent: "rpcutil"}.encode(t, choria.V1))
	}
	var got []string
	for r, err := range c.Call(t.Context(), ping(), []string{"a", "b"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Node)
	}
	if want := []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A chunk that one federation has got is not unsent, though another federation has not.
func TestAnInterruptedFederatedSendNamesWhoGotNothing(t *testing.T) {
	for _, tt := range []struct{ failAt, unsent int }{{1, 450}, {2, 250}, {3, 250}, {4, 50}, {5, 50}, {6, 0}} {
		b := newFakeBus()
		b.failAt = tt.failAt
		c := NewFederated(b, fakeIdentity{version: choria.V1}, []string{"alpha", "beta"})
		nodes := manyNodes(450)
		_, err := openSession(t, c).Send(t.Context(), ping(), nodes)
		e, ok := errors.AsType[*SendError](err)
		if !ok {
			t.Fatalf("failing at %d: got %v", tt.failAt, err)
		}
		if !slices.Equal(e.Unsent, nodes[len(nodes)-tt.unsent:]) || e.Certain != (tt.unsent > 0) {
			t.Errorf("failing at %d: %d unsent, certain %v, want %d", tt.failAt, len(e.Unsent), e.Certain, tt.unsent)
		}
	}
}

// A lease is asked once the request has its date and its signature: one that runs out between the two would let a request
// leave that is valid for longer than the lease.
func TestNothingLeavesWhenTheLeaseIsOverOnceItIsSealed(t *testing.T) {
	b := newFakeBus()
	s := openSession(t, New(b, fakeIdentity{version: choria.V1}))
	over := errors.New("the lock is not confirmed")
	asked := 0
	req := ping()
	req.Sealed = func() error { asked++; return over }
	if _, err := s.Send(t.Context(), req, manyNodes(3)); !errors.Is(err, over) || len(b.published) != 0 || asked != 1 {
		t.Errorf("%v, %d messages left, asked %d times", err, len(b.published), asked)
	}
	req.Sealed = func() error { asked++; return nil }
	if _, err := s.Send(t.Context(), req, manyNodes(3)); err != nil || len(b.published) != 3 || asked != 2 {
		t.Errorf("%v, %d messages left, asked %d times", err, len(b.published), asked)
	}
}
