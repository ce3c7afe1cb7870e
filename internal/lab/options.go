package lab

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Amount defines which nodes of a fleet are meant: a count, a share, or all nodes with a fact.
// The zero value means none.
type Amount struct {
	// N is the count, or the percentage when Percent is true.
	N float64
	// Percent makes N a share of the fleet.
	Percent bool
	// Fact, when set, means all nodes whose fact has this Value.
	Fact, Value string
}

// ParseAmount reads "12", "2.5%" or "rack=fra1-r01". The empty text is the zero Amount.
func ParseAmount(text string) (Amount, error) {
	if text == "" {
		return Amount{}, nil
	}
	if fact, value, ok := strings.Cut(text, "="); ok {
		if fact == "" || value == "" {
			return Amount{}, fmt.Errorf("amount %q: want FACT=VALUE such as rack=fra1-r01", text)
		}
		return Amount{Fact: fact, Value: value}, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	if !percent {
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return Amount{}, fmt.Errorf("amount %q: want a count such as 3, a share such as 5%%, or nodes such as rack=fra1-r01", text)
		}
		return Amount{N: float64(n)}, nil
	}
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !(share >= 0 && share <= 100) {
		return Amount{}, fmt.Errorf("amount %q: want a share between 0%% and 100%%", text)
	}
	return Amount{N: share, Percent: true}, nil
}

// Of returns how many of total nodes a count or a share means: shares are rounded up, and
// the result is never above total. It is 0 for nodes with a fact.
func (a Amount) Of(total int) int {
	if !(a.N > 0) || total <= 0 {
		return 0
	}
	n := a.N
	if a.Percent {
		// In thousandths of a percent, so that 7% of 100 is 7 and not 7.000000000000001.
		milli := int64(a.N*1000 + 0.5)
		n = float64((milli*int64(total) + 99_999) / 100_000)
	}
	if n >= float64(total) {
		return total
	}
	return int(n)
}

// String returns the text that ParseAmount reads.
func (a Amount) String() string {
	if a.Fact != "" {
		return a.Fact + "=" + a.Value
	}
	text := strconv.FormatFloat(a.N, 'f', -1, 64)
	if a.Percent {
		return text + "%"
	}
	return text
}

// Set reads text as ParseAmount does; with Type it makes *Amount a command line flag.
func (a *Amount) Set(text string) error {
	parsed, err := ParseAmount(text)
	if err == nil {
		*a = parsed
	}
	return err
}

// Type names the value in a flag's help.
func (a *Amount) Type() string { return "N|P%" }

// Faults define how many nodes misbehave, and how. The sets are disjoint. Counts and shares are
// chosen by the seed among the nodes that have no fault by a fact.
type Faults struct {
	// Silent nodes answer everything but choria_provision, and do not act on it.
	Silent Amount
	// Refuse nodes deny every choria_provision action with statuscode 1.
	Refuse Amount
	// Slow nodes handle each RPC request 3 s late, and discovery 1.5 s late.
	Slow Amount
	// NoReturn nodes accept a restart or reprovision and never come back.
	NoReturn Amount
	// Duplicate nodes send each reply twice.
	Duplicate Amount
	// Forge nodes send forged replies before their own good one.
	Forge Amount
	// Gone nodes answer one discovery and are disconnected then, for good.
	Gone Amount
	// Expiring nodes have a server token that ends ExpiringIn after the start; protocol v2
	// only. One that starts after that is in provisioning mode, without an identity.
	Expiring Amount
	// UpdateLate nodes take so long over a release_update that its reply is dropped.
	UpdateLate Amount
	// UpdateFail nodes fail a release_update and roll it back.
	UpdateFail Amount
	// UpdateBroken nodes fail the rollback, too: no program is left on the disk, and the
	// process cannot be restarted. These three are upgradable nodes as long as there are any.
	UpdateBroken Amount
}

