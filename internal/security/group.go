package security

import (
	"crypto/ed25519"
	"slices"

	batch "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// signature is one ed25519 signature to verify. Key has the right length.
type signature struct {
	key            ed25519.PublicKey
	expanded       *batch.ExpandedPublicKey // the key, where it has signed others as well; nil where not
	message, bytes []byte
	good           bool
}

// expand reads an issuer's key once, and not again for each token that it has signed. Nil for one that is no point.
func (i *Identity) expand(key ed25519.PublicKey) *batch.ExpandedPublicKey {
	if known, ok := i.expanded.Load(string(key)); ok {
		return known.(*batch.ExpandedPublicKey)
	}
	expanded, err := batch.NewExpandedPublicKey(batch.PublicKey(key))
	if err != nil {
		return nil
	}
	i.expanded.Store(string(key), expanded)
	return expanded
}

// verify judges a signature alone.
func (s *signature) verify() bool {
	switch {
	case len(s.bytes) != ed25519.SignatureSize:
		return false
	case s.expanded != nil:
		return batch.VerifyExpandedWithOptions(s.expanded, s.message, s.bytes, rule)
	}
	return batch.VerifyWithOptions(batch.PublicKey(s.key), s.message, s.bytes, rule)
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
		list[0].good = list[0].verify()
		return list[0].good
	}
	v := batch.NewBatchVerifierWithCapacity(n)
	for _, s := range list {
		if s.expanded != nil {
			v.AddExpandedWithOptions(s.expanded, s.message, s.bytes, rule)
			continue
		}
		v.ForceNoPublicKeyExpansion()
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
