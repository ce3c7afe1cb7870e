package lab

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

// absent sends an rpcutil ping with a NATS reply subject and reports whether the broker
// answers 503, which it does at once or never. What the node answers does not come there.
func (c *client) absent(a ask) bool {
	c.t.Helper()
	a.agent, a.action = "rpcutil", "ping"
	prefix := choria.ReplyPrefix(c.collective, c.id.Caller(), choria.MD5) + ".absent."
	answers := make(chan *nats.Msg, 8)
	sub, err := c.conn.ChanSubscribe(prefix+"*", answers)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	a.inbox = prefix + nats.NewInbox()[7:]
	replies := c.publish(a) // returns when the broker has answered the flush after the request
	defer func() { _ = replies.Unsubscribe() }()
	select {
	case m := <-answers:
		if m.Subject != a.inbox || m.Header.Get("Status") != "503" || len(m.Data) != 0 {
			c.t.Errorf("%v: got %q %v %q, want a 503", a.nodes, m.Subject, m.Header, m.Data)
		}
		return true
	default:
		return false
	}
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }

func (c *client) wantAbsent(want bool, when string, nodes ...string) {
	c.t.Helper()
	for _, node := range nodes {
		if got := c.absent(ask{nodes: []string{node}}); got != want {
			c.t.Errorf("%s: 503 for %s is %v, want %v", when, node, got, want)
		}
	}
}

func TestBrokerSaysThatANodeIsDown(t *testing.T) {
	o := Options{Nodes: 40, Seed: 3, ProvisionAfter: -1, Faults: Faults{NoReturn: Amount{N: 1}, Silent: Amount{N: 1}}}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		var plain []string
		for _, n := range l.Nodes() {
			c.wantAbsent(false, "at the start", n.Identity)
			if n.Fault == NoFault && n.Country == "mt" {
				plain = append(plain, n.Identity)
			}
		}
		c.wantAbsent(true, "a name of no node", "nosuch.example.net")
		dangerous := func(node, action string) {
			c.one(node, "choria_provision", action, `{"token":"s3cret"}`)
			c.wantAbsent(false, "during the delay of "+action, node)
		}

		down := plain[0]
		dangerous(down, "shutdown")
		if err := l.Await(t.Context(), down, Down); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(true, "after its shutdown", down)
		if !c.absent(ask{nodes: []string{down}, collective: "mt_collective"}) {
			t.Error("the broker has a subscription left in the other collective")
		}
		if info, _ := l.Node(down); info.Connected {
			t.Error("a node that is down is connected")
		}

		never := pick(t, l, func(n NodeInfo) bool { return n.Fault == NoReturn })
		dangerous(never, "restart")
		if err := l.Await(t.Context(), never, Down); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(true, "after a restart without a return", never)

		again := plain[1]
		dangerous(again, "restart")
		if err := l.Await(t.Context(), again, Restarting); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(true, "between two processes", again)
		if err := l.Await(t.Context(), again, Up); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(false, "after its restart", again)

		moved := plain[2]
		dangerous(moved, "reprovision")
		if err := l.Await(t.Context(), moved, Provisioning); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(true, "in provisioning, asked in the main account", moved)
		p := dialAs(t, l, "provisioner")
		p.wantAbsent(false, "in provisioning", moved)
		p.wantAbsent(true, "in the main account, asked in provisioning", again)
		p.conn.Close()

		silent := pick(t, l, func(n NodeInfo) bool { return n.Fault == Silent })
		c.silent(ask{agent: "choria_provision", action: "shutdown", data: `{"token":"s3cret"}`, nodes: []string{silent}})
		c.wantAbsent(false, "silent", silent)
	})
}

func TestFrozenNodeIsSilentFirstAndAbsentLater(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 3}, func(t *testing.T, l *Lab, c *client) {
		node := l.Nodes()[0].Identity
		before := c.started(node)
		if err := l.Freeze(node); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(false, "frozen", node)
		synctest.Wait()
		pass(brokerPatience - time.Second)
		c.wantAbsent(false, "frozen for less than the broker's patience", node)
		pass(2 * time.Second)
		synctest.Wait()
		c.wantAbsent(true, "frozen for longer", node)
		if err := l.Thaw(node); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(false, "thawed", node)
		if got := c.started(node); got != before {
			t.Errorf("start time %d, want the old %d: it is the same process", got, before)
		}
	})
}

