package security

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetctl/internal/choria"
)

// vectorDirs are our own copy of some captured messages, and all of them where they
// are at hand.
func vectorDirs() []string {
	dirs := []string{"testdata/vectors"}
	if all := "../../../shared/vectors"; exists(all) {
		dirs = append(dirs, all)
	}
	return dirs
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// messages returns the secure layers of one version's messages, by scenario.
func messages(t testing.TB, dir string) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", dir, err)
	}
	found := make(map[string][][]byte)
	for _, file := range files {
		var scenario struct {
			Messages []struct {
				Payload string `json:"payload_base64"`
			}
		}
		if err := json.Unmarshal([]byte(readFile(t, file)), &scenario); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, m := range scenario.Messages {
			payload, err := base64.StdEncoding.DecodeString(m.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if transport, err := choria.DecodeTransport(payload); err == nil { // others are events
				found[name] = append(found[name], transport.Data)
			}
		}
	}
	return found
}

func TestCapturedV1RequestsVerify(t *testing.T) {
	for _, dir := range vectorDirs() {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(readFile(t, dir+"/keys/v1/ca.pem"))) {
			t.Fatal("no CA")
		}
		v := NewV1Verifier(pool, nil, nil)
		requests := 0
		for name, list := range messages(t, dir+"/v1") {
			for _, data := range list {
				sr, err := choria.DecodeSecureRequest(data)
				if err != nil {
					continue // a reply
				}
				requests++
				r, err := choria.DecodeRequest(choria.V1, sr.Request)
				if err != nil {
					t.Fatal(err)
				}
				got, err := v.Verify(sr, r.Time)
				switch {
				case r.Caller == "choria=mallory.example.net":
					if !errors.Is(err, ErrNotAllowed) {
						t.Errorf("%s: mallory: got %v", name, err)
					}
				case err != nil || got.ID != r.Caller || got.Privileged:
					t.Errorf("%s: got %+v, %v, want %s", name, got, err, r.Caller)
				}
				sr.Request = append(sr.Request[:len(sr.Request)-1:len(sr.Request)-1], " }"...)
				if _, err := v.Verify(sr, r.Time); !errors.Is(err, ErrSignature) {
					t.Errorf("%s: changed: got %v", name, err)
				}
			}
		}
		if requests < 4 {
			t.Errorf("%s: only %d requests", dir, requests)
		}
		t.Logf("%s: %d requests", dir, requests)
	}
}

func issuerKey(t testing.TB, dir string) (ed25519.PublicKey, string) {
	t.Helper()
	text := readFile(t, dir+"/keys/v2/issuer.public")
	key, err := parsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return key, text
}

func TestCapturedV2RequestsVerify(t *testing.T) {
	for _, dir := range vectorDirs() {
		key, _ := issuerKey(t, dir)
		v := NewV2Verifier(map[string]ed25519.PublicKey{"choria": key})
		callers := make(map[string]int)
		for name, list := range messages(t, dir+"/v2") {
			for _, data := range list {
				sr, err := choria.DecodeSecureRequest(data)
				if err != nil {
					continue // a reply
				}
				r, err := choria.DecodeRequest(choria.V2, sr.Request)
				if err != nil {
					t.Fatal(err)
				}
				got, err := v.Verify(sr, r.Time)
				if err != nil || got.ID != r.Caller || got.Token == nil || got.Token.CallerID != r.Caller {
					t.Errorf("%s: got %+v, %v, want %s", name, got, err, r.Caller)
				}
				callers[r.Caller]++
				sr.Signature[0] ^= 1
				if _, err := v.Verify(sr, r.Time); !errors.Is(err, ErrSignature) {
					t.Errorf("%s: changed: got %v", name, err)
				}
			}
		}
		if callers["choria=admin"] < 3 {
			t.Errorf("%s: got %v", dir, callers)
		}
		t.Logf("%s: %v", dir, slices.Sorted(maps.Keys(callers)))
	}
}

