package security

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"fleetctl/internal/choria"
)

func TestIssuedTokensAreReadBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		key    crypto.Signer
		public crypto.PublicKey
		alg    string
	}{{"ed25519", orgKey, public(orgKey), "EdDSA"}, {"RSA", rsaKeyA(), &rsaKeyA().PublicKey, "RS256"}} {
		t.Run(tt.name, func(t *testing.T) {
			client := ClientClaims{CallerID: "up=bob", Agents: []string{"rpcutil.*"}, UserProperties: map[string]string{"a": "b"}, OPAPolicy: "x",
				Permissions: ClientPermissions{FleetManagement: true, EventsViewer: true}, PubSubjects: []string{"p"}, SubSubjects: []string{"s"}}
			token := mustClient(t, client, tt.key)
			gotClient, err := ParseClient(token, time.Now(), tt.public)
			if err != nil {
				t.Fatal(err)
			}
			checkDefaults(t, &gotClient.StandardClaims, PurposeClient, time.Hour)
			client.StandardClaims, client.Organization = gotClient.StandardClaims, "choria"
			if diff := cmp.Diff(client, *gotClient); diff != "" {
				t.Error(diff)
			}

			server := ServerClaims{Identity: "srv", Permissions: ServerPermissions{Submission: true}, Organization: "acme", PubSubjects: []string{"p"}}
			gotServer, err := verifyServer(mustServer(t, server, tt.key), time.Now(), tt.public)
			if err != nil {
				t.Fatal(err)
			}
			checkDefaults(t, &gotServer.StandardClaims, PurposeServer, time.Hour)
			server.StandardClaims, server.Collectives = gotServer.StandardClaims, []string{}
			if diff := cmp.Diff(server, *gotServer); diff != "" {
				t.Error(diff)
			}

			prov := ProvisioningClaims{Token: "s3cret", Secure: true, URLs: "nats://a:1,nats://b:2", Default: true, Extensions: map[string]any{"k": "v"}, ProtocolV2: true, AllowUpdate: true}
			text, err := IssueProvisioning(prov, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			gotProv, err := verifyProvisioning(text, time.Now(), tt.public)
			if err != nil {
				t.Fatal(err)
			}
			checkDefaults(t, &gotProv.StandardClaims, PurposeProvisioning, 365*24*time.Hour)
			prov.StandardClaims, prov.Organization = gotProv.StandardClaims, "choria"
			if diff := cmp.Diff(prov, *gotProv); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v %s", *gotProv, gotProv, gotProv, gotProv), "s3cret") {
				t.Error("printing a provisioning token shows its secret")
			}
			header, err := base64.RawURLEncoding.DecodeString(text[:strings.Index(text, ".")])
			if err != nil || !strings.Contains(string(header), tt.alg) {
				t.Errorf("header %s, want %s", header, tt.alg)
			}
		})
	}
}