func TestBroadcastReachesNothingOnlyInAnEmptyCollective(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 5}, func(t *testing.T, l *Lab, c *client) {
		for _, n := range l.Nodes() {
			if c.absent(ask{}) {
				t.Fatal("a broadcast reached nothing")
			}
			if err := l.Kill(n.Identity); err != nil {
				t.Fatal(err)
			}
		}
		if !c.absent(ask{}) {
			t.Error("a broadcast to no node at all was delivered")
		}
	})
}

// A running node answers as ever where a request carries a NATS reply subject.
func TestNodesIgnoreTheReplySubjectOfNATS(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		l := start(t, Options{Nodes: 3, Protocol: protocol, KeepLog: true})
		c := dial(t, l)
		node := l.Nodes()[0].Identity
		inbox := choria.ReplyPrefix(c.collective, c.id.Caller(), choria.MD5) + ".inbox.1"
		direct, err := c.conn.SubscribeSync(inbox)
		if err != nil {
			t.Fatal(err)
		}
		got := c.collect(c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{node}, inbox: inbox}), 1, 10*time.Second)
		if len(got) != 1 || got[0].err != nil || got[0].sender != node {
			t.Errorf("v%d: %+v, want one good reply", protocol, got)
		}
		c.flush()
		if n, _, _ := direct.Pending(); n != 0 {
			t.Errorf("v%d: %d messages on the NATS reply subject, want none", protocol, n)
		}
		c.wantAbsent(true, fmt.Sprintf("v%d over TLS", protocol), "nosuch.example.net")
		if err := l.Kill(node); err != nil {
			t.Fatal(err)
		}
		c.wantAbsent(true, fmt.Sprintf("v%d over TLS, killed", protocol), node)
		select {
		case err := <-c.problems:
			t.Errorf("v%d: %v", protocol, err)
		default:
		}
		c.conn.Close()
	}
}

func TestGoneNodesAnswerDiscoveryOnce(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 30, Faults: Faults{Gone: Amount{N: 5, Percent: true}, Silent: Amount{N: 3}}}, func(t *testing.T, l *Lab, c *client) {
		var gone []string
		for _, n := range l.Nodes() {
			if n.Fault == Gone {
				gone = append(gone, n.Identity)
			}
		}
		if len(gone) != 2 {
			t.Fatalf("%d nodes, want 5%% of 30 rounded up", len(gone))
		}
		c.wantAbsent(false, "before any discovery", gone...)
		found := c.discover(choria.Filter{}, time.Second)
		if len(found) != 30 {
			t.Errorf("discovered %d, want all 30", len(found))
		}
		c.wantAbsent(true, "after discovery", gone...)
		if again := c.discover(choria.Filter{}, time.Second); len(again) != 28 {
			t.Errorf("discovered %d, want 28", len(again))
		}
		if info, _ := l.Node(gone[0]); info.State != Up || info.Connected {
			t.Errorf("%+v, want a process that is not connected", info)
		}
	})
}

func TestNodesHaveRunForDays(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 60}, func(t *testing.T, l *Lab, c *client) {
		ages := map[int]bool{}
		for _, n := range l.Nodes() {
			age := time.Since(n.Started)
			ages[int(age/shortestUptime)] = true
			if age < shortestUptime-time.Second || age > longestUptime+time.Second {
				t.Errorf("%s has run for %v", n.Identity, age)
			}
		}
		if len(ages) < 20 {
			t.Errorf("60 nodes have run for %d different numbers of days", len(ages))
		}
		first := l.Nodes()[0]
		if got := c.started(first.Identity); got != first.Started.Unix() {
			t.Errorf("daemon_stats says %d, want %d", got, first.Started.Unix())
		}
		r := c.one(first.Identity, "choria_provision", "restart", `{"token":"s3cret","splay":1}`)
		sent := time.Now()
		if r.text != "Restarting Choria Server after 2s" {
			t.Errorf("%q", r.text)
		}
		if err := l.AwaitFunc(t.Context(), func() bool { n, _ := l.Node(first.Identity); return n.State == Up && n.Started != first.Started }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(sent)
		if took < 2*time.Second || took > 3*time.Second {
			t.Errorf("back after %v, want within a second of 2 s", took)
		}
		if got, want := c.started(first.Identity), sent.Add(took).Unix(); got != want {
			t.Errorf("start time %d, want the true one %d", got, want)
		}
	})
}

