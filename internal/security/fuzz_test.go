package security

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// A token is accepted only when its text was made with the issuer's key: nothing
// that fuzzing finds may be, unless it is one that we made.
func FuzzParseToken(f *testing.F) {
	const id = "3MSf9rj87HjQeGq4HsPF4Z9lxqW" // fixed: the workers are processes of their own
	client := mustClient(f, clientClaims(noon, func(c *ClientClaims) { c.ID = id }), orgKey)
	server := mustServer(f, serverClaims(noon, func(c *ServerClaims) { c.ID = id }), orgKey)
	chain, _, _ := readChain(f)
	for _, s := range []string{client, server, client + "\n", chain.Server, chain.Client, chain.Issuer, "", "a.b.c", "..", strings.Replace(client, ".", "..", 1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		text := strings.TrimSpace(token)
		if _, err := ParseClient(token, noon, public(orgKey)); err == nil && text != client {
			t.Errorf("accepted as a client's: %q", token)
		}
		if _, err := verifyServer(token, noon, public(orgKey)); err == nil && text != server {
			t.Errorf("accepted as a server's: %q", token)
		}
		if _, err := verifyProvisioning(token, noon, public(orgKey)); err == nil {
			t.Errorf("accepted as a provisioning token: %q", token)
		}
		purpose, err := tokenPurpose(token)
		if err != nil && len(text) > 40 && strings.Contains(err.Error(), text) {
			t.Errorf("the error quotes the token: %v", err)
		}
		c, errClient := parseClientUnverified(token)
		if errClient == nil && (err != nil || purpose != PurposeClient || c == nil) {
			t.Errorf("purpose %q, %v, yet it is read as a client's", purpose, err)
		}
		if s, err := parseServerUnverified(token); err == nil && (purpose != PurposeServer || s.Expires().Year() > 9999) {
			t.Errorf("purpose %q, yet it is read as a server's that expires at %s", purpose, s.Expires())
		}
	})
}

// A seed is accepted only when the whole text is its hexadecimal form.
func FuzzParseSeed(f *testing.F) {
	for _, s := range []string{seedText, strings.ToUpper(seedText), seedText + "\n", " " + seedText, seedText[:63], seedText + "00", "", "-----BEGIN", "a.b.c", strings.Repeat("é", 32)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := parseSeed(data)
		if err != nil {
			if key != nil {
				t.Error("a key and an error")
			}
			if len(data) > 8 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the error quotes the seed: %v", err)
			}
			return
		}
		if hex.EncodeToString(key.Seed()) != strings.ToLower(string(data)) {
			t.Errorf("%q was read as another seed", data)
		}
		if !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte("x"), ed25519.Sign(key, []byte("x"))) {
			t.Error("the key does not sign")
		}
	})
}

// Claims survive being written and read.
func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"0", "1795331983", "1795331983.9", "null", `"1"`, "-1", "1e300", "253402300799", "[]", "1e9"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second Timestamp
		if first.UnmarshalJSON(data) != nil {
			return
		}
		text, err := first.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := second.UnmarshalJSON(text); err != nil || !second.Equal(first.Time) {
			t.Errorf("%q became %s, then %s (%v)", data, first.Format(time.RFC3339), second.Format(time.RFC3339), err)
		}
	})
}