func TestCapturedV2RepliesVerify(t *testing.T) {
	for _, dir := range vectorDirs() {
		_, issuer := issuerKey(t, dir)
		claims, err := parseClientUnverified(readFile(t, dir+"/keys/v2/clients/admin.jwt"))
		if err != nil {
			t.Fatal(err)
		}
		i := mustOpen(t, Options{Provider: "choria", Identity: "ops", TokenFile: dir + "/keys/v2/clients/admin.jwt", SeedFile: dir + "/keys/v2/clients/admin.seed",
			Issuers: map[string]string{"choria": issuer}}, claims.IssuedAt.Time)
		if i.Caller() != "choria=admin" {
			t.Errorf("caller: got %s", i.Caller())
		}
		signed := 0
		for name, list := range messages(t, dir+"/v2") {
			for _, data := range list {
				sr, err := choria.DecodeSecureReply(data)
				if err != nil {
					continue // a request
				}
				r, err := choria.DecodeReply(choria.V2, sr.Reply)
				if err != nil {
					t.Fatal(err)
				}
				if sr.Signature == nil { // a server in provisioning mode
					if _, err := i.openReply(sr, "choria", r.Time); !errors.Is(err, ErrUnsigned) {
						t.Errorf("%s: unsigned: got %v", name, err)
					}
					if got, err := i.openReply(sr, "provisioning", r.Time); got != "" || err != nil {
						t.Errorf("%s: provisioning: got %q, %v", name, got, err)
					}
					continue
				}
				signed++
				if got, err := i.openReply(sr, "choria", r.Time); got != r.Sender || err != nil {
					t.Errorf("%s: got %q, %v, want %q", name, got, err, r.Sender)
				}
				sr.Signature[3] ^= 8
				if _, err := i.openReply(sr, "choria", r.Time); !errors.Is(err, ErrSignature) {
					t.Errorf("%s: changed: got %v", name, err)
				}
			}
		}
		if signed < 3 {
			t.Errorf("%s: only %d signed replies", dir, signed)
		}
		t.Logf("%s: %d signed replies", dir, signed)
	}
}

func TestCapturedKeysOpen(t *testing.T) {
	for _, dir := range vectorDirs() {
		clients := dir + "/keys/v2/clients/"
		c, err := parseClientUnverified(readFile(t, clients+"viewer.jwt"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(Options{Provider: "choria", Identity: "ops", TokenFile: clients + "viewer.jwt", SeedFile: clients + "viewer.seed"}, c.IssuedAt.Time)
		if !errors.Is(err, ErrPermission) {
			t.Errorf("viewer: got %v", err)
		}
		_, err = Open(Options{Provider: "choria", Identity: "ops", TokenFile: clients + "admin.jwt", SeedFile: clients + "viewer.seed"}, c.IssuedAt.Time)
		if !errors.Is(err, ErrTokenPublicKey) {
			t.Errorf("admin with another's seed: got %v", err)
		}
	}
}

func TestCapturedProvisioningTokensVerify(t *testing.T) {
	for _, dir := range vectorDirs() {
		block, _ := pem.Decode([]byte(readFile(t, dir+"/keys/v1/provisioning/signer.pem")))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := issuerKey(t, dir)
		v1, err := verifyProvisioning(readFile(t, dir+"/keys/v1/provisioning/plain.jwt"), cert.NotBefore.AddDate(0, 1, 0), cert.PublicKey.(*rsa.PublicKey))
		if err != nil || v1.Token != "s3cret" || v1.URLs != "nats://127.0.0.1:14222" || v1.ProtocolV2 || v1.AllowUpdate {
			t.Errorf("v1: got %v, %v", v1, err)
		}
		now := v1.IssuedAt.AddDate(0, 1, 0)
		v2, err := verifyProvisioning(readFile(t, dir+"/keys/v2/provisioning/upgrade.jwt"), now, key)
		if err != nil || v2.Token == "" || !v2.ProtocolV2 || !v2.AllowUpdate || !v2.Default || v2.Organization != "choria" {
			t.Errorf("v2: got %v, %v", v2, err)
		}
		if _, err := verifyProvisioning(readFile(t, dir+"/keys/v2/provisioning/plain.jwt"), now, public(orgKey)); !errors.Is(err, ErrUntrusted) {
			t.Errorf("another issuer: got %v", err)
		}
		if p, err := parseProvisioningUnverified(readFile(t, dir+"/keys/v2/provisioning/plain.jwt")); err != nil || p.AllowUpdate {
			t.Errorf("unverified: got %v, %v", p, err)
		}
	}
}