// Options describes a lab. The zero value is a fleet of 50 nodes on protocol v1.
type Options struct {
	// Nodes is the size of the fleet; 0 means 50.
	Nodes int
	// Protocol is 1 (x509) or 2 (organization issuer and tokens); 0 means 1.
	Protocol int
	// Token is the provisioning token of every node; "" means s3cret.
	Token string
	// Upgradable nodes may be upgraded during provisioning; the zero Amount means none.
	Upgradable Amount
	// Port is the broker's port on 127.0.0.1; 0 means any free one.
	Port int
	// Dir receives the client's files and is kept. "" means a fresh temporary folder
	// that Close removes.
	Dir string
	// Seed chooses versions, operating systems, faults and delays. Equal seeds make
	// equal fleets.
	Seed uint64
	// Faults define which nodes misbehave.
	Faults Faults
	// InProcess makes a lab without a listener, for virtual time: clients connect
	// through InProcessConn, and there is no TLS.
	InProcess bool
	// Logger receives what the nodes and the broker do; nil means silence. Tokens are
	// never logged.
	Logger *slog.Logger
	// Version is the Choria version that every node reports; "" means a mix.
	Version string
	// ProvisionAfter is how long a node stays in provisioning mode before the built-in
	// provisioner configures it; 0 means 5 s, a negative duration means never. A node
	// that another provisioner takes on is left to that one.
	ProvisionAfter time.Duration
	// ProvisionVersion is the version that the built-in provisioner upgrades nodes to, where
	// they allow it; the others keep theirs. "" upgrades none.
	ProvisionVersion string

	// ExpiringIn is how long after the start the tokens of Faults.Expiring end; 0 means 2 minutes.
	ExpiringIn time.Duration
	// FIPS makes the broker let clients receive replies to the SHA-256 of their caller id only,
	// as brokers in FIPS mode do; protocol v2 only.
	FIPS bool
	// Streams gives the broker JetStream, with the bucket that Choria brokers make. In v2 the
	// operator's token then has the permission streams_user and may make the bucket FLEETCTL;
	// client-bob.conf is a second operator (in v2 of every lab), client-streams.conf one who may make no bucket,
	// client-election.conf one who has only the permission election_user, client-plain.conf
	// one without any for streams.
	Streams bool
	// Brokers is how many servers the broker is a cluster of; 0 means 1. Nodes are connected
	// to the first. More than one needs Streams and a listener.
	Brokers int
	// StartPeer starts a server of the cluster, each but the first, in a process of its own, which calls RunPeer; nil: all run
	// in this one. Clients connect to the first then, and the lab does not end the others.
	StartPeer func(Peer) error
	// Hasty nodes act after the shortest delay that real ones choose: 2 s before a restart or a
	// reprovision, none before a shutdown.
	Hasty bool
	// KeepLog makes every node remember what it received and did, for Log. It costs some
	// 60 bytes an entry, without a bound.
	KeepLog bool

	operatorKey *rsa.PrivateKey // nil: a fresh one, which takes a while
}

// maxNodes bounds a fleet to what one process simulates well.
const maxNodes = 200_000

// maxBrokers is as many copies as a stream may have.
const maxBrokers = 5

// maxVersion is the longest version that choria_provision#release_update takes.
const maxVersion = 32

