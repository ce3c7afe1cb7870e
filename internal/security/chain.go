package security

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Prefixes of the issuer claim in chains of trust (docs/protocol.md, client JWT
// claims): the organization's issuer made this token itself and lets its holder
// issue others, or such a holder made it.
const (
	orgIssuerPrefix   = "I-"
	chainIssuerPrefix = "C-"
)

// signingKey returns the key that must have signed the token if the organization's
// key is org: org itself, or the chain issuer's key that org vouches for. Its
// errors wrap ErrUntrusted.
func (c *StandardClaims) signingKey(org ed25519.PublicKey) (ed25519.PublicKey, error) {
	switch {
	case strings.HasPrefix(c.Issuer, chainIssuerPrefix):
		key, err := c.chainIssuer(org)
		if err != nil {
			return nil, fmt.Errorf("%w: chain of trust: %w", ErrUntrusted, err)
		}
		return key, nil
	case strings.HasPrefix(c.Issuer, orgIssuerPrefix):
		if err := c.checkOrgIssuer(org); err != nil {
			return nil, fmt.Errorf("%w: chain of trust: %w", ErrUntrusted, err)
		}
		return org, nil
	default:
		return org, nil
	}
}

// checkOrgIssuer checks the token of an issuer of other tokens.
func (c *StandardClaims) checkOrgIssuer(org ed25519.PublicKey) error {
	if err := c.checkChainClaims(); err != nil {
		return err
	}
	if c.Issuer != orgIssuerPrefix+hex.EncodeToString(org) {
		return fmt.Errorf("it names another issuer")
	}
	if !vouched(org, c.ID+"."+c.PublicKey, c.TrustChain) {
		return fmt.Errorf("the issuer does not vouch for it")
	}
	return nil
}

// chainIssuer checks the token that a chain issuer made: the organization signed
// "<creator id>.<creator key>", and the creator signed "<token id>.<that signature>".
func (c *StandardClaims) chainIssuer(org ed25519.PublicKey) (ed25519.PublicKey, error) {
	if err := c.checkChainClaims(); err != nil {
		return nil, err
	}
	if c.IssuerEnds.IsZero() {
		return nil, fmt.Errorf("it has no expiry of its issuer")
	}
	id, keyText, ok := strings.Cut(strings.TrimPrefix(c.Issuer, chainIssuerPrefix), ".")
	creator, err := parsePublicKey(keyText)
	if !ok || id == "" || err != nil {
		return nil, fmt.Errorf("it does not name its issuer properly")
	}
	orgSignature, creatorSignature, ok := strings.Cut(c.TrustChain, ".")
	if !ok || !vouched(org, id+"."+hex.EncodeToString(creator), orgSignature) {
		return nil, fmt.Errorf("the organization does not vouch for its issuer")
	}
	if !vouched(creator, c.ID+"."+orgSignature, creatorSignature) {
		return nil, fmt.Errorf("its issuer does not vouch for it")
	}
	return creator, nil
}

// checkChainClaims checks what every token of a chain has. The id must be made
// from the time of issue, so that a signature over the id says when, too.
func (c *StandardClaims) checkChainClaims() error {
	switch {
	case c.PublicKey == "":
		return fmt.Errorf("it has no public key")
	case c.TrustChain == "":
		return fmt.Errorf("it has no trust chain signature")
	case c.IssuedAt.IsZero() || c.ExpiresAt.IsZero():
		return fmt.Errorf("it has no time of issue or no expiry")
	}
	made, ok := ksuidTime(c.ID)
	if !ok || !made.Equal(c.IssuedAt.Time) {
		return fmt.Errorf("its id was not made when it was issued")
	}
	return nil
}

// vouched reports whether the signature in hex is key's over text.
func vouched(key ed25519.PublicKey, text, signature string) bool {
	raw, err := hex.DecodeString(signature)
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(text), raw)
}

const (
	ksuidAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ksuidLength   = 27
	ksuidEpoch    = 1400000000
)

// ksuidTime returns the second at which a KSUID was made: the first 4 of its 20
// bytes, counted from its own epoch.
func ksuidTime(id string) (time.Time, bool) {
	if len(id) != ksuidLength {
		return time.Time{}, false
	}
	n, base := new(big.Int), big.NewInt(int64(len(ksuidAlphabet)))
	for i := range len(id) {
		digit := strings.IndexByte(ksuidAlphabet, id[i])
		if digit < 0 {
			return time.Time{}, false
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(digit)))
	}
	if n.BitLen() > 160 {
		return time.Time{}, false
	}
	seconds := n.Rsh(n, 128).Int64()
	return time.Unix(ksuidEpoch+seconds, 0).UTC(), true
}