func TestSlowNodesAreSlowToBeDiscovered(t *testing.T) {
	inVirtualTime(t, Options{Nodes: 20, Faults: Faults{Slow: Amount{N: 4}}}, func(t *testing.T, l *Lab, c *client) {
		prompt := c.discover(choria.Filter{}, slowDiscovery)
		if len(prompt) != 16 || slices.ContainsFunc(prompt, func(name string) bool { return l.byName[name].fault == Slow }) {
			t.Errorf("%d nodes within %v, want the 16 that are not slow", len(prompt), slowDiscovery)
		}
		if got := c.discover(choria.Filter{}, 2*time.Second); len(got) != 20 {
			t.Errorf("%d nodes within 2 s, want all", len(got))
		}
	})
}

func TestFIPSBrokerKnowsOneHashOnly(t *testing.T) {
	l := start(t, Options{Nodes: 2, Protocol: 2, FIPS: true})
	c := dial(t, l)
	for _, prefix := range []string{fmt.Sprintf("choria.reply.%s", sha256Hex(c.id.Caller())), choria.ReplyPrefix("choria", c.id.Caller(), choria.MD5)} {
		c.replyPrefix = prefix
		sub := c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{l.Nodes()[0].Identity}})
		want := 1
		if prefix == choria.ReplyPrefix("choria", c.id.Caller(), choria.MD5) {
			want = 0
			select {
			case <-c.problems:
			case <-time.After(10 * time.Second):
				t.Error("the MD5 of the caller is allowed")
			}
		}
		if got := c.collect(sub, 1, time.Duration(want)*10*time.Second); len(got) != want {
			t.Errorf("%d replies on %s, want %d", len(got), prefix, want)
		}
	}
	c.conn.Close()
}

func TestExpiredTokenCostsTheIdentityAtTheNextStart(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		o := Options{Nodes: 4, Protocol: 2, InProcess: true, ExpiringIn: time.Minute, ProvisionAfter: time.Second, Faults: Faults{Expiring: Amount{N: 1}}, Dir: t.TempDir()}
		synctest.Test(t, func(t *testing.T) {
			l, err := Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			c := dial(t, l)
			node := pick(t, l, func(n NodeInfo) bool { return n.Fault == Expiring })
			event := c.watch()
			restart := func() {
				if byHand {
					if err := l.Restart(node); err != nil {
						t.Fatal(err)
					}
				} else {
					c.publish(ask{agent: "choria_provision", action: "restart", data: `{"token":"s3cret"}`, nodes: []string{node}})
				}
				wantEvent(t, event(), "shutdown", "server", node)
			}
			restart()
			wantEvent(t, event(), "startup", "server", node)
			c.one(node, "rpcutil", "ping", "") // within its time it is as good as any
			pass(time.Minute + 5*time.Second)
			got := c.collect(c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{node}}), 1, 5*time.Second)
			if len(got) != 1 || got[0].err == nil {
				t.Errorf("%+v, want one reply that carries the expired token", got)
			}
			restart()
			wantEvent(t, event(), "startup", "provision_mode_server", node)
			c.wantAbsent(true, "after the loss of its identity", node)
			pass(time.Hour)
			if info, _ := l.Node(node); info.State != Provisioning {
				t.Errorf("state %v, want provisioning: the node has no identity", info.State)
			}
			p := dialAs(t, l, "provisioner")
			p.one(node, "choria_provision", "configure", `{"token":"s3cret","config":"{\"a\":\"b\"}","server_jwt":"x"}`)
			p.one(node, "choria_provision", "restart", `{"token":"s3cret"}`)
			p.conn.Close()
			if err := l.Await(t.Context(), node, Up); err != nil {
				t.Fatal(err)
			}
			c.one(node, "rpcutil", "ping", "") // with a new token
			c.conn.Close()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOnlyProtocol2HasTokensAndHashes(t *testing.T) {
	for _, o := range []Options{{FIPS: true}, {Faults: Faults{Expiring: Amount{N: 1}}}, {Protocol: 2, ExpiringIn: -time.Second}} {
		if o.Validate() == nil {
			t.Errorf("%+v is valid", o)
		}
	}
	if err := (Options{Protocol: 2, FIPS: true, Faults: Faults{Expiring: Amount{N: 1}}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestCloseRemovesTheTemporaryFolder(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l, err := Start(t.Context(), Options{Nodes: 1, operatorKey: testKey()})
	if err != nil {
		t.Fatal(err)
	}
	if key, err := os.ReadFile(l.Dir() + "/operator.key"); err != nil || !bytes.Contains(key, []byte("PRIVATE")) {
		t.Fatalf("operator's key: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Dir()); !os.IsNotExist(err) {
		t.Errorf("folder after Close: %v, want none", err)
	}
}
