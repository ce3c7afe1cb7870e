package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/rpcclient"
)

// callFunc is a Caller made of a function: it yields what each node says to an action, nil for silence, then waits for
// the silent ones, as the real one does.
type callFunc func(action, node string) *rpcclient.Reply

func (f callFunc) Call(ctx context.Context, req rpcclient.Request, nodes []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		silent := false
		for _, node := range nodes {
			r := f(req.Action, node)
			if r == nil {
				silent = true
				continue
			}
			r.Node = node
			if !yield(*r, nil) {
				return
			}
		}
		if silent {
			select {
			case <-time.After(req.Wait):
			case <-ctx.Done():
			}
		}
	}
}

func namesOf(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%06d", i)
	}
	return names
}

// plainReply is what a healthy node says.
func plainReply(action string) *rpcclient.Reply {
	r := &rpcclient.Reply{Time: time.Unix(1795332289+90, 0)}
	switch action {
	case actionInventory:
		r.Data = json.RawMessage(inventoryData)
	case actionStats:
		r.Data = json.RawMessage(statsData)
	case actionAgents:
		r.Data = json.RawMessage(`{"agents":[{"agent":"rpcutil","version":"0.29.4"},{"agent":"choria_provision","version":"0.29.4"}]}`)
	}
	return r
}

func ask(t *testing.T, s Survey, caller Caller, nodes []string) map[string]Node {
	t.Helper()
	got := map[string]Node{}
	for a, err := range s.Ask(t.Context(), caller, nodes) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[a.Identity]; twice || nodes[a.Place] != a.Identity {
			t.Errorf("answer of %s (twice: %v) for place %d", a.Identity, twice, a.Place)
		}
		got[a.Identity] = a
	}
	return got
}

func TestSurveyAnswersForEveryNodeOnce(t *testing.T) {
	caller := callFunc(func(action, node string) *rpcclient.Reply {
		switch {
		case node == "n000003":
			return nil
		case node == "n000004" && action != actionInventory, node == "n000005" && action == actionInventory:
			return nil
		case node == "n000006" && action == actionInventory:
			return &rpcclient.Reply{Code: 1, Message: "not you"}
		case node == "n000007" && action == actionStats:
			return &rpcclient.Reply{Data: json.RawMessage(`{}`)}
		}
		return plainReply(action)
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := ask(t, Survey{Stats: true, AgentVersions: true, Facts: true, Chunk: 4, Flight: 2, Timeout: 3 * time.Second}, caller, namesOf(40))
		if len(got) != 40 {
			t.Fatalf("%d answers, want 40", len(got))
		}
		// The chunks with silent nodes are waited for side by side, and do not hold up the others.
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("took %v, want hardly more than one timeout", took)
		}
		whole := got["n000000"]
		node := exampleNode()
		node.Identity, node.Uptime = "n000000", 90*time.Second
		node.AgentVersions = map[string]string{"rpcutil": "0.29.4", "choria_provision": "0.29.4"}
		if diff := cmp.Diff(node, whole); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for _, name := range []string{"n000003", "n000005"} {
			if a := got[name]; a.Told() || !errors.Is(a.Err, ErrNoReply) || !strings.Contains(a.Err.Error(), "rpcutil#inventory") {
				t.Errorf("%+v, want silence to rpcutil#inventory", a)
			}
		}
		if a := got["n000004"]; !a.Told() || a.Stats != nil || !errors.Is(a.Err, ErrNoReply) || a.AgentVersions != nil {
			t.Errorf("%+v, want a node without statistics", a)
		}
		if _, refused := errors.AsType[*RefusedError](got["n000006"].Err); !refused || got["n000006"].Told() {
			t.Errorf("%+v, want a refusal", got["n000006"])
		}
		if odd, ok := errors.AsType[*PayloadError](got["n000007"].Err); !ok || odd.Action != actionStats || !got["n000007"].Told() {
			t.Errorf("%+v, want a node with odd statistics", got["n000007"])
		}
	})
}

