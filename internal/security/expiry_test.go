package security

import (
	"encoding/base64"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

func TestTheEndOfAServersToken(t *testing.T) {
	f := newFolder(t)
	i := mustOpen(t, f.choriaOptions(noon), noon)
	token := func(edit ...func(*ServerClaims)) string { return mustServer(t, serverClaims(noon, edit...), orgKey) }
	ends := func(at time.Time) func(*ServerClaims) { return func(c *ServerClaims) { c.ExpiresAt = At(at) } }
	encode := base64.RawURLEncoding.EncodeToString
	endless := encode([]byte(`{"alg":"EdDSA","typ":"JWT"}`)) + "." + encode([]byte(`{"purpose":"choria_server","identity":"n1"}`)) + "." + encode(make([]byte, 64))
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		token string
		want  time.Time
		ok    bool
	}{
		{"its own", token(ends(noon.Add(time.Hour))), noon.Add(time.Hour), true},
		{"its issuer's", token(ends(noon.Add(time.Hour)), func(c *ServerClaims) { c.IssuerEnds = At(noon.Add(time.Minute)) }), noon.Add(time.Minute), true},
		{"over", token(ends(noon.Add(-time.Hour))), noon.Add(-time.Hour), true},
		{"never", endless, never, true},
		{"of another issuer: nothing is verified", mustServer(t, serverClaims(noon, ends(noon.Add(time.Hour))), serverKey), noon.Add(time.Hour), true},
		{"none", "", time.Time{}, false},
		{"no token", "a.b.c", time.Time{}, false},
		{"a client's", mustClient(t, clientClaims(noon), orgKey), time.Time{}, false},
	} {
		for _, again := range []string{"first", "again"} { // from the cache
			if got, ok := i.TokenEnds(tt.token); ok != tt.ok || !got.Equal(tt.want) {
				t.Errorf("%s, %s: got %v, %t; want %v", tt.name, again, got, ok, tt.want)
			}
		}
	}
	// What is only read here is never taken for verified.
	forged := mustServer(t, serverClaims(noon), serverKey)
	if _, ok := i.TokenEnds(forged); !ok {
		t.Fatal("a token of another issuer is not read")
	}
	if _, err := i.openReply(signedReply(t, forged), "choria", noon); err == nil {
		t.Error("a token that was read is believed")
	}
}

func TestRepliesAreCheckedWhereAnIssuerIsKnown(t *testing.T) {
	f := newFolder(t)
	o := f.choriaOptions(noon)
	if i := mustOpen(t, o, noon); !i.ChecksReplies() || i.Version() != choria.V2 {
		t.Error("with an issuer replies are not checked")
	}
	o.Issuers = nil
	if mustOpen(t, o, noon).ChecksReplies() {
		t.Error("without an issuer replies are checked")
	}
}
