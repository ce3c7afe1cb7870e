package config

import (
	"fmt"
	"strings"
)

// Place is where a documented name stands. The zero value is unset.
type Place uint8

// The places.
const (
	Key      Place = iota + 1 // in Choria's client configuration
	Variable                  // in the environment
	Own                       // in our own settings file
)

// documented is a row of the tables of docs/configuration.md: names that have an effect, and which.
type documented struct {
	Place   Place
	Names   []string
	Default string // keys only; in words where it is not one value
	Means   string
	// Shown is the test that turns a name and sees a difference, a file from the root of the source that holds the name. It
	// is "" for names that change a field of Config or Settings: the tests of this package turn those, and another
	// test wants each field to be read outside this package.
	Shown string
}

// Line is the row as the page has it.
func (d documented) Line() string {
	names := "`" + strings.Join(d.Names, "`, `") + "`"
	if d.Place == Key {
		return fmt.Sprintf("| %s | %s | %s |", names, d.Default, d.Means)
	}
	return fmt.Sprintf("| %s | %s |", names, d.Means)
}

func key(fallback, means string, names ...string) documented {
	return documented{Place: Key, Names: names, Default: fallback, Means: means}
}

func variable(means, shown string, names ...string) documented {
	return documented{Place: Variable, Names: names, Means: means, Shown: shown}
}

func own(means, name string) documented {
	return documented{Place: Own, Names: []string{name}, Means: means}
}

