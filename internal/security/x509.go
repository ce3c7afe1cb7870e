package security

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/choria"
)

const (
	whatCertificate = "client certificate"
	whatKey         = "private key"
	whatCA          = "CA file"
)

func expiredCertificate(path string, end time.Time) error {
	return &CredentialError{Path: path, Problem: whatCertificate + " expired on " + end.UTC().Format(time.RFC3339), Hint: "renew it where it was issued"}
}

// openX509 opens an identity of version 1 (docs/protocol.md, signing v1).
func (i *Identity) openX509(now time.Time) error {
	o := &i.options
	i.version = choria.V1
	name, err := o.certname()
	if err != nil && !(o.AnonTLS && o.delegates()) { // the token then names the caller
		return err
	}
	i.caller = "choria=" + name
	i.tls.legacy = o.Provider == providerPuppet || o.LegacyCertificates
	certPath, keyPath, caPath, err := o.x509Paths(name)
	if err != nil {
		return err
	}
	if o.Insecure {
		i.warn("requests are not signed: only servers that were built so answer them")
		return i.openUnsigned(certPath, keyPath, caPath, now)
	}
	if o.delegates() {
		return i.openDelegated(certPath, keyPath, caPath, now)
	}
	if err := o.requireX509(certPath, keyPath); err != nil {
		return err
	}
	chain, err := i.openPair(certPath, keyPath, now)
	if err != nil {
		return err
	}
	if err := i.openCA(caPath); err != nil {
		return err
	}
	i.checkNames(certPath, name, chain[0])
	i.checkOwnChain(certPath, caPath, chain, now)
	i.adoptCaller(now)
	return nil
}

// requireX509 insists on the settings of provider file; Puppet's paths follow
// from the name.
func (o *Options) requireX509(cert, key string) error {
	for _, s := range []struct{ key, path string }{{"certificate", cert}, {"key", key}} {
		if s.path == "" {
			return setting(fmt.Sprintf("security provider file needs plugin.security.file.%s, which is not set", s.key), "set it to the path of the file")
		}
	}
	return nil
}

// hintMissing is how to get the certificate.
func (o *Options) hintMissing() string {
	if o.Provider == providerPuppet {
		return "request it with: choria enroll; or name another with MCOLLECTIVE_CERTNAME, or its directory with plugin.choria.ssldir"
	}
	return "check plugin.security.file.certificate, .key and .ca"
}

// onlyCertificates leaves out everything else of a PEM file, above all a private key: every request carries the text to every
// node. A file that holds nothing else stays as it is.
func onlyCertificates(file []byte) string {
	if !bytes.Contains(file, []byte("PRIVATE KEY")) {
		return string(file)
	}
	var out []byte
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
	}
	return string(out)
}

// openPair reads certificate and key, and checks that they can sign requests.
func (i *Identity) openPair(certPath, keyPath string, now time.Time) ([]*x509.Certificate, error) {
	hint := i.options.hintMissing()
	certPEM, err := readCredential(certPath, whatCertificate, hint)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readCredential(keyPath, whatKey, hint)
	if err != nil {
		return nil, err
	}
	chain, err := parseCertificates(certPath, whatCertificate, certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseRSAKey(keyPath, whatKey, keyPEM)
	if err != nil {
		return nil, err
	}
	if err := checkPair(certPath, keyPath, chain[0], key); err != nil {
		return nil, err
	}
	if err := checkCertificateTimes(certPath, chain[0], now); err != nil {
		return nil, err
	}
	if !clientAuth(chain[0]) {
		return nil, &CredentialError{Path: certPath, Problem: whatCertificate + " may not be used by clients: it lacks the extended key usage client auth, which servers demand",
			Hint: "have it issued again with client authentication"}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &CredentialError{Path: certPath, Problem: whatCertificate + " cannot be used for TLS", Err: err}
	}
	i.certificate, i.rsaKey = onlyCertificates(certPEM), key
	i.tls.certificates = []tls.Certificate{pair}
	i.expiring(whatCertificate, certPath, chain[0].NotAfter, now)
	return chain, nil
}

func checkPair(certPath, keyPath string, cert *x509.Certificate, key *rsa.PrivateKey) error {
	public, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return &CredentialError{Path: certPath, Problem: fmt.Sprintf("%s has a key of kind %s, where RSA is needed", whatCertificate, cert.PublicKeyAlgorithm),
			Hint: "Choria's version 1 signs with RSA only: make an RSA key, and a certificate for it"}
	}
	if !public.Equal(key.Public()) {
		return &CredentialError{Path: certPath, Problem: whatCertificate + " does not belong to the private key " + keyPath,
			Hint: "they are made together: check that both paths are of the same name, and that none was renewed without the other"}
	}
	return nil
}

func checkCertificateTimes(path string, cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return expiredCertificate(path, cert.NotAfter)
	case now.Before(cert.NotBefore):
		return &CredentialError{Path: path, Problem: whatCertificate + " is not valid before " + cert.NotBefore.UTC().Format(time.RFC3339),
			Hint: "check the clock of this machine; it shows " + now.UTC().Format(time.RFC3339)}
	}
	return nil
}

