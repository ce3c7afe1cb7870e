package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// told returns the node's log from its first entry that a test caused, one line each,
// without times and ids.
func told(l *Lab, node string) []string {
	var lines []string
	for _, e := range l.Log(node) {
		line := e.Deed.String()
		if e.Agent != "" {
			line += " " + e.Agent + "#" + e.Action
		}
		if e.Text != "" {
			line += ": " + e.Text
		}
		lines = append(lines, line)
	}
	return lines
}

func TestLogHoldsWhatANodeReceivedAndDid(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 3, KeepLog: true}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		sent := time.Now()
		r := c.one(node, "choria_provision", "restart", `{"token":"s3cret","splay":1}`)
		if err := l.Await(t.Context(), node, Restarting); err != nil {
			t.Fatal(err)
		}
		if err := l.Await(t.Context(), node, Up); err != nil {
			t.Fatal(err)
		}
		c.silent(ask{agent: "rpcutil", action: "ping", nodes: []string{node}, age: 2 * time.Minute})
		want := []string{
			"started: before the lab", "connected: before the lab",
			"received choria_provision#restart", "replied choria_provision#restart: 0 OK",
			"acted choria_provision#restart: restart", "disconnected: restart", "ended choria_provision#restart: restart",
			"started choria_provision#restart: restart", "connected: restart",
			"received rpcutil#ping", "dropped rpcutil#ping: beyond its TTL",
		}
		if got := told(l, node); !slices.Equal(got, want) {
			t.Errorf("log\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, e := range l.Log(node) {
			if e.Deed == Acted && (e.RequestID != r.id || e.Caller != c.id.Caller() || e.Time.Sub(sent) < 2*time.Second) {
				t.Errorf("%v: want request %s of %s, two seconds later", e, r.id, c.id.Caller())
			}
		}
		if got := l.Log("nosuch"); got != nil {
			t.Errorf("log of no node: %v", got)
		}
	})
}

func TestHandsMoveASingleNode(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 3, KeepLog: true}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		before := c.started(node)
		do(l.Kill(node))
		c.wantAbsent(true, "killed", node)
		do(l.Restart(node))
		do(l.Await(t.Context(), node, Up))
		c.wantAbsent(false, "started by hand", node)
		if got := c.started(node); got <= before {
			t.Errorf("start time %d, want later than %d", got, before)
		}

		// What the node begins before its network is cut, it answers after.
		sub := c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{node}})
		do(l.AwaitReceived(t.Context(), node, "rpcutil", "ping", 2))
		do(l.Disconnect(node))
		c.wantAbsent(true, "disconnected", node)
		if got := c.collect(sub, 1, 5*time.Second); len(got) != 0 {
			t.Errorf("%+v came without a network", got)
		}
		do(l.Reconnect(node))
		if got := c.collect(sub, 1, 5*time.Second); len(got) != 1 {
			t.Error("the reply did not come after the reconnect")
		}

		do(l.StepClock(node, 2*time.Minute))
		c.silent(ask{agent: "rpcutil", action: "ping", nodes: []string{node}})
		ahead := c.collect(c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{node}, age: -2 * time.Minute}), 1, time.Second)
		if len(ahead) != 1 || !strings.Contains(string(ahead[0].rpc.Data), fmt.Sprint(time.Now().Add(2 * time.Minute).Unix())[:9]) {
			t.Errorf("%+v, want the time of the node's clock", ahead)
		}
		do(l.StepClock(node, -2*time.Minute))

		// A frozen node that is restarted by hand forgets what it had not handled.
		do(l.Freeze(node))
		sub = c.publish(ask{agent: "choria_provision", action: "shutdown", data: `{"token":"s3cret"}`, nodes: []string{node}})
		do(l.Restart(node))
		do(l.Await(t.Context(), node, Up))
		if got := c.collect(sub, 1, 15*time.Second); len(got) != 0 {
			t.Errorf("%+v: the new process handled an old request", got)
		}
		c.one(node, "rpcutil", "ping", "")
		for _, f := range []func(string) error{l.Kill, l.Restart, l.Freeze, l.Thaw, l.Disconnect, l.Reconnect} {
			if f("nosuch") == nil {
				t.Error("no error for an unknown node")
			}
		}
	})
}

// A second process never appears because a killed node had a restart pending.
func TestKilledNodeStaysDown(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 2}, func(t *testing.T, l *Lab, c *client) {
		for i, when := range []State{Up, Restarting} {
			node := l.Nodes()[i].Identity
			c.one(node, "choria_provision", "restart", `{"token":"s3cret","splay":1}`)
			if err := l.Await(t.Context(), node, when); err != nil {
				t.Fatal(err)
			}
			if err := l.Kill(node); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			if info, _ := l.Node(node); info.State != Down {
				t.Errorf("killed while %v: state %v, want down", when, info.State)
			}
		}
	})
}

func TestBrokerStopsAndStartsOnItsPort(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		l := start(t, Options{Nodes: 4, Protocol: protocol, KeepLog: true})
		url, c := l.URL(), dial(t, l)
		node := l.Nodes()[0].Identity
		c.one(node, "rpcutil", "ping", "")
		l.StopBroker()
		l.StopBroker() // once more does nothing
		if info, _ := l.Node(node); info.Connected || info.State != Up {
			t.Errorf("v%d: %+v, want a process without a connection", protocol, info)
		}
		if err := l.StartBroker(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l.URL() != url {
			t.Errorf("v%d: broker on %s, want %s", protocol, l.URL(), url)
		}
		c = dial(t, l)
		if info, _ := l.Node(node); !info.Connected {
			c.wantAbsent(true, "right after the start of the broker", node)
		}
		if err := l.Reconnect(node); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(false, "reconnected", node)
		c.one(node, "rpcutil", "ping", "")
		c.conn.Close()
	}
}

func TestNodesComeBackOneByOneAfterTheBroker(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 20}, func(t *testing.T, l *Lab, c *client) {
		count := func() (n int) {
			for _, info := range l.Nodes() {
				if info.Connected {
					n++
				}
			}
			return n
		}
		l.StopBroker()
		began := time.Now()
		if err := l.StartBroker(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Errorf("%d nodes are back at once", n)
		}
		pass(longestBackoff / 2)
		if n := count(); n == 0 || n == 20 {
			t.Errorf("%d nodes are back at half time", n)
		}
		if err := l.AwaitFunc(t.Context(), func() bool { return count() == 20 }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > longestBackoff {
			t.Errorf("all are back after %v", took)
		}
		again := dial(t, l)
		for _, info := range l.Nodes() {
			again.one(info.Identity, "rpcutil", "ping", "")
		}
		again.conn.Close()
	})
}

func TestDeedsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range ClockStepped + 2 {
		name := d.String()
		if seen[name] || strings.Contains(name, "(") != (d == 0 || d > ClockStepped) {
			t.Errorf("deed %d is called %q", d, name)
		}
		seen[name] = true
	}
}
