package config

import "strings"

// kind is how the text of a key becomes a value (docs/protocol.md, line format).
type kind uint8

const (
	kindText   kind = iota + 1 // as written
	kindPath                   // a leading ~ becomes HOME
	kindSecret                 // as written, never shown
	kindBool
	kindInt
	kindSeconds  // a whole number of seconds
	kindDuration // digits are seconds; else a duration with a unit
	kindComma    // one line replaces the list
	kindPaths    // each line appends, split like PATH
	kindLines    // each line appends one element
)

// field ties a key to its place in a Config.
type field struct {
	kind kind
	to   any    // *string, *Secret, *bool, *int, *time.Duration or *[]string
	def  string // the default's text
	env  string // a variable that replaces the text whenever the key is set by a file
	// fixed means that the default is set through the same rule, so that env counts without any file.
	fixed bool
	enum  []string
}

const (
	keyCollectives    = "collectives"
	keyMainCollective = "main_collective"
	keyIdentity       = "identity"
	keyTTL            = "ttl"
	keyTimeout        = "discovery_timeout"
	keyProvider       = "plugin.security.provider"
	keyAnonTLS        = "plugin.security.client_anon_tls"
	keyIssuerNames    = "plugin.security.issuer.names"
	keySSLDir         = "plugin.choria.ssldir"
	keyConnectTimeout = "plugin.choria.network.connect_timeout"
	keyFederations    = "plugin.choria.federation.collectives"
)

