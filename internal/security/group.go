package security

import (
	"crypto/ed25519"
	"slices"

	batch "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// signature is one ed25519 signature to verify. Key has the right length.
type signature struct {
	key            ed25519.PublicKey
	message, bytes []byte
	good           bool
}

// rule is the one by which signatures are good, alone and in groups alike, so that no
// verdict depends on what else was waiting: cofactored, with canonical points and no key
// of small order (docs/adr/0031-signatures-in-groups.md).
var rule = &batch.Options{Verify: batch.VerifyOptionsDefault}

const (
	// largeGroup is how many signatures are verified as one group at most: larger ones
	// gain less than a tenth.
	largeGroup = 256
	// smallGroup is how many are while forgeries come in: with one bad signature in a
	// hundred, groups of 16 cost least, less than half of what halving large ones does.
	smallGroup = 16
	// suspicion is for how many signatures the groups stay small after a bad one.
	suspicion = 4096
)

// verifyAll judges every signature of the list.
func (i *Identity) verifyAll(list []signature) {
	for len(list) > 0 {
		size := largeGroup
		if i.suspicious.Load() > 0 {
			size = smallGroup
		}
		n := min(len(list), size)
		if verifyGroup(list[:n]) {
			i.suspicious.Add(int64(-n))
		} else {
			i.suspicious.Store(suspicion)
		}
		list = list[n:]
	}
}

// verifyGroup judges the signatures of a group, and reports whether all are good.
func verifyGroup(list []signature) bool {
	n := len(list)
	if n == 1 {
		s := &list[0]
		s.good = len(s.bytes) == ed25519.SignatureSize && batch.VerifyWithOptions(batch.PublicKey(s.key), s.message, s.bytes, rule)
		return s.good
	}
	v := batch.NewBatchVerifierWithCapacity(n).ForceNoPublicKeyExpansion()
	for _, s := range list {
		v.AddWithOptions(batch.PublicKey(s.key), s.message, s.bytes, rule)
	}
	if n <= smallGroup {
		all, each := v.Verify(nil)
		for k := range list {
			list[k].good = each[k]
		}
		return all
	}
	if v.VerifyBatchOnly(nil) {
		for k := range list {
			list[k].good = true
		}
		return true
	}
	for part := range slices.Chunk(list, smallGroup) {
		verifyGroup(part)
	}
	return false
}
