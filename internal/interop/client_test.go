//go:build unix

package interop

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// filters are the ways to name nodes, each understood by both clients.
var filters = [][]string{
	{},
	{"-F", "country=mt"},
	{"-F", "country!=mt"},
	{"-F", "country=/m./"},
	{"-F", "country=~^(mt|us)$"},
	{"-F", "memorymb>=3000"},
	{"-F", "memorymb<2048"},
	{"-F", "virtual=true"},
	{"-F", "os.family=redhat", "-F", "os.release.major=8"},
	{"-F", "nosuch=1"},
	{"-C", "role::web"},
	{"-C", "/^ROLE::D/"},
	{"-C", "common", "-C", "country::us"},
	{"-A", "choria_provision"},
	{"-A", "/^rpc/"},
	{"-A", "nosuch"},
	{"-I", "srv-03.example.net"},
	{"-I", "/srv-0[1-3]/"},
	{"-I", "srv-01.example.net", "-I", "/srv-0[45]/"},
	{"-I", "/srv-0[1-3]/", "-F", "country=mt"},
	{"-W", "role::web country=mt"},
	{"-W", "country=us /db/"},
	{"-S", `with("role::web") and fact("country") == "mt"`},
	{"-S", `with("country=mt") and not with("role::web")`},
	{"-S", `fact("memorymb") > 3000`},
	{"-S", `include(fact("tags"), "db")`},
	{"-S", `semver(fact("os.release.major"), ">= 8")`},
	{"-T", "mt_collective"},
	{"-T", "mt_collective", "-F", "role=web"},
}

// TestOurClientOnARealNetwork walks from what only reads to what ends servers; the order matters.
func TestOurClientOnARealNetwork(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		net := startNetwork(t, version, 6)
		t.Logf("%schoria %s", fleetctl(t, "version").Stdout, run(t, net.dir, environment(net.dir), net.choria, "--version").Stderr)
		t.Run("filters select the same nodes", net.testFilters)
		t.Run("facts", net.testFacts)
		t.Run("flags do the same", net.testFlags)
		t.Run("ping", net.testPing)
		t.Run("absent nodes are known at once", net.testAbsent)
		t.Run("inventory has the same layout", net.testInventory)
		t.Run("the fleet is counted", net.testFleet)
		t.Run("documents have the same shape", net.testDocuments)
		t.Run("senders are the same", net.testSenders)
		t.Run("credentials are refused in words", net.testCredentials)
		t.Run("a frozen server is no reply", net.testFrozenServer)
		t.Run("a wrong token is refused and restarts nothing", net.testWrongToken)
		t.Run("restart in batches", net.testRestart)
		t.Run("reprovision", net.testReprovision)
		t.Run("shutdown", net.testShutdown)
	})
}

func (n *network) testFilters(t *testing.T) {
	for _, p := range n.Both(t, [2][]string{{"find", "--json"}, {"discover", "--json"}}, filters) {
		want := names(t, p.theirs)
		if p.theirs.Code != 0 || len(p.args) == 0 && len(want) != len(n.Nodes) {
			t.Errorf("%q: choria itself ends with %d and finds %q\n%s", p.args, p.theirs.Code, want, p.theirs.Stderr)
		}
		if diff := cmp.Diff(want, names(t, p.ours)); diff != "" {
			t.Errorf("%q: nodes (-choria +fleetctl)\n%s%s", p.args, diff, p.ours.Stderr)
		}
		wantCode := 0
		if len(want) == 0 {
			wantCode = 8
		}
		if p.ours.Code != wantCode {
			t.Errorf("%q: exit %d, want %d\n%s", p.args, p.ours.Code, wantCode, p.ours.Stderr)
		}
	}
}

func (n *network) testPing(t *testing.T) {
	res := n.Fleetctl(t, "ping")
	for _, node := range n.Nodes {
		if !strings.Contains(res.Stdout, node) {
			t.Errorf("ping does not show %s\n%s%s", node, res.Stdout, res.Stderr)
		}
	}
	if res.Code != 0 {
		t.Errorf("exit %d, want 0\n%s", res.Code, res.Stderr)
	}
}

