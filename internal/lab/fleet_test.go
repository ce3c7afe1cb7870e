package lab

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"

	"github.com/google/go-cmp/cmp"
)

func TestAmountCountsNodes(t *testing.T) {
	for _, tt := range []struct {
		text  string
		total int
		want  int
	}{
		{"", 50, 0}, {"0", 50, 0}, {"3", 50, 3}, {"60", 50, 50}, {"1%", 50, 1}, {"2%", 50, 1}, {"3%", 50, 2}, {"7%", 100, 7},
		{"29%", 100, 29}, {"40%", 50, 20}, {"100%", 50, 50}, {"0.1%", 50, 1}, {"0%", 50, 0}, {"2.5%", 1000, 25}, {"5%", 0, 0},
	} {
		a, err := ParseAmount(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		if got := a.Of(tt.total); got != tt.want {
			t.Errorf("%q of %d is %d, want %d", tt.text, tt.total, got, tt.want)
		}
	}
	for _, text := range []string{"x", "-1", "-1%", "101%", "1.5", "%", "NaN%", "Inf%", "1e3", " 1", "99999999999", "=", "rack=", "=r1"} {
		if a, err := ParseAmount(text); err == nil {
			t.Errorf("%q was read as %v", text, a)
		}
	}
}

func FuzzParseAmount(f *testing.F) {
	for _, text := range []string{"", "3", "5%", "0.001%", "100%", "1e-9%", "rack=fra1-r01"} {
		f.Add(text, 50)
	}
	f.Fuzz(func(t *testing.T, text string, total int) {
		a, err := ParseAmount(text)
		if err != nil {
			return
		}
		if got := a.Of(total); got < 0 || got > max(total, 0) {
			t.Errorf("%q of %d is %d", text, total, got)
		}
		if again, err := ParseAmount(a.String()); err != nil || math.Abs(again.N-a.N) > 0 || again.Percent != a.Percent || again.Fact != a.Fact || again.Value != a.Value {
			t.Errorf("%q becomes %q, which is %v, %v", text, a, again, err)
		}
	})
}

// A fault of a whole rack has exactly its nodes, and counts take theirs from the others.
func TestFaultsByAFact(t *testing.T) {
	o := Options{Nodes: 40, Seed: 3, Upgradable: Amount{Fact: "site", Value: "nyc1"}, Faults: Faults{
		Silent: Amount{Fact: "rack", Value: "fra1-r01"}, Refuse: Amount{N: 50, Percent: true}, UpdateFail: Amount{Fact: "os.family", Value: "Debian"},
	}}.withDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	refusing := 0
	for _, b := range design(o) {
		if b.upgradable != (b.site.name == "nyc1") {
			t.Errorf("%s in %s: upgradable is %v", b.identity, b.site.name, b.upgradable)
		}
		if (b.fault == Silent) != (b.rack == "fra1-r01") {
			t.Errorf("%s in %s has the fault %q", b.identity, b.rack, b.fault)
		}
		if b.fault != Silent && (b.fault == UpdateFail) != (b.fact("os.family") == "Debian") {
			t.Errorf("%s of %v has the fault %q", b.identity, b.fact("os.family"), b.fault)
		}
		if b.fault == Refuse {
			refusing++
		}
	}
	if refusing != 20 {
		t.Errorf("%d nodes refuse, want 20", refusing)
	}
	for want, wrong := range map[string]Options{
		"no node of this fleet has that fact": {Faults: Faults{Silent: Amount{Fact: "rack", Value: "nowhere"}}},
		"upgradable rack=nowhere":             {Upgradable: Amount{Fact: "rack", Value: "nowhere"}},
		"nodes are left for it":               {Faults: Faults{Slow: Amount{Fact: "kernel", Value: "Linux"}, Refuse: Amount{N: 1}}},
		"only servers of protocol 2":          {Faults: Faults{Expiring: Amount{Fact: "site", Value: "nyc1"}}},
	} {
		if err := wrong.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", wrong.Faults, err, want)
		}
	}
}

func TestStatesAndFaultsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for s := range Down + 1 {
		if name := s.String(); name == "" || seen[name] || strings.Contains(name, "(") != (s == 0) {
			t.Errorf("state %d is called %q", s, name)
		} else {
			seen[name] = true
		}
	}
	for f := range UpdateBroken + 2 {
		if name := f.String(); (name == "") != (f == NoFault) || strings.Contains(name, "(") != (f > UpdateBroken) {
			t.Errorf("fault %d is called %q", f, name)
		}
	}
}

func TestFleetLooksLikeOne(t *testing.T) {
	o := Options{Nodes: 500, Seed: 5, Upgradable: Amount{N: 40, Percent: true}, Faults: Faults{
		Silent: Amount{N: 1, Percent: true}, Refuse: Amount{N: 2, Percent: true}, Slow: Amount{N: 5, Percent: true},
		NoReturn: Amount{N: 0.1, Percent: true}, Duplicate: Amount{N: 7}, Forge: Amount{N: 1},
	}}
	fleet := design(o)
	names, ranks := map[string]bool{}, map[int]bool{}
	counts := map[string]int{}
	for _, b := range fleet {
		if err := choria.CheckIdentity(b.identity); err != nil {
			t.Errorf("%s: %v", b.identity, err)
		}
		if strings.ContainsAny(b.identity, "_ ") || strings.Count(b.identity, ".") < 2 || b.identity != strings.ToLower(b.identity) {
			t.Errorf("%q does not look like a host name", b.identity)
		}
		names[b.identity], ranks[b.rank] = true, true
		counts[b.role]++
		counts[b.site.country]++
		counts["racks "+b.rack]++
		counts["version "+b.version]++
		counts["fault "+b.fault.String()]++
		if b.upgradable {
			counts["upgradable"]++
		}
		var facts struct {
			Country, Site, Rack, Role string
			OS                        struct {
				Family  string
				Release struct{ Major string }
			}
			Networking struct{ FQDN string }
		}
		if err := json.Unmarshal(b.facts, &facts); err != nil {
			t.Fatal(err)
		}
		if facts.Networking.FQDN != b.identity || facts.Role != b.role || facts.Rack != b.rack || facts.OS.Family == "" || facts.OS.Release.Major == "" {
			t.Errorf("facts of %s: %s", b.identity, b.facts)
		}
		if counts["racks "+b.rack] > rackSize {
			t.Errorf("rack %s is overfull", b.rack)
		}
	}
	if len(names) != 500 || len(ranks) != 500 {
		t.Errorf("%d names, %d ranks, want 500 of each", len(names), len(ranks))
	}
	want := map[string]int{
		"web": 200, "upgradable": 200, "fault silent": 5, "fault refuse": 10, "fault slow": 25, "fault no-return": 1,
		"fault duplicate": 7, "fault forge": 1, "fault ": 451, "mt": 125,
	}
	for key, n := range want {
		if counts[key] != n {
			t.Errorf("%q: %d, want %d", key, counts[key], n)
		}
	}
	for _, v := range versions {
		if counts["version "+v] == 0 {
			t.Errorf("no node runs %s", v)
		}
	}
	if got := design(o); fmt.Sprint(got) != fmt.Sprint(fleet) {
		t.Error("equal options made another fleet")
	}
	o.Seed++
	if got := design(o); fmt.Sprint(got) == fmt.Sprint(fleet) {
		t.Error("another seed made the same fleet")
	}
}

