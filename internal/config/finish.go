package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const maxConnectTimeout = 120 * time.Second // longer ones are refused by Choria

// finish derives what files leave open, and refuses what the choria client refuses.
func (l *loader) finish() error {
	c := l.c
	l.collectives()
	l.federations()
	if err := l.identity(); err != nil {
		return err
	}
	if err := l.security(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		c.Color = false
	}
	c.TTLSet = c.Origin(keyTTL) != "default"
	if c.ConnectTimeout > maxConnectTimeout {
		return fmt.Errorf("cannot use %s %v (%s): the limit is %v", keyConnectTimeout, c.ConnectTimeout, c.Origin(keyConnectTimeout), maxConnectTimeout)
	}
	for _, key := range []string{keyTTL, keyTimeout} {
		if d := *l.fields[key].to.(*time.Duration); d <= 0 {
			l.warn("%s: %s is %v: nothing can be answered in that time", c.Origin(key), key, d)
		}
	}
	return nil
}

func (l *loader) collectives() {
	c := l.c
	if len(c.Collectives) == 0 {
		c.Collectives = []string{"mcollective"}
		if c.Security.Provider == "choria" {
			c.Collectives = []string{"choria"}
		}
		l.derived(keyCollectives, c.Collectives[0])
	}
	if c.MainCollective == "" {
		c.MainCollective = c.Collectives[0]
		l.derived(keyMainCollective, c.MainCollective)
	}
}

// derived records a value that no file gives.
func (l *loader) derived(key, text string) {
	l.c.values[key] = setting{text: display(key, text), origin: "default"}
}

// federations lets the variable win over files, also when no file has the key: the choria client reads
// it a second time on its own.
func (l *loader) federations() {
	if v, ok := l.env.Getenv("CHORIA_FED_COLLECTIVE"); ok && v != "" && l.c.Origin(keyFederations) != "environment CHORIA_FED_COLLECTIVE" {
		l.assign(keyFederations, l.fields[keyFederations], v, "")
	}
}

func (l *loader) identity() error {
	c := l.c
	if c.Identity != "" {
		return nil
	}
	host := ""
	if l.env.Hostname != nil {
		var err error
		if host, err = l.env.Hostname(); err != nil {
			return fmt.Errorf("find the host name: %w", err)
		}
	}
	c.Identity = host
	if strings.Count(host, ".") < 2 && l.env.LookupFQDN != nil {
		if full := l.env.LookupFQDN(); full != "" && full != "localhost" {
			c.Identity = full
		}
	}
	if c.Identity == "" {
		return errors.New("find the host name: there is none; set identity in the configuration")
	}
	l.derived(keyIdentity, c.Identity)
	return nil
}

func (l *loader) security() error {
	s := &l.c.Security
	switch s.Provider {
	case "choria":
		s.Certificate, s.Key, s.CA = s.choria.certificate, s.choria.key, s.choria.ca
	case "file":
		s.Certificate, s.Key, s.CA = s.file.certificate, s.file.key, s.file.ca
	case "pkcs11":
		s.CA = s.file.ca
	case "puppet":
		l.puppetSSLDir()
	}
	switch s.Provider {
	case "file", "puppet", "certmanager":
		s.CertnameOverride, _ = l.env.Getenv("MCOLLECTIVE_CERTNAME")
	}
	user := "USER"
	if runtime.GOOS == "windows" {
		user = "USERNAME"
	}
	s.User, _ = l.env.Getenv(user)
	if err := l.issuers(); err != nil {
		return err
	}
	if s.AnonTLS && s.SignerURL == "" && !s.SignerService {
		return fmt.Errorf("cannot use %s (%s): anonymous TLS needs a request signer", keyAnonTLS, l.c.Origin(keyAnonTLS))
	}
	l.insecure()
	return nil
}

// puppetSSLDir gives the directory of Puppet's own credentials. For root the choria client asks the
// puppet command; its answer is this path unless Puppet is configured otherwise.
func (l *loader) puppetSSLDir() {
	s := &l.c.Security
	switch {
	case s.SSLDir != "":
		return
	case l.env.Root && runtime.GOOS != "windows":
		s.SSLDir = "/etc/puppetlabs/puppet/ssl"
	case l.env.Home != "":
		s.SSLDir = filepath.Join(l.env.Home, ".puppetlabs", "etc", "puppet", "ssl")
	default:
		return
	}
	l.derived(keySSLDir, s.SSLDir)
}

// issuers collects the keys of the organization issuers. Only provider choria uses them, and refuses a
// name without a key.
func (l *loader) issuers() error {
	s := &l.c.Security
	s.Issuers = make(map[string]string, len(s.IssuerNames))
	for _, name := range s.IssuerNames {
		key := "plugin.security.issuer." + name + ".public"
		public, ok := l.c.Get(key)
		if !ok && s.Provider == "choria" {
			return fmt.Errorf("cannot use issuer %q (%s): %s is not set", name, l.c.Origin(keyIssuerNames), key)
		}
		if ok {
			s.Issuers[name] = public
		}
	}
	return nil
}

// insecure applies the variables that turn protection off. They count only when they are exactly "true".
func (l *loader) insecure() {
	s := &l.c.Security
	on := func(name, effect string) bool {
		if v, _ := l.env.Getenv(name); v != "true" {
			return false
		}
		l.warn("environment %s: %s", name, effect)
		return true
	}
	if on("INSECURE_ANON_TLS", "TLS without a client certificate") {
		s.AnonTLS = true
		l.c.values[keyAnonTLS] = setting{text: "true", origin: "environment INSECURE_ANON_TLS"}
	}
	if on("INSECURE_DISABLE_TLS", "connections are not encrypted") {
		s.DisableTLS = true
	}
	if on("INSECURE_YES_REALLY", "requests are not signed and connections are not encrypted") {
		s.Insecure, s.DisableTLS = true, true
	}
}
