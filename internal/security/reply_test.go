package security

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// signedReply is a reply that a server made.
func signedReply(t testing.TB, token string) choria.SecureReply {
	t.Helper()
	reply, err := choria.EncodeReply(choria.Reply{Version: choria.V2, RequestID: choria.NewRequestID(choria.V2, noon), Sender: "srv-1.example.net", Agent: "rpcutil", Time: noon, Payload: []byte(`{"statuscode":0}`)})
	if err != nil {
		t.Fatal(err)
	}
	signature, sender := NewReplySigner(token, serverKey).Sign(reply)
	return choria.SecureReply{Version: choria.V2, Reply: reply, Signature: signature, Sender: sender}
}

func TestOpenReply(t *testing.T) {
	token := func(edit ...func(*ServerClaims)) string { return mustServer(t, serverClaims(noon, edit...), orgKey) }
	unsigned := func(sr *choria.SecureReply) { sr.Signature, sr.Sender = nil, "" }
	allow := func(o *Options) { o.AllowUnsignedReplies = true }
	tests := []struct {
		name       string
		collective string
		options    func(o *Options)
		token      string
		breakIt    func(sr *choria.SecureReply)
		want       string
		err        error
	}{
		{name: "good", want: "srv-1.example.net"},
		{name: "newline after the token", token: token() + "\n", want: "srv-1.example.net"},
		{name: "good where unsigned ones are allowed", options: allow, want: "srv-1.example.net"},
		{name: "trusted signer", options: func(o *Options) { o.Issuers, o.TrustedSigners = nil, []string{hexKey(edKey(9)), hexKey(orgKey)} }, want: "srv-1.example.net"},
		{name: "within the leeway", token: token(func(c *ServerClaims) { c.ExpiresAt = At(noon.Add(-4 * time.Second)) }), want: "srv-1.example.net"},
		{name: "unsigned", breakIt: unsigned, err: ErrUnsigned},
		{name: "unsigned, of version 1", breakIt: func(sr *choria.SecureReply) { unsigned(sr); sr.Version = choria.V1 }, err: ErrUnsigned},
		{name: "unsigned, allowed", options: allow, breakIt: unsigned},
		{name: "unsigned, provisioning", collective: "provisioning", breakIt: unsigned},
		{name: "unsigned, without an issuer", options: func(o *Options) { o.Issuers = nil }, breakIt: unsigned},
		{name: "forged, without an issuer", options: func(o *Options) { o.Issuers = nil }, breakIt: func(sr *choria.SecureReply) { sr.Signature[0] ^= 1 }},
		{name: "token only", options: allow, breakIt: func(sr *choria.SecureReply) { sr.Signature = nil }, err: ErrUnsigned},
		{name: "signature only", options: allow, breakIt: func(sr *choria.SecureReply) { sr.Sender = "" }, err: ErrUnsigned},
		{name: "forged, allowed", options: allow, breakIt: func(sr *choria.SecureReply) { sr.Signature[0] ^= 1 }, err: ErrSignature},
		{name: "forged, provisioning", collective: "provisioning", breakIt: func(sr *choria.SecureReply) { sr.Signature[0] ^= 1 }, err: ErrSignature},
		{name: "forged signature", breakIt: func(sr *choria.SecureReply) { sr.Signature[0] ^= 1 }, err: ErrSignature},
		{name: "short signature", breakIt: func(sr *choria.SecureReply) { sr.Signature = sr.Signature[:63] }, err: ErrSignature},
		{name: "changed reply", breakIt: func(sr *choria.SecureReply) { sr.Reply = append(sr.Reply, ' ') }, err: ErrSignature},
		{name: "another's token", token: token(func(c *ServerClaims) { c.PublicKey = hexKey(edKey(8)) }), err: ErrSignature},
		{name: "client's token", token: mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.PublicKey = hexKey(serverKey) }), orgKey), err: ErrTokenPurpose},
		{name: "self-made token", token: mustServer(t, serverClaims(noon), serverKey), err: ErrUntrusted},
		{name: "RSA token", token: mustServer(t, serverClaims(noon), rsaKeyA()), err: ErrUntrusted},
		{name: "other organization", token: token(func(c *ServerClaims) { c.Organization = "acme" }), err: ErrUntrusted},
		{name: "expired", token: token(func(c *ServerClaims) { c.ExpiresAt = At(noon.Add(-5 * time.Second)) }), err: ErrTokenExpired},
		{name: "not yet valid", token: token(func(c *ServerClaims) { c.NotBefore = At(noon.Add(6 * time.Second)) }), err: ErrTokenNotYetValid},
		{name: "no public key", token: token(func(c *ServerClaims) { c.PublicKey = "" }), err: ErrTokenPublicKey},
		{name: "no identity", token: token(func(c *ServerClaims) { c.Identity = "" }), err: ErrUntrusted},
		{name: "odd identity", token: token(func(c *ServerClaims) { c.Identity = "a b*" }), err: ErrUntrusted},
		{name: "no token at all", token: "x", err: ErrTokenMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newFolder(t).choriaOptions(noon)
			if tt.options != nil {
				tt.options(&o)
			}
			text := tt.token
			if text == "" {
				text = token()
			}
			sr := signedReply(t, text)
			if tt.breakIt != nil {
				tt.breakIt(&sr)
			}
			collective := tt.collective
			if collective == "" {
				collective = "choria"
			}
			i := mustOpen(t, o, noon)
			for range 2 { // the second answer comes from the cache, if any
				got, err := i.openReply(sr, collective, noon)
				if got != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
				}
				if err != nil && strings.Contains(err.Error(), text) && len(text) > 10 {
					t.Errorf("the error quotes the token: %v", err)
				}
			}
		})
	}
}