func TestFactsAreFoundByPath(t *testing.T) {
	b := design(Options{Nodes: 1, Version: "9.9.9"})[0]
	got := map[string]any{}
	for _, path := range []string{"role", "os.release.major", "tags.0", "tags.1", "tags.2", "tags.x", "tags.#", "role.x", "nosuch", "networking.fqdn"} {
		got[path] = b.fact(path)
	}
	want := map[string]any{
		"role": "web", "os.release.major": got["os.release.major"], "tags.0": "web", "tags.1": "mt", "tags.2": nil, "tags.x": nil,
		"tags.#": 2, "role.x": nil, "nosuch": nil, "networking.fqdn": b.identity,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got["os.release.major"] == nil || b.version != "9.9.9" {
		t.Errorf("release %v, version %s", got["os.release.major"], b.version)
	}
}

func TestFaultsAreWhatTheySay(t *testing.T) {
	one := Amount{N: 1}
	o := Options{Nodes: 12, Faults: Faults{Silent: one, Refuse: one, Slow: one, NoReturn: one, Duplicate: one, Forge: one}}
	inVirtualTime(t, o, func(t *testing.T, l *Lab, c *client) {
		with := func(f Fault) string { return pick(t, l, func(n NodeInfo) bool { return n.Fault == f }) }
		restart := func(node string) ask {
			return ask{agent: "choria_provision", action: "restart", data: `{"token":"s3cret","splay":1}`, nodes: []string{node}}
		}
		c.silent(restart(with(Silent)))
		if r := c.one(with(Silent), "rpcutil", "ping", ""); r.rpc.StatusCode != choria.OK {
			t.Errorf("silent node refuses rpcutil: %q", r.text)
		}
		if info, _ := l.Node(with(Silent)); info.State != Up || l.Received(info.Identity, "choria_provision", "restart") != 1 {
			t.Errorf("silent node: %+v", info)
		}
		if r := c.one(with(Refuse), "choria_provision", "restart", `{"token":"s3cret"}`); r.rpc.StatusCode != choria.Aborted || r.text != "You are not authorized to call this agent or action" {
			t.Errorf("refusing node: %d %q", r.rpc.StatusCode, r.text)
		}
		began := time.Now()
		if c.one(with(Slow), "rpcutil", "ping", ""); time.Since(began) < slowBy {
			t.Errorf("slow node answered after %v", time.Since(began))
		}
		c.one(with(NoReturn), "choria_provision", "restart", `{"token":"s3cret"}`)
		if err := l.Await(t.Context(), with(NoReturn), Down); err != nil {
			t.Fatal(err)
		}
		if got := c.collect(c.publish(restart(with(Duplicate))), -1, 2*time.Second); len(got) != 2 || got[0].text != got[1].text || got[0].err != nil {
			t.Errorf("duplicating node: %+v", got)
		}
		checkForgeries(t, l, c, with(Forge))
	})
}

// checkForgeries wants the good reply last, and something wrong with each before it.
func checkForgeries(t *testing.T, l *Lab, c *client, node string) {
	t.Helper()
	got := c.collect(c.publish(ask{agent: "rpcutil", action: "ping", nodes: []string{node}}), -1, 2*time.Second)
	want := 4
	if l.options.Protocol == 2 {
		want = 5
	}
	if len(got) != want {
		t.Fatalf("%d replies, want %d", len(got), want)
	}
	good := got[len(got)-1]
	if good.err != nil || good.sender != node || good.rpc.StatusCode != choria.OK {
		t.Errorf("last reply is not the good one: %+v", good)
	}
	for _, r := range got[:len(got)-1] {
		if _, known := l.Node(r.sender); r.err == nil && known && r.id == good.id {
			t.Errorf("forged reply has nothing wrong: %+v", r)
		}
		if r.err == nil && r.text != forgedText {
			t.Errorf("forged reply says %q", r.text)
		}
	}
}

func FuzzDecoderAcceptsNothingUnsigned(f *testing.F) {
	l := &Lab{options: Options{}.withDefaults()}
	l.log = l.options.Logger
	creds, err := newCredentials(l.options)
	if err != nil {
		f.Fatal(err)
	}
	l.creds, l.verifier = creds, newVerifier(creds)
	f.Add([]byte(`{"protocol":"choria:transport:1","data":"e30=","headers":{}}`))
	f.Add([]byte(`{"protocol":"io.choria.protocol.v2.transport","data":"e30=","headers":{}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		d := &decoder{lab: l}
		if a := d.decode(payload); !a.unreadable && !a.rejected {
			t.Errorf("accepted %q", payload)
		}
	})
}
