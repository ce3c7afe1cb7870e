//go:build unix

package interop

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
)

// federated is a collective behind a real federation broker. The networks on both sides are plain NATS servers: Choria's
// own broker, with an organization issuer, gives no client the right to serve a federation (docs/protocol.md, federation).
type federated struct {
	*network
	log string // of the federation broker
}

// startNATS runs a NATS server that demands TLS, and nothing else, in this process.
func startNATS(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, AlwaysEnableNonce: true, NoSigs: true, NoLog: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s
}

func listens(s *server.Server, subject string) bool {
	found, err := s.Subsz(&server.SubszOptions{Subscriptions: true, Test: subject})
	return err == nil && len(found.Subs) > 0
}

func startFederated(t *testing.T, version, servers int) federated {
	t.Helper()
	f := federated{network: newNetwork(t, version)}
	dir := f.writeBroker(t)
	collective := startNATS(t, dir, f.port)
	f.populate(t, servers)

	outside := freePort(t)
	federation := startNATS(t, dir, outside)
	home := f.folder(t, "federation")
	f.log = filepath.Join(home, "broker.log")
	settings{
		{"identity", "federation.example.net"},
		{"loglevel", "info"},
		{"logfile", f.log},
		{"plugin.choria.broker_federation", "true"},
		{"plugin.choria.federation.cluster", "alpha"},
		{"plugin.choria.use_srv", "false"},
		{"plugin.choria.middleware_hosts", fmt.Sprintf("nats://127.0.0.1:%d", f.port)},
		{"plugin.choria.federation_middleware_hosts", fmt.Sprintf("nats://127.0.0.1:%d", outside)},
		{"plugin.security.provider", "file"},
		{"plugin.security.file.certificate", filepath.Join(dir, "cert.pem")},
		{"plugin.security.file.key", filepath.Join(dir, "key.pem")},
		{"plugin.security.file.ca", f.path("ca.pem")},
	}.write(t, filepath.Join(home, "broker.conf"))
	p := startProcess(t, "federation broker", home, f.choria, "broker", "run", "--config", filepath.Join(home, "broker.conf"))
	await(t, 30*time.Second, "the federation broker listens on both sides", func() bool {
		p.mustRun(t)
		return listens(federation, "choria.federation.alpha.federation") && listens(collective, "choria.federation.alpha.collective")
	})
	conf, err := os.ReadFile(f.ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	inside := fmt.Sprintf("plugin.choria.middleware_hosts = nats://127.0.0.1:%d", f.port)
	text := strings.Replace(string(conf), inside, fmt.Sprintf("plugin.choria.federation_middleware_hosts = nats://127.0.0.1:%d", outside), 1)
	f.ConfigFile = f.path("federated.conf")
	write(t, f.ConfigFile, []byte(text+"plugin.choria.federation.collectives = alpha\n"))
	return f
}

var targetCount = regexp.MustCompile(`via (?:admin\.mcollective) with (\d+) targets`)

// targets are how many targets each message had that the federation broker has taken, sorted.
func (f federated) targets(t *testing.T) []int {
	t.Helper()
	log, err := os.ReadFile(f.log)
	if err != nil {
		t.Fatal(err)
	}
	var counts []int
	for _, m := range targetCount.FindAllStringSubmatch(string(log), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, n)
	}
	slices.Sort(counts)
	return counts
}

// TestOurClientThroughARealFederation is the federation of docs/protocol.md, with both clients.
func TestOurClientThroughARealFederation(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		f := startFederated(t, version, 3)
		if got, want := names(t, f.Fleetctl(t, "discover", "--json", "-F", "country=/mt|us/")), names(t, f.Run(t, "find", "--json", "-F", "country=/mt|us/")); !slices.Equal(got, want) || len(got) != 2 {
			t.Errorf("discover: got %q, the real client %q", got, want)
		}
		if res := f.Fleetctl(t, "doctor"); res.Code != 0 || !strings.Contains(res.Stdout, "3 nodes answered") {
			t.Errorf("doctor: exit code %d\n%s%s", res.Code, res.Stdout, res.Stderr)
		}
		f.compareUses(t, federatedUses)
		t.Run("direct requests go out 200 at a time", f.testChunks)
		t.Run("an action is proved without events", f.testRestart)
		t.Run("an action goes to one federation", f.testOneFederation)
	})
}

func (f federated) testChunks(t *testing.T) {
	list := slices.Clone(f.Nodes)
	for i := range 450 {
		list = append(list, fmt.Sprintf("ghost-%d.example.net", i))
	}
	file := f.path("nodes.txt")
	write(t, file, []byte(strings.Join(list, "\n")))
	before := f.targets(t)
	res := f.Fleetctl(t, "req", "rpcutil", "ping", "--nodes", file, "--senders", "--reply-timeout", "3")
	if got := slices.Sorted(slices.Values(strings.Fields(res.Stdout))); res.Code != 4 || !slices.Equal(got, f.Nodes) {
		t.Errorf("exit code %d, senders %q", res.Code, got)
	}
	after := f.targets(t)
	want := slices.Sorted(slices.Values(append(slices.Clone(before), 53, 200, 200)))
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("targets of the messages: -want +got\n%s", diff)
	}
}

func (f federated) testRestart(t *testing.T) {
	node := f.Nodes[0]
	res := f.Fleetctl(t, "req", "choria_provision", "restart", "token="+provisionToken, "-I", node, "--json")
	var doc document
	decode(t, res, &doc)
	if res.Code != 0 || doc.Run.States["verified"] != 1 {
		t.Errorf("exit code %d, states %v\n%s", res.Code, doc.Run.States, res.Stderr)
	}
	f.AwaitStarts(t, node, 2)
}

func (f federated) testOneFederation(t *testing.T) {
	before := len(f.targets(t))
	res := f.Fleetctl(t, "req", "choria_provision", "restart", "token="+provisionToken, "-I", f.Nodes[1], "--federations", "alpha,beta")
	if res.Code != 2 || !strings.Contains(res.Stderr, "act twice") {
		t.Errorf("exit code %d, %s", res.Code, res.Stderr)
	}
	if after := len(f.targets(t)); after != before {
		t.Errorf("%d messages were sent", after-before)
	}
}