// documentedNames lists every documented name, in the order of the page.
var documentedNames = []documented{
	key("the host's full name", "our name as sender", "identity"),
	key("`mcollective`, for provider `choria`: `choria`; the first of them", "where we may ask, and where we ask by default", "collectives", "main_collective"),
	key("", "where agent documents are found", "libdir"),
	key("2", "seconds that discovery waits", "discovery_timeout"),
	key("`mc`", "where nodes come from, and the options of that, `KEY=VALUE`: [below](#where-nodes-come-from)", "default_discovery_method", "default_discovery_options"),
	key("`first`", "how `--limit` chooses: `first` or `random`; a random choice draws a fresh seed each run and names it, `--limit-seed` repeats it", "rpclimitmethod"),
	key("30 (upstream 60)", "seconds for which a request is valid", "ttl"),
	key("true", "colors at a terminal", "color"),
	key("", "brokers, `host:port`", "plugin.choria.middleware_hosts"),
	key("true, our own domain", "find brokers in the DNS", "plugin.choria.use_srv", "plugin.choria.srv_domain"),
	key("", "federations whose collectives are addressed; see below", "plugin.choria.federation.collectives"),
	key("", "the federations' brokers, `host:port`; else SRV records, no default", "plugin.choria.federation_middleware_hosts"),
	key("false", "requests need a filter", "plugin.choria.require_client_filter"),
	key("", "folder for agent documents that the network's registry gives; unset, it is not asked", "plugin.choria.services.registry.cache"),
	key("false", "end discovery when nothing more comes", "plugin.choria.discovery.broadcast.windowed_timeout"),
	key("", "the inventory file", "plugin.choria.discovery.inventory.source"),
	key("", "the program that knows nodes", "plugin.choria.discovery.external.command"),
	key("SRV records, then `puppet`; 8081", "where PuppetDB is", "plugin.choria.puppetdb_host", "plugin.choria.puppetdb_port"),
	key("", "a login to the broker", "plugin.nats.user", "plugin.nats.pass", "plugin.nats.credentials"),
	key("`puppet`", "`puppet`, `file` (both protocol v1) or `choria` (protocol v2)", "plugin.security.provider"),
	key("", "provider `file`", "plugin.security.file.certificate", "plugin.security.file.key", "plugin.security.file.ca"),
	key("Puppet's", "provider `puppet`", "plugin.choria.ssldir"),
	key("", "provider `choria`: the client's token and seed", "plugin.security.choria.token_file", "plugin.security.choria.seed_file"),
	key("", "provider `choria`: TLS", "plugin.security.choria.certificate", "plugin.security.choria.key", "plugin.security.choria.ca"),
	key("", "have requests signed by this HTTP service", "plugin.choria.security.request_signer.url"),
	key("false", "have them signed by the network's `aaa_signer`; wins over the URL", "plugin.choria.security.request_signer.service"),
	key("", "our token and key, for providers `file` and `puppet` (below)", "plugin.choria.security.request_signer.token_file", "plugin.choria.security.request_signer.seed_file"),
	key("false", "connect with the token, without a client certificate; needs a remote signer", "plugin.security.client_anon_tls"),
	key("", "where `fleetctl login` gets a token; of several, any that answers", "plugin.login.aaasvc.login.url"),
	key("", "the organization's issuer: with it, signatures of v2 replies are checked", "plugin.security.issuer.names", "plugin.security.issuer.NAME.public"),
	key("Go's secure ones", "TLS", "plugin.security.cipher_suites", "plugin.security.ecc_curves"),

	variable("the Choria client configuration", "cmd/completion_test.go", "FLEETCTL_CONFIG"),
	variable("our own settings file", "cmd/refusals_test.go", "FLEETCTL_SETTINGS"),
	variable("the site, as `--site`", "cmd/sites_test.go", "FLEETCTL_SITE"),
	variable("the provisioning token, for `choria_provision` only, when no `token=` is given", "secrets_test.go", "FLEETCTL_TOKEN"),
	variable("where the records of runs are kept, below `runs/`; `--state-dir` wins", "crash_test.go", "FLEETCTL_STATE_DIR"),
	variable("user name and password for `fleetctl login`", "cmd/login_test.go", "FLEETCTL_USERNAME", "FLEETCTL_PASSWORD"),
	variable("no colors, when it is set to anything", "", "NO_COLOR"),
	variable("`dumb`: no colors", "", "TERM"),
	variable("certname for `file` and `puppet`", "", "MCOLLECTIVE_CERTNAME"),
	variable("where the certname comes from without it", "", "USER"),
	variable("replace `plugin.nats.*`, where the key is in a file", "", "MCOLLECTIVE_NATS_USERNAME", "MCOLLECTIVE_NATS_PASSWORD", "MCOLLECTIVE_NATS_CREDENTIALS"),
	variable("the federations, with commas; beats the configuration and `--federations`", "", "CHORIA_FED_COLLECTIVE"),
	variable("`true`: as `plugin.security.client_anon_tls`, without a client certificate", "", "INSECURE_ANON_TLS"),
	variable("`true`: the connection is not encrypted", "", "INSECURE_DISABLE_TLS"),
	variable("`true`: neither signatures nor TLS, for servers that were built so", "", "INSECURE_YES_REALLY"),
	variable("replaces `plugin.choria.srv_domain`", "", "CHORIA_SRV_DOMAIN"),
	variable("replaces the registry's cache folder, where the key is in a file; empty: the registry is not asked", "", "CHORIA_REGISTRY"),
	variable("where our settings are, below `fleetctl/`", "cmd/site_test.go", "XDG_CONFIG_HOME"),
	variable("where what earlier runs have seen is kept, below `fleetctl/`, else `~/.cache`: hashes of server tokens that verified, and the names of the last whole discovery of each filter, which only decide when the next one may end. It only saves time, and can be removed at any moment", "cmd/cache_test.go", "XDG_CACHE_HOME"),
	variable("where the records of runs are kept without that, below `fleetctl/runs/`; else `~/.local/state`", "cmd/site_test.go", "XDG_STATE_HOME"),

	own("refuse larger plans; 0 is no limit", "max_nodes"),
	own("`true`: refuse runs without a filter or a list of nodes", "require_filter"),
	own("`true`: ask before every action that changes something", "confirm"),
	own("`true`: refuse every action that changes something", "read_only"),
	own("a lock that every run holds which changes something, as with `--lock`: [shared.md](shared.md)", "lock"),
	own("a CA file that verifies the certificates of request signer and login service", "signer_ca"),
	own("`true`: do not verify them, and allow plain http", "insecure_signer"),
	own("a command that runs at the events of every run that changes something: [notifications.md](notifications.md); `--on-event` names another", "on_event"),
	own("the Prometheus server of `--gate-promql`: an address, or a map with how to get in: [gates.md](gates.md#prometheus)", "prometheus"),
	own("what needs approvals of other operators: [below](#approvals)", "approvals"),
	own("the fleets that `--site` chooses from: [below](#sites)", "sites"),
}