// clientAuth reports whether servers take the certificate: it names the usage, or
// does not limit its usages.
func clientAuth(cert *x509.Certificate) bool {
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// openCA reads the CA that the broker is verified with. Without one configured,
// the system's roots are used; one that is configured must be there.
func (i *Identity) openCA(path string) error {
	if path == "" || i.options.DisableTLS || i.options.InsecureBroker {
		return nil
	}
	roots, err := readRoots(path)
	i.tls.roots = roots
	return err
}

// readRoots reads a CA file.
func readRoots(path string) (*x509.CertPool, error) {
	data, err := readCredential(path, whatCA, "copy it from your CA, or remove the setting to use the system's roots")
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(path, whatCA, data)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, cert := range certs {
		roots.AddCert(cert)
	}
	return roots, nil
}

// openDelegated opens an identity of version 1 whose requests a remote signer signs: the
// token names the caller. Our certificate, if we have one, is for the connection only; with
// anonymous TLS the token is what we connect with (docs/protocol.md, authentication sent in
// CONNECT).
func (i *Identity) openDelegated(certPath, keyPath, caPath string, now time.Time) error {
	o := &i.options
	if err := i.openCaller(now); err != nil {
		return err
	}
	if o.AnonTLS {
		if o.Provider == providerPuppet && !exists(caPath) {
			caPath = "" // not configured, only where Puppet would have it
		}
	} else if err := o.requireX509(certPath, keyPath); err != nil {
		return err
	} else if err := i.openTLSPair(certPath, keyPath, now); err != nil {
		return err
	}
	return cmp.Or(i.openCA(caPath), i.openRemoteCA(caPath), i.openSigner())
}

// openUnsigned takes what TLS needs where it exists, and demands nothing.
func (i *Identity) openUnsigned(certPath, keyPath, caPath string, now time.Time) error {
	if i.options.DisableTLS {
		return nil
	}
	if exists(certPath) && exists(keyPath) {
		if err := i.openTLSPair(certPath, keyPath, now); err != nil {
			return err
		}
	}
	if exists(caPath) {
		return i.openCA(caPath)
	}
	return nil
}

// openTLSPair reads a certificate that is for TLS only, with a key of any kind.
func (i *Identity) openTLSPair(certPath, keyPath string, now time.Time) error {
	certPEM, err := readCredential(certPath, whatCertificate, "check its path, or remove the setting")
	if err != nil {
		return err
	}
	keyPEM, err := readCredential(keyPath, whatKey, "check its path, or remove the setting")
	if err != nil {
		return err
	}
	chain, err := parseCertificates(certPath, whatCertificate, certPEM)
	if err != nil {
		return err
	}
	if err := checkCertificateTimes(certPath, chain[0], now); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return &CredentialError{Path: certPath, Problem: whatCertificate + " does not belong to the private key " + keyPath + ", or one of them is damaged",
			Hint: "they are made together: check both paths", Err: err}
	}
	i.tls.certificates = []tls.Certificate{pair}
	return nil
}

// checkNames warns when servers would drop our requests silently: the caller's
// name must be in the certificate, unless that is privileged.
func (i *Identity) checkNames(path, name string, cert *x509.Certificate) {
	names := certificateNames(cert)
	if slices.Contains(names, name) || matchAny(compilePatterns(defaultPrivileged), names...) {
		return
	}
	i.warn("certificate %s is for %s, and requests are made as %s: servers answer only if that certificate is privileged; name it with MCOLLECTIVE_CERTNAME",
		path, strings.Join(names, ", "), i.caller)
}

// checkOwnChain warns when the CA that verifies the broker did not issue our
// certificate. Servers may know another CA, so it is no error.
func (i *Identity) checkOwnChain(path, caPath string, chain []*x509.Certificate, now time.Time) {
	if i.tls.roots == nil {
		return
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: i.tls.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		i.warn("certificate %s was not issued by the CA in %s: servers that know only this CA will not answer", path, caPath)
	}
}

// adoptCaller takes the caller id of a client token that is configured beside the
// certificate, as upstream does; a token that cannot be used is left aside.
func (i *Identity) adoptCaller(now time.Time) {
	path := i.options.TokenFile
	if path == "" {
		return
	}
	data, err := readCredential(path, whatToken, "")
	var claims *ClientClaims
	if err == nil {
		claims, err = parseClientUnverified(string(data))
	}
	if err == nil {
		err = claims.validAt(now, clientLeeway)
	}
	if err != nil || claims.CallerID == "" {
		i.warn("token file %s is not usable, so requests are made as %s", path, i.caller)
		return
	}
	i.caller = claims.CallerID
}

// certificateNames are the names that servers know a caller's certificate by.
func certificateNames(cert *x509.Certificate) []string {
	var names []string
	for _, name := range append([]string{cert.Subject.CommonName}, cert.DNSNames...) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
