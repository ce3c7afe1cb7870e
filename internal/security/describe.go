package security

import (
	"crypto/x509"
	"time"
)

// Credential describes one credential file. It holds nothing secret.
type Credential struct {
	// Kind is client certificate, CA file, token file, private key or seed file.
	Kind string
	Path string
	// Names are its subjects: the names of a certificate, the caller id of a token; none for keys.
	Names []string
	// Issuer made it: the name in a certificate or token, unverified.
	Issuer string
	// NotBefore and NotAfter bound its validity; zero means unbounded.
	NotBefore, NotAfter time.Time
	// Permissions are those of a client token, sorted; Organization is its organization.
	Permissions  []string
	Organization string
	// Fault is what is wrong with the file itself, nil when it can be used at the time asked for.
	Fault error
}

// Describe reads every credential file that the options name, each on its own: unlike Open it does not end at the first
// fault. It verifies nothing but times, and uses no network. Faults are CredentialErrors.
func Describe(o Options, now time.Time) []Credential {
	if o.Provider == "" {
		o.Provider = providerPuppet
	}
	cert, key, ca := o.Certificate, o.Key, o.CA
	if o.Provider == providerPuppet {
		if name, err := o.certname(); err == nil {
			cert, key, ca, _ = o.x509Paths(name) // Open reports why there are no paths
		}
	}
	var all []Credential
	if o.AnonTLS && o.delegates() {
		cert, key = "", ""
		if o.Provider == providerPuppet && !exists(ca) {
			ca = ""
		}
	}
	named := o.SeedFile != "" || o.SignerSeedFile != ""
	o.selectTokenFiles()
	if !named && !o.delegates() {
		o.SeedFile = "" // derived for a signer that there is not
	}
	add := func(c Credential, err error) {
		c.Fault = err
		all = append(all, c)
	}
	certificate := func(path, what string) {
		if path != "" {
			add(describeCertificate(path, what, now))
		}
	}
	if !o.DisableTLS || o.Provider != providerChoria {
		certificate(cert, whatCertificate)
		if key != "" {
			_, err := readCredential(key, whatKey, "")
			add(Credential{Kind: whatKey, Path: key}, err)
		}
		certificate(ca, whatCA)
	}
	if o.delegates() && !o.InsecureSigner {
		certificate(o.SignerCA, whatCA)
	}
	if o.TokenFile != "" {
		add(describeToken(o.TokenFile, now))
	}
	if o.SeedFile != "" {
		_, err := readSeed(o.SeedFile)
		add(Credential{Kind: "seed file", Path: o.SeedFile}, err)
	}
	return all
}

func describeCertificate(path, what string, now time.Time) (Credential, error) {
	c := Credential{Kind: what, Path: path}
	data, err := readCredential(path, what, "")
	if err != nil {
		return c, err
	}
	certs, err := parseCertificates(path, what, data)
	if err != nil {
		return c, err
	}
	c.Names, c.Issuer = certificateNames(certs[0]), issuerName(certs[0])
	c.NotBefore, c.NotAfter = certs[0].NotBefore, certs[0].NotAfter
	if what != whatCA {
		return c, checkCertificateTimes(path, certs[0], now)
	}
	if now.After(c.NotAfter) {
		return c, &CredentialError{Path: path, Problem: what + " holds a certificate that expired on " + c.NotAfter.UTC().Format(time.RFC3339), Hint: "copy the new one from your CA"}
	}
	return c, nil
}

// issuerName is the issuer as people know it.
func issuerName(cert *x509.Certificate) string {
	if cert.Issuer.CommonName != "" {
		return cert.Issuer.CommonName
	}
	return cert.Issuer.String()
}

func describeToken(path string, now time.Time) (Credential, error) {
	c := Credential{Kind: whatToken, Path: path}
	data, err := readCredential(path, whatToken, hintToken)
	if err != nil {
		return c, err
	}
	claims, err := parseClientUnverified(string(data))
	if err == nil {
		c.Names, c.Issuer, c.Organization = []string{claims.CallerID}, claims.Issuer, claims.Organization
		c.NotBefore, c.NotAfter = claims.NotBefore.Time, claims.Expires()
		c.Permissions = claims.Permissions.Names()
		err = claims.validAt(now, clientLeeway)
	}
	if err != nil {
		return c, &CredentialError{Path: path, Problem: whatToken + ": " + err.Error(), Hint: hintToken, Err: err}
	}
	return c, nil
}

// Names are the permissions that are granted, as the token spells them, sorted.
func (p ClientPermissions) Names() []string { return granted(p) }
