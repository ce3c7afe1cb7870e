package rpcclient

import (
	"fmt"
	"runtime"
	"testing"

	"fleetctl/internal/choria"
)

// A session keeps each request that was answered by all, to recognize duplicates and strangers. A rolling run over a large
// fleet has thousands of them.
func TestAnAnsweredRequestIsSmall(t *testing.T) {
	const requests, each = 500, 20
	b := newFakeBus()
	s := openSession(t, New(b, fakeIdentity{version: choria.V1}))
	names := make([]string, requests*each)
	for i := range names {
		names[i] = fmt.Sprintf("node%06d.example.net", i)
	}
	var last message
	b.serve = func(b *fakeBus, m message) {
		last = m
		tr, req := request(t, m)
		node := m.subject[len(choria.NodeSubject("mcollective", "")):]
		data := answer{sender: node, id: req.ID, agent: req.Agent}.encode(t, choria.V1)
		b.mu.Lock()
		b.published = nil // it keeps no copy
		b.mu.Unlock()
		b.deliver(tr.ReplyTo, data)
	}
	before := inUse()
	for i := range requests {
		if _, err := s.Send(t.Context(), ping(), names[i*each:(i+1)*each]); err != nil {
			t.Fatal(err)
		}
		for range each {
			<-s.Replies()
		}
	}
	used := float64(inUse()-before) / (requests * each)
	t.Logf("%.0f bytes a node, in requests to %d", used, each)
	if used > 60 {
		t.Errorf("%.0f bytes a node, want 60 at most", used)
	}
	// What is left still tells a duplicate from a stranger.
	tr, req := request(t, last)
	for node, kind := range map[string]Kind{names[len(names)-1]: Duplicate, names[0]: Stranger} {
		was := s.Strays().Count[kind]
		b.deliver(tr.ReplyTo, answer{sender: node, id: req.ID, agent: req.Agent}.encode(t, choria.V1))
		settle(t, s)
		if got := s.Strays().Count[kind]; got != was+1 {
			t.Errorf("%s: %d strays are %s, want %d", node, got, kind, was+1)
		}
	}
	runtime.KeepAlive(names)
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
