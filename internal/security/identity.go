package security

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fleetctl/internal/choria"
)

// soon is how long before the end of a credential a warning is given.
const soon = time.Hour

// Identity is our identity on the network. It is made by Open, does not change, and
// is safe for concurrent use.
type Identity struct {
	options  Options
	version  choria.Version
	caller   string
	expires  time.Time // of the certificate or the token that signs; zero: never, or nothing signs
	signer   string    // the path of what expires
	warnings []string

	// version 1
	certificate string          // PEM, as in the file
	rsaKey      *rsa.PrivateKey // nil: unsigned

	// a certificate that a remote signer uses is its own
	delegate *requestSigner // nil: we sign ourselves

	// version 2, and version 1 with a remote signer
	token    string
	seed     ed25519.PrivateKey
	issuers  issuers
	expanded sync.Map    // keys of issuers, see expand
	tokens   *tokenCache // verified ones
	ends     *tokenCache // those that were only read
	// remembered are those of earlier runs.
	remembered remembered
	// suspicious is for how many signatures more forgeries are expected; not more than 0: none are.
	suspicious atomic.Int64

	tls tlsParts
}

// tlsParts are what a TLS configuration is made of.
type tlsParts struct {
	certificates []tls.Certificate
	roots        *x509.CertPool // nil: the system's
	remoteRoots  *x509.CertPool // for signer and login service; nil: the system's
	suites       []uint16
	curves       []tls.CurveID
	legacy       bool // take the common name of certificates without alternative names
}

// Open reads and checks everything that is needed to connect and to sign. It uses no
// network. Every fault is a *CredentialError. now decides what has expired.
func Open(o Options, now time.Time) (*Identity, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	i := &Identity{options: o, tokens: newTokenCache(maxCachedTokens), ends: newTokenCache(maxCachedTokens)}
	var err error
	if i.tls.suites, i.tls.curves, err = o.tlsChoices(); err != nil {
		return nil, err
	}
	if o.Provider == providerChoria {
		err = i.openToken(now)
	} else {
		err = i.openX509(now)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case o.DisableTLS:
		i.warn("the connection to the broker is not encrypted, and the broker is not verified")
	case o.InsecureBroker:
		i.warn("the broker's certificate is not verified")
	}
	return i, nil
}

func (i *Identity) warn(format string, args ...any) {
	i.warnings = append(i.warnings, fmt.Sprintf(format, args...))
}

// expiring remembers when our credential ends, and warns when that is soon.
func (i *Identity) expiring(what, path string, end, now time.Time) {
	i.expires, i.signer = end, path
	if left := end.Sub(now); left < soon {
		i.warn("%s %s expires in %s, at %s", what, path, max(left, 0).Round(time.Second), end.UTC().Format(time.RFC3339))
	}
}

// Version is the version of the protocol that this identity speaks.
func (i *Identity) Version() choria.Version { return i.version }

// Caller is the caller id of our requests: provider=name. The reply subjects are
// made of it.
func (i *Identity) Caller() string { return i.caller }

// Sender is the sender of our requests: the configured identity.
func (i *Identity) Sender() string { return i.options.Identity }

// Warnings returns what the operator should know, each a sentence without a
// final stop. They are fixed when the identity is opened.
func (i *Identity) Warnings() []string { return slices.Clone(i.warnings) }

// Token is the token to connect with; "" means that the TLS certificate names the
// we are. It must not be printed.
func (i *Identity) Token() string {
	if i.version == choria.V1 && !i.options.AnonTLS {
		return ""
	}
	return i.token
}

// String names the caller, and nothing secret.
func (i *Identity) String() string { return fmt.Sprintf("%s (%s)", i.caller, i.version) }

// GoString does the same for %#v.
func (i *Identity) GoString() string { return i.String() }

// SignNonce answers the broker's challenge: the plain ed25519 signature over the
// nonce, which nats.go encodes (docs/protocol.md, authentication sent in CONNECT).
func (i *Identity) SignNonce(nonce []byte) ([]byte, error) {
	if i.seed == nil {
		return nil, fmt.Errorf("sign nonce: there is no seed")
	}
	if err := i.alive(time.Now()); err != nil {
		return nil, err
	}
	return ed25519.Sign(i.seed, nonce), nil
}

// Seal signs a request, once, and wraps it. The request is sent as it is: what is
// signed is exactly these bytes. A credential that has expired since Open is a
// *CredentialError, because servers would drop the request silently.
//
// Where a remote signer is configured Seal asks it, which takes up to some seconds, and
// a signer that does not sign is a *RemoteError. A request to the signing service itself
// is not signed.
func (i *Identity) Seal(ctx context.Context, request []byte) ([]byte, error) {
	return i.seal(ctx, request, time.Now())
}

func (i *Identity) seal(ctx context.Context, request []byte, now time.Time) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("seal request: %w", context.Cause(ctx))
	}
	if err := i.alive(now); err != nil {
		return nil, err
	}
	sealed := choria.SecureRequest{Version: i.version, Request: request}
	switch {
	case unsigned(i.version, request):
		sealed.Caller = i.token // version 2 only: version 1 has no place for it
	case i.delegate != nil:
		return i.sealElsewhere(ctx, request, now)
	case i.version == choria.V2:
		sealed.Signature = ed25519.Sign(i.seed, request)
		sealed.Caller = i.token
	case i.rsaKey != nil:
		hash := sha256.Sum256(request)
		signature, err := rsa.SignPKCS1v15(rand.Reader, i.rsaKey, crypto.SHA256, hash[:])
		if err != nil {
			return nil, fmt.Errorf("seal request: %w", err)
		}
		sealed.Signature = signature
		sealed.Certificate = i.certificate
	}
	data, err := choria.EncodeSecureRequest(sealed)
	if err != nil {
		return nil, fmt.Errorf("seal request: %w", err)
	}
	return data, nil
}

// alive checks that what we sign with has not expired in the meantime.
func (i *Identity) alive(now time.Time) error {
	if i.expires.IsZero() || now.Before(i.expires.Add(clientLeeway)) {
		return nil
	}
	if i.token != "" {
		return expiredToken(i.signer, i.expires)
	}
	return expiredCertificate(i.signer, i.expires)
}
