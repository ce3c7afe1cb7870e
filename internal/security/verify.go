package security

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// Upstream's defaults of plugin.choria.security.certname_whitelist and
// privileged_users (docs/protocol.md, signing v1).
var (
	defaultAllowed    = []string{`\.mcollective$`, `\.choria$`}
	defaultPrivileged = []string{`\.privileged.mcollective$`, `\.privileged.choria$`}
)

// callerPattern finds the certificate's name in a caller id.
var callerPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z]+=([\w\.\-]+)`) })

// Caller is the caller of a verified request.
type Caller struct {
	ID         string        // the request's caller id
	Token      *ClientClaims // version 2: the caller's token
	Privileged bool          // version 1: a privileged certificate made the request in another's name, or could have
	Delegate   string        // version 2: the caller id of the delegate that signed, if one did
}

// RequestVerifier verifies requests as a server does, for the simulated fleet. It
// does not change and is safe for concurrent use.
type RequestVerifier struct {
	version    choria.Version
	roots      *x509.CertPool
	allowed    []*regexp.Regexp
	privileged []*regexp.Regexp
	issuers    issuers
}

// NewV1Verifier verifies by certificates of the CA. The lists are regular
// expressions of certificate names, which may stand between slashes; those that do
// not compile match nothing, as upstream. A nil list means upstream's defaults.
func NewV1Verifier(ca *x509.CertPool, allow, privileged []string) *RequestVerifier {
	if allow == nil {
		allow = defaultAllowed
	}
	if privileged == nil {
		privileged = defaultPrivileged
	}
	return &RequestVerifier{version: choria.V1, roots: ca, allowed: compilePatterns(allow), privileged: compilePatterns(privileged)}
}

// NewV2Verifier verifies by tokens of the issuers, by organization.
func NewV2Verifier(issuerKeys map[string]ed25519.PublicKey) *RequestVerifier {
	return &RequestVerifier{version: choria.V2, issuers: issuers{byOrganization: issuerKeys}}
}

func compilePatterns(patterns []string) []*regexp.Regexp {
	var list []*regexp.Regexp
	for _, p := range patterns {
		if len(p) > 2 && strings.HasPrefix(p, "/") && strings.HasSuffix(p, "/") {
			p = strings.Trim(p, "/")
		}
		if re, err := regexp.Compile(p); err == nil {
			list = append(list, re)
		}
	}
	return list
}

func matchAny(patterns []*regexp.Regexp, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
	})
}

// Verify checks the signature of a request, its caller, and that the request's own
// caller id may be used by them (docs/protocol.md, signing v1 and v2). Token and
// certificate times are judged at now, without leeway. Errors wrap ErrUnsigned,
// ErrSignature, ErrUntrusted, ErrNotAllowed, ErrPermission or an ErrToken sentinel;
// a real server answers none of them.
func (v *RequestVerifier) Verify(sr choria.SecureRequest, now time.Time) (Caller, error) {
	if sr.Version != v.version {
		return Caller{}, fmt.Errorf("request of version %s where %s is spoken: %w", sr.Version, v.version, ErrNotAllowed)
	}
	if len(sr.Signature) == 0 {
		return Caller{}, fmt.Errorf("request: %w", ErrUnsigned)
	}
	request, err := choria.DecodeRequest(sr.Version, sr.Request)
	if err != nil {
		return Caller{}, err
	}
	switch {
	case v.version == choria.V1:
		return v.verifyV1(sr, request.Caller, now)
	case sr.Signer == "":
		return v.verifyV2(sr, request.Caller, now)
	default:
		return v.verifyDelegated(sr, request.Caller, now)
	}
}

func (v *RequestVerifier) verifyV1(sr choria.SecureRequest, caller string, now time.Time) (Caller, error) {
	cert, err := signedByCertificate(sr)
	if err != nil {
		return Caller{}, fmt.Errorf("request: %w", err)
	}
	match := callerPattern().FindStringSubmatch(caller)
	if match == nil {
		return Caller{}, fmt.Errorf("request: %w: caller id %q names no certificate", ErrNotAllowed, caller)
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM([]byte(sr.Certificate))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: v.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return Caller{}, fmt.Errorf("request: %w: %w", ErrUntrusted, err)
	}
	names := certificateNames(cert)
	if matchAny(v.privileged, names...) {
		return Caller{ID: caller, Privileged: true}, nil
	}
	if !slices.Contains(names, match[1]) {
		return Caller{}, fmt.Errorf("request: %w: the certificate is for %s, not %s", ErrNotAllowed, cert.Subject.CommonName, match[1])
	}
	if !matchAny(v.allowed, match[1]) {
		return Caller{}, fmt.Errorf("request: %w: %s is not on the allow list", ErrNotAllowed, match[1])
	}
	return Caller{ID: caller}, nil
}

// signedByCertificate checks the signature of version 1 with the certificate beside it,
// from any issuer.
func signedByCertificate(sr choria.SecureRequest) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(sr.Certificate))
	if block == nil {
		return nil, fmt.Errorf("%w: its certificate is not PEM", ErrUntrusted)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: its certificate is damaged", ErrUntrusted)
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: its certificate is not for an RSA key", ErrSignature)
	}
	hash := sha256.Sum256(sr.Request)
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], sr.Signature) != nil {
		return nil, ErrSignature
	}
	return cert, nil
}

// verifyV2 verifies a request that the caller signed.
func (v *RequestVerifier) verifyV2(sr choria.SecureRequest, caller string, now time.Time) (Caller, error) {
	claims, err := v.client(sr.Caller, now)
	if err != nil {
		return Caller{}, fmt.Errorf("request: caller's token: %w", err)
	}
	switch {
	case claims.Permissions.SignedFleetManagement:
		return Caller{}, fmt.Errorf("request: %w: the caller may not sign for itself", ErrPermission)
	case !claims.Permissions.FleetManagement:
		return Caller{}, fmt.Errorf("request: %w: fleet_management", ErrPermission)
	}
	if err := verifyBy(claims, sr); err != nil {
		return Caller{}, err
	}
	if claims.CallerID != caller {
		return Caller{}, fmt.Errorf("request: %w: its caller is not the token's", ErrNotAllowed)
	}
	return Caller{ID: caller, Token: claims}, nil
}

// verifyDelegated verifies a request that a delegate signed for the caller. Both
// tokens must be of one issuer; the delegate may name any caller.
func (v *RequestVerifier) verifyDelegated(sr choria.SecureRequest, caller string, now time.Time) (Caller, error) {
	delegate, err := v.client(sr.Signer, now)
	if err != nil {
		return Caller{}, fmt.Errorf("request: delegate's token: %w", err)
	}
	if !delegate.Permissions.AuthenticationDelegator {
		return Caller{}, fmt.Errorf("request: %w: authentication_delegator", ErrPermission)
	}
	keys, _ := v.issuers.keys(delegate.Organization)
	claims, err := parseClient(sr.Caller, now, 0, keys)
	if err != nil {
		return Caller{}, fmt.Errorf("request: caller's token: %w", err)
	}
	if !claims.Permissions.FleetManagement && !claims.Permissions.SignedFleetManagement {
		return Caller{}, fmt.Errorf("request: %w: fleet_management or signed_fleet_management", ErrPermission)
	}
	if err := verifyBy(delegate, sr); err != nil {
		return Caller{}, err
	}
	return Caller{ID: caller, Token: claims, Delegate: delegate.CallerID}, nil
}

// client verifies a client token by the issuer of its organization.
func (v *RequestVerifier) client(token string, now time.Time) (*ClientClaims, error) {
	unverified, err := parseClientUnverified(token)
	if err != nil {
		return nil, err
	}
	keys, ok := v.issuers.keys(unverified.Organization)
	if !ok {
		return nil, fmt.Errorf("%w: no issuer is known for organization %q", ErrUntrusted, unverified.Organization)
	}
	return parseClient(token, now, 0, keys)
}

// verifyBy checks the request's signature with the key of a verified token.
func verifyBy(claims *ClientClaims, sr choria.SecureRequest) error {
	key, err := claims.Key()
	if err != nil {
		return errors.Join(ErrSignature, err)
	}
	if !ed25519.Verify(key, sr.Request, sr.Signature) {
		return fmt.Errorf("request: %w", ErrSignature)
	}
	return nil
}
