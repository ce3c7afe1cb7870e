package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/lease"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// ProvisioningCollective is where nodes in provisioning mode are, in a broker account of their own.
const ProvisioningCollective = "provisioning"

// Options are the parts of the command line and the environment that decide how the fleet is reached.
type Options struct {
	ConfigFile string // Choria's client configuration; empty: as the site has it, or as Choria itself searches
	Site       string // of our own settings; empty: as FLEETCTL_SITE has it
	Getenv     func(name string) (string, bool)
	Home       string    // the user's own folder
	Stdin      io.Reader // for lists of nodes that are piped in

	Settings       func() (config.Settings, error) // our own settings, read when they are needed
	ConnectTimeout time.Duration                   // zero: the bus's default
	TTL            time.Duration                   // of every request; zero: as configured
	InsecureBroker bool                            // do not verify the broker's certificate
	AllowUnsigned  bool                            // accept replies without a signature when an issuer is known
	SignerCA       string                          // certificate authority of request signer and login service
	InsecureSigner bool
	Federations    []string // those that were asked for; the environment wins

	// CacheDir is where what earlier runs have seen is kept, to be quicker; empty: nowhere.
	CacheDir string

	// Expect gets how many nodes a question is for, and Dialing whether signatures of replies are verified, before the
	// connection is made: what decides how much of the machine is worth taking. Nil: not wanted.
	Expect  func(nodes int)
	Dialing func(verifies bool)

	Logger *slog.Logger      // nil: nothing is logged
	Tell   func(line string) // warnings and notes for the operator, whole lines; nil: dropped
}

func (o Options) tell(format string, args ...any) {
	if o.Tell != nil {
		o.Tell(fmt.Sprintf(format, args...))
	}
}

func (o Options) expect(nodes int) {
	if o.Expect != nil {
		o.Expect(nodes)
	}
}

func (o Options) warn(warnings []string) {
	for _, w := range warnings {
		o.tell("warning: %s", w)
	}
}

// UsageError reports arguments or a configuration that cannot be used. Nothing was sent.
type UsageError struct {
	Err  error
	Hint string // what to do, on a line of its own; may be empty
}

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the problem.
func (e *UsageError) Unwrap() error { return e.Err }

func usage(err error, hint string) error { return &UsageError{Err: err, Hint: hint} }

// ReadConfig reads Choria's client configuration. fullName finds this host's name in the DNS; nil does without.
// Errors are *config.NotFoundError and *UsageError.
func (o Options) ReadConfig(fullName func() string) (*config.Config, error) {
	path, err := o.ConfigPath()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	cfg, err := config.Load(path, config.Environment{
		Getenv: o.Getenv, Home: o.Home, Dir: dir, Root: os.Geteuid() == 0, UID: os.Geteuid(), Hostname: os.Hostname, LookupFQDN: fullName,
	})
	if err == nil {
		return cfg, nil
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		return nil, err
	}
	return nil, usage(fmt.Errorf("read configuration: %w", err), "")
}

// LoadConfig is ReadConfig with a look into the DNS of at most two seconds.
func (o Options) LoadConfig(ctx context.Context) (*config.Config, error) {
	return o.ReadConfig(func() string {
		host, err := os.Hostname()
		if err != nil {
			return ""
		}
		lookup, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return config.HostFQDN(lookup, host)
	})
}

// Fleet is one fleet, reached through one configuration. Its methods are for one goroutine.
type Fleet struct {
	Config     *config.Config
	Collective string
	// Federations are the federations whose collectives are addressed; without any, the broker's own collectives are.
	Federations []string

	o       Options
	id      *security.Identity
	conn    *bus.Conn
	client  *rpcclient.Client
	refused error // of the first Dial, whose time is over

	links  chan batch.Link
	handed atomic.Bool // a run reports what happens to the connection
	lostAt time.Time   // zero: the connection is up; of link alone
	tokens bool        // the client keeps the nodes' tokens
	absent bool        // Find asks whether the broker reports absent nodes
}

