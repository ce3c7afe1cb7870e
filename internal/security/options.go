package security

import (
	"cmp"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Options define who we are. The names of the settings are in docs/protocol.md,
// configuration keys that matter to a client; nothing here is a secret.
type Options struct {
	Provider         string // plugin.security.provider: file, puppet or choria; "" is puppet, upstream's default
	Identity         string // the configured identity, which is the sender of requests
	CertnameOverride string // MCOLLECTIVE_CERTNAME
	User             string // USER
	Root             bool   // effective user id 0, or Windows
	Home             string // home directory, for Puppet's ssl directory

	Certificate, Key, CA string // provider file and choria: paths
	TokenFile, SeedFile  string // plugin.security.choria.token_file and seed_file
	SSLDir               string // plugin.choria.ssldir, for provider puppet

	TrustedSigners []string          // plugin.security.choria.trusted_signers: hex keys
	Issuers        map[string]string // plugin.security.issuer.<name>.public: hex key by organization

	// Which names of certificates callers may have in statements (VerifyStatement): regular
	// expressions, as in NewV1Verifier.
	CertnameAllow []string // plugin.choria.security.certname_whitelist
	Privileged    []string // plugin.choria.security.privileged_users

	SignerURL       string         // plugin.choria.security.request_signer.url
	SignerService   bool           // plugin.choria.security.request_signer.service: wins over the URL
	SignerTokenFile string         // plugin.choria.security.request_signer.token_file
	SignerSeedFile  string         // plugin.choria.security.request_signer.seed_file
	Service         SigningService // how to ask the service; only needed to seal
	SignerCA        string         // the authority of signer and login service, where it is not CA; a path
	InsecureSigner  bool           // do not verify their certificates, and allow http

	CipherSuites       []string // plugin.security.cipher_suites, names as in crypto/tls; none: Go's defaults
	Curves             []string // plugin.security.ecc_curves; none: Go's defaults
	LegacyCertificates bool     // plugin.security.support_legacy_certificates
	AnonTLS            bool     // plugin.security.client_anon_tls

	DisableTLS           bool // talk to a plain NATS server
	Insecure             bool // version 1 without signatures, for servers built so
	InsecureBroker       bool // do not verify the broker's certificate
	AllowUnsignedReplies bool // version 2: take replies without a signature, too
}

// The security providers.
const (
	providerFile   = "file"
	providerPuppet = "puppet"
	providerChoria = "choria"
)

// identitySuffix makes a certificate name of a user's name (docs/protocol.md,
// identity, certname, callerid).
const identitySuffix = "mcollective"

// setting makes the error for a fault that is in a setting, not in a file.
func setting(problem, hint string) error { return &CredentialError{Problem: problem, Hint: hint} }

// check refuses what cannot work before any file is looked at.
func (o *Options) check() error {
	if o.Provider == "" {
		o.Provider = providerPuppet
	}
	switch o.Provider {
	case providerFile, providerPuppet, providerChoria:
	case "pkcs11", "certmanager":
		return setting(fmt.Sprintf("security provider %q is not supported", o.Provider), "supported in plugin.security.provider: file, puppet, choria; why not is in docs/adr/0013-no-pkcs11.md")
	default:
		return setting(fmt.Sprintf("security provider %q is unknown", o.Provider), "set plugin.security.provider to file, puppet or choria")
	}
	if o.Identity == "" {
		return setting("the identity of this machine is not known", "set identity in the configuration")
	}
	if o.Provider == providerChoria {
		if err := o.checkChoria(); err != nil {
			return err
		}
	}
	return o.checkSigner()
}

// checkChoria refuses what upstream refuses with this provider (docs/protocol.md,
// authentication sent in CONNECT).
func (o *Options) checkChoria() error {
	for _, s := range []struct {
		key string
		set bool
	}{
		{"plugin.security.client_anon_tls", o.AnonTLS},
		{"plugin.choria.security.request_signer.token_file", o.SignerTokenFile != ""},
		{"plugin.choria.security.request_signer.seed_file", o.SignerSeedFile != ""},
	} {
		if s.set {
			return setting(s.key+" cannot be used with security provider choria", "remove it; tokens are set with plugin.security.choria.token_file and seed_file")
		}
	}
	if o.Insecure {
		return setting("security provider choria has no unsigned mode", "unsigned requests exist in version 1 only: use provider file or puppet")
	}
	return nil
}

// checkSigner refuses what needs a remote signer, and chooses its files.
func (o *Options) checkSigner() error {
	if o.AnonTLS && !o.delegates() && !o.Insecure {
		return setting("plugin.security.client_anon_tls needs a remote signer: without a certificate this client cannot sign",
			"set "+keySignerURL+" or "+keySignerService+", or remove it and use a client certificate")
	}
	o.selectTokenFiles()
	if o.delegates() && !o.Insecure && o.TokenFile == "" {
		return setting("a remote signer needs our token, and neither plugin.security.choria.token_file nor plugin.choria.security.request_signer.token_file is set",
			"set one to the path of the file; `fleetctl login` writes it")
	}
	return nil
}

// selectTokenFiles chooses between the settings that name a token and a seed
// (docs/protocol.md, seed and token file selection). A seed that is set counts with
// every provider; upstream's provider puppet never looks at it.
func (o *Options) selectTokenFiles() {
	if o.Provider == providerChoria {
		return
	}
	o.TokenFile = cmp.Or(o.TokenFile, o.SignerTokenFile)
	o.SeedFile = cmp.Or(o.SeedFile, o.SignerSeedFile)
	if o.SeedFile == "" && o.TokenFile != "" {
		o.SeedFile = strings.TrimSuffix(o.TokenFile, filepath.Ext(o.TokenFile)) + ".key"
	}
}

// certname is the name that our certificate should have (docs/protocol.md,
// identity, certname, callerid).
func (o *Options) certname() (string, error) {
	switch {
	case o.CertnameOverride != "":
		return o.CertnameOverride, nil
	case o.Provider == providerFile && (o.Root || o.User == ""):
		return o.Identity, nil
	case o.User == "":
		return "", setting("the caller is unknown: the variable USER is not set", "set USER, or name the certificate with MCOLLECTIVE_CERTNAME")
	default:
		return o.User + "." + identitySuffix, nil
	}
}

// x509Paths returns where certificate, key and CA are.
func (o *Options) x509Paths(certname string) (cert, key, ca string, err error) {
	if o.Provider != providerPuppet {
		return o.Certificate, o.Key, o.CA, nil
	}
	dir := o.SSLDir
	switch {
	case dir != "":
	case o.Root:
		dir = "/etc/puppetlabs/puppet/ssl" // what Puppet reports when it runs as root
	case o.Home != "":
		dir = filepath.Join(o.Home, ".puppetlabs", "etc", "puppet", "ssl")
	default:
		return "", "", "", setting("Puppet's ssl directory is unknown: there is no home directory", "set plugin.choria.ssldir")
	}
	if strings.ContainsAny(certname, `/\`) {
		return "", "", "", setting(fmt.Sprintf("%q cannot be the name of a certificate", certname), "set MCOLLECTIVE_CERTNAME")
	}
	return filepath.Join(dir, "certs", certname+".pem"), filepath.Join(dir, "private_keys", certname+".pem"), filepath.Join(dir, "certs", "ca.pem"), nil
}

// issuers are those whose tokens we trust: by organization, or else any of the
// trusted signers (docs/protocol.md, signing v2).
type issuers struct {
	byOrganization map[string]ed25519.PublicKey
	any            []ed25519.PublicKey
}

func (s issuers) known() bool { return len(s.byOrganization)+len(s.any) > 0 }

// parseIssuers reads the keys of the issuers.
func (o *Options) parseIssuers() (issuers, error) {
	s := issuers{byOrganization: make(map[string]ed25519.PublicKey)}
	for _, name := range slices.Sorted(maps.Keys(o.Issuers)) {
		key, err := parsePublicKey(strings.TrimSpace(o.Issuers[name]))
		if err != nil {
			return issuers{}, setting(fmt.Sprintf("plugin.security.issuer.%s.public is not an ed25519 public key", name), "it is 64 hexadecimal characters")
		}
		s.byOrganization[name] = key
	}
	for i, text := range o.TrustedSigners {
		key, err := parsePublicKey(strings.TrimSpace(text))
		if err != nil {
			return issuers{}, setting(fmt.Sprintf("entry %d of plugin.security.choria.trusted_signers is not an ed25519 public key", i+1), "each is 64 hexadecimal characters")
		}
		s.any = append(s.any, key)
	}
	if len(s.byOrganization) > 0 {
		s.any = nil // the named issuers are the more exact wish
	}
	return s, nil
}

var curves = map[string]tls.CurveID{"X25519": tls.X25519, "CurveP256": tls.CurveP256, "CurveP384": tls.CurveP384, "CurveP521": tls.CurveP521}

// tlsChoices reads the names of cipher suites and curves.
func (o *Options) tlsChoices() (suites []uint16, ids []tls.CurveID, err error) {
	for _, name := range o.CipherSuites {
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, nil, setting(fmt.Sprintf("plugin.security.cipher_suites: %q is not a secure cipher suite", name), "names are like TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")
		}
		suites = append(suites, tls.CipherSuites()[i].ID)
	}
	for _, name := range o.Curves {
		id, ok := curves[name]
		if !ok {
			return nil, nil, setting(fmt.Sprintf("plugin.security.ecc_curves: %q is unknown", name), "known are "+strings.Join(slices.Sorted(maps.Keys(curves)), ", "))
		}
		ids = append(ids, id)
	}
	return suites, ids, nil
}
