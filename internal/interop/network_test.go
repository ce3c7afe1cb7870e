//go:build unix

package interop

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// provisionToken is the provisioning token of every server.
const provisionToken = "s3cret"

// network is a real Choria network on loopback: one broker and some servers, each a process with a folder of its own.
//
// Servers are enabled for provisioning; odd ones are upgradable. Facts: country (mt, us, de by turns), role (web, db),
// site, memorymb, os.family, os.release.major, virtual, tags. Classes: common, role::*, country::*. Servers of country
// mt are in mt_collective as well.
type network struct {
	ConfigFile string   // the configuration of a client that may do everything
	Nodes      []string // identities, sorted

	version    int
	collective string
	dir        string
	port       int
	choria     string
	ca         *authority
	signer     *authority         // v1: of provisioning tokens
	issuer     ed25519.PrivateKey // v2
	servers    map[string]*process
	streams    bool // the broker has JetStream, and the v2 client may use it
	hostNames  bool // each server believes to be a host of its own name, and keeps it in provisioning mode
}

// startNetwork brings up a broker and n servers that speak protocol version 1 or 2, and returns when all answer.
// It skips the test when there is no choria binary.
func startNetwork(t *testing.T, version, n int) *network {
	t.Helper()
	net := newNetwork(t, version)
	net.startBroker(t)
	net.populate(t, n)
	return net
}

// newNetwork makes the folders and the certificate authority.
func newNetwork(t *testing.T, version int) *network {
	t.Helper()
	net := &network{version: version, collective: "mcollective", dir: t.TempDir(), choria: choriaBinary(t), port: freePort(t), servers: map[string]*process{}}
	if version == 2 {
		net.collective = "choria"
	}
	net.hostNames = exec.CommandContext(t.Context(), "unshare", append(ownHostName("probe")[1:], "true")...).Run() == nil
	net.ca = newAuthority(t, "interop CA")
	write(t, net.path("ca.pem"), net.ca.pem)
	return net
}

// populate makes a client and starts n servers.
func (n *network) populate(t *testing.T, servers int) {
	t.Helper()
	n.ConfigFile = n.path("client.conf")
	n.writeClient(t, "client", time.Hour)
	for i := range servers {
		n.startServer(t, i+1)
	}
	for _, node := range n.Nodes {
		n.AwaitStarts(t, node, 1)
	}
}

