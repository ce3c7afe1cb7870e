package security

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/atomicfile"
)

// Token is a token of any purpose as it was read: no part of it is trusted before CheckSignature.
type Token struct {
	StandardClaims
	// Algorithm is that of its signature, such as EdDSA.
	Algorithm string
	// Claims is the JSON object of all claims, secrets included.
	Claims json.RawMessage
	text   string
}

// String keeps claims and signature out of everything that prints a token.
func (t *Token) String() string { return fmt.Sprintf("%s token %s", t.Purpose, t.ID) }

// GoString does the same for %#v.
func (t *Token) GoString() string { return t.String() }

// secretClaims are never printed (docs/protocol.md, provisioning JWT).
var secretClaims = []string{"cht", "chpwd"}

// Redacted are the claims with word in place of each secret that is not empty.
func (t *Token) Redacted(word string) (json.RawMessage, error) {
	var claims map[string]json.RawMessage
	if err := json.Unmarshal(t.Claims, &claims); err != nil {
		return nil, ErrTokenMalformed
	}
	for _, name := range secretClaims {
		if value, ok := claims[name]; ok && string(value) != `""` {
			quoted, err := json.Marshal(word)
			if err != nil {
				return nil, err
			}
			claims[name] = quoted
		}
	}
	return json.Marshal(claims)
}

// ReadToken reads a token file of any purpose. Errors are CredentialErrors, and never hold text of the token.
func ReadToken(path string) (*Token, error) {
	data, err := readCredential(path, whatToken, "")
	if err != nil {
		return nil, err
	}
	t, err := parseToken(string(data))
	if err != nil {
		return nil, &CredentialError{Path: path, Problem: whatToken + ": " + err.Error(), Err: err,
			Hint: "a token (JWT) is one line of three parts, separated by dots"}
	}
	return t, nil
}

// parseToken reads a token of any purpose and verifies nothing.
func parseToken(text string) (*Token, error) {
	text, err := tidy(text)
	if err != nil {
		return nil, err
	}
	t := &Token{text: text}
	if err := decode(text, &t.StandardClaims); err != nil {
		return nil, err
	}
	if t.Purpose == "" && t.Subject == string(PurposeProvisioning) {
		t.Purpose = PurposeProvisioning
	}
	parts := strings.Split(text, ".")
	var header struct {
		Algorithm string `json:"alg"`
	}
	for i, into := range []any{&header, &t.Claims} {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(part, into) != nil {
			return nil, ErrTokenMalformed
		}
	}
	t.Algorithm = header.Algorithm
	return t, nil
}

// CheckSignature reports whether one of the keys (ed25519.PublicKey or *rsa.PublicKey) signed the token, or vouches for
// its signer: ErrUntrusted when none does. It does not look at times.
func (t *Token) CheckSignature(keys ...crypto.PublicKey) error {
	claims := new(StandardClaims)
	return verifyAny(t.text, claims, claims, keys, t.Purpose != PurposeProvisioning)
}

// CheckTimes reports whether the token is valid now, without leeway: ErrTokenExpired or ErrTokenNotYetValid when not.
func (t *Token) CheckTimes(now time.Time) error { return t.validAt(now, 0) }

// Client reads the claims of a client token; Server and Provisioning those of the others. ErrTokenPurpose for a token
// of another purpose.
func (t *Token) Client() (*ClientClaims, error) { return parseClientUnverified(t.text) }

// Server is Client for the token of a server.
func (t *Token) Server() (*ServerClaims, error) { return parseServerUnverified(t.text) }

// Provisioning is Client for a provisioning token.
func (t *Token) Provisioning() (*ProvisioningClaims, error) {
	return parseProvisioningUnverified(t.text)
}

// Names are the permissions that are granted, as the token spells them, sorted.
func (p ServerPermissions) Names() []string { return granted(p) }

// granted are the names of the members that are true.
func granted(permissions any) []string {
	var names map[string]bool
	data, err := json.Marshal(permissions)
	if err == nil {
		err = json.Unmarshal(data, &names)
	}
	if err != nil {
		panic("security: " + err.Error()) // booleans always encode
	}
	maps.DeleteFunc(names, func(_ string, yes bool) bool { return !yes })
	return slices.Sorted(maps.Keys(names))
}

// ParsePublicKey reads an ed25519 public key of 64 hexadecimal characters.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	key, err := parsePublicKey(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("public key: want 64 hexadecimal characters")
	}
	return key, nil
}

// ReadPublicKeys reads the keys that may have signed a token: an RSA key or certificate in PEM, public or private, or an
// ed25519 key of 64 hexadecimal characters. Those may be a public key or a seed, and it is unknown which: both are returned.
func ReadPublicKeys(path string) ([]crypto.PublicKey, error) {
	const what = "key file"
	fault := func(problem, hint string) error {
		return &CredentialError{Path: path, Problem: what + " " + problem, Hint: hint}
	}
	data, err := readCredential(path, what, "")
	if err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimSpace(data); !bytes.HasPrefix(trimmed, []byte("-----BEGIN")) {
		key, err := hex.DecodeString(string(trimmed))
		if err != nil || len(key) != ed25519.PublicKeySize {
			return nil, fault("holds neither PEM nor 64 hexadecimal characters", "name the issuer's public key, or a certificate")
		}
		return []crypto.PublicKey{ed25519.PublicKey(key), ed25519.NewKeyFromSeed(key).Public()}, nil
	}
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch key := publicOf(block).(type) {
		case *rsa.PublicKey, ed25519.PublicKey:
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, fault("holds no RSA and no ed25519 key", "tokens are signed with RSA or ed25519 keys only")
	}
	return keys, nil
}

// publicOf is the public key in a PEM block, nil when there is none that we can read.
func publicOf(block *pem.Block) crypto.PublicKey {
	switch block.Type {
	case "CERTIFICATE":
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return cert.PublicKey
		}
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return key
		}
		if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			return key
		}
	case "RSA PRIVATE KEY":
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key.Public()
		}
	case "PRIVATE KEY":
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer.Public()
			}
		}
	}
	return nil
}

// WriteToken writes a token for this user alone (mode 0600). The file is complete or not there; what is there already is
// kept, with an error that wraps fs.ErrExist, unless replace is true.
func WriteToken(path, token string, replace bool) error {
	p, err := atomicfile.Write(path, []byte(token))
	if err != nil {
		return err
	}
	defer p.Drop()
	if replace {
		return p.Commit(0o600)
	}
	return p.CommitNew(0o600)
}
