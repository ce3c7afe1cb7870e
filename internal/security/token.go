package security

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fleetctl/internal/choria"
)

// methods are the algorithms that Choria takes (docs/protocol.md, client JWT claims).
var methods = []string{"EdDSA", "RS256", "RS384", "RS512"}

// clientLeeway is how far apart our clock and an issuer's may be when we judge a
// token as a client. Servers allow nothing.
const clientLeeway = 5 * time.Second

const (
	defaultIssuer       = "Choria Tokens Package"
	defaultOrganization = "choria"
)

// wrapped lets the token library decode claims without its types becoming part of
// ours. The library validates nothing: validAt does, with our clock and errors.
type wrapped struct{ claims any }

func (w *wrapped) UnmarshalJSON(data []byte) error              { return json.Unmarshal(data, w.claims) }
func (w *wrapped) MarshalJSON() ([]byte, error)                 { return json.Marshal(w.claims) }
func (w *wrapped) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (w *wrapped) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (w *wrapped) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (w *wrapped) GetIssuer() (string, error)                   { return "", nil }
func (w *wrapped) GetSubject() (string, error)                  { return "", nil }
func (w *wrapped) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }

// parser refuses other algorithms and other spellings of the same signature.
var parser = jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())

// tidy removes the newline that token files may end with, and refuses what is
// left if it cannot be a token.
func tidy(token string) (string, error) {
	token = strings.TrimSpace(token)
	if token == "" || strings.ContainsAny(token, " \t\r\n") || strings.Count(token, ".") != 2 {
		return "", ErrTokenMalformed
	}
	return token, nil
}

// decode reads the claims without verifying anything.
func decode(token string, claims any) error {
	token, err := tidy(token)
	if err != nil {
		return err
	}
	parsed, _, err := parser.ParseUnverified(token, &wrapped{claims})
	if err != nil {
		// The library's texts may quote the token.
		if errors.Is(err, jwt.ErrTokenUnverifiable) {
			return ErrTokenAlgorithm
		}
		return ErrTokenMalformed
	}
	for _, m := range methods {
		if parsed.Method.Alg() == m {
			return nil
		}
	}
	return ErrTokenAlgorithm
}

// eddsaHeader is the header of every EdDSA token that Choria issues.
const eddsaHeader = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9" // {"alg":"EdDSA","typ":"JWT"}