func TestSurveyAsksOnlyWhatIsWanted(t *testing.T) {
	var stats atomic.Int64
	caller := callFunc(func(action, _ string) *rpcclient.Reply {
		if action != actionInventory {
			stats.Add(1)
		}
		return plainReply(action)
	})
	got := ask(t, Survey{}, caller, namesOf(3))
	if a := got["n000001"]; a.Err != nil || !a.Told() || a.Facts != nil || a.Stats != nil || stats.Load() != 0 {
		t.Errorf("%+v and %d more requests, want a node without facts and statistics, and no more requests", a, stats.Load())
	}
	if got := ask(t, Survey{}, caller, nil); len(got) != 0 {
		t.Errorf("%d answers of no nodes", len(got))
	}
}

func TestSurveyEndsWithItsContextAndAtErrors(t *testing.T) {
	lost := errors.New("connection lost")
	synctest.Test(t, func(t *testing.T) {
		n := 0
		for _, err := range (Survey{Chunk: 2}).Ask(t.Context(), brokenCaller{lost}, namesOf(50)) {
			n++
			if !errors.Is(err, lost) {
				t.Errorf("error %v, want the caller's", err)
			}
		}
		if n != 1 {
			t.Errorf("the sequence goes on for %d after an error, want 1", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		silent := callFunc(func(action, node string) *rpcclient.Reply {
			if node == "n000001" {
				cancel()
				return nil
			}
			return plainReply(action)
		})
		for a, err := range (Survey{Chunk: 2}).Ask(ctx, silent, namesOf(50)) {
			if err != nil || errors.Is(a.Err, ErrNoReply) {
				t.Errorf("%v, %v: no node counts as silent, and there is no error, when the operator ends the wait", a, err)
			}
		}
		for range (Survey{Chunk: 2}).Ask(t.Context(), callFunc(func(action, _ string) *rpcclient.Reply { return plainReply(action) }), namesOf(50)) {
			break
		}
	})
}

func TestSurveyWaitsForItsReader(t *testing.T) {
	const chunk, flight = 10, 3
	var asked atomic.Int64
	caller := callFunc(func(action, _ string) *rpcclient.Reply {
		asked.Add(1)
		return plainReply(action)
	})
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		for range (Survey{Chunk: chunk, Flight: flight}).Ask(t.Context(), caller, namesOf(500)) {
			taken++
			synctest.Wait()
			if ahead := int(asked.Load()) - taken; ahead > (flight+1)*chunk {
				t.Fatalf("%d nodes were asked ahead of the reader, want at most %d", ahead, (flight+1)*chunk)
			}
		}
		if taken != 500 {
			t.Errorf("%d answers, want 500", taken)
		}
	})
}

// A fleet that says 15 MB is counted in a fraction of that.
func TestSurveyNeedsLittleMemory(t *testing.T) {
	const nodes, size, bound = 1500, 10_000, 5 << 20
	text := strings.Repeat("x", size)
	caller := callFunc(func(action, node string) *rpcclient.Reply {
		return &rpcclient.Reply{Data: json.RawMessage(`{"agents":["rpcutil"],"classes":[],"version":"0.29.4","main_collective":"m",` +
			`"collectives":["m"],"upgradable":true,"facts":{"rack":"r` + node[5:] + `","big":"` + text + `"}}`)}
	})
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	tally := NewTally(func(n Node) []string { return []string{string(n.Facts[:12])} })
	most := uint64(0)
	for a, err := range (Survey{Facts: true, Chunk: 20}).Ask(t.Context(), caller, namesOf(nodes)) {
		if err != nil {
			t.Fatal(err)
		}
		tally.Add(a)
		if tally.Told%500 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
		}
	}
	if tally.Selected != nodes || tally.Upgradable != nodes || len(tally.Groups()) != 100 {
		t.Errorf("%d nodes, %d upgradable, %d groups", tally.Selected, tally.Upgradable, len(tally.Groups()))
	}
	if most > bound {
		t.Errorf("needs %d MB, want less than %d", most>>20, bound>>20)
	}
}

