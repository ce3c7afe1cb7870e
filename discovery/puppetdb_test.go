package discovery

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"fleetctl/internal/filter"

	"github.com/google/go-cmp/cmp"
)

// authority issues certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	c := a.issue(t, name, template)
	a.cert, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	a.pool = x509.NewCertPool()
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate; an authority without one signs its own.
func (a *authority) issue(t *testing.T, name string, c *x509.Certificate, hosts ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter, c.DNSNames = time.Now().Add(-time.Hour), time.Now().Add(time.Hour), hosts
	signer, parent := a.key, a.cert
	if signer == nil {
		signer, parent = key, c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// pdbServer is a PuppetDB over TLS that demands a client's certificate.
type pdbServer struct {
	*httptest.Server
	ca    *authority
	nodes []pdbNode
	asked atomic.Int64
	posts atomic.Int64
	// answer replaces the evaluation.
	answer func(http.ResponseWriter, *http.Request)
}

func newPDB(t *testing.T, nodes []pdbNode) *pdbServer {
	t.Helper()
	s := &pdbServer{ca: newAuthority(t, "Puppet CA"), nodes: nodes}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Server.TLS = &tls.Config{
		Certificates: []tls.Certificate{s.ca.issue(t, "localhost", &x509.Certificate{}, "localhost")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: s.ca.pool,
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP evaluates the query over the nodes.
func (s *pdbServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	if s.answer != nil {
		s.answer(w, r)
		return
	}
	if len(r.RequestURI) > 8000 {
		http.Error(w, "URI Too Long", http.StatusRequestURITooLong)
		return
	}
	if r.URL.Path != "/pdb/query/v4" {
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query().Get("query")
	if r.Method == http.MethodPost {
		s.posts.Add(1)
		var body struct{ Query string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "bad body", http.StatusBadRequest)
			return
		}
		query = body.Query
	}
	q, _, err := parsePQL(query, s.nodes)
	if err == nil && (q.entity != "nodes" || !slices.Equal(q.fields, []string{"certname", "deactivated"})) {
		err = errors.New("the test's PuppetDB answers nodes[certname, deactivated] only")
	}
	var names []string
	if err == nil {
		names, err = q.run(s.nodes)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	rows := []map[string]any{}
	for _, n := range names {
		rows = append(rows, map[string]any{"certname": n, "deactivated": nil})
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(rows); err != nil {
		panic(err)
	}
}

// source is a client with a good certificate.
func (s *pdbServer) source(t *testing.T) PuppetDBServer {
	t.Helper()
	return PuppetDBServer{Host: "localhost", Port: s.port(t), TLS: &tls.Config{
		RootCAs: s.ca.pool, Certificates: []tls.Certificate{s.ca.issue(t, "rip.mcollective", &x509.Certificate{})},
	}}
}

func (s *pdbServer) port(t *testing.T) int {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func collectives(names ...any) map[string]any {
	return map[string]any{"server": map[string]any{"collectives": names}}
}

// pdbFleet is what was loaded into the real PuppetDB too.
func pdbFleet() []pdbNode {
	return []pdbNode{
		{certname: "web1.ams.example.net", classes: []string{"Apache", "Roles::Web", "Choria::Service"}, agents: []string{"puppet", "choria_provision"},
			facts: map[string]any{"country": "nl", "cpus": 4.0, "load": 1.5, "virtual": true, "os": map[string]any{"family": "RedHat"}, "motto": `say "hi" \d`, "mcollective": collectives("mcollective", "ams")}},
		{certname: "web2.ams.example.net", classes: []string{"Apache", "Mcollective::Service"}, agents: []string{"puppet"},
			facts: map[string]any{"country": "NL", "cpus": 8.0, "load": 2.0, "virtual": "true", "os": map[string]any{"family": "Debian"}, "motto": "plain", "mcollective": collectives("mcollective", "ams")}},
		{certname: "db1.lon.example.net", classes: []string{"Postgresql::Server", "Choria::Service"}, agents: []string{"package"},
			facts: map[string]any{"country": "gb", "cpus": "8", "load": 0.5, "virtual": false, "os": map[string]any{"family": "RedHat"}, "motto": "it's", "mcollective": collectives("mcollective")}},
		{certname: "db2.lon.example.net", classes: []string{"Postgresql"},
			facts: map[string]any{"cpus": 16.0, "os": map[string]any{"family": "RedHat"}, "mcollective": collectives("mcollective")}},
		{certname: "old.lon.example.net", deactivated: "2026-11-22T13:08:22.294Z", classes: []string{"Apache"}, agents: []string{"puppet"},
			facts: map[string]any{"country": "gb", "cpus": 8.0, "os": map[string]any{"family": "RedHat"}, "mcollective": collectives("mcollective")}},
		{certname: "lonely.example.net", facts: map[string]any{"country": "mt", "mcollective": collectives("other")}},
	}
}

// pdbCases are filters and the nodes of pdbFleet that they find in the collective mcollective.
var pdbCases = []struct {
	name, want string
	flags      filter.Flags
	agent      string
}{
	{name: "nothing", want: "db1 db2 web1 web2"},
	{name: "identity regex in any case", flags: filter.Flags{Identities: []string{"/^WEB/"}}, want: "web1 web2"},
	{name: "regex with escapes", flags: filter.Flags{Identities: []string{`/^\w+[12]\.(ams|LON)\./`}}, want: "db1 db2 web1 web2"},
	{name: "regex with digits", flags: filter.Flags{Identities: []string{`/b\d\.lon/`}}, want: "db1 db2"},
	{name: "regex with a range", flags: filter.Flags{Identities: []string{`/^[A-D]/`}}, want: "db1 db2"},
	{name: "regex with a class", flags: filter.Flags{Identities: []string{`/^[[:alpha:]]b1/`}}, want: "db1"},
	{name: "negated class", flags: filter.Flags{Identities: []string{`/^[^dD]/`}}, want: "web1 web2"},
	{name: "identities are one of", flags: filter.Flags{Identities: []string{"/^web1/", "db2.lon.example.net"}}, want: "db2 web1"},
	{name: "identity and fact", flags: filter.Flags{Identities: []string{"web1.ams.example.net", "db1.lon.example.net"}, Facts: []string{"country=nl"}}, want: "web1"},
	{name: "many identities", flags: filter.Flags{Identities: []string{"/^db2/", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "a10", "web1.ams.example.net"}}, want: "db2 web1"},
	{name: "query", flags: filter.Flags{Identities: []string{`pql:  inventory[certname] { facts.os.family = "Debian" }`}}, want: "web2"},
	{name: "query or regex", flags: filter.Flags{Identities: []string{`pql:nodes[certname] { certname ~ "db2" }`, "/web1/"}}, want: "db2 web1"},
	{name: "class", flags: filter.Flags{Classes: []string{"apache"}}, want: "web1 web2"},
	{name: "class of a module", flags: filter.Flags{Classes: []string{"postgresql::SERVER"}}, want: "db1"},
	{name: "class regex", flags: filter.Flags{Classes: []string{"/^postgres/"}}, want: "db1 db2"},
	{name: "all classes", flags: filter.Flags{Classes: []string{"apache", "roles::web"}}, want: "web1"},
	{name: "agent", flags: filter.Flags{Agents: []string{"puppet"}}, want: "web1 web2"},
	{name: "the called agent", agent: "package", want: "db1"},
	{name: "built-in agent", agent: "rpcutil", want: "db1 web1 web2"},
	{name: "built-in agent and another", agent: "choria_util", flags: filter.Flags{Agents: []string{"choria_provision"}}, want: "web1"},
	{name: "agent regex", flags: filter.Flags{Agents: []string{"/P.ck/"}}, want: "db1"},
	{name: "fact", flags: filter.Flags{Facts: []string{"country=nl"}}, want: "web1"},
	{name: "fact differs", flags: filter.Flags{Facts: []string{"country!=nl"}}, want: "db1 db2 web2"},
	{name: "fact regex", flags: filter.Flags{Facts: []string{"country=/^nl$/"}}, want: "web1 web2"},
	{name: "fact regex with the word for any case", flags: filter.Flags{Facts: []string{"country=~(?i)NL"}}, want: "web1 web2"},
	{name: "nested fact", flags: filter.Flags{Facts: []string{"os.family=RedHat"}}, want: "db1 db2 web1"},
	{name: "number, or its text", flags: filter.Flags{Facts: []string{"cpus=8"}}, want: "db1 web2"},
	{name: "not the number", flags: filter.Flags{Facts: []string{"cpus!=8"}}, want: "db2 web1"},
	{name: "number spelled otherwise", flags: filter.Flags{Facts: []string{"cpus=1.6e1"}}, want: "db2"},
	{name: "number that PQL cannot spell so", flags: filter.Flags{Facts: []string{"cpus=16e0"}}, want: "db2"},
	{name: "no number", flags: filter.Flags{Facts: []string{"cpus=inf"}}, want: ""},
	{name: "at least", flags: filter.Flags{Facts: []string{"load>=1.5"}}, want: "web1 web2"},
	{name: "above", flags: filter.Flags{Facts: []string{"load>1.5"}}, want: "web2"},
	{name: "below, where PuppetDB puts texts before all numbers", flags: filter.Flags{Facts: []string{"cpus<8"}}, want: "db1 web1"},
	{name: "above, where objects come after all numbers", flags: filter.Flags{Facts: []string{"os>8", "load>1"}}, want: "web1 web2"},
	{name: "above a negative", flags: filter.Flags{Facts: []string{"cpus>-1"}}, want: "db2 web1 web2"},
	{name: "truth, or its text", flags: filter.Flags{Facts: []string{"virtual=true"}}, want: "web1 web2"},
	{name: "falsehood", flags: filter.Flags{Facts: []string{"virtual=false"}}, want: "db1"},
	{name: "quotes and backslashes", flags: filter.Flags{Facts: []string{`motto=say "hi" \d`}}, want: "web1"},
	{name: "single quote", flags: filter.Flags{Facts: []string{`motto=it's`}}, want: "db1"},
	{name: "an attempt to end the text", flags: filter.Flags{Facts: []string{`country=x") or (certname ~ ".`}}, want: ""},
	{name: "quoted part of a fact", flags: filter.Flags{Facts: []string{`"os".family=Debian`}}, want: "web2"},
	{name: "member of a list", flags: filter.Flags{Facts: []string{`mcollective.server.collectives.match("\d+")=ams`}}, want: "web1 web2"},
	{name: "indexed member", flags: filter.Flags{Facts: []string{`mcollective.server.collectives[1]=ams`}}, want: "web1 web2"},
	{name: "everything", flags: filter.Flags{Facts: []string{"country=nl", "cpus>2"}, Classes: []string{"/apache/"}, Agents: []string{"puppet"}, Identities: []string{"/1/"}}, want: "web1"},
}

func TestPuppetDBEvaluates(t *testing.T) {
	s := newPDB(t, pdbFleet())
	source := newPuppetDB(s.source(t))
	for _, tt := range pdbCases {
		t.Run(tt.name, func(t *testing.T) {
			f, err := filter.Parse(tt.flags)
			if err != nil && !strings.Contains(tt.name, "attempt") {
				t.Fatal(err)
			}
			if err != nil { // the filter's own refusals stand before ours
				f = filter.Filter{Facts: []filter.Fact{{Name: "country", Operator: "==", Value: `x") or (certname ~ ".`}}}
			}
			got, err := source.Discover(t.Context(), Query{Filter: f, Collective: "mcollective", Agent: tt.agent})
			var short []string
			for _, n := range got.Nodes {
				name, _, _ := strings.Cut(n, ".")
				short = append(short, name)
			}
			if err != nil || strings.Join(short, " ") != tt.want || got.Method != MethodPuppetDB {
				t.Errorf("Discover = %q (%s), %v; want %q", short, got.Method, err, tt.want)
			}
		})
	}
}

func facts(t *testing.T, texts ...string) []filter.Fact {
	t.Helper()
	var all []filter.Fact
	for _, text := range texts {
		f, err := filter.ParseFact(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return all
}

func TestPuppetDBQuery(t *testing.T) {
	const c = `(certname in inventory[certname] { facts.mcollective.server.collectives.match("\d+") = "mco" })`
	tests := []struct {
		name, want string
		filter     filter.Filter
		agent      string
	}{
		{"nothing", `nodes[certname, deactivated] { ` + c + ` }`, filter.Filter{}, ""},
		{"all kinds", `nodes[certname, deactivated] { ` + c + ` and (certname = "a" or certname ~ "[bB]1" or certname in nodes[certname] { certname ~ "c" })` +
			` and (resources {type = "Class" and title = "Foo_bar::Baz"} and resources {type = "Class" and title ~ "^[rR][oO]"})` +
			` and (resources {type = "File" and tag = "mcollective_agent_puppet_server"} and resources {type = "File" and tag ~ "mcollective_agent_.*?[pP].*?_server"} and ` +
			`(resources {type = "Class" and title = "Choria::Service"} or resources {type = "Class" and title = "Mcollective::Service"}))` +
			` and (inventory {facts.a.b = "x"} and inventory {facts.n = 1 or facts.n = "1"} and inventory {!(facts.n = true or facts.n = "true")} and inventory {!(facts.n = "y")} and inventory {facts.n <= 1.5} and inventory {facts.n ~ "[xX]"}) }`,
			filter.Filter{
				Identities: []string{"a", "/b1/", "pql:nodes[certname] { certname ~ \"c\" }"}, Classes: []string{"foo_BAR::baz", "/^ro/"}, Agents: []string{"puppet", "/p/"},
				Facts: facts(t, "a.b=x", "n=1", "n!=true", "n!=y", "n<=1.5", "n=/x/"),
			}, "rpcutil"},
		{"many names are a list", `nodes[certname, deactivated] { ` + c + ` and (certname ~ "[xX]" or certname in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]) }`,
			filter.Filter{Identities: []string{"1", "2", "/x/", "3", "4", "5", "6", "7", "8", "9", "10", "11"}}, ""},
	}
	for _, tt := range tests {
		got, err := pqlQuery(Query{Filter: tt.filter, Collective: "mco", Agent: tt.agent})
		if d := cmp.Diff(tt.want, got); err != nil || d != "" {
			t.Errorf("%s: %v, -want +got:\n%s", tt.name, err, d)
		}
	}
}

func TestPuppetDBRefuses(t *testing.T) {
	fact := func(name, op, value string) filter.Filter {
		return filter.Filter{Facts: []filter.Fact{{Name: name, Operator: op, Value: value}}}
	}
	identity := func(id string) filter.Filter { return filter.Filter{Identities: []string{id}} }
	tests := []struct {
		name, want string
		filter     filter.Filter
	}{
		{"compound", "judged by the servers", filter.Filter{Compound: []string{"true"}}},
		{"group", "groups are in inventory files", identity("group:x")},
		{"text above text", "compares numbers only", fact("a", ">", "b")},
		{"infinity", "compares numbers only", fact("a", "<", "inf")},
		{"operator", "no operator", fact("a", "===", "b")},
		{"gjson query", "no fact that it can look up", fact(`a.#(b==c).d`, "==", "1")},
		{"gjson modifier", "no fact that it can look up", fact("@this", "==", "1")},
		{"escaped dot", "no fact that it can look up", fact(`a\.b`, "==", "1")},
		{"fact that ends its query", "no fact that it can look up", fact(`a = 1} or certname ~ "."`, "==", "1")},
		{"blank part", "no fact that it can look up", fact(`a..b`, "==", "1")},
		{"query without an end", `'}' is missing`, identity("pql:nodes[certname] { certname ~ \"(\" ")},
		{"query that ends ours", `closes nothing`, identity("pql:nodes[certname] { x }) or (certname ~ \".\"")},
		{"query with an open quote", `a quote is not closed`, identity("pql:nodes[certname] { certname = \"a }")},
		{"blank query", `there is no query`, identity("pql: ")},
		{"class with a space", "no Puppet class", filter.Filter{Classes: []string{"a b"}}},
		{"class with a hyphen", "no Puppet class", filter.Filter{Classes: []string{"a-b"}}},
		{"anchored agent", "never match", filter.Filter{Agents: []string{"/^rpc/"}}},
		{"word boundary", `\b means something else`, identity(`/\bweb/`)},
		{"property", `\p means something else`, identity(`/\pL/`)},
		{"named group", "groups with (?", identity(`/(?P<x>a)/`)},
		{"range of both cases", "both cases", identity(`/[A-z]/`)},
		{"range over the letters", "letters and beyond", identity(`/[!-~]/`)},
		{"range from an escape", "range", identity(`/[+-\w]/`)},
	}
	s := newPDB(t, nil)
	source := newPuppetDB(s.source(t))
	for _, tt := range tests {
		_, err := source.Discover(t.Context(), Query{Filter: tt.filter, Collective: "mco"})
		e, ok := errors.AsType[*SourceError](err)
		if !ok || e.Kind != Misuse || e.Hint == "" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want a refusal with %q", tt.name, err, tt.want)
		}
	}
	if n := s.asked.Load(); n > 0 {
		t.Errorf("PuppetDB was asked %d times", n)
	}
}

func TestPuppetDBIsNotAskedForNames(t *testing.T) {
	source := newPuppetDB(PuppetDBServer{Host: "127.0.0.1", Port: 1})
	got, err := source.Discover(t.Context(), Query{Agent: "rpcutil", Filter: filter.Filter{Identities: []string{"b", "a10", "a9", "b"}}})
	if d := cmp.Diff(Result{Nodes: []string{"a9", "a10", "b"}, Method: "identities"}, got); err != nil || d != "" {
		t.Errorf("%v, -want +got:\n%s", err, d)
	}
	if _, err := source.Discover(t.Context(), Query{Filter: filter.Filter{Identities: []string{"a*"}}}); err == nil {
		t.Error("a wildcard is a node")
	}
}

func TestPuppetDBTakesLongQueries(t *testing.T) {
	s := newPDB(t, pdbFleet())
	var ids []string
	for i := range 2000 {
		ids = append(ids, fmt.Sprintf("web%d.ams.example.net", i))
	}
	got, err := newPuppetDB(s.source(t)).Discover(t.Context(), Query{Filter: filter.Filter{Identities: ids, Facts: []filter.Fact{{Name: "cpus", Operator: ">", Value: "1"}}}})
	if err != nil || len(got.Nodes) != 2 || s.posts.Load() != 1 {
		t.Errorf("Discover = %q, %v, %d posts; want both web nodes by one", got.Nodes, err, s.posts.Load())
	}
}

func TestPuppetDBReplies(t *testing.T) {
	tests := []struct {
		name, reply, want, fault string
		strange                  int
	}{
		{name: "none", reply: `[]`},
		{name: "every way to say deactivated", reply: `[{"certname":"b","deactivated":null},{"certname":"c","deactivated":true},{"certname":"a","deactivated":false},{"certname":"d","deactivated":"2026-11-22T13:08:22.294Z"},{"certname":"e"},{"certname":"a","deactivated":""}]`, want: "a b e"},
		{name: "sorted, unknown keys", reply: `[{"certname":"a10","x":[1]},{"certname":"a9"}]`, want: "a9 a10"},
		{name: "strange names", reply: `[{"certname":"a"},{"certname":"a b"},{"certname":">"},{"certname":""}]`, want: "a", strange: 3},
		{name: "object", reply: `{"error":"x"}`, fault: "not a JSON array"},
		{name: "page", reply: `<html>`, fault: "invalid character"},
		{name: "empty", reply: ``, fault: "ends too early"},
		{name: "cut", reply: `[{"certname":"a"},`, fault: "ends too early"},
		{name: "cut after a row", reply: `[{"certname":"a"}`, fault: "ends too early"},
		{name: "two values", reply: `[{"certname":"a"}] []`, fault: "more after its end"},
		{name: "other columns", reply: `[{"name":"a"}]`, fault: "row 0 lacks the certname"},
		{name: "null name", reply: `[{"certname":"a"},{"certname":null}]`, fault: "row 1"},
		{name: "number for a name", reply: `[{"certname":5}]`, fault: "certname"},
		{name: "number for deactivated", reply: `[{"certname":"a","deactivated":1}]`, fault: "row 0"},
		{name: "texts", reply: `["a"]`, fault: "string"},
	}
	s := newPDB(t, nil)
	source := newPuppetDB(s.source(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.answer = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.reply) }
			got, err := source.Discover(t.Context(), Query{})
			if tt.fault != "" {
				e, ok := errors.AsType[*SourceError](err)
				if !ok || e.Kind != Fault || !strings.Contains(err.Error(), tt.fault) || len(got.Nodes) > 0 {
					t.Errorf("Discover = %q, %v; want a fault with %q", got.Nodes, err, tt.fault)
				}
				return
			}
			if err != nil || strings.Join(got.Nodes, " ") != tt.want || got.Strange != tt.strange {
				t.Errorf("Discover = %q, %d strange, %v; want %q, %d", got.Nodes, got.Strange, err, tt.want, tt.strange)
			}
		})
	}
}

func TestPuppetDBBoundsTheReply(t *testing.T) {
	reply := "[" + strings.Repeat(`{"certname":"a"},`, 100) + `{"certname":"a"}]`
	if names, _, err := readCertnames(strings.NewReader(reply), int64(len(reply))); err != nil || len(names) != 101 {
		t.Errorf("as long as allowed: %d names, %v", len(names), err)
	}
	if _, _, err := readCertnames(strings.NewReader(reply), int64(len(reply))-1); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("longer than allowed: %v", err)
	}
	if _, _, err := readCertnames(strings.NewReader(`["`+strings.Repeat("a", 1<<20)), 1000); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("one long text: %v", err)
	}
}

func TestPuppetDBSaysNo(t *testing.T) {
	tests := []struct {
		status     int
		text       string
		kind       Kind
		want, hint string
	}{
		{400, "PQL parse error at line 1, column 57:\n\nnodes {\n  ^\n", Misuse, "400 Bad Request: PQL parse error at line 1, column 57: nodes { ^", "does not understand"},
		{403, "denied\x1b[31m", Unreachable, "403 Forbidden: denied [31m", "not allowed"},
		{404, "", Unreachable, "404 Not Found", "not Puppet"},
		{500, strings.Repeat("x", 5000), Unreachable, strings.Repeat("x", 300) + "...", "own log"},
		{503, "maintenance", Unreachable, "503 Service Unavailable: maintenance", "own log"},
		{302, "", Unreachable, "302 Found", "PuppetDB itself"},
		{204, "", Unreachable, "204 No Content", "own log"},
	}
	s := newPDB(t, nil)
	source := newPuppetDB(s.source(t))
	for _, tt := range tests {
		s.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://localhost/")
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.text)
		}
		_, err := source.Discover(t.Context(), Query{})
		e, ok := errors.AsType[*SourceError](err)
		if !ok || e.Kind != tt.kind || !strings.Contains(err.Error(), tt.want) || !strings.Contains(e.Hint, tt.hint) || len(err.Error()) > 500 {
			t.Errorf("status %d: %v (%+v), want %q", tt.status, err, e, tt.want)
		}
	}
}

func TestPuppetDBConnection(t *testing.T) {
	s := newPDB(t, pdbFleet())
	stranger := newAuthority(t, "Another CA")
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, plainPort, err := net.SplitHostPort(plain.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want, hint string
		change           func(*PuppetDBServer)
	}{
		{"no certificate of ours", "certificate", "it refused our certificate", func(p *PuppetDBServer) { p.TLS.Certificates = nil }},
		{"our certificate is of another CA", "certificate", "it refused our certificate", func(p *PuppetDBServer) {
			bad := stranger.issue(t, "rip.mcollective", &x509.Certificate{})
			p.TLS.Certificates = nil
			p.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &bad, nil }
		}},
		{"its certificate is of another CA", "unknown authority", "not of our CA: CN=localhost", func(p *PuppetDBServer) { p.TLS.RootCAs = stranger.pool }},
		{"verification cannot be turned off", "unknown authority", "not of our CA", func(p *PuppetDBServer) { p.TLS.RootCAs, p.TLS.InsecureSkipVerify = stranger.pool, true }},
		{"its name is another", "127.0.0.1", "name that its certificate has", func(p *PuppetDBServer) { p.Host = "127.0.0.1" }},
		{"system CAs", "unknown authority", "not of our CA", func(p *PuppetDBServer) { p.TLS = nil }},
		{"no TLS there", "HTTP", "port for TLS", func(p *PuppetDBServer) { p.Host, p.Port = "127.0.0.1", atoi(plainPort) }},
		{"down", "refused", "is PuppetDB up?", func(p *PuppetDBServer) { p.Port = freePort(t) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := s.source(t)
			tt.change(&p)
			_, err := newPuppetDB(p).Discover(t.Context(), Query{Collective: "mcollective"})
			e, ok := errors.AsType[*SourceError](err)
			if !ok || e.Kind != Unreachable || !strings.Contains(err.Error(), tt.want) || !strings.Contains(e.Hint, tt.hint) || strings.Contains(err.Error(), "query=") {
				t.Errorf("%v (%+v); want %q, %q", err, e, tt.want, tt.hint)
			}
		})
	}
	if s.asked.Load() > 0 {
		t.Errorf("PuppetDB was asked %d times", s.asked.Load())
	}
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// freePort is a port of loopback without a listener.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestPuppetDBTimes(t *testing.T) {
	s := newPDB(t, nil)
	release := make(chan struct{})
	defer close(release)
	arrived := make(chan struct{}, 2)
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	p := s.source(t)
	p.Timeout = 50 * time.Millisecond
	_, err := newPuppetDB(p).Discover(t.Context(), Query{})
	if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Unreachable || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("slow server: %v", err)
	}
	<-arrived
	interrupted := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-arrived; cancel(interrupted) }()
	p.Timeout = time.Minute
	if _, err := newPuppetDB(p).Discover(ctx, Query{}); !errors.Is(err, interrupted) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPuppetDBAddress(t *testing.T) {
	record := func(target string, port uint16) []*net.SRV { return []*net.SRV{{Target: target, Port: port}} }
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	tests := []struct {
		name, want, asked string
		server            PuppetDBServer
		records           map[string][]*net.SRV
		fail              error
	}{
		{name: "configured", server: PuppetDBServer{Host: "pdb.example.net", UseSRV: true, Domain: "example.net"}, want: "pdb.example.net:8081"},
		{name: "configured port", server: PuppetDBServer{Host: "pdb", Port: 9}, want: "pdb:9"},
		{name: "configured IPv6", server: PuppetDBServer{Host: "::1"}, want: "[::1]:8081"},
		{name: "own record", server: PuppetDBServer{UseSRV: true, Domain: "example.net"}, records: map[string][]*net.SRV{"x-puppet-db": record("a.example.net.", 8085), "x-puppet": record("b.", 8140)},
			want: "a.example.net:8085", asked: "_x-puppet-db._tcp.example.net"},
		{name: "Puppet's record", server: PuppetDBServer{UseSRV: true, Domain: "example.net", Port: 8082}, records: map[string][]*net.SRV{"x-puppet": record("b.example.net.", 8140)},
			want: "b.example.net:8082", asked: "_x-puppet-db._tcp.example.net _x-puppet._tcp.example.net"},
		{name: "service that is not there", server: PuppetDBServer{UseSRV: true, Domain: "e"}, records: map[string][]*net.SRV{"x-puppet-db": record(".", 0)}, want: "puppet:8081", asked: "_x-puppet-db._tcp.e _x-puppet._tcp.e"},
		{name: "no record", server: PuppetDBServer{UseSRV: true, Domain: "e"}, want: "puppet:8081", asked: "_x-puppet-db._tcp.e _x-puppet._tcp.e"},
		{name: "records are not wanted", server: PuppetDBServer{Domain: "e"}, want: "puppet:8081"},
		{name: "no domain", server: PuppetDBServer{UseSRV: true}, want: "puppet:8081"},
		{name: "name service down", server: PuppetDBServer{UseSRV: true, Domain: "e"}, fail: &net.DNSError{Err: "timeout", IsTimeout: true}, want: "ERR look up _x-puppet-db._tcp.e", asked: "_x-puppet-db._tcp.e"},
		{name: "impossible port", server: PuppetDBServer{Host: "a", Port: 70000}, want: "ERR port"},
	}
	for _, tt := range tests {
		var asked []string
		tt.server.Lookup = func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
			asked = append(asked, "_"+service+"._"+proto+"."+name)
			if r, ok := tt.records[service]; ok || tt.fail != nil {
				return "", r, tt.fail
			}
			return "", nil, notFound
		}
		got, err := newPuppetDB(tt.server).address(t.Context())
		if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr {
			if err == nil || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%s: %q, %v; want an error with %q", tt.name, got, err, wanted)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
		if strings.Join(asked, " ") != tt.asked {
			t.Errorf("%s: asked %q, want %q", tt.name, asked, tt.asked)
		}
	}
}