// Open reads the configuration. No credential is opened and nothing is dialed. An empty collective is the main one.
func Open(ctx context.Context, o Options, collective string) (*Fleet, error) {
	cfg, err := o.LoadConfig(ctx)
	if err != nil {
		return nil, err
	}
	o.warn(cfg.Warnings)
	return New(o, cfg, collective)
}

// New is the fleet of a configuration that has been read. It repeats no warning of the configuration.
func New(o Options, cfg *config.Config, collective string) (*Fleet, error) {
	if collective == "" {
		collective = cfg.MainCollective
	}
	if !slices.Contains(cfg.Collectives, collective) {
		hint := "add it to `collectives` in " + cfg.File
		if collective == ProvisioningCollective {
			hint = "nodes in provisioning mode need a configuration with the provisioner's login (plugin.nats.user and .pass): name it with --config"
		}
		return nil, usage(fmt.Errorf("collective %q is not one of ours: %s", collective, strings.Join(cfg.Collectives, ", ")), hint)
	}
	federations, err := o.federations(cfg)
	if err != nil {
		return nil, err
	}
	return &Fleet{o: o, Config: cfg, Collective: collective, Federations: federations}, nil
}

// Identity opens our credentials, and reports what is wrong with them before anything is dialed.
func (f *Fleet) Identity() (*security.Identity, error) {
	if f.id != nil {
		return f.id, nil
	}
	o, err := f.SecurityOptions()
	if err != nil {
		return nil, err
	}
	id, err := security.Open(o, time.Now())
	if err != nil {
		return nil, err
	}
	f.o.warn(id.Warnings())
	id.RememberTokens(f.o.CacheDir)
	f.id = id
	return id, nil
}

// UseIdentity takes credentials that the caller has opened.
func (f *Fleet) UseIdentity(id *security.Identity) { f.id = id }

// Dial connects to the broker, once a process. A connection that failed is not tried again: the operator has waited once.
func (f *Fleet) Dial(ctx context.Context) (*rpcclient.Client, error) {
	if f.client != nil || f.refused != nil {
		return f.client, f.refused
	}
	id, err := f.Identity()
	if err != nil {
		return nil, err
	}
	servers, err := f.Servers(ctx)
	if err != nil {
		return nil, err
	}
	o, err := f.busOptions(id, servers)
	if err != nil {
		return nil, err
	}
	f.links = make(chan batch.Link, linkBuffer)
	o.OnLink = f.link
	if f.o.Dialing != nil {
		f.o.Dialing(id.ChecksReplies())
	}
	if f.conn, err = bus.Connect(ctx, o); err != nil {
		f.refused = err
		return nil, err
	}
	if back, _ := f.conn.Reconnected(); !back.IsZero() {
		f.late(back)
	}
	f.client = rpcclient.NewFederated(f.conn, id, f.Federations).WithTTL(f.ttl()).WithHash(f.allowedHash(id)).WithLogger(f.o.Logger)
	if f.tokens {
		f.client.KeepTokens()
	}
	return f.client, nil
}

// KeepTokens makes the client of Dial remember when the nodes' tokens end, as their replies show it.
func (f *Fleet) KeepTokens() {
	if f.tokens = true; f.client != nil {
		f.client.KeepTokens()
	}
}

// AskOfAbsence makes Find ask the broker, while the nodes answer its broadcast, whether it reports absent nodes. The client
// keeps the answer, so that the plan does not wait for it.
func (f *Fleet) AskOfAbsence() { f.absent = true }

// late reports that the broker was away at first: its servers may be on their way back, as after a loss.
func (f *Fleet) late(back time.Time) {
	f.o.tell("the broker was away at first, and is there now: nodes may still be on their way back, and are asked again for 30s")
	f.links <- batch.Link{Time: back, Err: errors.New("the broker was away at first")}
	f.links <- batch.Link{Time: back, Up: true}
}

// linkBuffer is how many losses and returns of the connection are kept for a run that is busy.
const linkBuffer = 256

