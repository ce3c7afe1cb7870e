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

// A session listens where no other one of the same caller does: a client that knows one subject does not know the next.
func TestEverySessionListensOnSubjectsOfItsOwn(t *testing.T) {
	c := New(newFakeBus(), fakeIdentity{version: choria.V1})
	one, two := openSession(t, c).prefix, openSession(t, c).prefix
	_, random, _ := strings.Cut(one, choria.ReplyPrefix("mcollective", c.id.Caller(), choria.MD5)+".")
	if one == two || len(random) < 16 {
		t.Errorf("%q, then %q", one, two)
	}
}

func TestEachCopyHasAReplySubjectOfItsOwn(t *testing.T) {
	b := newFakeBus()
	s := openSession(t, New(b, fakeIdentity{version: choria.V1}))
	sent, err := s.Send(t.Context(), ping(), manyNodes(3))
	if err != nil {
		t.Fatal(err)
	}
	random := map[string]bool{}
	for i, m := range b.published {
		rest, ok := strings.CutPrefix(m.reply, s.prefix+sent.ID+"-")
		index, token, _ := strings.Cut(rest, "-")
		if !ok || index != string(rune('0'+i)) || len(token) != 16 || random[token] {
			t.Errorf("copy %d has reply subject %q", i, m.reply)
		}
		random[token] = true
		if tr, _ := request(t, m); tr.ReplyTo != s.prefix+sent.ID {
			t.Errorf("the node is to reply to %q", tr.ReplyTo)
		}
	}
	for _, c := range []*Client{NewFederated(b, fakeIdentity{version: choria.V1}, []string{"f"})} {
		if _, err := openSession(t, c).Send(t.Context(), ping(), manyNodes(1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(b, fakeIdentity{version: choria.V1}).Forward(t.Context(), ping(), manyNodes(1), "elsewhere"); err != nil {
		t.Fatal(err)
	}
	for _, m := range b.published[3:] {
		if m.reply != "" {
			t.Errorf("%s was published with reply subject %q: no notice can come", m.subject, m.reply)
		}
	}
}

func TestANoticeOfAbsenceBecomesAReplyOnce(t *testing.T) {
	b := newFakeBus()
	b.connect(false, "b")
	s := openSession(t, New(b, fakeIdentity{version: choria.V1}))
	sent, err := s.Send(t.Context(), ping(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	settle(t, s)
	r := <-s.Replies()
	if r.Node != "b" || r.RequestID != sent.ID || !r.Absent || r.Code != choria.Absent || r.Received.IsZero() || r.Data != nil {
		t.Errorf("got %+v", r)
	}
	b.notice(b.published[1].reply)
	settle(t, s)
	// A reply is stronger, whenever it comes, and ends it.
	good := answer{sender: "b", id: sent.ID, agent: "rpcutil"}.encode(t, choria.V1)
	b.deliver(s.prefix+sent.ID, good)
	settle(t, s)
	if r := <-s.Replies(); r.Node != "b" || r.Absent || r.Code != choria.OK {
		t.Errorf("got %+v, want the node's own reply", r)
	}
	b.notice(b.published[1].reply)
	b.deliver(s.prefix+sent.ID, good)
	settle(t, s)
	if n := len(s.Replies()); n != 0 {
		t.Errorf("%d more replies", n)
	}
	if got := s.Strays(); got.Count[Duplicate] != 3 || got.Total() != 3 {
		t.Errorf("strays %v, want 3 duplicates", got.Count)
	}
}

// Every node of a batch knows the request id. None can report another as absent.
func TestForgedNoticesAreCountedAndIgnored(t *testing.T) {
	b := newFakeBus()
	s := openSession(t, New(b, fakeIdentity{version: choria.V1}))
	sent, err := s.Send(t.Context(), ping(), []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	own, others := b.published[0].reply, b.published[1].reply
	token := others[strings.LastIndex(others, "-"):]
	base := s.prefix + sent.ID
	for _, subject := range []string{base, base + "-", base + "-0", base + "-0-", base + "-0" + token, base + "-2" + token, base + "--1" + token, base + "-x" + token, own + "0", base + "-0-" + strings.Repeat("0", 16)} {
		b.notice(subject)
	}
	b.notice(s.prefix + "unknown-0-" + strings.Repeat("0", 16))
	b.deliver(own, []byte(`{"stream":"X","seq":1}`)) // a stream over the subject acknowledges
	b.deliver(own, answer{sender: "a", id: sent.ID, agent: "rpcutil"}.encode(t, choria.V1))
	settle(t, s)
	if n := len(s.Replies()); n != 0 {
		t.Errorf("%d replies, first %+v", n, <-s.Replies())
	}
	if got := s.Strays(); got.Count[Forged] != 10 || got.Count[Malformed] != 2 || got.Count[WrongRequest] != 1 || got.Total() != 13 {
		t.Errorf("strays %v", got.Count)
	}
}

func TestACallEndsWhenAllHaveAnsweredOrAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, 20*time.Millisecond, "")
		b.connect(false, "ghost1", "ghost2")
		r, start := ping(), time.Now()
		r.Wait = 12 * time.Second
		got := map[string]bool{}
		for r, err := range New(b, fakeIdentity{version: choria.V1}).Call(t.Context(), r, append(manyNodes(48), "ghost1", "ghost2")) {
			if err != nil {
				t.Fatal(err)
			}
			got[r.Node] = r.Absent
		}
		if took := time.Since(start); len(got) != 50 || !got["ghost1"] || !got["ghost2"] || got["n000.example.net"] || took > 100*time.Millisecond {
			t.Errorf("%d answers after %v, ghost1 absent: %v", len(got), took, got["ghost1"])
		}
	})
}

func TestAPingOfNamesAsksEachNodeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = server(t, 20*time.Millisecond, "")
		b.connect(false, "ghost")
		start := time.Now()
		f := choria.Filter{Identity: []string{"a", "ghost"}}
		var got []string
		for r, err := range New(b, fakeIdentity{version: choria.V1}).Ping(t.Context(), PingRequest{
			Collective: "mcollective", Filter: f, Nodes: []string{"a", "ghost"}, Window: choria.Window{Timeout: 2 * time.Second},
		}) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Absent {
				r.Node += " is absent"
			}
			got = append(got, r.Node)
		}
		slices.Sort(got)
		if took := time.Since(start); !slices.Equal(got, []string{"a", "ghost is absent"}) || took > 100*time.Millisecond {
			t.Errorf("got %q after %v", got, took)
		}
		if len(b.published) != 2 {
			t.Fatalf("%d messages, want one a node", len(b.published))
		}
		_, req := request(t, b.published[0])
		if b.published[0].subject != "mcollective.node.a" || req.Agent != discoveryAgent || !choria.IsDiscoveryPing(req.Body()) || !slices.Equal(req.Filter.Identity, f.Identity) {
			t.Errorf("published %+v to %q", req, b.published[0].subject)
		}
	})
}

func TestReportsAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			reports bool
			c       func(b *fakeBus) *Client
			notice  func(b *fakeBus, m message)
			asked   int
		}{
			"a broker of today": {true, func(b *fakeBus) *Client { return New(b, fakeIdentity{version: choria.V1}) }, func(b *fakeBus, m message) { b.notice(m.reply) }, 1},
			"a wiretap":         {false, func(b *fakeBus) *Client { return New(b, fakeIdentity{version: choria.V1}) }, nil, 1},
			"a stream": {false, func(b *fakeBus) *Client { return New(b, fakeIdentity{version: choria.V2}) },
				func(b *fakeBus, m message) { b.deliver(m.reply, []byte(`{"stream":"X"}`)) }, 1},
			"a federation": {false, func(b *fakeBus) *Client { return NewFederated(b, fakeIdentity{version: choria.V1}, []string{"f"}) }, nil, 0},
		} {
			b := newFakeBus()
			b.serve = tt.notice
			c := tt.c(b)
			for range 2 {
				if got, err := c.ReportsAbsence(t.Context(), "mcollective"); got != tt.reports || err != nil {
					t.Errorf("%s: got %v, %v", name, got, err)
				}
			}
			if len(b.published) != tt.asked {
				t.Errorf("%s: %d messages were published, want %d", name, len(b.published), tt.asked)
			}
			if tt.asked > 0 && (!strings.HasPrefix(b.published[0].subject, "mcollective.node.absent-") || len(b.published[0].data) > 0) {
				t.Errorf("%s: published %q to %q", name, b.published[0].data, b.published[0].subject)
			}
		}
	})
}

func TestALostConnectionLeavesTheQuestionOfAbsenceOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		c := New(b, fakeIdentity{version: choria.V1})
		b.onFlush = func(b *fakeBus) { b.restore() }
		if _, err := c.ReportsAbsence(t.Context(), "mcollective"); !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		b.onFlush, b.serve = nil, func(b *fakeBus, m message) { b.notice(m.reply) }
		if got, err := c.ReportsAbsence(t.Context(), "mcollective"); !got || err != nil {
			t.Errorf("asked again: %v, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.serve = nil
		if _, err := c.ReportsAbsence(ctx, "other"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the end of the context", err)
		}
	})
}