func checkDefaults(t *testing.T, c *StandardClaims, p Purpose, validity time.Duration) {
	t.Helper()
	if c.Purpose != p || c.Issuer != "Choria Tokens Package" || (c.Subject != "") != (p == PurposeProvisioning) {
		t.Errorf("purpose %s, issuer %q, subject %q", c.Purpose, c.Issuer, c.Subject)
	}
	if got := c.ExpiresAt.Sub(c.IssuedAt.Time); got != validity || !c.NotBefore.Equal(c.IssuedAt.Time) {
		t.Errorf("valid for %s from %s, issued %s", got, c.NotBefore, c.IssuedAt)
	}
	if made, ok := ksuidTime(c.ID); !ok || !made.Equal(c.IssuedAt.Time) {
		t.Errorf("id %s was made at %s, issued at %s", c.ID, made, c.IssuedAt)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	good := mustClient(t, clientClaims(noon), orgKey)
	other := func(method jwt.SigningMethod, key any) string {
		claims := clientClaims(noon)
		claims.prepare(PurposeClient, time.Hour)
		text, err := jwt.NewWithClaims(method, &wrapped{claims}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	parts := strings.Split(good, ".")
	badClaims := func(json string) string {
		unsigned := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(json))
		return unsigned + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(orgKey, []byte(unsigned)))
	}
	tests := []struct {
		name  string
		token string
		keys  []crypto.PublicKey
		want  error
	}{
		{"empty", "", nil, ErrTokenMalformed},
		{"two parts", parts[0] + "." + parts[1], nil, ErrTokenMalformed},
		{"four parts", good + ".x", nil, ErrTokenMalformed},
		{"blank inside", parts[0] + ".\n" + parts[1] + "." + parts[2], nil, ErrTokenMalformed},
		{"not base64", "a!.b.c", nil, ErrTokenMalformed},
		{"claims are a list", badClaims("[]"), nil, ErrTokenMalformed},
		{"claims are null", badClaims("null"), nil, ErrTokenPurpose},
		{"expiry is text", badClaims(`{"purpose":"choria_client_id","exp":"2110691983"}`), nil, ErrTokenMalformed},
		{"expiry before time", badClaims(`{"purpose":"choria_client_id","exp":-1}`), nil, ErrTokenMalformed},
		{"expiry beyond time", badClaims(`{"purpose":"choria_client_id","exp":1e300}`), nil, ErrTokenMalformed},
		{"none", other(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), nil, ErrTokenAlgorithm},
		{"shared secret", other(jwt.SigningMethodHS256, []byte(public(orgKey))), nil, ErrTokenAlgorithm},
		{"EC", other(jwt.SigningMethodES256, ecKey()), nil, ErrTokenAlgorithm},
		{"PSS", other(jwt.SigningMethodPS256, rsaKeyA()), []crypto.PublicKey{&rsaKeyA().PublicKey}, ErrTokenAlgorithm},
		{"unknown algorithm", base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"X"}`)) + "." + parts[1] + "." + parts[2], nil, ErrTokenAlgorithm},
		{"other key", mustClient(t, clientClaims(noon), edKey(9)), nil, ErrUntrusted},
		{"key of another kind", good, []crypto.PublicKey{&rsaKeyA().PublicKey}, ErrUntrusted},
		{"RSA token, ed25519 key", mustClient(t, clientClaims(noon), rsaKeyA()), nil, ErrUntrusted},
		{"short key", good, []crypto.PublicKey{ed25519.PublicKey("short")}, ErrUntrusted},
		{"no key", good, []crypto.PublicKey{}, ErrUntrusted},
		{"nil key", good, []crypto.PublicKey{nil}, ErrUntrusted},
		{"server's", mustServer(t, serverClaims(noon), orgKey), nil, ErrTokenPurpose},
		{"expired now", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.ExpiresAt = At(noon) }), orgKey), nil, ErrTokenExpired},
		{"expires in a second", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.ExpiresAt = At(noon.Add(time.Second)) }), orgKey), nil, nil},
		{"valid in a second", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.NotBefore = At(noon.Add(time.Second)) }), orgKey), nil, ErrTokenNotYetValid},
		{"valid from now", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.NotBefore = At(noon) }), orgKey), nil, nil},
		{"issuer expired", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.IssuerEnds = At(noon) }), orgKey), nil, ErrTokenExpired},
		{"second key", good, []crypto.PublicKey{public(edKey(9)), public(orgKey)}, nil},
		{"RS512", other(jwt.SigningMethodRS512, rsaKeyA()), []crypto.PublicKey{&rsaKeyA().PublicKey}, nil},
		{"newline at the end", good + "\n", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := tt.keys
			if keys == nil {
				keys = []crypto.PublicKey{public(orgKey)}
			}
			_, err := ParseClient(tt.token, noon, keys...)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && len(parts[1]) > 0 && (strings.Contains(err.Error(), parts[1]) || strings.Contains(err.Error(), parts[2])) {
				t.Errorf("the error quotes the token: %v", err)
			}
		})
	}
}

func TestEveryCharacterOfATokenCounts(t *testing.T) {
	good := mustServer(t, serverClaims(noon), orgKey)
	for n := range len(good) {
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			bad := []byte(good)
			bad[n] ^= flip
			if _, err := verifyServer(string(bad), noon, public(orgKey)); err == nil {
				t.Fatalf("character %d changed from %q to %q is accepted", n, good[n], bad[n])
			}
		}
	}
}

// chainFixture holds tokens that upstream's own library made: the organization's key,
// a chain issuer, a client and a server of it, and a server of an issuer whom the
// organization does not vouch for.
type chainFixture struct{ Organization, Issuer, Client, Server, Rogue string }

func readChain(t testing.TB) (chainFixture, ed25519.PublicKey, time.Time) {
	t.Helper()
	data, err := os.ReadFile("testdata/chain.json")
	if err != nil {
		t.Fatal(err)
	}
	var f chainFixture
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	key, err := parsePublicKey(f.Organization)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseServerUnverified(f.Server)
	if err != nil {
		t.Fatal(err)
	}
	return f, key, c.IssuedAt.Time
}

func TestChainsOfTrust(t *testing.T) {
	f, org, now := readChain(t)
	issuer, err := ParseClient(f.Issuer, now, org)
	if err != nil || issuer.CallerID != "up=login" {
		t.Errorf("chain issuer: %+v, %v", issuer, err)
	}
	client, err := ParseClient(f.Client, now, org)
	if err != nil || client.CallerID != "up=bob" {
		t.Errorf("client: %+v, %v", client, err)
	}
	server, err := verifyServer(f.Server, now, org)
	if err != nil || server.Identity != "srv-1.example.net" {
		t.Errorf("server: %+v, %v", server, err)
	}
	if _, err := verifyServer(f.Rogue, now, org); !errors.Is(err, ErrUntrusted) {
		t.Errorf("rogue: %v", err)
	}
	if _, err := verifyServer(f.Server, now, public(edKey(9))); !errors.Is(err, ErrUntrusted) {
		t.Errorf("other organization: %v", err)
	}
	if _, err := verifyServer(f.Server, now.AddDate(11, 0, 0), org); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("eleven years later: %v", err)
	}
}

// The claims of a chain are refused one by one when any of them is changed, even
// though the creator signs the changed token.
func TestChainClaimsMustFit(t *testing.T) {
	creator, org := edKey(4), orgKey
	issuerClaims := clientClaims(noon)
	issuerClaims.ID = choria.NewRequestID(choria.V2, issuerClaims.IssuedAt.Time)
	vouch := hex.EncodeToString(ed25519.Sign(org, []byte(issuerClaims.ID+"."+hexKey(creator))))
	good := func() ServerClaims {
		c := serverClaims(noon)
		c.ID = choria.NewRequestID(choria.V2, c.IssuedAt.Time)
		c.Issuer = "C-" + issuerClaims.ID + "." + hexKey(creator)
		c.TrustChain = vouch + "." + hex.EncodeToString(ed25519.Sign(creator, []byte(c.ID+"."+vouch)))
		c.IssuerEnds = At(noon.Add(time.Hour))
		return c
	}
	tests := []struct {
		name string
		edit func(c *ServerClaims)
		key  ed25519.PrivateKey
		want error
	}{
		{"good", func(*ServerClaims) {}, creator, nil},
		{"signed by another", func(*ServerClaims) {}, edKey(5), ErrUntrusted},
		{"signed by the organization", func(*ServerClaims) {}, org, ErrUntrusted},
		{"no public key", func(c *ServerClaims) { c.PublicKey = "" }, creator, ErrUntrusted},
		{"no chain", func(c *ServerClaims) { c.TrustChain = "" }, creator, ErrUntrusted},
		{"half a chain", func(c *ServerClaims) { c.TrustChain = vouch }, creator, ErrUntrusted},
		{"odd chain", func(c *ServerClaims) { c.TrustChain = "zz.zz" }, creator, ErrUntrusted},
		{"other id", func(c *ServerClaims) { c.ID = choria.NewRequestID(choria.V2, c.IssuedAt.Time) }, creator, ErrUntrusted},
		{"id of another time", func(c *ServerClaims) {
			c.ID = choria.NewRequestID(choria.V2, noon.AddDate(-1, 0, 0))
			c.TrustChain = vouch + "." + hex.EncodeToString(ed25519.Sign(creator, []byte(c.ID+"."+vouch)))
		}, creator, ErrUntrusted},
		{"no id", func(c *ServerClaims) { c.ID = "x" }, creator, ErrUntrusted},
		{"issuer's expiry missing", func(c *ServerClaims) { c.IssuerEnds = Timestamp{} }, creator, ErrUntrusted},
		{"issuer expired", func(c *ServerClaims) { c.IssuerEnds = At(noon) }, creator, ErrTokenExpired},
		{"issuer renamed", func(c *ServerClaims) { c.Issuer = "C-other." + hexKey(creator) }, creator, ErrUntrusted},
		{"issuer replaced", func(c *ServerClaims) { c.Issuer = "C-" + issuerClaims.ID + "." + hexKey(edKey(5)) }, edKey(5), ErrUntrusted},
		{"issuer without a key", func(c *ServerClaims) { c.Issuer = "C-" + issuerClaims.ID }, creator, ErrUntrusted},
		{"organization's issuer, not signed by it", func(c *ServerClaims) {
			c.Issuer = "I-" + hexKey(org)
			c.TrustChain = hex.EncodeToString(ed25519.Sign(creator, []byte(c.ID+"."+c.PublicKey)))
		}, org, ErrUntrusted},
		{"organization's issuer", func(c *ServerClaims) {
			c.Issuer = "I-" + hexKey(org)
			c.TrustChain = hex.EncodeToString(ed25519.Sign(org, []byte(c.ID+"."+c.PublicKey)))
		}, org, nil},
		{"another organization's issuer", func(c *ServerClaims) {
			c.Issuer = "I-" + hexKey(edKey(5))
			c.TrustChain = hex.EncodeToString(ed25519.Sign(org, []byte(c.ID+"."+c.PublicKey)))
		}, org, ErrUntrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.edit(&c)
			_, err := verifyServer(mustServer(t, c, tt.key), noon, public(org))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestTokenPurpose(t *testing.T) {
	prov, err := IssueProvisioning(ProvisioningClaims{}, orgKey)
	if err != nil {
		t.Fatal(err)
	}
	old, err := issue(StandardClaims{Subject: string(PurposeProvisioning)}, orgKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token string
		want  Purpose
		text  string
	}{
		{mustClient(t, clientClaims(noon), orgKey), PurposeClient, "client"},
		{mustServer(t, serverClaims(noon), orgKey), PurposeServer, "server"},
		{prov, PurposeProvisioning, "provisioning"},
		{old, PurposeProvisioning, "provisioning"},
		{mustClient(t, clientClaims(noon), orgKey) + "x.", "", "unknown"},
	} {
		got, err := tokenPurpose(tt.token)
		if got != tt.want || got.String() != tt.text || (err != nil) != (tt.want == "") {
			t.Errorf("got %q (%s), %v, want %q", got, got, err, tt.want)
		}
	}
	if got := Purpose("odd").String(); got != `"odd"` {
		t.Errorf("got %s", got)
	}
}

func TestReadSigningKey(t *testing.T) {
	f := newFolder(t)
	f.write("seed", hex.EncodeToString(orgKey.Seed()))
	f.write("rsa1", pkcs1(rsaKeyA()))
	f.write("rsa8", pkcs8(t, rsaKeyA()))
	for _, name := range []string{"seed", "rsa1", "rsa8"} {
		key, err := ReadSigningKey(f.path(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch k := key.(type) {
		case ed25519.PrivateKey:
			if !k.Equal(orgKey) || name != "seed" {
				t.Errorf("%s: another key", name)
			}
		case *rsa.PrivateKey:
			if !k.Equal(rsaKeyA()) || name == "seed" {
				t.Errorf("%s: another key", name)
			}
		default:
			t.Errorf("%s: got %T", name, key)
		}
	}
	for name, content := range map[string]string{"newline": hex.EncodeToString(orgKey.Seed()) + "\n", "ec": pkcs8(t, ecKey())} {
		if _, err := ReadSigningKey(f.write(name, content)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := IssueClient(ClientClaims{}, ecKey()); err == nil {
		t.Error("an EC key signs a token")
	}
}

func TestKSUIDTime(t *testing.T) {
	for _, tt := range []struct {
		id   string
		want int64 // 0: not one
	}{
		{"000000000000000000000000000", 1400000000},
		{"aWgEPTl1tmebfsQzFP4bxwgy80V", 1400000000 + 1<<32 - 1}, // the largest of all
		{"aWgEPTl1tmebfsQzFP4bxwgy80W", 0},                      // one more
		{"3MS7CABd495DdCrMBUwf0fc2oW3", 1795331984},             // docs/protocol.md's server token
		{"3MS7CABd495DdCrMBUwf0fc2oW", 0},
		{"3MS7CABd495DdCrMBUwf0fc2oW-", 0},
		{"", 0},
	} {
		got, ok := ksuidTime(tt.id)
		if ok != (tt.want != 0) || ok && got.Unix() != tt.want {
			t.Errorf("%s: got %d %v, want %d", tt.id, got.Unix(), ok, tt.want)
		}
	}
}

// verifyServer checks a server token as Verify does, without leeway.
func verifyServer(token string, now time.Time, keys ...crypto.PublicKey) (*ServerClaims, error) {
	return parseServer(token, now, 0, keys)
}

// verifyProvisioning checks a provisioning token in full. Servers only read it.
func verifyProvisioning(token string, now time.Time, keys ...crypto.PublicKey) (*ProvisioningClaims, error) {
	c := new(ProvisioningClaims)
	if err := verifyAny(token, c, &c.StandardClaims, keys, false); err != nil {
		return nil, err
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, c.validAt(now, 0)
}
