package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// network is the way to the fleet: what is configured is known at once; who we are is checked, and the broker dialled,
// when that is first needed, once.
type network struct {
	app        *app
	cfg        *config.Config
	id         *security.Identity
	collective string
	// federations are those whose collectives are addressed; none means the broker's own collectives.
	federations []string
	conn        *bus.Conn
	client      *rpcclient.Client
}

// network reads the configuration. No credential is opened and nothing is dialled.
func (a *app) network(ctx context.Context, collective string) (*network, error) {
	cfg, err := a.loadConfig(ctx)
	if err != nil {
		return nil, err
	}
	a.warn(cfg.Warnings)
	return a.networkOf(cfg, collective)
}

func (a *app) networkOf(cfg *config.Config, collective string) (*network, error) {
	if collective == "" {
		collective = cfg.MainCollective
	}
	if !slices.Contains(cfg.Collectives, collective) {
		hint := "add it to `collectives` in " + cfg.File
		if collective == provisioningCollective {
			hint = "nodes in provisioning mode need a configuration with the provisioner's login (plugin.nats.user and .pass): name it with --config"
		}
		return nil, usage(fmt.Errorf("collective %q is not one of ours: %s", collective, strings.Join(cfg.Collectives, ", ")), hint)
	}
	federations, err := a.federations(cfg)
	if err != nil {
		return nil, err
	}
	return &network{app: a, cfg: cfg, collective: collective, federations: federations}, nil
}

// provisioningCollective is where nodes in provisioning mode are, in a broker account of their own.
const provisioningCollective = "provisioning"

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(a.err, "warning: "+w)
	}
}

// identity opens our credentials, and says what is wrong with them before anything is dialled.
func (n *network) identity() (*security.Identity, error) {
	if n.id != nil {
		return n.id, nil
	}
	o, err := n.securityOptions()
	if err != nil {
		return nil, err
	}
	id, err := security.Open(o, time.Now())
	if err != nil {
		return nil, err
	}
	n.app.warn(id.Warnings())
	n.id = id
	return id, nil
}

// withNetwork checks the targets, reads the configuration, does the work and leaves the network.
func (a *app) withNetwork(ctx context.Context, t *targets, work func(n *network, f filter.Filter) error) error {
	f, err := t.parse()
	if err != nil {
		return err
	}
	n, err := a.network(ctx, t.collective)
	if err != nil {
		return err
	}
	defer n.close()
	return work(n, f)
}

func (a *app) loadConfig(ctx context.Context) (*config.Config, error) {
	return a.readConfig(func() string {
		host, err := os.Hostname()
		if err != nil {
			return ""
		}
		lookup, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return config.HostFQDN(lookup, host)
	})
}

// readConfig reads the configuration; fullName finds the host's name in the DNS, nil asks nobody.
func (a *app) readConfig(fullName func() string) (*config.Config, error) {
	path := a.flags.config
	if path == "" {
		path, _ = a.getenv("FLEETCTL_CONFIG")
	}
	home := a.home()
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	cfg, err := config.Load(path, config.Environment{
		Getenv: a.getenv, Home: home, Dir: dir, Root: os.Geteuid() == 0, UID: os.Geteuid(), Hostname: os.Hostname,
		LookupFQDN: fullName,
	})
	if err == nil {
		return cfg, nil
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		return nil, err
	}
	return nil, usage(fmt.Errorf("read configuration: %w", err), "")
}

func (a *app) securityOptions(cfg *config.Config) security.Options {
	s := cfg.Security
	home := a.home()
	return security.Options{
		Provider: s.Provider, Identity: cfg.Identity, CertnameOverride: s.CertnameOverride, User: s.User,
		Root: os.Geteuid() == 0, Home: home,
		Certificate: s.Certificate, Key: s.Key, CA: s.CA, TokenFile: s.TokenFile, SeedFile: s.SeedFile, SSLDir: s.SSLDir,
		TrustedSigners: s.TrustedSigners, Issuers: s.Issuers,
		SignerURL: s.SignerURL, SignerService: s.SignerService, SignerTokenFile: s.SignerTokenFile, SignerSeedFile: s.SignerSeedFile,
		CipherSuites: s.CipherSuites, Curves: s.Curves, LegacyCertificates: s.LegacyCertificates,
		AnonTLS: s.AnonTLS, DisableTLS: s.DisableTLS, Insecure: s.Insecure,
		InsecureBroker: a.flags.insecureBroker, AllowUnsignedReplies: a.flags.allowUnsigned,
	}
}

