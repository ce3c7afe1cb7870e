package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/filter"
	"fleetctl/internal/security"
)

func TestOpenReadsTheConfigurationAndNothingElse(t *testing.T) {
	p := newPlace(t, "collectives = alpha,beta", "main_collective = beta", "plugin.choria.middleware_hosts = broker:1", "plugin.security.file.certificate = /nowhere")
	f := p.open(t, "")
	want := About{ConfigFile: p.ConfigFile, Collective: "beta", MainCollective: "beta"}
	if got := f.About(); !reflect.DeepEqual(got, want) || f.Conn() != nil || f.Events() != nil {
		t.Errorf("got %+v, a connection %v", got, f.Conn())
	}
	if f := p.open(t, "alpha"); f.About().Collective != "alpha" || f.About().MainCollective != "beta" {
		t.Errorf("got %+v", f.About())
	}
	for collective, hint := range map[string]string{"gamma": "add it to `collectives` in " + p.ConfigFile, ProvisioningCollective: "plugin.nats.user"} {
		_, err := Open(t.Context(), p.Options, collective)
		if e, ok := errors.AsType[*UsageError](err); !ok || !strings.Contains(e.Error(), "is not one of ours: alpha, beta") || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: %v", collective, err)
		}
	}
	if f := newPlace(t, "ttl = 90").open(t, ""); f.About().TTL != 90*time.Second {
		t.Errorf("ttl is %s", f.About().TTL)
	}
}

func TestAConfigurationThatCannotBeRead(t *testing.T) {
	_, err := Open(t.Context(), placeOf(t, "/nowhere/client.conf", nil).Options, "")
	if _, ok := errors.AsType[*config.NotFoundError](err); !ok {
		t.Errorf("no file: %v", err)
	}
	_, err = Open(t.Context(), placeOf(t, t.TempDir(), nil).Options, "")
	if _, ok := errors.AsType[*UsageError](err); !ok {
		t.Errorf("a folder: %v", err)
	}
	p := newPlace(t)
	other := placeOf(t, "", map[string]string{"FLEETCTL_CONFIG": p.ConfigFile})
	if got := other.open(t, "").Config.File; got != p.ConfigFile {
		t.Errorf("FLEETCTL_CONFIG: got %s", got)
	}
}

