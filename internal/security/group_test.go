package security

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"fleetctl/internal/choria"
)

// crowd are replies of as many servers, each with a token of its own.
func crowd(t testing.TB, n int) []choria.Opening {
	t.Helper()
	group := make([]choria.Opening, n)
	for k := range group {
		name := fmt.Sprintf("srv-%d.example.net", k)
		key := numbered(k)
		token := mustServer(t, serverClaims(noon, func(c *ServerClaims) { c.Identity, c.PublicKey, c.ID = name, hexKey(key), name }), orgKey)
		reply := []byte("reply of " + name)
		signature, sender := NewReplySigner(token, key).Sign(reply)
		group[k] = choria.Opening{Claimed: name, Reply: choria.SecureReply{Version: choria.V2, Reply: reply, Signature: signature, Sender: sender}}
	}
	return group
}

// Whichever of 256 replies is forged is named, and no other is doubted.
func TestTheForgedReplyOfAGroupIsNamed(t *testing.T) {
	good := crowd(t, 256)
	stranger := mustServer(t, serverClaims(noon, func(c *ServerClaims) { c.Identity = "srv-9.example.net" }), serverKey)
	for name, tt := range map[string]struct {
		forge func(o *choria.Opening)
		want  error
		at    []int
	}{
		"none":                {at: nil},
		"first":               {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, []int{0}},
		"middle":              {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, []int{131}},
		"last":                {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, []int{255}},
		"changed reply":       {func(o *choria.Opening) { o.Reply.Reply = append([]byte("x"), o.Reply.Reply...) }, ErrSignature, []int{77}},
		"neighbors":           {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, []int{127, 128}},
		"self-made token":     {func(o *choria.Opening) { o.Reply.Sender, o.Claimed = stranger, "" }, ErrUntrusted, []int{9}},
		"another's name":      {func(o *choria.Opening) { o.Claimed = "srv-1.example.net" }, ErrSignature, []int{200}},
		"scattered":           {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, []int{3, 90, 91, 254}},
		"all but a few":       {func(o *choria.Opening) { o.Reply.Signature = flipped(o.Reply.Signature) }, ErrSignature, allBut(256, 5, 100)},
		"truncated signature": {func(o *choria.Opening) { o.Reply.Signature = o.Reply.Signature[:63] }, ErrSignature, []int{31}},
	} {
		t.Run(name, func(t *testing.T) {
			i := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
			for _, known := range []bool{false, true} { // the second time the tokens are known
				group := append([]choria.Opening(nil), good...)
				for _, k := range tt.at {
					tt.forge(&group[k])
				}
				i.openReplies(group, "choria", noon)
				for k, o := range group {
					forged := false
					for _, at := range tt.at {
						forged = forged || at == k
					}
					switch {
					case forged && (!errors.Is(o.Err, tt.want) || o.Proven != ""):
						t.Errorf("known %v: forged reply %d: got %q, %v, want %v", known, k, o.Proven, o.Err, tt.want)
					case !forged && (o.Err != nil || o.Proven != good[k].Claimed):
						t.Errorf("known %v: good reply %d: got %q, %v", known, k, o.Proven, o.Err)
					}
				}
			}
		})
	}
}

// numbered is the key of a server of a crowd.
func numbered(k int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Append(nil, k))
	return ed25519.NewKeyFromSeed(seed[:])
}

func flipped(signature []byte) []byte {
	bad := append([]byte(nil), signature...)
	bad[40] ^= 1
	return bad
}

func allBut(n int, kept ...int) []int {
	var list []int
	for k := range n {
		if k != kept[0] && k != kept[1] {
			list = append(list, k)
		}
	}
	return list
}

// A forger's token is not remembered because a good reply was in the same group.
func TestOnlyVerifiedTokensAreRemembered(t *testing.T) {
	i := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	group := crowd(t, 3)
	group[1].Reply.Sender = mustServer(t, serverClaims(noon, func(c *ServerClaims) { c.Identity = group[1].Claimed }), serverKey)
	group[2].Reply.Signature = flipped(group[2].Reply.Signature)
	i.openReplies(group, "choria", noon)
	for k, want := range []bool{true, false, true} { // the third's token is good
		if _, got := i.tokens.get(tokenIDOf(group[k].Reply.Sender)); got != want {
			t.Errorf("token %d: remembered %v, want %v", k, got, want)
		}
	}
}

// The edge cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; SAC 2020), where implementations differ. What
// we accept and the standard library does not, only the holder of the key can make. What is refused here would let any process
// sign for the holder of a key of small order (docs/adr/0031-signatures-in-groups.md).
func TestEdgeSignatures(t *testing.T) {
	data, err := os.ReadFile("testdata/edge-signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		What, Key, Message, Signature string
		Ours, Standard                bool
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) != 12 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	good := crowd(t, 40)
	for _, c := range cases {
		key, message, bytes := unhex(t, c.Key), unhex(t, c.Message), unhex(t, c.Signature)
		if got := ed25519.Verify(key, message, bytes); got != c.Standard {
			t.Errorf("%s: the standard library says %v, was %v", c.What, got, c.Standard)
		}
		for _, size := range []int{1, 2, smallGroup, 40} { // no verdict depends on what else is waiting
			list := make([]signature, size)
			for k := range list {
				list[k] = signature{key: numbered(k).Public().(ed25519.PublicKey), message: good[k].Reply.Reply, bytes: good[k].Reply.Signature}
			}
			list[size/2] = signature{key: key, message: message, bytes: bytes}
			for _, expanded := range []string{"no", "one", "all"} { // nor on how a key is kept
				i := new(Identity)
				for k := range list {
					if list[k].good = false; expanded == "all" || expanded == "one" && k == size/2 {
						list[k].expanded = i.expand(list[k].key)
					}
				}
				i.verifyAll(list)
				for k, s := range list {
					if want := k != size/2 || c.Ours; s.good != want {
						t.Errorf("%s, among %d, keys expanded: %s: signature %d is good: %v, want %v", c.What, size, expanded, k, s.good, want)
					}
				}
			}
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Replies of many nodes may share the random part of their signatures: each is good for its own key and text alone.
func TestSignaturesWithOneNonceAreGood(t *testing.T) {
	n := NewNonce()
	for k := range 20 {
		key, reply := numbered(k), fmt.Appendf(nil, "reply of node %d", k)
		made, token := NewReplySigner("token", key).SignWith(n, reply)
		public := key.Public().(ed25519.PublicKey)
		if !ed25519.Verify(public, reply, made) || token != "token" {
			t.Errorf("the standard library refuses the signature of node %d, or its token is %q", k, token)
		}
		if s := (signature{key: public, message: reply, bytes: made}); !s.verify() {
			t.Errorf("our rule refuses the signature of node %d", k)
		}
		if s := (signature{key: public, message: append(reply, 'x'), bytes: made}); s.verify() {
			t.Errorf("the signature of node %d is good for another reply", k)
		}
	}
}
