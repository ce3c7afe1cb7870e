package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleetctl/internal/lab"
	"fleetctl/internal/security"
)

// TestPlanScripts runs testdata/plans/*.txtar with both protocols: a pipeline in which several callers of one fleet share a
// plan. `as NAME` makes what follows the doing of a caller. A STRANGER is of another organization.
func TestPlanScripts(t *testing.T) {
	notRaced(t)
	t.Parallel()
	for _, protocol := range []int{1, 2} {
		t.Run(strconv.Itoa(protocol), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, lab.Options{Nodes: 4, Protocol: protocol, Seed: 1})
			configs := map[string]string{}
			for _, name := range []string{"ALICE", "BOB", "CAROL", "STRANGER"} {
				if protocol == 1 {
					configs[name] = f.certifiedCaller(t, name)
				} else {
					configs[name] = f.tokenCaller(t, name)
				}
			}
			params := scripts("testdata/plans")
			params.Cmds["as"] = func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv("FLEETCTL_CONFIG", configs[args[0]])
				ts.Setenv("MCOLLECTIVE_CERTNAME", args[0]+".mcollective") // of protocol v1
			}
			testscript.Run(t, params)
		})
	}
}

// writer makes files of mode 0600 in a folder of their own.
func writer(t *testing.T) func(file, text string) string {
	dir := t.TempDir()
	return func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// config is the client's configuration of the fleet.
func (f *fleet) config(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(f.lab.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tokenCaller makes the configuration of another caller of protocol v2. A STRANGER's token is of an issuer of its own, that its
// configuration trusts.
func (f *fleet) tokenCaller(t *testing.T, name string) string {
	t.Helper()
	write := writer(t)
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize))
	claims := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true}}
	claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(seed.Public().(ed25519.PublicKey)), security.At(time.Now().Add(time.Hour))
	issuer, more := f.lab.Issuer(), ""
	if name == "STRANGER" {
		own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("o"), ed25519.SeedSize))
		issuer, more = own, "plugin.security.issuer.choria.public = "+hex.EncodeToString(own.Public().(ed25519.PublicKey))+"\n"
	}
	token, err := security.IssueClient(claims, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return write("client.conf", f.config(t)+"\nplugin.security.choria.token_file = "+write("token.jwt", token)+"\nplugin.security.choria.seed_file = "+write("token.seed", hex.EncodeToString(seed.Seed()))+"\n"+more)
}

// certifiedCaller makes the configuration of another caller of protocol v1. A STRANGER's certificate is of a CA of its own, that
// its configuration trusts.
func (f *fleet) certifiedCaller(t *testing.T, name string) string {
	t.Helper()
	write := writer(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certname, more := name+".mcollective", ""
	var cert []byte
	if name == "STRANGER" {
		ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		own, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: certname}, DNSNames: []string{certname}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if cert, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
			t.Fatal(err)
		}
		more = "plugin.security.file.ca = " + write("ca.pem", inPEM("CERTIFICATE", own)) + "\n"
	} else if cert, err = f.lab.IssueCertificate(certname, key.Public()); err != nil {
		t.Fatal(err)
	}
	config := regexp.MustCompile(`(?m)^identity = .*$`).ReplaceAllString(f.config(t), "identity = "+certname)
	return write("client.conf", config+"\nplugin.security.file.certificate = "+write("cert.pem", inPEM("CERTIFICATE", cert))+
		"\nplugin.security.file.key = "+write("key.pem", inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))+"\n"+more)
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
