package fleet

import (
	"crypto/fips140"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"
)

// hashes are the hashes of our caller id that the broker may allow in reply subjects, the likely one first. Only brokers
// of protocol v2 limit them. Upstream's client goes by its own mode: SHA-256 in Go's FIPS mode, else MD5
// (docs/protocol.md, subjects); where FIPS is enforced MD5 is not to be had at all.
func hashes(v choria.Version, fips, enforced bool) []choria.CallerHash {
	list := []choria.CallerHash{choria.MD5, choria.SHA256}
	if fips {
		list = []choria.CallerHash{choria.SHA256, choria.MD5}
	}
	if v != choria.V2 || enforced {
		return list[:1]
	}
	return list
}

func (f *Fleet) replyPrefixes(id *security.Identity) []string {
	var prefixes []string
	for _, h := range hashes(id.Version(), fips140.Enabled(), fips140.Enforced()) {
		prefixes = append(prefixes, choria.ReplyPrefix(f.Collective, id.Caller(), h))
	}
	return prefixes
}

// allowedHash is the hash that the broker allows on this connection.
func (f *Fleet) allowedHash(id *security.Identity) choria.CallerHash {
	for _, h := range hashes(id.Version(), fips140.Enabled(), fips140.Enforced()) {
		if choria.ReplyPrefix(f.Collective, id.Caller(), h) == f.conn.ReplyPrefix() {
			return h
		}
	}
	return choria.MD5
}
