package security

import (
	"bytes"
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"fleetctl/internal/choria"
)

const whatToken = "token file"

const hintToken = "get a new one: fleetctl login, or ask the issuer of the tokens"

func expiredToken(path string, end time.Time) error {
	return &CredentialError{Path: path, Problem: whatToken + " holds a token that expired on " + end.UTC().Format(time.RFC3339), Hint: hintToken, Err: ErrTokenExpired}
}

func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}

// openToken opens an identity of version 2 (docs/protocol.md, signing v2).
func (i *Identity) openToken(now time.Time) error {
	o := &i.options
	i.version = choria.V2
	i.tls.legacy = false
	var err error
	if i.issuers, err = o.parseIssuers(); err != nil {
		return err
	}
	for _, s := range []struct{ key, path string }{{"token_file", o.TokenFile}, {"seed_file", o.SeedFile}} {
		if s.path == "" {
			return setting("security provider choria needs plugin.security.choria."+s.key+", which is not set", "set it to the path of the file")
		}
	}
	if err := i.openCaller(now); err != nil {
		return err
	}
	if err := i.openTokenTLS(now); err != nil {
		return err
	}
	if o.delegates() {
		if err := cmp.Or(i.openRemoteCA(o.CA), i.openSigner()); err != nil {
			return err
		}
	}
	switch {
	case !i.issuers.known():
		i.warn("no issuer is configured, so the signatures of replies are not checked; set plugin.security.issuer.names, or plugin.security.choria.trusted_signers")
	case len(o.Issuers) > 0 && len(o.TrustedSigners) > 0:
		i.warn("issuers and trusted signers are both configured; only the issuers are used")
	}
	return nil
}

// openTokenTLS reads the certificate and CA of provider choria. Both are optional.
func (i *Identity) openTokenTLS(now time.Time) error {
	o := &i.options
	if o.DisableTLS {
		return nil
	}
	switch {
	case o.Certificate != "" && o.Key != "":
		if err := i.openTLSPair(o.Certificate, o.Key, now); err != nil {
			return err
		}
	case o.Certificate != "":
		return setting("plugin.security.choria.certificate is set without plugin.security.choria.key", "set both, or none")
	case o.Key != "":
		return setting("plugin.security.choria.key is set without plugin.security.choria.certificate", "set both, or none")
	}
	return i.openCA(o.CA)
}

// readToken reads our own token and checks that servers would take it.
func (i *Identity) readToken(now time.Time) (*ClientClaims, error) {
	path := i.options.TokenFile
	fault := func(problem, hint string, err error) error {
		return &CredentialError{Path: path, Problem: whatToken + " " + problem, Hint: hint, Err: err}
	}
	data, err := readCredential(path, whatToken, hintToken)
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(data))
	purpose, err := tokenPurpose(token)
	switch {
	case errors.Is(err, ErrTokenAlgorithm):
		return nil, fault("holds a token that is signed with an unknown algorithm", "Choria knows EdDSA, RS256, RS384 and RS512", err)
	case bytes.HasPrefix([]byte(token), []byte("-----BEGIN")):
		return nil, fault("holds PEM, not a token", hintToken, ErrTokenMalformed)
	case err != nil && len(token) == 64 && isHex([]byte(token)):
		return nil, fault("holds a seed, not a token", "token and seed may have been exchanged", err)
	case err != nil:
		return nil, fault("does not hold a token (JWT)", hintToken, err)
	case purpose != PurposeClient:
		return nil, fault(fmt.Sprintf("holds a token of purpose %s, and requests need one of purpose client", purpose), hintToken, ErrTokenPurpose)
	}
	claims, err := parseClientUnverified(token)
	if err != nil {
		return nil, fault("does not hold a token that can be read", hintToken, err)
	}
	if err := i.checkToken(claims, token, now); err != nil {
		return nil, err
	}
	i.token = token
	return claims, nil
}

