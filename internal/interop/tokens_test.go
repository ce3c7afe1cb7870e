//go:build unix

package interop

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// provisioningToken makes a server's provisioning token with our own command: servers and broker must take it.
func (n *network) provisioningToken(t *testing.T, dir string, upgradable bool) {
	t.Helper()
	key := n.path("issuer.seed")
	args := []string{"--token", "env:TOKEN", "--urls", fmt.Sprintf("nats://127.0.0.1:%d", n.port), "--default", "--no-insecure", "--force"}
	if upgradable {
		args = append(args, "--upgrade")
	}
	if n.version == 1 {
		key = n.path("signer.key")
		writeRSAKey(t, key, n.signer)
	} else {
		args = append(args, "--protocol-v2")
	}
	command := append([]string{fleetctlBinary(t), "jwt", "provisioning", filepath.Join(dir, "provisioning.jwt"), key}, args...)
	if res := run(t, dir, environment(dir, "TOKEN="+provisionToken), command...); res.Code != 0 {
		t.Fatalf("jwt provisioning: exit %d\n%s", res.Code, res.Stderr)
	}
}

func writeRSAKey(t *testing.T, file string, a *authority) {
	t.Helper()
	write(t, file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(a.key)}))
}

// Both commands make the same claims of the same flags, and each reads and verifies what the other made.
func TestProvisioningTokensOfBothCommandsAreTheSame(t *testing.T) {
	choria := choriaBinary(t)
	dir := t.TempDir()
	signer := newAuthority(t, "signer")
	writeRSAKey(t, filepath.Join(dir, "rsa.key"), signer)
	write(t, filepath.Join(dir, "rsa.public"), signer.pem)
	write(t, filepath.Join(dir, "ed.public"), []byte(publicHex(newSeed(t, filepath.Join(dir, "ed.key")))))
	env := environment(dir)
	all := []string{"--token", "s3cret", "--srv", "example.net", "--upgrade", "--protocol-v2", "--default", "--registration", "/r",
		"--facts", "/f", "--username", "u", "--password", "brokerpass", "--org", "acme", "--no-insecure", "--extensions", `{"a":{"b":[1]}}`}
	for _, kind := range []string{"rsa", "ed"} {
		for _, flags := range [][]string{all, {"--token", "s3cret", "--urls", "nats://a:1", "--urls", "nats://b:2", "--validity", "30d"}} {
			made := map[string]map[string]any{}
			for name, program := range map[string]string{"theirs": choria, "ours": fleetctlBinary(t)} {
				file := name + kind + fmt.Sprint(len(flags)) + ".jwt"
				if res := run(t, dir, env, append([]string{program, "jwt", "provisioning", file, kind + ".key"}, flags...)...); res.Code != 0 {
					t.Fatalf("%s jwt provisioning %q: exit %d\n%s%s", name, flags, res.Code, res.Stdout, res.Stderr)
				}
				var seen struct{ Claims map[string]any }
				decode(t, run(t, dir, env, fleetctlBinary(t), "jwt", "view", file, "--json", "--show-secrets", "--key", kind+".public"), &seen)
				made[name] = seen.Claims
				theirs := map[string]any{}
				decode(t, run(t, dir, env, choria, "jwt", "view", "--json", file), &theirs)
				if diff := cmp.Diff(theirs, seen.Claims); diff != "" {
					t.Errorf("%s: view (-choria +fleetctl)\n%s", file, diff)
				}
				if res := run(t, dir, env, choria, "jwt", "view", file, kind+".public"); !strings.HasPrefix(res.Stdout, "Validated Provisioning Token") {
					t.Errorf("%s: choria says %q %q", file, res.Stdout, res.Stderr)
				}
				lasts := seen.Claims["exp"].(float64) - seen.Claims["iat"].(float64)
				maps.DeleteFunc(seen.Claims, func(name string, _ any) bool { return slices.Contains([]string{"iat", "nbf", "exp", "jti"}, name) })
				seen.Claims["lasts"] = lasts
			}
			if diff := cmp.Diff(made["theirs"], made["ours"]); diff != "" {
				t.Errorf("%q: claims (-choria +fleetctl)\n%s", flags, diff)
			}
		}
	}
}

// testFleet counts what the network was made of.
func (n *network) testFleet(t *testing.T) {
	var report struct {
		Asked, Count, Upgradable int
		Nodes                    []struct {
			Identity   string
			Upgradable bool
		}
		Silent []string
	}
	res := n.Fleetctl(t, "inventory", "--output", "json")
	decode(t, res, &report)
	var upgradable []string
	for _, node := range report.Nodes {
		if node.Upgradable {
			upgradable = append(upgradable, node.Identity)
		}
	}
	var want []string
	for i := 0; i < len(n.Nodes); i += 2 {
		want = append(want, n.Nodes[i])
	}
	if diff := cmp.Diff(want, upgradable); diff != "" || report.Upgradable != len(want) || report.Asked != len(n.Nodes) || res.Code != 0 || len(report.Silent) > 0 {
		text, _ := json.Marshal(report)
		t.Errorf("exit %d, %s, upgradable: -want +got\n%s", res.Code, text, diff)
	}
	selected := n.Fleetctl(t, "inventory", "--not-upgradable", "--version", "<99", "--output", "nodeset")
	if got := n.Fleetctl(t, "discover", "-I", strings.TrimSpace(selected.Stdout), "--json"); len(names(t, got)) != len(n.Nodes)-len(want) {
		t.Errorf("node set %q is of %q", selected.Stdout, got.Stdout)
	}
}