func TestTallyCounts(t *testing.T) {
	node := func(name, version string, upgradable bool, classes ...string) Node {
		return Node{Identity: name, Version: version, Upgradable: upgradable, Classes: classes,
			Collectives: []string{"m", "m"}, Agents: []string{"rpcutil"}}
	}
	timed := node("n4", "0.28.0", false)
	timed.Stats, timed.Uptime = &Stats{}, time.Hour
	timed.AgentVersions = map[string]string{"rpcutil": "2"}
	answers := []Node{node("n1", "0.29.4", true, "a", "b"), node("n2", "0.29.4", false, "a"), node("n3", "0.28.0", true), timed}
	plain, grouped := NewTally(nil), NewTally(func(n Node) []string { return n.Classes })
	for _, a := range answers {
		plain.Add(a)
		grouped.Add(a)
	}
	plain.Skip(node("n5", "1", true))
	plain.Miss(Node{Identity: "n6", Err: fmt.Errorf("%w to x", ErrNoReply)})
	plain.Miss(Node{Identity: "n7", Err: &RefusedError{Node: "n7", Action: "inventory", Message: "no"}})
	if plain.Asked() != 7 || plain.Selected != 4 || plain.Told != 5 || plain.Upgradable != 2 || plain.Timed != 1 || plain.Shortest != time.Hour {
		t.Errorf("%+v", plain)
	}
	if diff := cmp.Diff([]Count{{"0.28.0", 2}, {"0.29.4", 2}}, plain.Versions()); diff != "" {
		t.Errorf("versions: %s", diff)
	}
	if diff := cmp.Diff([]Count{{"m", 4}}, plain.Collectives()); diff != "" {
		t.Errorf("collectives: %s", diff)
	}
	if diff := cmp.Diff([]Count{{"rpcutil", 3}, {"rpcutil 2", 1}}, plain.Agents()); diff != "" {
		t.Errorf("agents: %s", diff)
	}
	want := []GroupCount{{Name: "a", Nodes: 2, Upgradable: 1}, {Name: "b", Nodes: 1, Upgradable: 1}, {Absent: true, Nodes: 2, Upgradable: 1}}
	if diff := cmp.Diff(want, grouped.Groups()); diff != "" {
		t.Errorf("groups: %s", diff)
	}
	if !slices.Equal(plain.Silent, []string{"n6"}) || len(plain.Problems) != 1 || plain.Problems[0].Reason() != "refused rpcutil#inventory: no" {
		t.Errorf("silent %v, problems %v", plain.Silent, plain.Problems)
	}
}

// lateCaller yields what arrived within the wait long after it, as a client does whose checks take their time.
type lateCaller struct{ callFunc }

func (c lateCaller) Call(ctx context.Context, req rpcclient.Request, nodes []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		<-time.After(req.Wait)
		for r, err := range c.callFunc.Call(ctx, req, nodes) {
			<-time.After(50 * time.Millisecond)
			if !yield(r, err) {
				return
			}
		}
	}
}

func TestWhatArrivedInTimeCountsHoweverLongItsCheckTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := lateCaller{callFunc(func(action, _ string) *rpcclient.Reply { return plainReply(action) })}
		for name, a := range ask(t, Survey{Stats: true, Timeout: time.Second, Chunk: 20}, caller, namesOf(60)) {
			if !a.Told() || a.Err != nil {
				t.Errorf("%s: %v", name, a.Err)
			}
		}
		if n, err := Fetch(t.Context(), caller, "m", "n000001", time.Second); err != nil || n.Stats == nil {
			t.Errorf("Fetch: %+v, %v", n, err)
		}
		fact := lateCaller{callFunc(func(string, string) *rpcclient.Reply {
			return &rpcclient.Reply{Data: json.RawMessage(`{"fact":"x","value":"1"}`)}
		})}
		req, err := FactRequest("m", "x")
		if err != nil {
			t.Fatal(err)
		}
		req.Wait = time.Second
		if f, err := FactsOf(fact.Call(t.Context(), req, namesOf(40))); err != nil || len(f.Values) != 1 || len(f.Values[0].Nodes) != 40 {
			t.Errorf("facts: %+v, %v", f, err)
		}
	})
}

