package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fleetctl/internal/lab"
	"fleetctl/internal/security"
)

// TestPlanScripts runs testdata/plans/*.txtar: a pipeline in which several callers of one fleet share a plan. ALICE, BOB and CAROL
// are their configurations, STRANGER that of a caller of another organization.
func TestPlanScripts(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 4, Protocol: 2, Seed: 1})
	params := scripts("testdata/plans")
	whole := params.Setup
	params.Setup = func(e *testscript.Env) error {
		if err := whole(e); err != nil {
			return err
		}
		for _, name := range []string{"ALICE", "BOB", "CAROL", "STRANGER"} {
			e.Setenv(name, f.caller(t, name))
		}
		return nil
	}
	testscript.Run(t, params)
}

// caller makes the configuration of another caller. A STRANGER's token is of an issuer of its own, that its configuration trusts.
func (f *fleet) caller(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize))
	claims := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true}}
	claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(seed.Public().(ed25519.PublicKey)), security.At(time.Now().Add(time.Hour))
	config, err := os.ReadFile(f.lab.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	issuer, more := f.lab.Issuer(), ""
	if name == "STRANGER" {
		own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte("o"), ed25519.SeedSize))
		issuer, more = own, "plugin.security.issuer.choria.public = "+hex.EncodeToString(own.Public().(ed25519.PublicKey))+"\n"
	}
	token, err := security.IssueClient(claims, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return write("client.conf", string(config)+"\nplugin.security.choria.token_file = "+write("token.jwt", token)+"\nplugin.security.choria.seed_file = "+write("token.seed", hex.EncodeToString(seed.Seed()))+"\n"+more)
}
