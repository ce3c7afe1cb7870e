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
// each, 40 MB. More nodes than this cost a second verification of a token, nothing
// else.
const maxCachedTokens = 1 << 18

// OpenReply checks the signature of a reply. In version 2 with an issuer configured, it
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
	one := [1]choria.Opening{{Reply: sr}}
	i.openReplies(one[:], collective, now)
	return one[0].Proven, one[0].Err
}

// OpenReplies is OpenReply for a group of replies at once, whose signatures are
// verified together: that costs less than half. Each reply gets its own verdict. Where
// signatures are not checked, nothing is set.
func (i *Identity) OpenReplies(group []choria.Opening, collective string) {
	i.openReplies(group, collective, time.Now())
}

// signatures are those of a group that have to be verified.
type signatures struct{ tokens, replies []signature }

// proof is what stands between a reply and its being believed.
type proof struct {
	reply, token int // in the two lists of signatures; -1: none
	id           tokenID
	server       verifiedServer
}

func (i *Identity) openReplies(group []choria.Opening, collective string, now time.Time) {
	if !i.ChecksReplies() {
		return
	}
	i.recall(now)
	list := signatures{make([]signature, 0, len(group)), make([]signature, 0, len(group))}
	proofs := make([]proof, len(group))
	for k := range group {
		proofs[k] = i.demand(&group[k], collective, now, &list)
	}
	i.verifyAll(list.tokens) // apart, for mostly only replies are forged
	i.verifyAll(list.replies)
	for k, p := range proofs {
		o := &group[k]
		issued := p.token < 0 || list.tokens[p.token].good
		if issued && p.token >= 0 {
			i.tokens.put(p.id, p.server)
		}
		switch {
		case p.reply < 0: // refused already, or nothing to check
		case !issued:
			o.Err = fmt.Errorf("reply: server's token: %w: the token's signature was not made by it", ErrUntrusted)
		case !list.replies[p.reply].good:
			o.Err = fmt.Errorf("reply: %w", ErrSignature)
		default:
			o.Proven = p.server.identity
		}
	}
}

// demand does the cheap checks of a reply, and adds the signatures that have to be
// verified to the list.
func (i *Identity) demand(o *choria.Opening, collective string, now time.Time, list *signatures) proof {
	p := proof{reply: -1, token: -1}
	sr := &o.Reply
	switch signed := len(sr.Signature) > 0; {
	case !signed && sr.Sender == "":
		if collective != provisioningCollective && !i.options.AllowUnsignedReplies {
			o.Err = fmt.Errorf("reply: %w", ErrUnsigned)
		}
		return p
	case !signed || sr.Sender == "":
		o.Err = fmt.Errorf("reply: %w: it has only one of signature and token", ErrUnsigned)
		return p
	}
	p.id = tokenIDOf(sr.Sender)
	server, known := i.tokens.get(p.id)
	var issued *signature
	if !known {
		var err error
		if server, issued, err = i.readServer(sr.Sender, now); err != nil {
			o.TokenEnds = server.ends()
			o.Err = fmt.Errorf("reply: server's token: %w", err)
			return p
		}
	}
	if err := server.validAt(now); err != nil {
		o.TokenEnds = server.ends()
		o.Err = fmt.Errorf("reply: server's token: %w", err)
		return p
	}
	if o.Claimed != "" && o.Claimed != server.identity {
		o.Err = fmt.Errorf("reply: %w: reply of %q comes with the token of %q", ErrSignature, o.Claimed, server.identity)
		return p
	}
	o.TokenEnds = server.ends()
	p.server = server
	if issued != nil {
		p.token, list.tokens = len(list.tokens), append(list.tokens, *issued)
	} else if !known {
		i.tokens.put(p.id, server)
	}
	p.reply = len(list.replies)
	list.replies = append(list.replies, signature{key: server.key[:], message: sr.Reply, bytes: sr.Signature})
	return p
}

// verifiedServer is what we need of a server's token once it is verified. The
// token itself is not kept.
type verifiedServer struct {
	identity   string
	key        [ed25519.PublicKeySize]byte
	begin, end int64 // unix seconds; begin 0: always; end 0: never; end unread: nothing was read
}

// unread is the end of a token of which nothing could be read.
const unread = -1

// ends is when the token ends: the end of the year 9999 for one that never does, zero
// for one that was not read.
func (s verifiedServer) ends() time.Time {
	switch s.end {
	case unread:
		return time.Time{}
	case 0:
		return time.Unix(maxTimestamp, 0).UTC()
	}
	return time.Unix(s.end, 0).UTC()
}

// readServer reads a server's token. Where one ed25519 key must have signed it, as
// nearly always, that signature is still to be verified, and is returned; else the
// token is verified. With an error the server has what could be read of it.
func (i *Identity) readServer(token string, now time.Time) (verifiedServer, *signature, error) {
	claims, issued, err := readServerToken(token)
	if err != nil {
		return verifiedServer{end: unread}, nil, err
	}
	s := verifiedServer{identity: claims.Identity}
	s.begin, s.end = claims.bounds()
	keys, ok := i.issuers.keys(claims.Organization)
	if !ok {
		return s, nil, fmt.Errorf("%w: no issuer is configured for organization %q", ErrUntrusted, claims.Organization)
	}
	if err := claims.validAt(now, clientLeeway); err != nil {
		return s, nil, err
	}
	if err := choria.CheckIdentity(claims.Identity); err != nil {
		return s, nil, fmt.Errorf("%w: its identity is not usable: %w", ErrUntrusted, err)
	}
	if issued != nil && len(keys) == 1 && !claims.chained() {
		issued.key, _ = keys[0].(ed25519.PublicKey)
	}
	if issued == nil || len(issued.key) != ed25519.PublicKeySize {
		issued = nil
		if _, err := parseServer(token, now, clientLeeway, keys); err != nil {
			return s, nil, err
		}
	} else {
		issued.expanded = i.expand(issued.key)
	}
	key, err := claims.Key()
	copy(s.key[:], key)
	return s, issued, err
}

// validAt is StandardClaims.validAt for what the cache keeps.
func (s verifiedServer) validAt(now time.Time) error {
	var c StandardClaims
	if s.end != 0 {
		c.ExpiresAt = Timestamp{time.Unix(s.end, 0)}
	}
	if s.begin != 0 {
		c.NotBefore = Timestamp{time.Unix(s.begin, 0)}
	}
	return c.validAt(now, clientLeeway)
}

// tokenID stands for the text of a token.
type tokenID [sha256.Size]byte

func tokenIDOf(token string) tokenID { return sha256.Sum256([]byte(token)) }

// tokenCache keeps the tokens that were used last, in two generations: when the
// young one is full it becomes the old one, and what was old is forgotten.
type tokenCache struct {
	mu         sync.Mutex // guards both generations
	young, old map[tokenID]verifiedServer
	limit      int // of one generation
	fresh      int // how many were put since the file of earlier runs was read
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
	c.fresh++
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
