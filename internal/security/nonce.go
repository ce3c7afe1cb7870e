package security

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// Nonce is the random part of signatures, made once for the replies of many nodes to one request: it takes nearly all of
// the time of a signature. The replies stay different from each other, and so do their keys; what verifies them cannot
// see a difference. A node must not sign two texts with one nonce, which would tell its key: it is for the simulated fleet,
// whose keys protect nothing.
type Nonce struct {
	secret scalar.Scalar
	point  curve.CompressedEdwardsY
}

// NewNonce makes a random one.
func NewNonce() *Nonce {
	n := new(Nonce)
	if _, err := n.secret.SetRandom(rand.Reader); err != nil {
		panic(err) // rand.Reader never fails
	}
	var point curve.EdwardsPoint
	n.point.SetEdwardsPoint(point.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &n.secret))
	return n
}

// SignWith is Sign with a prepared nonce: S = r + SHA-512(R, A, reply) a (RFC 8032, 5.1.6).
func (s ReplySigner) SignWith(n *Nonce, reply []byte) (signature []byte, token string) {
	secret := sha512.Sum512(s.seed.Seed())
	secret[0] &= 248
	secret[31] = secret[31]&127 | 64
	hash := sha512.New()
	hash.Write(n.point[:])
	hash.Write(s.seed[ed25519.SeedSize:])
	hash.Write(reply)
	var a, sum scalar.Scalar
	if _, err := a.SetBits(secret[:32]); err != nil {
		panic(err) // only of another length
	}
	if _, err := sum.SetBytesModOrderWide(hash.Sum(secret[:0])); err != nil {
		panic(err) // only of another length
	}
	sum.Add(sum.Mul(&sum, &a), &n.secret)
	signature = make([]byte, ed25519.SignatureSize)
	copy(signature, n.point[:])
	if err := sum.ToBytes(signature[len(n.point):]); err != nil {
		panic(err) // only of another length
	}
	return signature, s.token
}