// Validate returns what is wrong with the options, or nil.
func (o Options) Validate() error {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return fmt.Errorf("lab of %d nodes: want 1 to %d", o.Nodes, maxNodes)
	}
	if o.Protocol < 0 || o.Protocol > 2 {
		return fmt.Errorf("protocol %d: want 1 or 2", o.Protocol)
	}
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("port %d: want 0 to 65535", o.Port)
	}
	if o.ProvisionVersion != "" && o.ProvisionAfter < 0 {
		return fmt.Errorf("no node is upgraded to version %s without the provisioner", o.ProvisionVersion)
	}
	if len(o.ProvisionVersion) > maxVersion {
		return fmt.Errorf("version of %d characters: release_update takes %d at most", len(o.ProvisionVersion), maxVersion)
	}
	if o.ExpiringIn < 0 {
		return fmt.Errorf("tokens that end %v after the start: want a positive time", o.ExpiringIn)
	}
	o = o.withDefaults()
	if e := o.Faults.Expiring; o.Protocol == 1 && (e.Of(o.Nodes) > 0 || e.Fact != "") {
		return errors.New("expiring tokens: only servers of protocol 2 have tokens")
	}
	if o.Protocol == 1 && o.FIPS {
		return errors.New("a broker in FIPS mode: only that of protocol 2 limits reply subjects")
	}
	if o.Brokers < 1 || o.Brokers > maxBrokers {
		return fmt.Errorf("a cluster of %d brokers: want 1 to %d", o.Brokers, maxBrokers)
	}
	if o.Brokers > 1 && (!o.Streams || o.InProcess) {
		return errors.New("a cluster of brokers: it needs streams and a listener")
	}
	sum := 0
	for _, fault := range o.Faults.list() {
		sum += fault.amount.Of(o.Nodes)
	}
	if sum > o.Nodes {
		return fmt.Errorf("faults for %d nodes in a lab of %d: each node has one fault at most", sum, o.Nodes)
	}
	return o.checkFacts()
}

// checkFacts refuses amounts by a fact that no node has. Without such amounts no fleet is laid out.
func (o Options) checkFacts() error {
	for _, a := range append(o.Faults.list(), faultAmount{amount: o.Upgradable}) {
		if a.amount.Fact != "" {
			return assigned(design(o), o)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Nodes == 0 {
		o.Nodes = 50
	}
	if o.Protocol == 0 {
		o.Protocol = 1
	}
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Token == "" {
		o.Token = "s3cret"
	}
	if o.ProvisionAfter == 0 {
		o.ProvisionAfter = 5 * time.Second
	}
	if o.ExpiringIn == 0 {
		o.ExpiringIn = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Fault is the way in which a node misbehaves.
type Fault uint8

// The faults; a node has one at most.
const (
	NoFault Fault = iota
	Silent
	Refuse
	Slow
	NoReturn
	Duplicate
	Forge
	Gone
	Expiring
	UpdateLate
	UpdateFail
	UpdateBroken
)

// String returns the name of the fault's flag, "" for none.
func (f Fault) String() string {
	switch f {
	case NoFault:
		return ""
	case Silent:
		return "silent"
	case Refuse:
		return "refuse"
	case Slow:
		return "slow"
	case NoReturn:
		return "no-return"
	case Duplicate:
		return "duplicate"
	case Forge:
		return "forge"
	case Gone:
		return "gone"
	case Expiring:
		return "expiring"
	case UpdateLate:
		return "update-late"
	case UpdateFail:
		return "update-fail"
	case UpdateBroken:
		return "update-broken"
	default:
		return fmt.Sprintf("fault(%d)", uint8(f))
	}
}

type faultAmount struct {
	fault  Fault
	amount Amount
}

func (f Faults) list() []faultAmount {
	return []faultAmount{
		{Silent, f.Silent}, {Refuse, f.Refuse}, {Slow, f.Slow}, {NoReturn, f.NoReturn}, {Duplicate, f.Duplicate}, {Forge, f.Forge},
		{Gone, f.Gone}, {Expiring, f.Expiring}, {UpdateLate, f.UpdateLate}, {UpdateFail, f.UpdateFail}, {UpdateBroken, f.UpdateBroken},
	}
}

// State is where a node is in its life.
type State uint8

// The states of a node.
const (
	Up           State = iota + 1 // answers, in normal mode
	Restarting                    // between two processes
	Provisioning                  // in provisioning mode
	Down                          // stays down
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Restarting:
		return "restarting"
	case Provisioning:
		return "provisioning"
	case Down:
		return "down"
	default:
		return fmt.Sprintf("state(%d)", uint8(s))
	}
}