// FuzzPQL checks that no text of a filter leaves the place that is meant for it.
func FuzzPQL(f *testing.F) {
	for _, s := range []string{`a`, `say "hi"`, `\`, `\"`, `") or (certname ~ ".`, "a\nb", "é", "/a.b/", "/[a-z]\\d/", "true", "1e5", "-0.5", "\x00", "/[^]x]/", "inf", "010", "\u2028"} {
		f.Add(s, "country")
	}
	f.Add("x", `a = 1} or certname ~ "."`)
	f.Add("x", `match("\d+")`)
	f.Fuzz(func(t *testing.T, value, name string) {
		if strings.HasPrefix(value, "pql:") || strings.HasPrefix(value, "group:") || !utf8.ValidString(value) {
			return
		}
		for kind, q := range map[string]Query{
			"collective": {Collective: value},
			"identity":   {Filter: filter.Filter{Identities: []string{value}}},
			"class":      {Filter: filter.Filter{Classes: []string{value}}},
			"agent":      {Filter: filter.Filter{Agents: []string{value}}},
			"fact":       {Filter: filter.Filter{Facts: []filter.Fact{{Name: name, Operator: "==", Value: value}}}},
			"regex fact": {Filter: filter.Filter{Facts: []filter.Fact{{Name: name, Operator: "=~", Value: value}}}},
			"less":       {Filter: filter.Filter{Facts: []filter.Fact{{Name: name, Operator: "<", Value: value}}}},
		} {
			if kind == "collective" && value == "" {
				continue
			}
			checkPQL(t, kind, value, q)
		}
	})
}

