package rpcclient

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// With a known set a broadcast ends when it can: each known node has answered, is absent or does not match, and nothing
// has come for a while. While many are missing it goes on beyond its time.
func TestABroadcastEndsWhenTheKnownNodesAreAccountedFor(t *testing.T) {
	const window = 2 * time.Second
	nodes := manyNodes(200)
	for name, tt := range map[string]struct {
		extra    map[string]time.Duration // answers of nodes beyond the known ones
		late     time.Duration            // when the last six of the known ones answer; 0 with the others
		silent   int                      // how many of the last ones do not answer, unless by name
		absent   bool                     // they are not connected
		named    bool                     // they answer by name only: they do not match
		expired  bool                     // they answer by name: they did not read the broadcast in time
		again    bool                     // and then the broadcast as well, a little later
		min, max time.Duration
		missing  int
		found    int
	}{
		"all answer":                         {min: 150 * time.Millisecond, max: 200 * time.Millisecond, found: 200},
		"another answers within the quiet":   {extra: map[string]time.Duration{"new": 140 * time.Millisecond}, min: 240 * time.Millisecond, max: 600 * time.Millisecond, found: 201},
		"a stall lengthens the quiet":        {late: 250 * time.Millisecond, min: 1000 * time.Millisecond, max: 1100 * time.Millisecond, found: 200},
		"one is absent":                      {silent: 1, absent: true, min: 250 * time.Millisecond, max: 350 * time.Millisecond, found: 199},
		"half are absent":                    {silent: 100, absent: true, min: 250 * time.Millisecond, max: 400 * time.Millisecond, found: 100},
		"half do not match":                  {silent: 100, named: true, min: 250 * time.Millisecond, max: 400 * time.Millisecond, found: 100},
		"half read the broadcast too late":   {silent: 100, expired: true, min: 250 * time.Millisecond, max: 400 * time.Millisecond, found: 200},
		"one is silent":                      {silent: 1, min: window, max: window + 50*time.Millisecond, missing: 1, found: 199},
		"three of a hundred answer at 5 s":   {late: 5 * time.Second, min: 5 * time.Second, max: 10 * time.Second, found: 200},
		"half are silent":                    {silent: 100, min: 10 * time.Second, max: 10*time.Second + 50*time.Millisecond, missing: 100, found: 100},
		"two answer by name, and are slow":   {silent: 2, named: true, again: true, min: 250 * time.Millisecond, max: 500 * time.Millisecond, found: 200},
		"an answer within the time, no more": {silent: 1, extra: map[string]time.Duration{"new": 1900 * time.Millisecond}, min: window, max: 10 * time.Second, missing: 1, found: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFakeBus()
				answering, last := nodes[:len(nodes)-tt.silent], nodes[len(nodes)-tt.silent:]
				if tt.absent {
					b.connect(false, last...)
				}
				var broadcast []message
				b.serve = func(b *fakeBus, m message) {
					if node, direct := strings.CutPrefix(m.subject, "mcollective.node."); direct {
						if _, req := request(t, m); tt.named && req.Filter.Empty() || tt.expired && !req.Filter.Empty() {
							crowd(t, []string{node}, 5*time.Millisecond)(b, m)
						}
						if tt.again {
							crowd(t, []string{node}, 50*time.Millisecond)(b, broadcast[0])
						}
						return
					}
					broadcast = append(broadcast, m)
					prompt := answering
					if tt.late > 0 {
						prompt = answering[:len(answering)-6]
						crowd(t, answering[len(answering)-6:], tt.late)(b, m)
					}
					crowd(t, prompt, 50*time.Millisecond)(b, m)
					for node, after := range tt.extra {
						crowd(t, []string{node}, after)(b, m)
					}
				}
				known := &choria.Known{Nodes: nodes, Longest: 10 * time.Second}
				start := time.Now()
				var found []string
				for name, err := range New(b, fakeIdentity{version: choria.V2}).Broadcast(t.Context(), "mcollective", choria.Filter{Class: []string{"web"}}, choria.Window{Timeout: window, Known: known}) {
					if err != nil {
						t.Fatal(err)
					}
					found = append(found, name)
				}
				if took := time.Since(start); took < tt.min || took > tt.max {
					t.Errorf("took %v, want %v to %v", took, tt.min, tt.max)
				}
				if len(found) != tt.found || len(known.Missing) != tt.missing {
					t.Errorf("%d found, %d missing; want %d and %d", len(found), len(known.Missing), tt.found, tt.missing)
				}
				if tt.missing > 0 && !slices.Equal(known.Missing, slices.Sorted(slices.Values(last))) {
					t.Errorf("missing %v", known.Missing)
				}
			})
		})
	}
}