// A name that no server has: the broker says so at once, and the nodes that are there answer once.
func (n *network) testAbsent(t *testing.T) {
	const ghost = "nosuch.example.net"
	here := n.Nodes[:2]
	for _, args := range [][]string{
		{"inventory", ghost},
		{"ping", "-I", here[0], "-I", here[1], "-I", ghost},
		{"facts", "country", "-I", here[0], "-I", ghost},
		{"inventory", "-I", here[0], "-I", ghost},
		{"inventory", "--collectives", "-I", here[0], "-I", ghost},
	} {
		began := time.Now()
		res := n.Fleetctl(t, args...)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%q: took %v, want less than any wait for replies", args, took)
		}
		if res.Code != 4 || !strings.Contains(res.Stderr, "not connected") {
			t.Errorf("%q: exit %d, want 4\n%s%s", args, res.Code, res.Stdout, res.Stderr)
		}
		for _, node := range here {
			if args[0] == "ping" && strings.Count(res.Stdout, node) != 1 {
				t.Errorf("ping by name does not show %s once\n%s%s", node, res.Stdout, res.Stderr)
			}
		}
	}
	if res := n.Fleetctl(t, "ping", "-I", here[0], "-I", here[1]); res.Code != 0 || strings.Contains(res.Stderr, "believed") {
		t.Errorf("ping by name: exit %d, want 0\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
}

func (n *network) testInventory(t *testing.T) {
	for i, node := range n.Nodes[:2] {
		want := n.Run(t, "inventory", node)
		got := n.Fleetctl(t, "inventory", node)
		if diff := cmp.Diff(layout(want.Stdout), layout(got.Stdout)); diff != "" {
			t.Errorf("inventory %s (-choria +fleetctl)\n%s%s", node, diff, got.Stderr)
		}
		if upgradable := strings.Contains(got.Stdout, "(upgradable during provisioning)"); upgradable != (i == 0) {
			t.Errorf("inventory %s says upgradable %v, want %v", node, upgradable, i == 0)
		}
	}
	if res := n.Fleetctl(t, "inventory", "nosuch.example.net"); res.Code != 4 {
		t.Errorf("inventory of a node that is not there: exit %d, want 4\n%s", res.Code, res.Stderr)
	}
}

// requests are RPC requests that change nothing, or are refused.
var requests = [][]string{
	{"rpcutil", "ping"},
	{"rpcutil", "ping", "-F", "country=mt"},
	{"rpcutil", "inventory"},
	{"rpcutil", "daemon_stats"},
	{"rpcutil", "collective_info"},
	{"rpcutil", "get_fact", "fact=country"},
	{"rpcutil", "get_fact", "fact=nosuch", "-I", "srv-01.example.net"},
	{"rpcutil", "get_config_item", "item=nosuch"},
	{"choria_util", "machine_states"},
	{"choria_provision", "restart", "token=wrong-sauce"},
	{"choria_provision", "jwt", "token=s3cret"},
}

func (n *network) testDocuments(t *testing.T) {
	verb := []string{"req", "--json", "--np"}
	for _, p := range n.Both(t, [2][]string{verb, verb}, requests) {
		if diff := cmp.Diff(essence(t, p.theirs), essence(t, p.ours)); diff != "" {
			t.Errorf("%q: document (-choria +fleetctl)\n%s", p.args, diff)
		}
		if diff := cmp.Diff(keyOrder(t, p.theirs), keyOrder(t, p.ours)); diff != "" {
			t.Errorf("%q: keys as written (-choria +fleetctl)\n%s", p.args, diff)
		}
	}
}

func (n *network) testSenders(t *testing.T) {
	theirs, ours := n.Run(t, "req", "rpcutil", "ping", "--senders", "--json", "--np"), n.Fleetctl(t, "req", "rpcutil", "ping", "--senders", "--json", "--np")
	if diff := cmp.Diff(names(t, theirs), names(t, ours)); diff != "" {
		t.Errorf("--senders --json (-choria +fleetctl)\n%s", diff)
	}
	res := n.Fleetctl(t, "req", "rpcutil", "ping", "--senders", "--np")
	lines := strings.Fields(res.Stdout)
	slices.Sort(lines)
	if diff := cmp.Diff(n.Nodes, lines); diff != "" {
		t.Errorf("--senders (-want +got)\n%s%s", diff, res.Stderr)
	}
}

func (n *network) testCredentials(t *testing.T) {
	stranger := *n
	stranger.dir, stranger.ca = t.TempDir(), newAuthority(t, "another CA")
	write(t, stranger.path("ca.pem"), stranger.ca.pem)
	configs := map[string]string{"another CA": stranger.writeClient(t, "client", time.Hour)}
	words := map[string]string{"another CA": "certificate"}
	if n.version == 2 {
		configs["expired token"], words["expired token"] = n.writeClient(t, "expired", -time.Hour), "expired"
	}
	for what, config := range configs {
		began := time.Now()
		res := n.Fleetctl(t, "ping", "--config", config, "--connect-timeout", "5")
		if res.Code != 9 || !strings.Contains(res.Stderr, words[what]) {
			t.Errorf("%s: exit %d, want 9 and the word %q\n%s", what, res.Code, words[what], res.Stderr)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v, more than the connect timeout", what, took)
		}
	}
}

func (n *network) testFrozenServer(t *testing.T) {
	frozen := n.Nodes[5]
	n.StopServer(t, frozen)
	defer n.ContServer(t, frozen)
	res := n.Fleetctl(t, "req", "rpcutil", "ping", "--json", "--np", "-I", n.Nodes[0], "-I", frozen)
	var doc document
	decode(t, res, &doc)
	if res.Code != 4 {
		t.Errorf("exit %d, want 4\n%s", res.Code, res.Stderr)
	}
	if diff := cmp.Diff([]string{frozen}, doc.Stats.NoResponses); diff != "" {
		t.Errorf("no_responses (-want +got)\n%s", diff)
	}
	if got := doc.Run.States["no-reply"]; got != 1 {
		t.Errorf("%d nodes are no-reply, want 1", got)
	}
}

func (n *network) testWrongToken(t *testing.T) {
	before := n.starts(t)
	res := n.Fleetctl(t, "req", "choria_provision", "restart", "token=wrong-sauce", "--json", "--np")
	var doc document
	decode(t, res, &doc)
	if res.Code != 3 || doc.Stats.Failed != len(n.Nodes) || doc.Run.States["refused"] != len(n.Nodes) {
		t.Errorf("exit %d, failed %d, refused %d, want exit 3 and all nodes\n%s", res.Code, doc.Stats.Failed, doc.Run.States["refused"], res.Stderr)
	}
	for _, reply := range doc.Replies {
		if want := "Incorrect provision token supplied"; reply.StatusMsg != want {
			t.Errorf("%s says %q, want %q", reply.Sender, reply.StatusMsg, want)
		}
	}
	// In batches, the first shows that the token is wrong.
	res = n.Fleetctl(t, "req", "choria_provision", "restart", "token=wrong-sauce", "--json", "--np", "--batch", "2", "--batch-sleep", "0")
	var batched document
	decode(t, res, &batched)
	if res.Code != 5 || len(batched.Replies) != 2 || batched.Run.States["not-sent"] != len(n.Nodes)-2 {
		t.Errorf("in batches: exit %d, %d replies, %d not sent, want 5, 2 and the rest\n%s", res.Code, len(batched.Replies), batched.Run.States["not-sent"], res.Stderr)
	}
	if strings.Contains(res.Stdout+res.Stderr, "wrong-sauce") {
		t.Errorf("the token is shown\n%s%s", res.Stdout, res.Stderr)
	}
	if diff := cmp.Diff(before, n.starts(t)); diff != "" {
		t.Errorf("servers restarted (-before +after)\n%s", diff)
	}
}

func (n *network) starts(t *testing.T) map[string]int {
	t.Helper()
	starts := map[string]int{}
	for _, node := range n.Nodes {
		starts[node] = n.Starts(t, node)
	}
	return starts
}

func (n *network) testRestart(t *testing.T) {
	before := n.starts(t)
	res := n.Fleetctl(t, "req", "choria_provision", "restart", "token="+provisionToken, "splay=1", "--batch", "2", "--batch-sleep", "1", "--json", "--np")
	var doc document
	decode(t, res, &doc)
	if res.Code != 0 || doc.Stats.OK != len(n.Nodes) || len(doc.Run.Batches) != 3 {
		t.Fatalf("exit %d, ok %d, %d batches, want 0, %d, 3\n%s", res.Code, doc.Stats.OK, len(doc.Run.Batches), len(n.Nodes), res.Stderr)
	}
	if doc.Run.States["verified"] != len(n.Nodes) {
		t.Errorf("states %v, want all verified", doc.Run.States)
	}
	for _, node := range n.Nodes {
		before[node]++
		n.AwaitStarts(t, node, before[node])
	}
	if diff := cmp.Diff(before, n.starts(t)); diff != "" {
		t.Errorf("starts (-want +got)\n%s", diff)
	}
}

func (n *network) testReprovision(t *testing.T) {
	starts := n.Starts(t, n.Nodes[1])
	var flags []string
	if !n.hostNames {
		flags = append(flags, "--no-verify") // all servers in provisioning mode would be one host, and none of ours
	}
	res, doc := n.act(t, n.Nodes[1], "reprovision", flags...)
	n.wantAccepted(t, n.Nodes[1], res, doc, `^Restarting after \d+s$`)
	n.AwaitStarts(t, n.Nodes[1], starts+1)
	if got := names(t, n.Run(t, "find", "--json")); slices.Contains(got, n.Nodes[1]) {
		t.Errorf("%s is still in the collective", n.Nodes[1])
	}
}

// testShutdown takes silence for an answer: a server whose random delay is 0 s, one in ten, is gone before its reply is sent.
func (n *network) testShutdown(t *testing.T) {
	node := n.Nodes[2]
	res, doc := n.act(t, node, "shutdown")
	if len(doc.Replies) == 0 && (res.Code == 0 || res.Code == 4) {
		t.Logf("%s went without a reply", node)
	} else {
		n.wantAccepted(t, node, res, doc, `^Shutting Choria Server down after \d+s$`)
	}
	if code := n.AwaitExit(t, node); code != 0 {
		t.Errorf("%s ended with %d, want 0", node, code)
	}
}

// act sends a provisioning action to one node.
func (n *network) act(t *testing.T, node, action string, flags ...string) (result, document) {
	t.Helper()
	args := []string{"req", "choria_provision", action, "token=" + provisionToken, "-I", node, "--yes", "--json", "--np"}
	res := n.Fleetctl(t, append(args, flags...)...)
	var doc document
	decode(t, res, &doc)
	return res, doc
}

// wantAccepted wants one reply, with a message like that, and exit code 0.
func (n *network) wantAccepted(t *testing.T, node string, res result, doc document, message string) {
	t.Helper()
	if res.Code != 0 || len(doc.Replies) != 1 {
		t.Fatalf("exit %d, %d replies, want 0 and 1\n%s%s\n%s", res.Code, len(doc.Replies), res.Stdout, res.Stderr, n.lastWords(node))
	}
	var data struct{ Message string }
	decode(t, result{Stdout: string(doc.Replies[0].Data)}, &data)
	if !regexp.MustCompile(message).MatchString(data.Message) {
		t.Errorf("message %q, want %s", data.Message, message)
	}
}