// link passes on what happens to the connection, and reports it at once while no run does. It must not block: when the
// buffer is full, the event is dropped.
func (f *Fleet) link(up, gone bool, at time.Time, err error) {
	switch report := !f.handed.Load(); {
	case up && !f.lostAt.IsZero():
		if report {
			f.o.tell("%s", batch.LinkBack(at.Sub(f.lostAt)))
		}
		f.lostAt = time.Time{}
	case !up && !gone && f.lostAt.IsZero():
		if f.lostAt = at; report {
			f.o.tell("%s", batch.LinkLost(err))
		}
	}
	select {
	case f.links <- batch.Link{Time: at, Up: up, Gone: gone, Err: err}:
	default:
	}
}

// ttl is how old requests may get: from the command line, else from the configuration; zero is the client's default.
func (f *Fleet) ttl() time.Duration {
	if f.o.TTL > 0 || !f.Config.TTLSet {
		return f.o.TTL
	}
	return f.Config.TTL
}

// Conn is the connection, nil before Dial.
func (f *Fleet) Conn() *bus.Conn { return f.conn }

// Bucket dials, and names a bucket of the brokers.
func (f *Fleet) Bucket(ctx context.Context, name string) (lease.Store, error) {
	if _, err := f.Dial(ctx); err != nil {
		return nil, err
	}
	return lease.Open(f.conn, name), nil
}

// MakeBucket dials, and makes the bucket for what runs share; replicas is how many copies it has, 0 for what fits the
// brokers. It reports false where there is one already.
func (f *Fleet) MakeBucket(ctx context.Context, replicas int) (made bool, err error) {
	if _, err := f.Dial(ctx); err != nil {
		return false, err
	}
	if replicas == 0 {
		if replicas, err = lease.Replicas(ctx, lease.Open(f.conn, lease.Elections)); err != nil {
			return false, err
		}
	}
	return lease.Open(f.conn, lease.Shared).Create(ctx, replicas)
}

// Servers are the brokers' URLs.
func (f *Fleet) Servers(ctx context.Context) ([]string, error) {
	where := bus.Where{Hosts: f.Config.MiddlewareHosts, UseSRV: f.Config.UseSRV, Domain: f.srvDomain()}
	if len(f.Federations) > 0 {
		where.Hosts, where.Federated = f.Config.FederationHosts, true
	}
	return bus.Servers(ctx, where)
}

func (f *Fleet) busOptions(id *security.Identity, servers []string) (bus.Options, error) {
	tls, err := id.TLS(servers...)
	if err != nil {
		return bus.Options{}, err
	}
	return bus.Options{
		Servers: servers, Name: id.Caller(), TLS: tls, Token: id.Token(), SignNonce: id.SignNonce,
		User: f.Config.NatsUser, Password: f.Config.NatsPass.Reveal(), Credentials: f.Config.NatsCredentials,
		ReplyPrefixes:  f.replyPrefixes(id),
		ConnectTimeout: f.o.ConnectTimeout, Logger: f.o.Logger,
	}, nil
}

// srvDomain is the configured domain, else that of our own full name.
func (f *Fleet) srvDomain() string {
	if f.Config.SRVDomain != "" {
		return f.Config.SRVDomain
	}
	if _, domain, ok := strings.Cut(f.Config.Identity, "."); ok && strings.Contains(domain, ".") {
		return domain
	}
	return ""
}

// Close closes the connection.
func (f *Fleet) Close() {
	if f.conn == nil {
		return
	}
	f.conn.Close()
	if err := f.id.SaveTokens(); err != nil && f.o.Logger != nil {
		f.o.Logger.Debug("the cache is not kept", "error", err)
	}
}

// federations are those that are addressed: of the environment, else those asked for, else of the configuration files.
func (o Options) federations(cfg *config.Config) ([]string, error) {
	names := cfg.FederationCollectives // of the environment where that names any
	if env, _ := o.Getenv("CHORIA_FED_COLLECTIVE"); env == "" && len(o.Federations) > 0 {
		names = o.Federations
	}
	var out []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if err := choria.CheckIdentity(name); err != nil || strings.Contains(name, ".") {
			return nil, usage(fmt.Errorf("%q cannot be the name of a federation", name), "check --federations, CHORIA_FED_COLLECTIVE and plugin.choria.federation.collectives")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