// ownHostName runs the command that follows in a host name of its own. That takes root, and Linux.
func ownHostName(name string) []string {
	return []string{"unshare", "--uts", "sh", "-c", `echo "$0" >/proc/sys/kernel/hostname && exec "$@"`, name}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (n *network) path(elem ...string) string {
	return filepath.Join(append([]string{n.dir}, elem...)...)
}

// folder makes a folder below the network's.
func (n *network) folder(t *testing.T, elem ...string) string {
	t.Helper()
	dir := n.path(elem...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// settings are the lines of a Choria configuration file.
type settings [][2]string

func (s settings) write(t *testing.T, file string) {
	t.Helper()
	var b strings.Builder
	for _, line := range s {
		fmt.Fprintf(&b, "%s = %s\n", line[0], line[1])
	}
	write(t, file, []byte(b.String()))
}

func (n *network) startBroker(t *testing.T) {
	t.Helper()
	dir := n.writeBroker(t)
	p := startProcess(t, "broker", dir, n.choria, "broker", "run", "--config", filepath.Join(dir, "broker.conf"))
	await(t, 30*time.Second, "the broker listens", func() bool {
		p.mustRun(t)
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// writeBroker makes the broker's folder: its configuration and its credentials, and the issuers of tokens.
func (n *network) writeBroker(t *testing.T) string {
	t.Helper()
	dir := n.folder(t, "broker")
	n.ca.issue(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), "broker.example.net", "localhost", "127.0.0.1")
	conf := settings{
		{"identity", "broker.example.net"},
		{"loglevel", "info"},
		{"logfile", filepath.Join(dir, "broker.log")},
		{"plugin.choria.broker_network", "true"},
		{"plugin.choria.network.listen_address", "127.0.0.1"},
		{"plugin.choria.network.client_port", strconv.Itoa(n.port)},
		{"plugin.choria.network.public_url", fmt.Sprintf("127.0.0.1:%d", n.port)},
		{"plugin.choria.use_srv", "false"},
		{"plugin.choria.network.system.user", "system"},
		{"plugin.choria.network.system.password", "system"},
		{"plugin.choria.network.provisioning.client_password", "provisioner"},
	}
	if n.streams {
		conf = append(conf, settings{{"plugin.choria.network.stream.store", filepath.Join(dir, "streams")}}...)
		for _, stream := range []string{"executor", "event", "leader_election", "machine", "advisory"} { // with a number of copies, they are made at once
			conf = append(conf, settings{{"plugin.choria.network.stream." + stream + "_replicas", "1"}}...)
		}
	}
	if n.version == 1 {
		// Servers in provisioning mode show a token that this certificate's key has signed.
		n.signer = newAuthority(t, "provisioning signer")
		write(t, n.path("signer.pem"), n.signer.pem)
		conf = append(conf, settings{
			{"plugin.choria.network.provisioning.signer_cert", n.path("signer.pem")},
			{"plugin.security.provider", "file"},
			{"plugin.security.file.certificate", filepath.Join(dir, "cert.pem")},
			{"plugin.security.file.key", filepath.Join(dir, "key.pem")},
			{"plugin.security.file.ca", n.path("ca.pem")},
		}...)
	} else {
		n.issuer = newSeed(t, n.path("issuer.seed"))
		n.serverToken(t, dir, "broker.example.net")
		conf = append(conf, n.issuerSettings()...)
		conf = append(conf, settings{
			{"plugin.security.provider", "choria"},
			{"plugin.security.choria.certificate", filepath.Join(dir, "cert.pem")},
			{"plugin.security.choria.key", filepath.Join(dir, "key.pem")},
			{"plugin.security.choria.token_file", filepath.Join(dir, "server.jwt")},
			{"plugin.security.choria.seed_file", filepath.Join(dir, "server.seed")},
		}...)
	}
	conf.write(t, filepath.Join(dir, "broker.conf"))
	return dir
}

// mustRun fails the test when the process has ended, with the end of its output.
func (p *process) mustRun(t *testing.T) {
	t.Helper()
	select {
	case <-p.gone:
		out, _ := os.ReadFile(filepath.Join(p.dir, "out.log"))
		t.Fatalf("%s has ended: %v\n%s", p.name, p.cmd.ProcessState, out[max(0, len(out)-2000):])
	default:
	}
}

func (n *network) issuerSettings() settings {
	return settings{
		{"plugin.security.issuer.names", "choria"},
		{"plugin.security.issuer.choria.public", publicHex(n.issuer)},
	}
}

func (n *network) serverToken(t *testing.T, dir, identity string) {
	t.Helper()
	key := newSeed(t, filepath.Join(dir, "server.seed"))
	write(t, filepath.Join(dir, "server.jwt"), claims{
		"purpose": "choria_server", "ou": "choria", "identity": identity, "public_key": publicHex(key),
		"collectives": []string{"choria", "mt_collective"}, "permissions": map[string]bool{},
	}.sign(t, n.issuer, 24*time.Hour))
}

// writeClient makes a client that may do everything and returns its configuration file, <name>.conf. In v2 its token
// is valid for that long; a negative validity makes an expired one.
func (n *network) writeClient(t *testing.T, name string, validity time.Duration) string {
	t.Helper()
	return n.writeOperator(t, name, "admin", validity)
}

// writeOperator is writeClient for a caller of another name.
func (n *network) writeOperator(t *testing.T, name, caller string, validity time.Duration) string {
	t.Helper()
	dir := n.folder(t, name)
	conf := settings{
		{"identity", caller + ".mcollective"},
		{"loglevel", "warn"},
		{"color", "false"},
		{"collectives", n.collective + ",mt_collective"},
		{"main_collective", n.collective},
		{"plugin.choria.use_srv", "false"},
		{"plugin.choria.middleware_hosts", fmt.Sprintf("nats://127.0.0.1:%d", n.port)},
	}
	if n.version == 1 {
		n.ca.issue(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), caller+".mcollective")
		conf = append(conf, settings{
			{"plugin.security.provider", "file"},
			{"plugin.security.file.certificate", filepath.Join(dir, "cert.pem")},
			{"plugin.security.file.key", filepath.Join(dir, "key.pem")},
			{"plugin.security.file.ca", n.path("ca.pem")},
		}...)
	} else {
		key := newSeed(t, filepath.Join(dir, "client.seed"))
		token := claims{
			"purpose": "choria_client_id", "ou": "choria", "callerid": "choria=" + caller, "public_key": publicHex(key),
			"agents": []string{"*"}, "permissions": map[string]bool{"fleet_management": true, "events_viewer": true, "streams_user": n.streams},
		}
		if n.streams {
			token["pub_subjects"] = []string{"$JS.API.STREAM.CREATE.KV_FLEETCTL"}
		}
		write(t, filepath.Join(dir, "client.jwt"), token.sign(t, n.issuer, validity))
		conf = append(conf, n.issuerSettings()...)
		conf = append(conf, settings{
			{"plugin.security.provider", "choria"},
			{"plugin.security.choria.token_file", filepath.Join(dir, "client.jwt")},
			{"plugin.security.choria.seed_file", filepath.Join(dir, "client.seed")},
			{"plugin.security.choria.ca", n.path("ca.pem")},
		}...)
	}
	file := n.path(name + ".conf")
	conf.write(t, file)
	return file
}

func (n *network) startServer(t *testing.T, i int) {
	t.Helper()
	node := fmt.Sprintf("srv-%02d.example.net", i)
	dir := n.folder(t, "servers", node)
	country, role := []string{"mt", "us", "de"}[(i-1)%3], []string{"db", "web"}[i%2]
	facts, err := json.Marshal(map[string]any{
		"country": country, "role": role, "site": country + "-dc1", "memorymb": 1024 * (i%4 + 1), "virtual": i%5 != 0,
		"os": map[string]any{"family": "RedHat", "release": map[string]any{"major": strconv.Itoa(7 + i%3)}}, "tags": []string{role, country},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "facts.json"), facts)
	write(t, filepath.Join(dir, "classes.txt"), []byte("common\nrole::"+role+"\ncountry::"+country+"\n"))
	collectives := n.collective
	if country == "mt" {
		collectives += ",mt_collective"
	}
	conf := settings{
		{"identity", node},
		{"loglevel", "info"},
		{"logfile", filepath.Join(dir, "server.log")},
		{"collectives", collectives},
		{"main_collective", n.collective},
		{"plugin.yaml", filepath.Join(dir, "facts.json")},
		{"classesfile", filepath.Join(dir, "classes.txt")},
		{"plugin.choria.use_srv", "false"},
		{"plugin.choria.middleware_hosts", fmt.Sprintf("nats://127.0.0.1:%d", n.port)},
		{"plugin.choria.server.provision", "false"},
	}
	n.provisioningToken(t, dir, i%2 == 1)
	if n.version == 1 {
		n.ca.issue(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), node)
		conf = append(conf, settings{
			{"rpcauthorization", "0"},
			{"plugin.security.provider", "file"},
			{"plugin.security.file.certificate", filepath.Join(dir, "cert.pem")},
			{"plugin.security.file.key", filepath.Join(dir, "key.pem")},
			{"plugin.security.file.ca", n.path("ca.pem")},
		}...)
	} else {
		n.serverToken(t, dir, node)
		conf = append(conf, n.issuerSettings()...)
		conf = append(conf, settings{
			{"rpcauthorization", "1"},
			{"rpcauthprovider", "aaasvc"},
			{"plugin.security.provider", "choria"},
			{"plugin.security.choria.token_file", filepath.Join(dir, "server.jwt")},
			{"plugin.security.choria.seed_file", filepath.Join(dir, "server.seed")},
		}...)
	}
	conf.write(t, filepath.Join(dir, "server.conf"))
	// The server looks for provisioning.jwt in its working directory.
	command := []string{n.choria, "server", "run", "--config", filepath.Join(dir, "server.conf")}
	if n.hostNames {
		command = append(ownHostName(node), command...)
	}
	n.servers[node] = startProcess(t, node, dir, command...)
	n.Nodes = append(n.Nodes, node)
}

// Starts counts how often a server has come up and subscribed. In provisioning mode it logs to its output.
func (n *network) Starts(t *testing.T, node string) int {
	t.Helper()
	times := 0
	for _, name := range []string{"server.log", "out.log"} {
		log, err := os.ReadFile(n.path("servers", node, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		// It subscribes once for each of its collectives, one of these two always among them. In provisioning mode its
		// name is the host's.
		for _, subject := range []string{" to " + n.collective + ".node.", " to provisioning.node."} {
			times += strings.Count(string(log), subject)
		}
	}
	return times
}

// lastWords are the ends of a server's logs.
func (n *network) lastWords(node string) string {
	var b strings.Builder
	for _, name := range []string{"server.log", "out.log"} {
		log, _ := os.ReadFile(n.path("servers", node, name)) // for the reader of a failure; none is fine
		fmt.Fprintf(&b, "%s of %s ends:\n%s\n", name, node, log[max(0, len(log)-3000):])
	}
	return b.String()
}

// AwaitStarts waits until a server has come up that often.
func (n *network) AwaitStarts(t *testing.T, node string, times int) {
	t.Helper()
	await(t, time.Minute, fmt.Sprintf("start %d of %s", times, node), func() bool {
		n.servers[node].mustRun(t)
		return n.Starts(t, node) >= times
	})
}

// AwaitExit waits until a server's process has ended, and returns its exit code.
func (n *network) AwaitExit(t *testing.T, node string) int {
	t.Helper()
	p := n.servers[node]
	select {
	case <-p.gone:
	case <-time.After(time.Minute):
		t.Fatalf("%s still runs", node)
	}
	return p.cmd.ProcessState.ExitCode()
}

// StopServer freezes a server: it stays connected and answers nothing.
func (n *network) StopServer(t *testing.T, node string) { n.servers[node].signal(t, syscall.SIGSTOP) }

// ContServer lets a frozen server continue.
func (n *network) ContServer(t *testing.T, node string) { n.servers[node].signal(t, syscall.SIGCONT) }

// Run runs the real client against the network.
func (n *network) Run(t *testing.T, args ...string) result {
	t.Helper()
	return n.command(t, n.choria, append(args, "--config", n.ConfigFile)...)
}

// Fleetctl runs our client against the network.
func (n *network) Fleetctl(t *testing.T, args ...string) result {
	t.Helper()
	return n.command(t, fleetctlBinary(t), args...)
}

func (n *network) command(t *testing.T, name string, args ...string) result {
	t.Helper()
	home, env := n.home(t)
	return run(t, home, env, append([]string{name}, args...)...)
}

func (n *network) home(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = n.folder(t, "home")
	return dir, environment(dir, "FLEETCTL_CONFIG="+n.ConfigFile, "MCOLLECTIVE_CERTNAME=admin.mcollective")
}

// pair is what both clients said to the same arguments.
type pair struct {
	args         []string
	theirs, ours result
}

// Both runs each case with both clients, several at a time: most of it is waiting for discovery to end. verbs are the
// arguments that come before a case's own: the real client's and ours.
func (n *network) Both(t *testing.T, verbs [2][]string, cases [][]string) []pair {
	t.Helper()
	home, env := n.home(t)
	program := fleetctlBinary(t)
	pairs, errs := make([]pair, len(cases)), make([]error, len(cases))
	slots := make(chan struct{}, 8)
	var running sync.WaitGroup
	for i, args := range cases {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			theirs := slices.Concat([]string{n.choria}, verbs[0], args)
			if !slices.Contains(args, "--config") {
				theirs = append(theirs, "--config", n.ConfigFile)
			}
			ours := slices.Concat([]string{program}, verbs[1], args)
			p := pair{args: args}
			var err1, err2 error
			p.theirs, err1 = execute(t.Context(), home, env, theirs...)
			p.ours, err2 = execute(t.Context(), home, env, ours...)
			pairs[i], errs[i] = p, errors.Join(err1, err2)
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return pairs
}