// dial connects to the broker, once a run.
func (n *network) dial(ctx context.Context) (*rpcclient.Client, error) {
	if n.client != nil {
		return n.client, nil
	}
	id, err := n.identity()
	if err != nil {
		return nil, err
	}
	servers, err := n.servers(ctx)
	if err != nil {
		return nil, err
	}
	o, err := n.busOptions(id, servers)
	if err != nil {
		return nil, err
	}
	if n.conn, err = bus.Connect(ctx, o); err != nil {
		return nil, err
	}
	n.client = rpcclient.NewFederated(n.conn, id, n.federations)
	return n.client, nil
}

// servers are the brokers' URLs.
func (n *network) servers(ctx context.Context) ([]string, error) {
	where := bus.Where{Hosts: n.cfg.MiddlewareHosts, UseSRV: n.cfg.UseSRV, Domain: n.srvDomain()}
	if len(n.federations) > 0 {
		where.Hosts, where.Federated = n.cfg.FederationHosts, true
	}
	return bus.Servers(ctx, where)
}

// busOptions are how we connect.
func (n *network) busOptions(id *security.Identity, servers []string) (bus.Options, error) {
	tls, err := id.TLS(servers...)
	if err != nil {
		return bus.Options{}, err
	}
	return bus.Options{
		Servers: servers, Name: id.Caller(), TLS: tls, Token: id.Token(), SignNonce: id.SignNonce,
		User: n.cfg.NatsUser, Password: n.cfg.NatsPass.Reveal(), Credentials: n.cfg.NatsCredentials,
		ReplyPrefix:    choria.ReplyPrefix(n.collective, id.Caller()),
		ConnectTimeout: n.app.flags.connectTimeout.d, Logger: n.app.logger(),
	}, nil
}

// srvDomain is the configured domain, else that of our own full name.
func (n *network) srvDomain() string {
	if n.cfg.SRVDomain != "" {
		return n.cfg.SRVDomain
	}
	if _, domain, ok := strings.Cut(n.cfg.Identity, "."); ok && strings.Contains(domain, ".") {
		return domain
	}
	return ""
}

func (n *network) close() {
	if n.conn != nil {
		n.conn.Close()
	}
}

// documents resolves agents' documents: our own, those on disk, and the network's registry where it is configured.
func (n *network) documents() ddl.Resolver {
	r := ddl.Resolver{Dirs: n.cfg.LibDirs}
	if n.cfg.RegistryCache != "" {
		r.CacheDir, r.Fetch = n.cfg.RegistryCache, n.fetchDocument
	}
	return r
}

// registryTimeout bounds the wait for the network's registry: its document says 2 s, and upstream adds 2.
const registryTimeout = 4 * time.Second

func (n *network) fetchDocument(ctx context.Context, agent string) ([]byte, error) {
	client, err := n.dial(ctx)
	if err != nil {
		return nil, err
	}
	inputs, err := json.Marshal(map[string]string{"name": agent, "plugin_type": "agent", "format": "json"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	reply, err := client.Service(ctx, rpcclient.Request{Agent: "choria_registry", Action: "ddl", Data: inputs, Collective: n.collective})
	if err != nil {
		return nil, err
	}
	if reply.Code != choria.OK {
		return nil, fmt.Errorf("the registry on %s: %s", reply.Node, reply.Message)
	}
	var body struct {
		DDL string `json:"ddl"`
	}
	if err := json.Unmarshal(reply.Data, &body); err != nil {
		return nil, fmt.Errorf("the registry on %s: %w", reply.Node, err)
	}
	return []byte(body.DDL), nil
}

// replyTimeout is the document's timeout plus 2 s, as upstream has it.
func replyTimeout(doc *ddl.Document) time.Duration { return doc.Metadata.Timeout + 2*time.Second }

// logger writes on stderr when --debug asks for it, and to --log-file; secrets are taken out of both.
func (a *app) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	var handlers []slog.Handler
	if a.flags.debug {
		handlers = append(handlers, slog.NewTextHandler(scrubWriter{a.err, &a.scrub}, options))
	}
	if a.log != nil {
		handlers = append(handlers, slog.NewJSONHandler(scrubWriter{a.log, &a.scrub}, options))
	}
	return slog.New(slog.NewMultiHandler(handlers...))
}

// settingsPath is where fleetctl's own settings are.
func (a *app) settingsPath() string {
	if path, ok := a.getenv("FLEETCTL_SETTINGS"); ok && path != "" {
		return path
	}
	base, ok := a.getenv("XDG_CONFIG_HOME")
	if !ok || base == "" {
		home := a.home()
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "fleetctl", "config.yaml")
}
