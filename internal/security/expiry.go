package security

import (
	"time"

	"fleetctl/internal/choria"
)

// ChecksReplies reports whether the signatures and tokens of replies are checked: in
// version 2, where an issuer is configured.
func (i *Identity) ChecksReplies() bool { return i.version == choria.V2 && i.issuers.known() }

// TokenEnds reads when the server's token of a reply ends: its own expiry or its
// issuer's, whichever comes first; the end of the year 9999 for one that never
// does. ok is false for what is no server's token. Nothing is verified: believe it
// only of a reply that OpenReply believed. Each token is read once as long as it is
// among the last that were seen. It is safe for concurrent use.
func (i *Identity) TokenEnds(token string) (end time.Time, ok bool) {
	if token == "" {
		return time.Time{}, false
	}
	id := tokenIDOf(token)
	s, known := i.tokens.get(id)
	if !known {
		s, known = i.ends.get(id)
	}
	if !known {
		claims, _, err := readServerToken(token)
		if err != nil {
			return time.Time{}, false
		}
		s.begin, s.end = claims.bounds()
		i.ends.put(id, s)
	}
	return s.ends(), true
}