func TestAbsentNodesAreNamed(t *testing.T) {
	caller := callFunc(func(action, node string) *rpcclient.Reply {
		if node == "n000001" {
			return &rpcclient.Reply{Absent: true, Code: -1}
		}
		return plainReply(action)
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := ask(t, Survey{Stats: true}, caller, namesOf(3))["n000001"]
		if got.Told() || !errors.Is(got.Err, ErrAbsent) || !errors.Is(got.Err, ErrNoReply) || got.Err.Error() != "n000001 is not connected" {
			t.Errorf("got %+v, %v", got, got.Err)
		}
		tally := NewTally(nil)
		tally.Miss(got)
		tally.Miss(Node{Identity: "n9", Err: ErrNoReply})
		if !slices.Equal(tally.Silent, []string{"n000001", "n9"}) || !slices.Equal(tally.Absent, []string{"n000001"}) {
			t.Errorf("silent %q, absent %q", tally.Silent, tally.Absent)
		}
		if _, err := Fetch(t.Context(), caller, "m", "n000001", time.Minute); !errors.Is(err, ErrAbsent) || strings.Contains(err.Error(), "reply") {
			t.Errorf("Fetch: %v", err)
		}
		c, err := CollectivesOf(caller.Call(t.Context(), CollectivesRequest("m"), []string{"n000001"}))
		if err != nil || !slices.Equal(c.Absent, []string{"n000001"}) || len(c.Nodes)+len(c.Problems) > 0 {
			t.Errorf("collectives: %+v, %v", c, err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("took %v", took)
		}
	})
}

// tokenCaller knows why a node seems silent.
type tokenCaller struct {
	callFunc
	ended map[string]rpcclient.Token
}

func (c tokenCaller) Token(node string) (rpcclient.Token, bool) {
	t, ok := c.ended[node]
	return t, ok
}

func TestTokensInTheInventory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ends := map[string]time.Time{
			"past": now.Add(-time.Second), "day": now.Add(24 * time.Hour), "week": now.Add(24*time.Hour + time.Second), "month": now.Add(30 * 24 * time.Hour),
			"later": now.Add(31 * 24 * time.Hour), "never": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "none": {},
		}
		caller := tokenCaller{callFunc: func(action, node string) *rpcclient.Reply {
			end, ok := ends[node]
			if !ok {
				return nil
			}
			r := plainReply(action)
			r.TokenEnds = end
			return r
		}, ended: map[string]rpcclient.Token{
			"ended": {Ends: now.Add(-time.Second)}, "forged": {Ends: now.Add(time.Hour)}, "frozen": {Ends: now.Add(-time.Second), Believed: true},
		}}
		by, byFact := Grouping("token-expiry")
		column, err := ColumnOf("token-expires")
		if err != nil || byFact {
			t.Fatal(err, byFact)
		}
		tally := NewTally(by)
		nodes := []string{"past", "day", "week", "month", "later", "never", "none", "ended", "forged", "frozen", "silent"}
		for name, n := range ask(t, Survey{Stats: true}, caller, nodes) {
			want := ends[name]
			if !n.Told() {
				tally.Miss(n)
				if errors.Is(n.Err, ErrExpired) != (name == "ended") || !errors.Is(n.Err, ErrNoReply) {
					t.Errorf("%s: %v", name, n.Err)
				}
				continue
			}
			tally.Add(n)
			text := want.UTC().Format(time.RFC3339)
			switch name {
			case "never":
				text = "never"
			case "none":
				text = ""
			}
			record, err := n.Record()
			if err != nil || !n.TokenExpires.Equal(want) || column.Text(n) != text || strings.Contains(string(record), `"token_expires":"`) != (name != "none") {
				t.Errorf("%s: token ends %v, shown as %q, in %s, %v", name, n.TokenExpires, column.Text(n), record, err)
			}
		}
		got := map[string]int{}
		for _, g := range tally.Groups() {
			got[g.Name] = g.Nodes
		}
		if diff := cmp.Diff(map[string]int{"expired": 1, "1 day": 1, "1 week": 1, "1 month": 1, "later": 2, "": 1}, got); diff != "" {
			t.Error(diff)
		}
		if !slices.Equal(tally.Expired, []string{"ended"}) || len(tally.Silent) != 4 {
			t.Errorf("expired %q, silent %q", tally.Expired, tally.Silent)
		}
		if _, err := Fetch(t.Context(), caller, "mt", "ended", time.Second); err == nil || err.Error() != "ended is not believed: its token has ended" {
			t.Errorf("one node: %v", err)
		}
	})
}