// readServerToken reads a server's token once, and checks nothing but its purpose. The
// signature, whose key the caller knows, is nil for tokens with another header than
// eddsaHeader.
func readServerToken(token string) (serverFacts, *signature, error) {
	var c serverFacts
	token, err := tidy(token)
	if err != nil {
		return c, nil, err
	}
	var issued *signature
	header, rest, _ := strings.Cut(token, ".")
	if body, made, _ := strings.Cut(rest, "."); header == eddsaHeader {
		claims, cerr := strictBase64.DecodeString(body)
		bytes, serr := strictBase64.DecodeString(made)
		if cerr != nil || serr != nil || c.read(claims) != nil {
			return c, nil, ErrTokenMalformed
		}
		issued = &signature{message: []byte(token[:len(token)-len(made)-1]), bytes: bytes}
	} else if err := decode(token, &c); err != nil {
		return c, nil, err
	}
	if c.Purpose != PurposeServer {
		return c, nil, fmt.Errorf("%w: %s, not server", ErrTokenPurpose, c.Purpose)
	}
	return c, issued, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

// verify checks the token's signature with one key, and fills claims. std points
// into claims; chained reports whether a chain of trust may stand between them.
func verify(token string, claims any, std *StandardClaims, key crypto.PublicKey, chained bool) error {
	token, err := tidy(token)
	if err != nil {
		return err
	}
	var chain error
	_, err = parser.ParseWithClaims(token, &wrapped{claims}, func(t *jwt.Token) (any, error) {
		var fits any
		fits, chain = verificationKey(t.Method.Alg(), std, key, chained)
		return fits, chain
	})
	if err == nil {
		return nil
	}
	if unread := decode(token, claims); unread != nil { // the library's errors do not distinguish these
		return unread
	}
	if chain != nil {
		return chain
	}
	return fmt.Errorf("%w: the token's signature was not made by it", ErrUntrusted)
}

// verificationKey returns the key that must have signed the token: ours, or the
// one that a chain of trust vouches for.
func verificationKey(alg string, std *StandardClaims, key crypto.PublicKey, chained bool) (any, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(alg, "RS") {
			return k, nil
		}
	case ed25519.PublicKey:
		if alg == "EdDSA" && len(k) == ed25519.PublicKeySize {
			if chained {
				return std.signingKey(k)
			}
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: the issuer's key is not of the kind that %s needs", ErrUntrusted, alg)
}

// verifyAny tries each key. The error is the last key's, an untrusted chain's
// included.
func verifyAny(token string, claims any, std *StandardClaims, keys []crypto.PublicKey, chained bool) error {
	err := fmt.Errorf("%w: no issuer is known", ErrUntrusted)
	for _, key := range keys {
		if err = verify(token, claims, std, key, chained); err == nil {
			return nil
		}
	}
	return err
}

// ParseClient verifies a client token: signed by one of the keys (ed25519.PublicKey
// or *rsa.PublicKey) or by a chain issuer that one of them vouches for, of the right
// purpose, and valid now, without leeway. Errors are the sentinels of this package,
// never with text of the token.
func ParseClient(token string, now time.Time, keys ...crypto.PublicKey) (*ClientClaims, error) {
	return parseClient(token, now, 0, keys)
}

func parseClient(token string, now time.Time, leeway time.Duration, keys []crypto.PublicKey) (*ClientClaims, error) {
	c := new(ClientClaims)
	if err := verifyAny(token, c, &c.StandardClaims, keys, true); err != nil {
		return nil, err
	}
	if c.Purpose != PurposeClient {
		return nil, fmt.Errorf("%w: %s, not client", ErrTokenPurpose, c.Purpose)
	}
	if err := c.validAt(now, leeway); err != nil {
		return nil, err
	}
	return c, nil
}

// parseClientUnverified reads a client token and checks nothing but its purpose.
func parseClientUnverified(token string) (*ClientClaims, error) {
	c := new(ClientClaims)
	if err := decode(token, c); err != nil {
		return nil, err
	}
	if c.Purpose != PurposeClient {
		return nil, fmt.Errorf("%w: %s, not client", ErrTokenPurpose, c.Purpose)
	}
	return c, nil
}

func parseServer(token string, now time.Time, leeway time.Duration, keys []crypto.PublicKey) (*ServerClaims, error) {
	c := new(ServerClaims)
	if err := verifyAny(token, c, &c.StandardClaims, keys, true); err != nil {
		return nil, err
	}
	if c.Purpose != PurposeServer {
		return nil, fmt.Errorf("%w: %s, not server", ErrTokenPurpose, c.Purpose)
	}
	if err := c.validAt(now, leeway); err != nil {
		return nil, err
	}
	return c, nil
}

// parseServerUnverified reads a server token and checks nothing but its purpose.
func parseServerUnverified(token string) (*ServerClaims, error) {
	c := new(ServerClaims)
	if err := decode(token, c); err != nil {
		return nil, err
	}
	if c.Purpose != PurposeServer {
		return nil, fmt.Errorf("%w: %s, not server", ErrTokenPurpose, c.Purpose)
	}
	return c, nil
}

// parseProvisioningUnverified reads a provisioning token as servers do: without
// verifying it. Only its purpose is checked.
func parseProvisioningUnverified(token string) (*ProvisioningClaims, error) {
	c := new(ProvisioningClaims)
	if err := decode(token, c); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

// complete checks the purpose, which old tokens have in the subject only, and
// sets the default organization.
func (c *ProvisioningClaims) complete() error {
	if c.Purpose != PurposeProvisioning && c.Subject != string(PurposeProvisioning) {
		return fmt.Errorf("%w: %s, not provisioning", ErrTokenPurpose, c.Purpose)
	}
	if c.Organization == "" {
		c.Organization = defaultOrganization
	}
	return nil
}

// tokenPurpose returns what an unverified token is for.
func tokenPurpose(token string) (Purpose, error) {
	c := new(StandardClaims)
	if err := decode(token, c); err != nil {
		return "", err
	}
	if c.Purpose == "" && c.Subject == string(PurposeProvisioning) {
		return PurposeProvisioning, nil
	}
	return c.Purpose, nil
}

// IssueClient signs a client token with an ed25519 (EdDSA) or RSA (RS256) key.
// Claims that are unset get upstream's defaults: issued and valid from now on, for
// an hour, in organization choria, with a fresh id.
func IssueClient(c ClientClaims, key crypto.Signer) (string, error) {
	c.prepare(PurposeClient, time.Hour)
	if c.Organization == "" {
		c.Organization = defaultOrganization
	}
	return issue(c, key)
}

// IssueServer is IssueClient for a server.
func IssueServer(c ServerClaims, key crypto.Signer) (string, error) {
	c.prepare(PurposeServer, time.Hour)
	if c.Organization == "" {
		c.Organization = defaultOrganization
	}
	if c.Collectives == nil {
		c.Collectives = []string{}
	}
	return issue(c, key)
}

// IssueProvisioning is IssueClient for a provisioning token, which is valid for a
// year by default.
func IssueProvisioning(c ProvisioningClaims, key crypto.Signer) (string, error) {
	c.prepare(PurposeProvisioning, 365*24*time.Hour)
	c.Subject = string(PurposeProvisioning)
	if c.Organization == "" {
		c.Organization = defaultOrganization
	}
	return issue(c, key)
}

func (c *StandardClaims) prepare(p Purpose, validity time.Duration) {
	c.Purpose = p
	if c.IssuedAt.IsZero() {
		c.IssuedAt = At(time.Now())
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = c.IssuedAt
	}
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = At(c.IssuedAt.Add(validity))
	}
	if c.Issuer == "" {
		c.Issuer = defaultIssuer
	}
	if c.ID == "" {
		c.ID = choria.NewRequestID(choria.V2, c.IssuedAt.Time)
	}
}

func issue(claims any, key crypto.Signer) (string, error) {
	var method jwt.SigningMethod
	switch key.(type) {
	case ed25519.PrivateKey:
		method = jwt.SigningMethodEdDSA
	case *rsa.PrivateKey:
		method = jwt.SigningMethodRS256
	default:
		return "", fmt.Errorf("cannot sign a token with a key of type %T: ed25519 and RSA are known", key)
	}
	token, err := jwt.NewWithClaims(method, &wrapped{claims}).SignedString(key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}
