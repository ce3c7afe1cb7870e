package security

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// provisioningCollective is where servers have no token yet (docs/protocol.md, v2
// fields: replies are never signed in provisioning mode).
const provisioningCollective = "provisioning"

// maxCachedTokens bounds the cache of verified server tokens: at some 150 bytes
// each, a few megabytes. More nodes than this cost a second verification of a
// token, nothing else.
const maxCachedTokens = 1 << 14

// OpenReply checks who signed a reply. In version 2 with an issuer configured, it
// returns the identity in the server's token, after checking that the issuer (or a
// chain issuer it vouches for) issued that token, for a server, that it has not
// expired, and that the signature fits the reply's bytes. Errors wrap ErrUnsigned,
// ErrSignature, ErrUntrusted or one of the ErrToken sentinels.
//
// It returns "" and no error where there is nothing to check: in version 1, without
// an issuer, and for unsigned replies in collective provisioning or where unsigned
// replies are allowed. The hash is choria.DecodeSecureReply's to check.
//
// It is safe for concurrent use.
func (i *Identity) OpenReply(sr choria.SecureReply, collective string) (sender string, err error) {
	return i.openReply(sr, collective, time.Now())
}

func (i *Identity) openReply(sr choria.SecureReply, collective string, now time.Time) (string, error) {
	if i.version != choria.V2 || !i.issuers.known() {
		return "", nil
	}
	if len(sr.Signature) == 0 && sr.Sender == "" {
		if collective == provisioningCollective || i.options.AllowUnsignedReplies {
			return "", nil
		}
		return "", fmt.Errorf("reply: %w", ErrUnsigned)
	}
	if len(sr.Signature) == 0 || sr.Sender == "" {
		return "", fmt.Errorf("reply: %w: it has only one of signature and token", ErrUnsigned)
	}
	server, err := i.server(sr.Sender, now)
	if err != nil {
		return "", fmt.Errorf("reply: server's token: %w", err)
	}
	if !ed25519.Verify(server.key, sr.Reply, sr.Signature) {
		return "", fmt.Errorf("reply: %w", ErrSignature)
	}
	return server.identity, nil
}

// verifiedServer is what we need of a server's token once it is verified. The
// token itself is not kept.
type verifiedServer struct {
	identity   string
	key        ed25519.PublicKey
	begin, end int64 // unix seconds; end 0: never
}

// server verifies a server's token, or finds that it was verified before.
func (i *Identity) server(token string, now time.Time) (verifiedServer, error) {
	id := tokenID(sha256.Sum256([]byte(token)))
	if s, ok := i.tokens.get(id); ok && s.validAt(now) {
		return s, nil
	}
	claims, err := i.verifyServer(token, now)
	if err != nil {
		return verifiedServer{}, err
	}
	key, err := claims.Key()
	if err != nil {
		return verifiedServer{}, err
	}
	s := verifiedServer{identity: claims.Identity, key: key}
	if end := claims.Expires(); !end.IsZero() {
		s.end = end.Unix()
	}
	if !claims.NotBefore.IsZero() {
		s.begin = claims.NotBefore.Unix()
	}
	i.tokens.put(id, s)
	return s, nil
}

func (i *Identity) verifyServer(token string, now time.Time) (*ServerClaims, error) {
	unverified, err := parseServerUnverified(token)
	if err != nil {
		return nil, err
	}
	keys, ok := i.issuers.keys(unverified.Organization)
	if !ok {
		return nil, fmt.Errorf("%w: no issuer is configured for organization %q", ErrUntrusted, unverified.Organization)
	}
	claims, err := parseServer(token, now, clientLeeway, keys)
	if err != nil {
		return nil, err
	}
	if err := choria.CheckIdentity(claims.Identity); err != nil {
		return nil, fmt.Errorf("%w: its identity is not usable: %w", ErrUntrusted, err)
	}
	return claims, nil
}

// validAt is StandardClaims.validAt for what the cache keeps.
func (s verifiedServer) validAt(now time.Time) bool {
	const leeway = int64(clientLeeway / time.Second)
	return (s.end == 0 || now.Unix() < s.end+leeway) && now.Unix() >= s.begin-leeway
}

// tokenID stands for the text of a token.
type tokenID [sha256.Size]byte

// tokenCache keeps the tokens that were used last, in two generations: when the
// young one is full it becomes the old one, and what was old is forgotten.
type tokenCache struct {
	mu         sync.Mutex // guards both generations
	young, old map[tokenID]verifiedServer
	limit      int // of one generation
}

func newTokenCache(limit int) *tokenCache {
	return &tokenCache{limit: max(limit/2, 1), young: make(map[tokenID]verifiedServer)}
}

func (c *tokenCache) get(id tokenID) (verifiedServer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.young[id]; ok {
		return s, true
	}
	s, ok := c.old[id]
	if ok {
		c.add(id, s)
	}
	return s, ok
}

func (c *tokenCache) put(id tokenID, s verifiedServer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(id, s)
}

// add needs the lock.
func (c *tokenCache) add(id tokenID, s verifiedServer) {
	if _, ok := c.young[id]; !ok && len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[tokenID]verifiedServer)
	}
	c.young[id] = s
}

// ReplySigner signs a server's replies, for the simulated fleet. It is safe for
// concurrent use.
type ReplySigner struct {
	token string
	seed  ed25519.PrivateKey
}

// NewReplySigner signs with a server's token and its seed.
func NewReplySigner(token string, seed ed25519.PrivateKey) ReplySigner {
	return ReplySigner{token: token, seed: seed}
}

// Sign returns the signature over the reply's bytes, and the token that goes with
// it, for choria.SecureReply.
func (s ReplySigner) Sign(reply []byte) (signature []byte, token string) {
	return ed25519.Sign(s.seed, reply), s.token
}

// String keeps token and seed out of everything that prints it.
func (s ReplySigner) String() string { return "reply signer" }

// GoString does the same for %#v.
func (s ReplySigner) GoString() string { return s.String() }