// A node that answers after the window has closed is not found. The others are not lost because of it.
func TestAKnownSetNeverAddsNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFakeBus()
		b.serve = crowd(t, []string{"a", "b"}, 10*time.Millisecond)
		b.connect(false, "gone")
		known := &choria.Known{Nodes: []string{"a", "gone", "not a name"}, Longest: 10 * time.Second}
		var found []string
		for name, err := range New(b, fakeIdentity{version: choria.V2}).Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: time.Second, Known: known}) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, name)
		}
		slices.Sort(found)
		if got := fmt.Sprint(found); got != "[a b]" {
			t.Errorf("found %s", got)
		}
	})
}

// A stall of a large fleet is no absence: asking most of it by name would double the work that made it stall. Where few are
// missing, or the fleet is small, they are asked at once.
func TestAStallOfManyNodesIsWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		known, late int
		named       bool
	}{
		"most of many": {known: 5000, late: 3000},
		"few of many":  {known: 5000, late: 50, named: true},
		"most of few":  {known: 200, late: 150, named: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := manyNodes(tt.known)
				b := newFakeBus()
				asked := 0
				b.serve = func(b *fakeBus, m message) {
					if strings.HasPrefix(m.subject, "mcollective.node.") {
						asked++
						return
					}
					crowd(t, nodes[tt.late:], 50*time.Millisecond)(b, m)
					crowd(t, nodes[:tt.late], 800*time.Millisecond)(b, m)
				}
				known := &choria.Known{Nodes: nodes, Longest: 10 * time.Second}
				found := 0
				for _, err := range New(b, fakeIdentity{version: choria.V2}).Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: 2 * time.Second, Known: known}) {
					if err != nil {
						t.Fatal(err)
					}
					found++
				}
				if found != tt.known || (asked > 0) != tt.named {
					t.Errorf("%d of %d found, %d asked by name", found, tt.known, asked)
				}
			})
		})
	}
}

// However busy the fleet is, the window closes at Longest, and names those that have not answered.
func TestABroadcastEndsAtItsLongest(t *testing.T) {
	for name, tt := range map[string]struct {
		every   time.Duration
		timeout time.Duration // that was asked for
		found   int
	}{
		"until 8 s":                {every: 40 * time.Millisecond, timeout: 2 * time.Second, found: 200},
		"until 20 s":               {every: 100 * time.Millisecond, timeout: 2 * time.Second, found: 100},
		"until 20 s, and 30 given": {every: 100 * time.Millisecond, timeout: 30 * time.Second, found: 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := manyNodes(200)
				b := newFakeBus()
				b.serve = func(b *fakeBus, m message) {
					if strings.HasPrefix(m.subject, "mcollective.node.") {
						return
					}
					for i, n := range nodes {
						crowd(t, []string{n}, time.Duration(i+1)*tt.every-time.Millisecond)(b, m)
					}
				}
				known := &choria.Known{Nodes: nodes, Longest: max(10*time.Second, tt.timeout)}
				start, found := time.Now(), 0
				for _, err := range New(b, fakeIdentity{version: choria.V2}).Broadcast(t.Context(), "mcollective", choria.Filter{}, choria.Window{Timeout: tt.timeout, Known: known}) {
					if err != nil {
						t.Fatal(err)
					}
					found++
				}
				if found != tt.found || len(known.Missing) != len(nodes)-tt.found {
					t.Errorf("%d nodes found and %d missing, want %d found", found, len(known.Missing), tt.found)
				}
				if took, most := time.Since(start), known.Longest; took > most || found < len(nodes) && took < most {
					t.Errorf("took %v, want at most %v", took, most)
				}
			})
		})
	}
}