func TestOpenReplyOfAChain(t *testing.T) {
	f, _, now := readChain(t)
	o := newFolder(t).choriaOptions(now)
	i := mustOpen(t, o, now)
	i.issuers.byOrganization["choria"], _ = parsePublicKey(f.Organization)
	// The chain's user key is 32 times the byte 3.
	seed, err := parseSeed([]byte(strings.Repeat("03", 32)))
	if err != nil {
		t.Fatal(err)
	}
	signature, token := NewReplySigner(f.Server, seed).Sign([]byte("reply"))
	got, err := i.openReply(choria.SecureReply{Version: choria.V2, Reply: []byte("reply"), Signature: signature, Sender: token}, "choria", now)
	if got != "srv-1.example.net" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = i.openReply(choria.SecureReply{Version: choria.V2, Reply: []byte("reply"), Signature: signature, Sender: f.Rogue}, "choria", now)
	if !errors.Is(err, ErrUntrusted) {
		t.Errorf("rogue: got %v", err)
	}
}

func TestOpenReplyIsSilentInV1(t *testing.T) {
	i := mustOpen(t, newFolder(t).fileOptions(newAuthority(t, "ca", noon), noon), noon)
	sr := signedReply(t, "junk")
	sr.Version = choria.V1
	if got, err := i.openReply(sr, "mcollective", noon); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whatever byte of a signed reply is changed on its way, it is refused, or means
// exactly the same (the spelling of JSON and of base64 may change).
func TestNoByteOfASignedReplyCanBeChanged(t *testing.T) {
	i := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	good := signedReply(t, mustServer(t, serverClaims(noon), orgKey))
	wire, err := choria.EncodeSecureReply(good)
	if err != nil {
		t.Fatal(err)
	}
	open := func(data []byte) (choria.SecureReply, string, error) {
		sr, err := choria.DecodeSecureReply(data)
		if err != nil {
			return sr, "", err
		}
		sender, err := i.openReply(sr, "choria", noon)
		return sr, sender, err
	}
	if _, sender, err := open(wire); sender != "srv-1.example.net" || err != nil {
		t.Fatalf("unchanged: %q, %v", sender, err)
	}
	accepted := 0
	for n := range wire {
		for _, flip := range []byte{0x01, 0x04, 0x20, 0x80} {
			bad := append([]byte(nil), wire...)
			bad[n] ^= flip
			sr, sender, err := open(bad)
			if err != nil {
				continue
			}
			accepted++
			if string(sr.Reply) != string(good.Reply) || sender != "srv-1.example.net" || sr.Version != choria.V2 {
				t.Fatalf("byte %d changed from %q to %q is accepted as %q from %q", n, wire[n], bad[n], sr.Reply, sender)
			}
		}
	}
	t.Logf("%d of %d changes change nothing", accepted, 4*len(wire))

	for _, part := range []struct {
		name string
		of   func(sr *choria.SecureReply) []byte
	}{
		{"reply", func(sr *choria.SecureReply) []byte { sr.Reply = append([]byte(nil), sr.Reply...); return sr.Reply }},
		{"signature", func(sr *choria.SecureReply) []byte {
			sr.Signature = append([]byte(nil), sr.Signature...)
			return sr.Signature
		}},
	} {
		bad := good
		data := part.of(&bad)
		for n := range data {
			data[n] ^= 1
			if _, err := i.openReply(bad, "choria", noon); err == nil {
				t.Fatalf("byte %d of the %s may be changed", n, part.name)
			}
			data[n] ^= 1
		}
	}
	for n := range good.Sender {
		bad := good
		token := []byte(good.Sender)
		token[n] ^= 1
		bad.Sender = string(token)
		if _, err := i.openReply(bad, "choria", noon); err == nil {
			t.Fatalf("character %d of the token may be changed", n)
		}
	}
}

func TestACachedTokenStillExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		i := mustOpen(t, newFolder(t).choriaOptions(now), now)
		sr := signedReply(t, mustServer(t, serverClaims(now, func(c *ServerClaims) { c.ExpiresAt = At(now.Add(time.Hour)) }), orgKey))
		if _, err := i.OpenReply(sr, "choria"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour + 4*time.Second)
		if _, err := i.OpenReply(sr, "choria"); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
		<-time.After(time.Second)
		if _, err := i.OpenReply(sr, "choria"); !errors.Is(err, ErrTokenExpired) {
			t.Errorf("after it: got %v", err)
		}
	})
}

func TestTokenCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	c := newTokenCache(10)
	id := func(n int) tokenID { return tokenID{byte(n), byte(n >> 8)} }
	for n := range 1000 {
		c.put(id(n), verifiedServer{identity: fmt.Sprint(n)})
		if n > 0 {
			c.get(id(0)) // in use all the time
		}
		if got := len(c.young) + len(c.old); got > 10 {
			t.Fatalf("after %d tokens: %d are kept", n+1, got)
		}
	}
	for _, n := range []int{0, 998, 999} {
		if s, ok := c.get(id(n)); !ok || s.identity != fmt.Sprint(n) {
			t.Errorf("%d: got %+v, %v", n, s, ok)
		}
	}
	if _, ok := c.get(id(500)); ok {
		t.Error("a token is kept that was not used for long")
	}
}

func TestRepliesOpenSideBySide(t *testing.T) {
	i := mustOpen(t, newFolder(t).choriaOptions(noon), noon)
	i.tokens = newTokenCache(4)
	var replies []choria.SecureReply
	for n := range 8 {
		replies = append(replies, signedReply(t, mustServer(t, serverClaims(noon, func(c *ServerClaims) { c.Identity = fmt.Sprintf("srv-%d", n) }), orgKey)))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 32 {
				if got, err := i.openReply(replies[n%8], "choria", noon); got != fmt.Sprintf("srv-%d", n%8) || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpenReply(b *testing.B) {
	i := mustOpen(b, newFolder(b).choriaOptions(noon), noon)
	sr := signedReply(b, mustServer(b, serverClaims(noon), orgKey))
	b.Run("token known", func(b *testing.B) {
		for b.Loop() {
			if _, err := i.openReply(sr, "choria", noon); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("token new", func(b *testing.B) {
		for b.Loop() {
			i.tokens = newTokenCache(2)
			if _, err := i.openReply(sr, "choria", noon); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, o := range []Options{newFolder(b).fileOptions(newAuthority(b, "ca", noon), noon), newFolder(b).choriaOptions(noon)} {
		i := mustOpen(b, o, noon)
		data := request(b, i.Version(), i.Caller(), noon)
		b.Run(i.Version().String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := i.seal(b.Context(), data, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// seedText is used by the fuzz targets, too.
var seedText = hex.EncodeToString(clientKey.Seed())
