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
	key("the host's full name", "the sender name of our requests", "identity"),
	key("`mcollective`, for provider `choria`: `choria`; the first of them", "the collectives that can be addressed, and the default one", "collectives", "main_collective"),
	key("", "the folders with agent documents", "libdir"),
	key("2", "seconds that discovery waits", "discovery_timeout"),
	key("`mc`", "the discovery method and its options, `KEY=VALUE`: [below](#where-nodes-come-from)", "default_discovery_method", "default_discovery_options"),
	key("`first`", "how `--limit` chooses: `first` or `random`; a random choice uses and prints a new seed for each run; `--limit-seed` repeats the choice", "rpclimitmethod"),
	key("30 (upstream 60)", "seconds for which a request is valid", "ttl"),
	key("true", "colors at a terminal", "color"),
	key("", "brokers, `host:port`", "plugin.choria.middleware_hosts"),
	key("true, our own domain", "find the brokers by SRV records of this domain", "plugin.choria.use_srv", "plugin.choria.srv_domain"),
	key("", "the federations to connect to: [below](#federations)", "plugin.choria.federation.collectives"),
	key("", "the brokers of the federations, `host:port`; without it, SRV records name them", "plugin.choria.federation_middleware_hosts"),
	key("false", "`true`: refuse requests without a filter", "plugin.choria.require_client_filter"),
	key("false", "`true`, as in the configuration of `fleetctl lab`: no hint about a token on the command line", "plugin.fleetctl.practice"),
	key("", "cache folder for agent documents of the registry; without it, the registry is not asked", "plugin.choria.services.registry.cache"),
	key("false", "`true`: end discovery when no more replies come", "plugin.choria.discovery.broadcast.windowed_timeout"),
	key("", "the inventory file", "plugin.choria.discovery.inventory.source"),
	key("", "the program that prints the nodes", "plugin.choria.discovery.external.command"),
	key("SRV records, then `puppet`; 8081", "the address of PuppetDB", "plugin.choria.puppetdb_host", "plugin.choria.puppetdb_port"),
	key("", "the login at the broker", "plugin.nats.user", "plugin.nats.pass", "plugin.nats.credentials"),
	key("`puppet`", "`puppet`, `file` (both protocol v1) or `choria` (protocol v2)", "plugin.security.provider"),
	key("", "provider `file`", "plugin.security.file.certificate", "plugin.security.file.key", "plugin.security.file.ca"),
	key("Puppet's", "provider `puppet`", "plugin.choria.ssldir"),
	key("", "provider `choria`: the client's token and seed", "plugin.security.choria.token_file", "plugin.security.choria.seed_file"),
	key("", "provider `choria`: TLS", "plugin.security.choria.certificate", "plugin.security.choria.key", "plugin.security.choria.ca"),
	key("", "the HTTP service that signs requests", "plugin.choria.security.request_signer.url"),
	key("false", "`true`: the service `aaa_signer` on the network signs them; takes precedence over the URL", "plugin.choria.security.request_signer.service"),
	key("", "our token and key for the signer, with providers `file` and `puppet`: [below](#remote-signers)", "plugin.choria.security.request_signer.token_file", "plugin.choria.security.request_signer.seed_file"),
	key("false", "connect with the token, without a client certificate; needs a remote signer", "plugin.security.client_anon_tls"),
	key("", "the service that gives `fleetctl login` a token; with several, the first that answers", "plugin.login.aaasvc.login.url"),
	key("", "the public key of the organization's issuer; with it, fleetctl checks the signatures of v2 replies", "plugin.security.issuer.names", "plugin.security.issuer.NAME.public"),
	key("Go's secure ones", "the cipher suites and curves of TLS", "plugin.security.cipher_suites", "plugin.security.ecc_curves"),

	variable("the Choria client configuration", "cmd/completion_test.go", "FLEETCTL_CONFIG"),
	variable("our own settings file", "cmd/refusals_test.go", "FLEETCTL_SETTINGS"),
	variable("the site, as `--site`", "cmd/sites_test.go", "FLEETCTL_SITE"),
	variable("the provisioning token, for `choria_provision` only, when no `token=` is given", "secrets_test.go", "FLEETCTL_TOKEN"),
	variable("the folder of the records, which are in `runs/` below it; `--state-dir` takes precedence", "crash_test.go", "FLEETCTL_STATE_DIR"),
	variable("user name and password for `fleetctl login`", "cmd/login_test.go", "FLEETCTL_USERNAME", "FLEETCTL_PASSWORD"),
	variable("no colors, when it is set to anything", "", "NO_COLOR"),
	variable("`dumb`: no colors", "", "TERM"),
	variable("certname for `file` and `puppet`", "", "MCOLLECTIVE_CERTNAME"),
	variable("the certname is made from it when `MCOLLECTIVE_CERTNAME` is not set", "", "USER"),
	variable("replace `plugin.nats.*`, where the key is in a file", "", "MCOLLECTIVE_NATS_USERNAME", "MCOLLECTIVE_NATS_PASSWORD", "MCOLLECTIVE_NATS_CREDENTIALS"),
	variable("the federations, separated by commas; takes precedence over the configuration and `--federations`", "", "CHORIA_FED_COLLECTIVE"),
	variable("`true`: as `plugin.security.client_anon_tls`, without a client certificate", "", "INSECURE_ANON_TLS"),
	variable("`true`: the connection is not encrypted", "", "INSECURE_DISABLE_TLS"),
	variable("`true`: neither signatures nor TLS, for servers that were built without them", "", "INSECURE_YES_REALLY"),
	variable("replaces `plugin.choria.srv_domain`", "", "CHORIA_SRV_DOMAIN"),
	variable("replaces the registry's cache folder, where the key is in a file; empty: the registry is not asked", "", "CHORIA_REGISTRY"),
	variable("the folder of our settings, which are in `fleetctl/` below it", "cmd/site_test.go", "XDG_CONFIG_HOME"),
	variable("the cache folder (else `~/.cache`). `fleetctl/` in it holds hashes of server tokens that were verified, and the node names of the last complete discovery of each filter, which only decide when the next one may end, and names of facts. Completion proposes the names. The cache only saves time and may be deleted at any moment", "cmd/cache_test.go", "XDG_CACHE_HOME"),
	variable("without `FLEETCTL_STATE_DIR`: the folder of the records, which are in `fleetctl/runs/` below it; else `~/.local/state`", "cmd/site_test.go", "XDG_STATE_HOME"),

	own("refuse larger plans; 0 is no limit", "max_nodes"),
	own("`true`: refuse runs without a filter or a list of nodes; an agent (`-A`) alone is no filter", "require_filter"),
	own("`true`: ask before every action that changes something", "confirm"),
	own("`true`: refuse every action that changes something", "read_only"),
	own("a lock that every run holds which changes something, as with `--lock`: [shared.md](shared.md)", "lock"),
	own("how many nodes may be down at once, with those of other runs, as with `--max-down`: N, FACT=N or a list of them: [shared.md](shared.md)", "max_down"),
	own("`true`: share the record of every run that changes something, as with `--share`: [shared.md](shared.md#shared-runs)", "share"),
	own("a CA file that verifies the certificates of request signer and login service", "signer_ca"),
	own("`true`: do not verify them, and allow plain http", "insecure_signer"),
	own("a command that runs at the events of every run that changes something: [notifications.md](notifications.md); `--on-event` names another", "on_event"),
	own("the Prometheus server of `--gate-promql`: an address, or a map with its credentials: [gates.md](gates.md#prometheus)", "prometheus"),
	own("what needs approvals of other operators: [below](#approvals)", "approvals"),
	own("limits that also hold for runs in one collective: [below](#limits-of-a-collective)", "collectives"),
	own("the fleets that `--site` chooses from: [below](#sites)", "sites"),
}