// fieldsOf is the table of the keys that matter to a client (docs/protocol.md, client configuration).
func fieldsOf(c *Config) map[string]*field {
	s := &c.Security
	return map[string]*field{
		keyIdentity:                 {kind: kindText, to: &c.Identity},
		keyCollectives:              {kind: kindComma, to: &c.Collectives},
		keyMainCollective:           {kind: kindText, to: &c.MainCollective},
		"logfile":                   {kind: kindPath, to: &c.LogFile, def: "stdout"},
		"loglevel":                  {kind: kindText, to: &c.LogLevel, def: "info", enum: []string{"debug", "info", "warn", "error", "fatal"}},
		"libdir":                    {kind: kindPaths, to: &c.LibDirs},
		"color":                     {kind: kindBool, to: &c.Color, def: "true"},
		keyTimeout:                  {kind: kindSeconds, to: &c.DiscoveryTimeout, def: "2"},
		"default_discovery_method":  {kind: kindText, to: &c.DiscoveryMethod, def: "mc", enum: []string{"mc", "broadcast", "puppetdb", "choria", "external", "inventory"}},
		"default_discovery_options": {kind: kindLines, to: &c.DiscoveryOptions},
		"rpclimitmethod":            {kind: kindText, to: &c.LimitMethod, def: "first", enum: []string{"first", "random"}},
		keyTTL:                      {kind: kindSeconds, to: &c.TTL, def: "30"},
		"soft_shutdown_timeout":     {kind: kindSeconds, to: &c.SoftShutdownTimeout, def: "2"},

		"plugin.choria.middleware_hosts":            {kind: kindComma, to: &c.MiddlewareHosts},
		"plugin.choria.use_srv":                     {kind: kindBool, to: &c.UseSRV, def: "true"},
		"plugin.choria.srv_domain":                  {kind: kindText, to: &c.SRVDomain, env: "CHORIA_SRV_DOMAIN", fixed: true},
		keyFederations:                              {kind: kindComma, to: &c.FederationCollectives, env: "CHORIA_FED_COLLECTIVE"},
		"plugin.choria.federation_middleware_hosts": {kind: kindComma, to: &c.FederationHosts},
		keyConnectTimeout:                           {kind: kindDuration, to: &c.ConnectTimeout, def: "2s"},
		"plugin.choria.puppetdb_host":               {kind: kindText, to: &c.PuppetDBHost},
		"plugin.choria.puppetdb_port":               {kind: kindInt, to: &c.PuppetDBPort, def: "8081"},
		"plugin.choria.puppetserver_host":           {kind: kindText, to: &c.PuppetServerHost, def: "puppet"},
		"plugin.choria.puppetserver_port":           {kind: kindInt, to: &c.PuppetServerPort, def: "8140"},
		"plugin.choria.puppetca_host":               {kind: kindText, to: &c.PuppetCAHost, def: "puppet"},
		"plugin.choria.puppetca_port":               {kind: kindInt, to: &c.PuppetCAPort, def: "8140"},
		keySSLDir:                                   {kind: kindPath, to: &s.SSLDir},

		"plugin.choria.discovery.external.command":           {kind: kindPath, to: &c.DiscoveryCommand},
		"plugin.choria.discovery.inventory.source":           {kind: kindPath, to: &c.InventorySource},
		"plugin.choria.discovery.broadcast.windowed_timeout": {kind: kindBool, to: &c.DiscoveryWindow, def: "false"},
		"plugin.choria.require_client_filter":                {kind: kindBool, to: &c.RequireFilter, def: "false"},
		"plugin.choria.services.registry.cache":              {kind: kindPath, to: &c.RegistryCache, env: "CHORIA_REGISTRY"},

		"plugin.fleetctl.practice": {kind: kindBool, to: &c.Practice, def: "false"},

		"plugin.nats.user":        {kind: kindText, to: &c.NatsUser, env: "MCOLLECTIVE_NATS_USERNAME"},
		"plugin.nats.pass":        {kind: kindSecret, to: &c.NatsPass, env: "MCOLLECTIVE_NATS_PASSWORD"},
		"plugin.nats.credentials": {kind: kindText, to: &c.NatsCredentials, env: "MCOLLECTIVE_NATS_CREDENTIALS"},

		keyProvider:    {kind: kindText, to: &s.Provider, def: "puppet", enum: []string{"puppet", "file", "pkcs11", "certmanager", "choria"}},
		keyAnonTLS:     {kind: kindBool, to: &s.AnonTLS, def: "false"},
		keyIssuerNames: {kind: kindComma, to: &s.IssuerNames},
		"plugin.security.support_legacy_certificates": {kind: kindBool, to: &s.LegacyCertificates, def: "false"},
		"plugin.security.cipher_suites":               {kind: kindComma, to: &s.CipherSuites},
		"plugin.security.ecc_curves":                  {kind: kindComma, to: &s.Curves},
		"plugin.security.file.certificate":            {kind: kindPath, to: &s.file.certificate},
		"plugin.security.file.key":                    {kind: kindPath, to: &s.file.key},
		"plugin.security.file.ca":                     {kind: kindPath, to: &s.file.ca},
		"plugin.security.choria.certificate":          {kind: kindPath, to: &s.choria.certificate},
		"plugin.security.choria.key":                  {kind: kindPath, to: &s.choria.key},
		"plugin.security.choria.ca":                   {kind: kindPath, to: &s.choria.ca},
		"plugin.security.choria.token_file":           {kind: kindPath, to: &s.TokenFile},
		"plugin.security.choria.seed_file":            {kind: kindPath, to: &s.SeedFile},
		"plugin.security.choria.trusted_signers":      {kind: kindComma, to: &s.TrustedSigners},
		"plugin.security.choria.sign_replies":         {kind: kindBool, to: &s.SignReplies, def: "true"},
		"plugin.security.pkcs11.driver_file":          {kind: kindPath, to: &s.PKCS11Driver},
		"plugin.security.pkcs11.slot":                 {kind: kindInt, to: &s.PKCS11Slot, def: "0"},

		"plugin.choria.security.request_signer.url":        {kind: kindText, to: &s.SignerURL},
		"plugin.choria.security.request_signer.service":    {kind: kindBool, to: &s.SignerService, def: "false"},
		"plugin.choria.security.request_signer.token_file": {kind: kindPath, to: &s.SignerTokenFile},
		"plugin.choria.security.request_signer.seed_file":  {kind: kindPath, to: &s.SignerSeedFile},
		"plugin.choria.security.certname_whitelist":        {kind: kindComma, to: &s.CertnameAllow, def: `\.mcollective$,\.choria$`},
		"plugin.choria.security.privileged_users":          {kind: kindComma, to: &s.Privileged, def: `\.privileged.mcollective$,\.privileged.choria$`},
		"plugin.login.aaasvc.login.url":                    {kind: kindComma, to: &s.LoginURLs},
	}
}

// risk names what a key decides, for keys that another user's project file must not set: where to
// connect, with which identity and trust, which nodes are chosen and which commands run. "" for the others.
func risk(key string) string {
	switch key {
	case keySSLDir, keyIdentity:
		return "security"
	case "default_discovery_method", "default_discovery_options", "plugin.choria.puppetdb_host", "plugin.choria.puppetdb_port":
		return "discovery"
	case keyCollectives, keyMainCollective, "rpclimitmethod", "plugin.choria.require_client_filter":
		return "targets"
	case "libdir", "plugin.choria.services.registry.cache":
		return "agent documents"
	case "plugin.choria.middleware_hosts", "plugin.choria.use_srv", "plugin.choria.srv_domain":
		return "broker"
	}
	for _, p := range []struct{ prefix, risk string }{
		{"plugin.security.", "security"}, {"plugin.choria.security.", "security"}, {"plugin.login.", "security"},
		{"plugin.choria.puppet", "security"}, {"plugin.nats.", "broker"}, {"plugin.choria.federation", "broker"},
		{"plugin.choria.discovery.", "discovery"},
	} {
		if strings.HasPrefix(key, p.prefix) {
			return p.risk
		}
	}
	return ""
}