func TestFederationsAreThoseOfTheEnvironmentTheFlagOrTheFile(t *testing.T) {
	lines := []string{"plugin.choria.federation.collectives = file1,file2,file1", "plugin.choria.federation_middleware_hosts = fed:1", "plugin.choria.middleware_hosts = broker:1"}
	for _, tt := range []struct {
		name string
		env  string
		flag []string
		want []string
		bad  bool
	}{
		{name: "file", want: []string{"file1", "file2"}},
		{name: "flag", flag: []string{"a", " b", "a"}, want: []string{"a", "b"}},
		{name: "environment", env: "env1, env2", flag: []string{"a"}, want: []string{"env1", "env2"}},
		{name: "a wildcard", flag: []string{"a*"}, bad: true}, {name: "a dot", flag: []string{"a.b"}, bad: true}, {name: "blank", flag: []string{""}, bad: true},
	} {
		p := newPlace(t, lines...)
		p.Federations = tt.flag
		if tt.env != "" {
			p.Getenv = func(name string) (string, bool) { return tt.env, name == "CHORIA_FED_COLLECTIVE" }
		}
		f, err := Open(t.Context(), p.Options, "")
		if _, ok := errors.AsType[*UsageError](err); tt.bad {
			if !ok || !strings.Contains(err.Error(), "cannot be the name of a federation") {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || !slices.Equal(f.Federations, tt.want) {
			t.Errorf("%s: got %q, %v", tt.name, f.Federations, err)
			continue
		}
		if servers, err := f.Servers(t.Context()); err != nil || !slices.Equal(servers, []string{"nats://fed:1"}) {
			t.Errorf("%s: brokers %q, %v", tt.name, servers, err)
		}
	}
	if servers, err := newPlace(t, lines[2]).open(t, "").Servers(t.Context()); err != nil || !slices.Equal(servers, []string{"nats://broker:1"}) {
		t.Errorf("without federations: %q, %v", servers, err)
	}
}

func TestTheDomainOfSRVRecords(t *testing.T) {
	for _, tt := range []struct{ identity, domain, want string }{
		{"ops.example.net", "", "example.net"}, {"ops.example.net", "other.net", "other.net"}, {"ops.local", "", ""}, {"ops", "", ""},
	} {
		f := &Fleet{Config: &config.Config{Identity: tt.identity, SRVDomain: tt.domain}}
		if got := f.srvDomain(); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

func TestOnlyThisMachineIsPrivateWithoutTLS(t *testing.T) {
	for address, want := range map[string]bool{
		"nats://127.0.0.1:4222": true, "nats://[::1]:4222": true, "nats://localhost:4222": true, "nats://127.1.2.3:1": true,
		"nats://localhost.example.net:1": false, "nats://10.0.0.1:1": false, "nats://broker:4222": false, "": false, "://": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

// Flags and our own settings decide about the signer together; the rest is the configuration's.
func TestSecurityIsOfFlagsSettingsAndConfiguration(t *testing.T) {
	p := newPlace(t, "plugin.security.file.certificate = /c.pem")
	own := config.Settings{}
	p.Settings = func() (config.Settings, error) { return own, nil }
	cfg, err := p.LoadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, flagCA, ownCA  string
		flag, own, wantNoTLS bool
		want                 string
	}{
		{name: "none"}, {name: "flag", flagCA: "f", ownCA: "s", want: "f", flag: true, wantNoTLS: true}, {name: "settings", ownCA: "s", want: "s", own: true, wantNoTLS: true},
	} {
		p.SignerCA, p.InsecureSigner, own.SignerCA, own.InsecureSigner = tt.flagCA, tt.flag, tt.ownCA, tt.own
		got, err := p.Security(cfg)
		if err != nil || got.SignerCA != tt.want || got.InsecureSigner != tt.wantNoTLS || got.Certificate != "/c.pem" || got.Identity != "ops.example.net" {
			t.Errorf("%s: %v, %q, %t", tt.name, err, got.SignerCA, got.InsecureSigner)
		}
	}
	p.InsecureBroker, p.AllowUnsigned = true, true
	if got, _ := p.Security(cfg); !got.InsecureBroker || !got.AllowUnsignedReplies {
		t.Errorf("flags are lost: %+v", got)
	}
	broken := errors.New("broken")
	p.Settings = func() (config.Settings, error) { return own, broken }
	if _, err := p.Security(cfg); !errors.Is(err, broken) {
		t.Errorf("settings that cannot be read: %v", err)
	}
	if _, err := p.open(t, "").Dial(t.Context()); !errors.Is(err, broken) {
		t.Errorf("dial: %v", err)
	}
}

// What is wrong with the credentials is said before anything is dialed, and what they warn of is said once.
func TestCredentialsAreOpenedOnce(t *testing.T) {
	p := newPlace(t, "plugin.security.file.certificate = /nowhere/c.pem", "plugin.security.file.key = /nowhere/k")
	p.Getenv = func(string) (string, bool) { return "", false }
	_, err := p.open(t, "").Who()
	if _, ok := errors.AsType[*security.CredentialError](err); !ok {
		t.Errorf("got %v", err)
	}
	p = newPlace(t, "plugin.choria.middleware_hosts = 127.0.0.1:1")
	p.ConnectTimeout = 50 * time.Millisecond
	f := p.open(t, "")
	for range 2 {
		if who, err := f.Who(); err != nil || who.ID == "" || who.Version != choria.V1 {
			t.Errorf("%+v, %v", who, err)
		}
	}
	if said := strings.Join(p.said, "\n"); strings.Count(said, "INSECURE_YES_REALLY") != 1 || !strings.HasPrefix(said, "warning: ") {
		t.Errorf("said %q", said)
	}
	_, first := f.Dial(t.Context())
	if _, again := f.Dial(t.Context()); first == nil || again != first {
		t.Errorf("a connection that failed was tried again: %v, then %v", first, again)
	}
	for _, do := range []func() error{
		func() error { _, _, err := f.Private(t.Context()); return err },
		func() error { _, err := f.Find(t.Context(), Targets{}, filter.Filter{}, ""); return err },
		func() error { _, err := serviceSigner{f}.Sign(t.Context(), "r", "s", "t"); return err },
	} {
		if err := do(); func() bool { _, ok := errors.AsType[*bus.Problem](err); return !ok }() {
			t.Errorf("no broker: %v", err)
		}
	}
}

func TestAFleetIsDialedOnce(t *testing.T) {
	l, p := practice(t)
	f := p.open(t, "")
	client, err := f.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.Dial(t.Context()); again != client || err != nil {
		t.Errorf("another client, %v", err)
	}
	if private, broker, err := f.Private(t.Context()); !private || broker == "" || err != nil {
		t.Errorf("private %t, %q, %v", private, broker, err)
	}
	if f.Events() == nil {
		t.Error("no source of events")
	}
	found, err := f.Find(t.Context(), Targets{Window: true}, filter.Filter{}, "rpcutil")
	if err != nil || len(found.Nodes) != 3 {
		t.Errorf("found %q, %v", found.Nodes, err)
	}
	f.Federations = []string{"fed"}
	if f.Events() != nil {
		t.Error("events do not cross federations")
	}
	if n := l.Nodes(); len(n) != 3 {
		t.Errorf("%d nodes", len(n))
	}
}

// An agent's document may come from the network's registry, which is asked when no document is at hand.
func TestDocumentsComeFromTheRegistryWhereItIsConfigured(t *testing.T) {
	_, p := practice(t)
	f := p.open(t, "")
	if _, err := f.Documents().Resolve(t.Context(), "nosuchagent"); err == nil || f.Conn() != nil {
		t.Errorf("without a registry: %v, dialed %t", err, f.Conn() != nil)
	}
	f.Config.RegistryCache = t.TempDir()
	if _, err := f.Documents().Resolve(t.Context(), "nosuchagent"); err == nil || f.Conn() == nil {
		t.Errorf("with a registry: %v, dialed %t", err, f.Conn() != nil)
	}
	if data, err := f.fetchDocument(t.Context(), "rpcutil"); err != nil || !strings.Contains(string(data), `"rpcutil"`) {
		t.Errorf("rpcutil: %.40s, %v", data, err)
	}
	if _, err := f.fetchDocument(t.Context(), "nosuchagent"); err == nil || !strings.Contains(err.Error(), "the registry on ") {
		t.Errorf("nosuchagent: %v", err)
	}
	doc, err := f.Documents().Resolve(t.Context(), "choria_provision")
	if err != nil || ReplyTimeout(doc) != doc.Metadata.Timeout+2*time.Second {
		t.Errorf("%v, %v", doc, err)
	}
}

// A signing service that is not there is named, with what to look at.
func TestASigningServiceThatDoesNotAnswer(t *testing.T) {
	_, p := practice(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	f := p.open(t, "")
	if _, err := f.Dial(ctx); err != nil {
		t.Fatal(err)
	}
	cancel(io.EOF)
	if _, err := (serviceSigner{f}).Sign(ctx, "r", "s", "t"); err == nil {
		t.Error("signed by no service")
	} else if _, ok := errors.AsType[*security.RemoteError](err); ok {
		t.Errorf("an end of ours is put down to the service: %v", err)
	}
}

func TestNodesComeFromFilesExclusionsAndLimits(t *testing.T) {
	nodes := writeFile(t, "nodes", "n1\nn2\nn3\nn10\n")
	f := newPlace(t).open(t, "")
	for _, tt := range []struct {
		name   string
		t      Targets
		want   []string
		method string
	}{
		{"all", Targets{}, []string{"n1", "n2", "n3", "n10"}, "flatfile"},
		{"exclude", Targets{Exclude: []string{"n[1-2]"}}, []string{"n3", "n10"}, "flatfile"},
		{"exclude a file", Targets{Exclude: []string{"@" + nodes}}, nil, "flatfile"},
		{"limit", Targets{Limit: "2"}, []string{"n1", "n2"}, "flatfile"},
		{"limit in percent", Targets{Limit: "50%"}, []string{"n1", "n2"}, "flatfile"},
		{"limit of none", Targets{Limit: "2", Exclude: []string{"n[1-10]"}}, nil, "flatfile"},
		{"the method as written", Targets{Method: "file"}, []string{"n1", "n2", "n3", "n10"}, "file"},
	} {
		tt.t.NodesFile = nodes
		found, err := f.Find(t.Context(), tt.t, filter.Filter{}, "")
		if err != nil || !slices.Equal(found.Nodes, tt.want) || f.MethodName(tt.t, filter.Filter{}) != tt.method {
			t.Errorf("%s: got %q by %s, %v", tt.name, found.Nodes, f.MethodName(tt.t, filter.Filter{}), err)
		}
	}
	seeded := Targets{NodesFile: nodes, Limit: "2", LimitSeed: 3}
	first, err := f.Find(t.Context(), seeded, filter.Filter{}, "")
	if again, _ := f.Find(t.Context(), seeded, filter.Filter{}, ""); err != nil || !slices.Equal(first.Nodes, again.Nodes) || len(first.Nodes) != 2 {
		t.Errorf("a seed chooses %q, then %q, %v", first.Nodes, again.Nodes, err)
	}
	for _, wrong := range []Targets{{Exclude: []string{"n[1-"}}, {Exclude: []string{"@/nowhere"}}, {Limit: "none"}} {
		wrong.NodesFile = nodes
		if _, err := f.Find(t.Context(), wrong, filter.Filter{}, ""); !misused(err) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if got := f.MethodName(Targets{Method: "pigeon"}, filter.Filter{}); got != "unknown" {
		t.Errorf("no method is called %q", got)
	}
}

// misused reports that an error is about what the operator typed.
func misused(err error) bool {
	if e, ok := errors.AsType[*discovery.SourceError](err); ok {
		return e.Kind == discovery.Misuse
	}
	_, ok := errors.AsType[*UsageError](err)
	return ok
}

// The agent that every request names is no choice of nodes: with it alone, the whole fleet is meant.
func TestAnAgentAloneChoosesNoNodes(t *testing.T) {
	agent := filter.Flags{Agents: []string{"choria_provision"}}
	narrow := agent
	narrow.Facts = []string{"role=web"}
	for _, tt := range []struct {
		targets          Targets
		chosen, narrowed bool
	}{
		{targets: Targets{}},
		{targets: Targets{Filter: agent}},
		{targets: Targets{Filter: narrow}, chosen: true, narrowed: true},
		{targets: Targets{Filter: agent, NodesFile: "f"}, chosen: true, narrowed: true},
		{targets: Targets{Limit: "100%", Exclude: []string{"n1"}}},
		{targets: Targets{Do: []string{"file=f"}}, narrowed: true},
	} {
		if chosen, narrowed := tt.targets.Chosen(), tt.targets.Narrowed(); chosen != tt.chosen || narrowed != tt.narrowed {
			t.Errorf("%+v: chosen %t, narrowed %t", tt.targets, chosen, narrowed)
		}
	}
}

func TestListsOfNodesAreReadFromFilesAndStdin(t *testing.T) {
	p := newPlace(t)
	p.Stdin = strings.NewReader("n2\nn1\n")
	if nodes, err := p.ReadNodes(t.Context(), "-"); err != nil || len(nodes) != 2 {
		t.Errorf("stdin: %q, %v", nodes, err)
	}
	if nodes, err := p.ReadNodes(t.Context(), writeFile(t, "nodes", `["n1"]`)); err != nil || !slices.Equal(nodes, []string{"n1"}) {
		t.Errorf("JSON: %q, %v", nodes, err)
	}
	p.Stdin = strings.NewReader("a b c [")
	for _, name := range []string{"/nowhere", "-", writeFile(t, "bad", "nodes: 1\n")} {
		if nodes, err := p.ReadNodes(t.Context(), name); !misused(err) {
			t.Errorf("%s: %q, %v", name, nodes, err)
		}
	}
}

// rpclimitmethod = random draws a seed for each run, says it, and a seed that is typed makes the same choice.
func TestARandomLimitDrawsASeedThatCanBeTyped(t *testing.T) {
	nodes := writeFile(t, "nodes", "n[1-1000]\n")
	p := newPlace(t, "rpclimitmethod = random")
	var log bytes.Buffer
	p.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := p.open(t, "")
	draw := func(seed int64) discovery.Result {
		t.Helper()
		found, err := f.Find(t.Context(), Targets{NodesFile: nodes, Limit: "10", LimitSeed: seed}, filter.Filter{}, "")
		if err != nil || len(found.Nodes) != 10 || found.Seed == 0 {
			t.Fatalf("%+v, %v", found, err)
		}
		return found
	}
	first, second := draw(0), draw(0)
	if first.Seed == second.Seed || slices.Equal(first.Nodes, second.Nodes) {
		t.Errorf("drawn twice: %+v", first)
	}
	if want := fmt.Sprintf("note: --limit chooses at random: --limit-seed %d makes the same choice of the same nodes", first.Seed); !slices.Contains(p.said, want) {
		t.Errorf("said %q", p.said)
	}
	if again := draw(first.Seed); !slices.Equal(again.Nodes, first.Nodes) {
		t.Errorf("seed %d chose %q, then %q", first.Seed, first.Nodes, again.Nodes)
	}
	if text := log.String(); strings.Count(text, "msg=discovery method=flatfile collective=mcollective nodes=10") != 3 {
		t.Errorf("logged: %s", text)
	}
}