// checkPQL checks that a query has as many texts as its kind has, and that the value is one of them.
func checkPQL(t *testing.T, kind, value string, q Query) {
	t.Helper()
	query, err := pqlQuery(q)
	if err != nil {
		return
	}
	_, literals, err := parsePQL(query, nil)
	if err != nil && strings.Contains(err.Error(), "regular expression") {
		return // the value is no regex, which is PuppetDB's to say
	}
	if err != nil {
		t.Fatalf("%s %q: %s: %v", kind, value, query, err)
	}
	want := map[string]int{"collective": 1, "identity": 1, "class": 2, "agent": 2, "fact": 1, "regex fact": 1, "less": 0}[kind]
	if kind == "agent" && slices.Contains(builtinAgents, value) {
		want = 4
	}
	if len(literals) != want {
		t.Fatalf("%s %q has %d texts: %s", kind, value, len(literals), query)
	}
	_, isRegex := slashed(value)
	if !isRegex && (kind == "collective" || kind == "identity" || kind == "fact") && literals[0] != value {
		t.Fatalf("%s %q became %q in %s", kind, value, literals[0], query)
	}
}

func FuzzPuppetDBReply(f *testing.F) {
	for _, s := range []string{`[]`, `[{"certname":"a","deactivated":null}]`, `[{"certname":"a b","deactivated":"x"},{"certname":"c","deactivated":true}]`, `[{"certname":"a"}`, `{}`, `[null]`, `[{"certname":"a","certname":"b"}]x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		names, strange, err := readCertnames(bytes.NewReader(reply), 10_000)
		var rows []map[string]any
		if json.Unmarshal(reply, &rows) != nil || len(reply) > 10_000 || string(bytes.TrimSpace(reply)) == "null" {
			if err == nil {
				t.Fatalf("accepted %q", reply)
			}
			return
		}
		if err != nil {
			return
		}
		if len(names)+strange > len(rows) {
			t.Fatalf("%q gave %q and %d strange names, of %d rows", reply, names, strange, len(rows))
		}
		for _, n := range names {
			if checkName(n) != nil {
				t.Fatalf("%q gave the name %q", reply, n)
			}
		}
	})
}
