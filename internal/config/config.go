package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/secret"
)

// Environment is what the loader may know about the process and the machine.
type Environment struct {
	Getenv   func(string) (string, bool) // like os.LookupEnv; nil means that no variable is set
	Home     string                      // HOME; "" when it is unset
	Dir      string                      // the working directory, absolute; "" means no project files and no relative path
	Root     bool                        // the effective user is root
	UID      int                         // the effective user's number: project files of this user and of root count
	Hostname func() (string, error)      // like os.Hostname; needed when no file gives an identity
	// LookupFQDN finds the host's full name when Hostname gives a short one; "" when unknown. HostFQDN does it as Choria does.
	LookupFQDN func() string

	owner func(string, fs.FileInfo) (uid int) // tests; nil asks the file system
}

// Security holds the settings of our identity. Paths are as configured; no file has been opened.
type Security struct {
	Provider         string // puppet, file, pkcs11, certmanager or choria; another value is kept as it was written
	CertnameOverride string // MCOLLECTIVE_CERTNAME, for the providers that heed it (file, puppet, certmanager)
	User             string // USER

	Certificate, Key, CA string // those of the provider; empty for puppet, which finds them in SSLDir
	SSLDir               string // plugin.choria.ssldir; for provider puppet its usual place when unset

	TokenFile, SeedFile string            // plugin.security.choria.token_file and .seed_file
	TrustedSigners      []string          // hex ed25519 keys
	IssuerNames         []string          // organization issuers
	Issuers             map[string]string // issuer name to hex ed25519 key

	SignerURL                       string
	SignerService                   bool
	SignerTokenFile, SignerSeedFile string
	LoginURLs                       []string

	CertnameAllow, Privileged []string // patterns of client certificate names
	CipherSuites, Curves      []string
	LegacyCertificates        bool
	SignReplies               bool // servers only
	PKCS11Driver              string
	PKCS11Slot                int

	AnonTLS    bool // client_anon_tls or INSECURE_ANON_TLS
	DisableTLS bool // INSECURE_DISABLE_TLS or INSECURE_YES_REALLY
	Insecure   bool // INSECURE_YES_REALLY: no signatures

	file, choria credentialFiles
}

type credentialFiles struct{ certificate, key, ca string }

// Config is the client configuration after files, defaults and environment. It is not changed after
// Load and may be read from several goroutines; callers must not change its slices and maps.
type Config struct {
	File  string   // the main file, absolute
	Files []string // every file read, in order

	Identity       string
	Collectives    []string // never empty
	MainCollective string
	LibDirs        []string
	Color          bool
	LogFile        string
	LogLevel       string

	DiscoveryTimeout time.Duration
	DiscoveryMethod  string   // may hold an unknown method: Choria keeps bad values
	DiscoveryOptions []string // one k=v each
	DiscoveryWindow  bool
	DiscoveryCommand string // external discovery
	InventorySource  string // inventory discovery
	LimitMethod      string // first, random, or an unknown method
	RequireFilter    bool
	Practice         bool // a practice fleet of fleetctl, whose secrets are known

	TTL    time.Duration // 30 s when not configured, where Choria has 60: a node that wakes later does not act any more
	TTLSet bool          // a file gave the TTL

	MiddlewareHosts       []string
	UseSRV                bool
	SRVDomain             string
	FederationCollectives []string
	FederationHosts       []string
	ConnectTimeout        time.Duration // at most 120 s
	SoftShutdownTimeout   time.Duration

	PuppetDBHost     string
	PuppetDBPort     int
	PuppetServerHost string
	PuppetServerPort int
	PuppetCAHost     string
	PuppetCAPort     int

	NatsUser        string
	NatsPass        secret.Value
	NatsCredentials string

	RegistryCache string // "" means that the registry is off

	Security Security

	// Warnings names, in the order met, what the operator should know: values that Choria swallows,
	// files without effect, dangerous variables, project files that are ignored because another user could write
	// them, and one that changes the broker or the identity. They may hold text of these files: show them as plain text.
	Warnings []string

	values map[string]setting
}

// setting is a value as it may be shown, and where it came from.
type setting struct{ text, origin string }

// ErrNotFound is matched by a NotFoundError.
var ErrNotFound = errors.New("no configuration file found")

// NotFoundError reports that there is no main configuration file.
type NotFoundError struct {
	Places []string // every place looked at, in order
}

// Error names the places.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("no configuration file at %s", strings.Join(e.Places, ", "))
}

// Is matches ErrNotFound and fs.ErrNotExist.
func (e *NotFoundError) Is(target error) bool {
	return target == ErrNotFound || target == fs.ErrNotExist
}

// Load reads the configuration as the choria client does (docs/protocol.md, client configuration). A path
// of "" means the search order. The order is the main file, plugin.d beside it, choria.conf in every
// directory from / down to the working directory; later values win, and a variable wins at the moment
// its key is set. A choria.conf counts only when no user but the caller and root can write it and its folders;
// a path that was given, or found by the search order, is the operator's own word and is not examined.
// Errors: NotFoundError, files that cannot be opened or are larger than 4 MiB, control characters in a value that
// counts, and the few settings that the choria client refuses too. Bad values are not errors; see Config.Warnings.
func Load(path string, env Environment) (*Config, error) {
	if env.Getenv == nil {
		env.Getenv = func(string) (string, bool) { return "", false }
	}
	l := newLoader(env)
	if err := l.readFiles(path); err != nil {
		return nil, err
	}
	if err := l.finish(); err != nil {
		return nil, err
	}
	if l.refused != nil {
		return nil, l.refused
	}
	return l.c, nil
}

// Get returns the value in force of a key, as text that may be shown: passwords are "[redacted]". A key
// that only a file gives, and that a client has no use for, has the file's text. ok is false when
// nothing, not even a default, gives the key a value.
func (c *Config) Get(key string) (value string, ok bool) {
	s, ok := c.values[key]
	return s.text, ok
}

// Origin reports where the value in force comes from: "FILE:LINE", "environment NAME" or "default"; for
// lists that grow with each line, every place. It is "" for a key without a value.
func (c *Config) Origin(key string) string { return c.values[key].origin }

// Keys returns every key that has a value, sorted.
func (c *Config) Keys() []string { return slices.Sorted(maps.Keys(c.values)) }

// String names the main file; the values may be sensitive.
func (c *Config) String() string { return "configuration " + c.File }

// GoString is String.
func (c *Config) GoString() string { return c.String() }
