package security

import (
	"crypto"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crypto/x509"
)

func provisioningText(t testing.TB, key crypto.Signer) string {
	t.Helper()
	text, err := IssueProvisioning(ProvisioningClaims{Token: "s3cret-token", Password: "pass", SRVDomain: "example.net",
		StandardClaims: StandardClaims{IssuedAt: At(noon), ExpiresAt: At(noon.Add(time.Hour))}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokensOfEveryPurposeAreRead(t *testing.T) {
	for purpose, text := range map[Purpose]string{
		PurposeClient: mustClient(t, clientClaims(noon), edKey(1)), PurposeServer: mustServer(t, serverClaims(noon), rsaKeyA()),
		PurposeProvisioning: provisioningText(t, edKey(1)),
	} {
		token, err := parseToken(text + "\n")
		if err != nil {
			t.Fatal(err)
		}
		_, cerr := token.Client()
		_, serr := token.Server()
		_, perr := token.Provisioning()
		got := map[Purpose]bool{PurposeClient: cerr == nil, PurposeServer: serr == nil, PurposeProvisioning: perr == nil}
		want := map[Purpose]bool{PurposeClient: false, PurposeServer: false, PurposeProvisioning: false}
		want[purpose] = true
		if diff := cmp.Diff(want, got); diff != "" || token.Purpose != purpose {
			t.Errorf("%s reads as %s, %s", purpose, token.Purpose, diff)
		}
		alg := "EdDSA"
		if purpose == PurposeServer {
			alg = "RS256"
		}
		if token.Algorithm != alg {
			t.Errorf("%s is signed with %s, want %s", purpose, token.Algorithm, alg)
		}
	}
}

func TestSecretsOfATokenStayInside(t *testing.T) {
	token, err := parseToken(provisioningText(t, edKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := token.Redacted("[x]")
	if err != nil || strings.Contains(string(claims), "s3cret") || !strings.Contains(string(claims), `"cht":"[x]"`) || !strings.Contains(string(claims), `"chpwd":"[x]"`) {
		t.Errorf("%s, %v", claims, err)
	}
	for _, text := range []string{fmt.Sprint(token), fmt.Sprintf("%+v %#v", token, token)} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, token.text[:20]) {
			t.Errorf("a token prints as %s", text)
		}
	}
}

func TestSignaturesOfTokensAreChecked(t *testing.T) {
	for _, key := range []crypto.Signer{edKey(1), rsaKeyA()} {
		token, err := parseToken(provisioningText(t, key))
		if err != nil {
			t.Fatal(err)
		}
		if err := token.CheckSignature(edKey(9).Public(), key.Public()); err != nil {
			t.Errorf("its own key: %v", err)
		}
		if err := token.CheckSignature(edKey(9).Public()); !errors.Is(err, ErrUntrusted) {
			t.Errorf("another key: %v", err)
		}
		if err := token.CheckTimes(noon.Add(2 * time.Hour)); !errors.Is(err, ErrTokenExpired) {
			t.Errorf("later: %v", err)
		}
		if err := token.CheckTimes(noon.Add(time.Minute)); err != nil {
			t.Error(err)
		}
	}
}

func TestPublicKeysAreReadFromEveryForm(t *testing.T) {
	f := newFolder(t)
	ed, rsa := edKey(1), rsaKeyA()
	pkix, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, tt := range map[string]struct {
		content string
		want    crypto.PublicKey
	}{
		"hex": {hexKey(ed) + "\n", ed.Public()}, "seed": {hex.EncodeToString(ed.Seed()), ed.Public()},
		"pkix": {public("PUBLIC KEY", pkix), rsa.Public()}, "pkcs1": {public("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsa.PublicKey)), rsa.Public()},
		"private": {pkcs1(rsa), rsa.Public()}, "private 8": {pkcs8(t, ed), ed.Public()},
		"certificate": {newAuthority(t, "ca", noon).issue(t, "bob", rsa.Public(), noon), rsa.Public()},
	} {
		keys, err := ReadPublicKeys(f.write(name, tt.content))
		found := false
		for _, k := range keys {
			found = found || k.(interface{ Equal(crypto.PublicKey) bool }).Equal(tt.want)
		}
		if err != nil || !found {
			t.Errorf("%s: %d keys, %v; the right one is not there", name, len(keys), err)
		}
	}
	for _, content := range []string{"zz", hexKey(ed)[2:], pkcs8(t, newEC())} {
		if keys, err := ReadPublicKeys(f.write("bad", content)); err == nil {
			t.Errorf("%d keys of %.20q", len(keys), content)
		}
	}
}

func TestTokensAreWrittenWholeAndNotOverOthers(t *testing.T) {
	f := newFolder(t)
	path := f.path("new.jwt")
	if err := WriteToken(path, "one", false); err != nil {
		t.Fatal(err)
	}
	if err := WriteToken(path, "two", false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "one" {
		t.Errorf("%q, want what was there", data)
	}
	if err := WriteToken(path, "two", true); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if data, _ := os.ReadFile(path); string(data) != "two" || err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%q with mode %v, %v", data, info.Mode(), err)
	}
	if entries, _ := os.ReadDir(f.dir); len(entries) != 1 {
		t.Errorf("%d files, want the token alone", len(entries))
	}
}

func FuzzAnyToken(f *testing.F) {
	f.Add(provisioningText(f, edKey(1)))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := parseToken(text)
		if err != nil {
			return
		}
		claims, err := token.Redacted("")
		if err != nil || len(claims) < 2 || claims[0] != '{' {
			t.Errorf("claims %s, %v", claims, err)
		}
		if token.CheckSignature() == nil {
			t.Error("a signature fits no key")
		}
	})
}