// checkToken checks the claims, and the signature where the issuer is known.
func (i *Identity) checkToken(c *ClientClaims, token string, now time.Time) error {
	path := i.options.TokenFile
	fault := func(problem, hint string, err error) error {
		return &CredentialError{Path: path, Problem: whatToken + " holds a token " + problem, Hint: hint, Err: err}
	}
	err := c.validAt(now, clientLeeway)
	switch {
	case errors.Is(err, ErrTokenExpired):
		return expiredToken(path, c.Expires())
	case err != nil:
		return fault("that is not valid before "+c.NotBefore.UTC().Format(time.RFC3339), "check the clock of this machine; it shows "+now.UTC().Format(time.RFC3339), err)
	case c.Expires().IsZero():
		return fault("without an expiry, which brokers refuse", hintToken, ErrTokenExpired)
	case c.CallerID == "":
		return fault("without a caller id", hintToken, ErrTokenMalformed)
	}
	if _, err := c.Key(); err != nil {
		return fault("without a usable public key, so that nothing can be signed for it", hintToken, err)
	}
	switch delegated := i.options.delegates(); {
	case i.version == choria.V1: // the signer's certificate decides
	case delegated && !c.Permissions.FleetManagement && !c.Permissions.SignedFleetManagement:
		return fault("with neither permission fleet_management nor signed_fleet_management, one of which requests to the fleet need", "get a token with it", ErrPermission)
	case delegated:
	case c.Permissions.SignedFleetManagement:
		return fault("with permission signed_fleet_management, which may not sign for itself: it needs a remote signer, and none is configured",
			"set "+keySignerURL+" or "+keySignerService+", or get a token with fleet_management", ErrPermission)
	case !c.Permissions.FleetManagement:
		return fault("without permission fleet_management, which requests to the fleet need", "get a token with it: choria jwt client ... --fleet-management", ErrPermission)
	}
	if !i.issuers.known() {
		return nil
	}
	keys, ok := i.issuers.keys(c.Organization)
	if !ok {
		return fault(fmt.Sprintf("of organization %q, for which no issuer is configured", c.Organization), "check plugin.security.issuer.names", ErrUntrusted)
	}
	if _, err := parseClient(token, now, clientLeeway, keys); err != nil {
		return fault("that the configured issuer did not issue", "check plugin.security.issuer.*, plugin.security.choria.trusted_signers, and where the token is from", err)
	}
	return nil
}

// keys returns the keys that may have issued tokens of an organization.
func (s issuers) keys(organization string) ([]crypto.PublicKey, bool) {
	if len(s.byOrganization) > 0 {
		key, ok := s.byOrganization[organization]
		return []crypto.PublicKey{key}, ok
	}
	keys := make([]crypto.PublicKey, len(s.any))
	for n, key := range s.any {
		keys[n] = key
	}
	return keys, len(keys) > 0
}

// openCaller reads the token and its seed, which define the caller.
func (i *Identity) openCaller(now time.Time) error {
	claims, err := i.readToken(now)
	if err != nil {
		return err
	}
	if err := i.readSeed(claims); err != nil {
		return err
	}
	i.caller = claims.CallerID
	i.expiring(whatToken, i.options.TokenFile, claims.Expires(), now)
	return nil
}

// readSeed reads the seed and checks that it is the token's.
func (i *Identity) readSeed(c *ClientClaims) error {
	seed, err := readSeed(i.options.SeedFile)
	if err != nil {
		return err
	}
	key, err := c.Key()
	if err != nil {
		return err
	}
	if !key.Equal(seed.Public()) {
		return &CredentialError{Path: i.options.SeedFile, Problem: "seed file does not belong to the token in " + i.options.TokenFile + ": the token names another public key",
			Hint: "a token is issued for one seed: check both paths, or have a token issued for this seed", Err: ErrTokenPublicKey}
	}
	i.seed = seed
	return nil
}
