package security

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"fleetctl/internal/choria"
)

// Statement is the signature of a caller under a text that is no request, with what
// shows whose signature it is. It holds nothing secret: a token and a certificate
// travel in every request, too.
type Statement struct {
	Signature   []byte `json:"signature"`
	Token       string `json:"token,omitempty"`       // version 2
	Certificate string `json:"certificate,omitempty"` // version 1, PEM, intermediate ones behind it
}

// Signatory is the caller that a statement is of. Unlike Caller it is named by what
// signs alone: in version 1 by the certificate, whatever callers requests are made as.
type Signatory struct {
	Caller string
	Ends   time.Time // when the token or the certificate ends; zero: never
}

// statementContext separates statements from everything else that a seed signs. A
// broker chooses the nonce that a client signs when it connects, and could choose the
// text of a statement: in Ed25519ctx (RFC 8032) the two are never the same.
const statementContext = "fleetctl-statement"

// Signatory is who we are in statements. ok is false where we have nothing to sign
// with: version 1 with a remote signer, or without signatures.
func (i *Identity) Signatory() (s Signatory, ok bool) {
	if i.version == choria.V2 {
		return Signatory{i.caller, i.expires}, i.seed != nil
	}
	if i.rsaKey == nil {
		return Signatory{}, false
	}
	leaf, _, err := certificateChain(i.certificate)
	if err != nil {
		return Signatory{}, false
	}
	return Signatory{certificateCaller(leaf), leaf.NotAfter}, true
}

// SignStatement signs a text with our own key. A credential that has expired since
// Open, and one that cannot sign, are CredentialErrors.
func (i *Identity) SignStatement(text []byte) (Statement, error) {
	if _, ok := i.Signatory(); !ok {
		return Statement{}, setting("there is no key of ours to sign with: requests are signed elsewhere, or not at all", "sign as a caller with a seed or a private key of its own")
	}
	if err := i.alive(time.Now()); err != nil {
		return Statement{}, err
	}
	if i.version == choria.V2 {
		signature, err := i.seed.Sign(nil, text, &ed25519.Options{Context: statementContext})
		if err != nil {
			return Statement{}, fmt.Errorf("sign statement: %w", err)
		}
		return Statement{Signature: signature, Token: i.token}, nil
	}
	hash := sha256.Sum256(text)
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.rsaKey, crypto.SHA256, hash[:])
	if err != nil {
		return Statement{}, fmt.Errorf("sign statement: %w", err)
	}
	return Statement{Signature: signature, Certificate: i.certificate}, nil
}

// VerifyStatement checks that a caller who may manage the fleet signed the text, and
// that its token or certificate, which issuer or authority of ours vouches for, is
// valid now, without leeway. In version 2 the issuers are those of the configuration,
// chains of trust included; in version 1 it is the configured CA, never the system's
// roots, and the name in the certificate must be one that callers may have: a server
// has a certificate, too. Errors wrap ErrUnsigned, ErrSignature, ErrUntrusted,
// ErrNotAllowed, ErrPermission or an ErrToken sentinel, or are CredentialErrors of our
// own configuration.
func (i *Identity) VerifyStatement(s Statement, text []byte, now time.Time) (Signatory, error) {
	switch {
	case len(s.Signature) == 0:
		return Signatory{}, ErrUnsigned
	case i.version == choria.V2 && s.Token == "", i.version == choria.V1 && s.Certificate == "":
		return Signatory{}, fmt.Errorf("%w: it was signed in another version of the protocol than ours (%s)", ErrUntrusted, i.version)
	case i.version == choria.V2:
		return i.verifyByToken(s, text, now)
	}
	return i.verifyByCertificate(s, text, now)
}

func (i *Identity) verifyByToken(s Statement, text []byte, now time.Time) (Signatory, error) {
	if !i.issuers.known() {
		return Signatory{}, setting("no issuer is configured, so tokens of others cannot be verified", "set plugin.security.issuer.names and plugin.security.issuer.<name>.public")
	}
	v := RequestVerifier{version: choria.V2, issuers: i.issuers}
	claims, err := v.client(s.Token, now)
	if err != nil {
		return Signatory{}, err
	}
	if p := claims.Permissions; !p.FleetManagement && !p.SignedFleetManagement {
		return Signatory{}, fmt.Errorf("%w: fleet_management or signed_fleet_management", ErrPermission)
	}
	if claims.CallerID == "" {
		return Signatory{}, fmt.Errorf("%w: its token names no caller", ErrNotAllowed)
	}
	key, err := claims.Key()
	if err != nil {
		return Signatory{}, err
	}
	if ed25519.VerifyWithOptions(key, text, s.Signature, &ed25519.Options{Context: statementContext}) != nil {
		return Signatory{}, ErrSignature
	}
	return Signatory{claims.CallerID, claims.Expires()}, nil
}

func (i *Identity) verifyByCertificate(s Statement, text []byte, now time.Time) (Signatory, error) {
	roots, err := i.statementRoots()
	if err != nil {
		return Signatory{}, err
	}
	leaf, between, err := certificateChain(s.Certificate)
	if err != nil {
		return Signatory{}, err
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return Signatory{}, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	hash := sha256.Sum256(text)
	if !ok || rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], s.Signature) != nil {
		return Signatory{}, ErrSignature
	}
	names, allow, privileged := certificateNames(leaf), i.options.CertnameAllow, i.options.Privileged
	if allow == nil {
		allow = defaultAllowed
	}
	if privileged == nil {
		privileged = defaultPrivileged
	}
	if len(names) == 0 || !matchAny(compilePatterns(allow), names[0]) && !matchAny(compilePatterns(privileged), names[0]) {
		return Signatory{}, fmt.Errorf("%w: its certificate is not that of a caller (plugin.choria.security.certname_whitelist)", ErrNotAllowed)
	}
	return Signatory{certificateCaller(leaf), leaf.NotAfter}, nil
}

// statementRoots are the configured authority, also where the broker is not verified by it.
func (i *Identity) statementRoots() (*x509.CertPool, error) {
	if i.tls.roots != nil {
		return i.tls.roots, nil
	}
	name, err := i.options.certname()
	if err != nil {
		return nil, err
	}
	_, _, path, err := i.options.x509Paths(name)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, setting("no CA is configured, so certificates of others cannot be verified", "set plugin.security.file.ca")
	}
	return readRoots(path)
}

// certificateCaller is the caller id of a certificate.
func certificateCaller(leaf *x509.Certificate) string {
	names := certificateNames(leaf)
	if len(names) == 0 {
		return ""
	}
	return "choria=" + names[0]
}

// certificateChain reads a certificate and those behind it.
func certificateChain(text string) (leaf *x509.Certificate, between *x509.CertPool, err error) {
	certs, err := parseCertificates("", whatCertificate, []byte(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	between = x509.NewCertPool()
	for _, cert := range certs[1:] {
		between.AddCert(cert)
	}
	return certs[0], between, nil
}
