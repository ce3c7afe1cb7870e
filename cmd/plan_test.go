package cmd

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/gate"
	"fleetctl/internal/saved"
	"fleetctl/internal/security"
)

// operators are callers of one organization, each with a configuration.
type operators struct {
	t      *testing.T
	issuer ed25519.PrivateKey
}

// operator is the environment and the identity of up=NAME, whose token is valid for so long.
func (o operators) operator(name string, valid time.Duration) (map[string]string, *security.Identity) {
	o.t.Helper()
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize))
	claims := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true}}
	claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(seed.Public().(ed25519.PublicKey)), security.At(time.Now().Add(valid))
	token, err := security.IssueClient(claims, o.issuer)
	if err != nil {
		o.t.Fatal(err)
	}
	issuer := hex.EncodeToString(o.issuer.Public().(ed25519.PublicKey))
	tokenFile, seedFile := writeFile(o.t, "token", token), writeFile(o.t, "seed", hex.EncodeToString(seed.Seed()))
	config := writeFile(o.t, "client.conf", strings.Join([]string{
		"identity = ops.example.net", "plugin.security.provider = choria", "plugin.choria.use_srv = false", "plugin.choria.middleware_hosts = 127.0.0.1:1",
		"plugin.security.issuer.names = choria", "plugin.security.issuer.choria.public = " + issuer,
		"plugin.security.choria.token_file = " + tokenFile, "plugin.security.choria.seed_file = " + seedFile,
	}, "\n"))
	id, err := security.Open(security.Options{Provider: "choria", Identity: "ops.example.net", TokenFile: tokenFile, SeedFile: seedFile, Issuers: map[string]string{"choria": issuer}}, time.Now())
	if err != nil {
		o.t.Fatal(err)
	}
	return map[string]string{"FLEETCTL_CONFIG": config, "PATH": "/bin:/usr/bin"}, id
}

// savedPlan is a plan of up=alice for three nodes, in a file.
func savedPlan(t *testing.T, owner *security.Identity, edit ...func(*saved.Plan)) string {
	t.Helper()
	plan, err := batch.NewPlan([]batch.Node{{Identity: "web1"}, {Identity: "web2"}, {Identity: "web3"}}, batch.Policy{Canary: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := saved.Plan{
		ID: "20261126-120000-abcde", Created: time.Now(), Expires: time.Now().Add(time.Hour), Owner: "up=alice", Site: "ams", Collective: "choria", Agent: "choria_provision", Action: "restart",
		Inputs: map[string]string{"splay": "5"}, Secrets: []string{"token"}, TTL: time.Minute, Command: []string{"req", "choria_provision", "restart", "token=[redacted]"},
		Nodes: []saved.Node{{Identity: "web1", Version: "0.30.2"}, {Identity: "web2", Version: "0.30.2"}, {Identity: "web3"}}, Plan: plan,
		Rules: batch.Rules{FailFast: true}, Pace: batch.Pace{ReplyTimeout: time.Second},
	}
	for _, e := range edit {
		e(&p)
	}
	f, err := saved.New(p)
	if err != nil {
		t.Fatal(err)
	}
	if owner != nil {
		if _, err := f.Sign(owner); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "restart.plan")
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASavedPlanIsShownCheckedAndApproved(t *testing.T) {
	o := operators{t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))}
	alice, aliceID := o.operator("alice", time.Hour)
	bob, _ := o.operator("bob", 30*time.Minute)
	carol, _ := o.operator("carol", time.Hour)
	script := writeFile(t, "check.sh", "#!/bin/sh\nexit 0\n")
	scripts, err := gate.Places{}.Scripts(script)
	if err != nil {
		t.Fatal(err)
	}
	path := savedPlan(t, aliceID, func(p *saved.Plan) {
		p.Gates = []saved.Gate{{Command: script, Scripts: scripts}, {PromQL: "up"}}
		p.GatePolicy = saved.GatePolicy{Policy: gate.Policy{Every: gate.DefaultEvery, Wait: gate.DefaultWait, For: 2 * time.Minute}, Timeout: gate.DefaultTimeout}
	})
	edited := writeFile(t, "edited", strings.Replace(string(mustRead(t, path)), `"restart"`, `"shutdown"`, 1))
	strange, _ := operators{t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))}.operator("dave", time.Hour)
	for _, tt := range []struct {
		line string
		env  map[string]string
		code int
		says []string
	}{
		{"plan show " + path, nil, 0, []string{
			"Plan: 20261126-120000-abcde\n", "Action: choria_provision#restart\n", "Input: splay=5\n", "Input: token is to be given when the plan is applied\n", "Site: ams\n", "Owner: up=alice\n", "Command: fleetctl req choria_provision",
			"Nodes: 2 nodes: version 0.30.2\n", "Nodes: 1 node: did not answer when the plan was saved\n", "3 nodes in 2 batches", "stops at the first failure", "gate, a command that runs where the plan is applied: " + script, "script " + script + ", SHA-256", "gate, a query: up", "each gate has to pass for 2m0s", "batch 1: 1 node (canary)"}},
		{"plan check " + path, carol, 0, []string{"ok  time", "ok  owner     up=alice, signed\n", "ok  gates     2 gates, scripts as they were\n"}},
		{"plan approve " + path, alice, exitGuard, []string{"cannot approve: up=alice made this plan", "another operator has to"}},
		{"plan approve " + path, strange, exitGuard, []string{"the approval would not count", "not issued by a trusted issuer"}},
		{"plan approve " + path, bob, 0, []string{"approved as up=bob, until "}},
		{"plan approve " + path, bob, 0, nil}, // again: it counts once
		{"plan approve " + edited, bob, exitGuard, []string{"it was edited", "save the plan again"}},
		{"plan show " + path, nil, 0, []string{"Approval: up=bob at ", "not verified here"}},
		{"plan check " + path, carol, 0, []string{"ok  approval  up=bob, until ", "up=bob does not count: this caller has approved it already", "ok  approvals 1 approval of different callers\n"}},
		{"plan check " + path, strange, exitGuard, []string{"no  gates", "does not count", "ok  approvals 0 approvals"}},
		{"plan show " + edited, nil, exitGuard, []string{"it was edited"}},
		{"plan check " + edited, carol, exitGuard, []string{"it was edited"}},
		{"plan show " + script, nil, exitUsage, []string{"it is not a saved plan"}},
		{"plan show /nowhere/plan", nil, exitUsage, []string{"/nowhere/plan"}},
		{"plan show", nil, exitUsage, []string{"0 arguments given, 1 needed: FILE"}},
	} {
		code, out, errs := runApp(t, tt.env, strings.Fields(tt.line)...)
		if code != tt.code {
			t.Errorf("%s: exit %d, want %d\n%s%s", tt.line, code, tt.code, out, errs)
		}
		for _, piece := range tt.says {
			if !strings.Contains(out+errs, piece) {
				t.Errorf("%s lacks %q:\n%s%s", tt.line, piece, out, errs)
			}
		}
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runApp(t, carol, "plan", "check", path); code != exitGuard || !strings.Contains(out, "no  gates") || !strings.Contains(errs, "has changed since the plan was saved") {
		t.Errorf("a changed script: exit %d\n%s%s", code, out, errs)
	}
	code, out, _ := runApp(t, nil, "plan", "show", "--json", path)
	if f, err := saved.Parse([]byte(out)); code != 0 || err != nil || len(f.Approvals) != 2 {
		t.Errorf("exit %d, %v", code, err)
	}
	s := loadSchemas(t)
	s.check(t, "saved-plan", out)
}

func TestAPlanWithoutASignature(t *testing.T) {
	o := operators{t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))}
	bob, _ := o.operator("bob", time.Hour)
	path := savedPlan(t, nil)
	if code, out, errs := runApp(t, bob, "plan", "approve", path); code != exitGuard || !strings.Contains(errs, "its owner has not signed it") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs := runApp(t, bob, "plan", "check", path); code != 0 || !strings.Contains(out, "ok  owner     up=alice; it cannot be approved: its owner has not signed it") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	late := savedPlan(t, nil, func(p *saved.Plan) {
		p.Created, p.Expires = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	if code, out, errs := runApp(t, bob, "plan", "check", late); code != exitGuard || !strings.Contains(out, "no  time      the plan expired at") {
		t.Errorf("expired: exit %d\n%s%s", code, out, errs)
	}
	if code, out, _ := runApp(t, bob, "plan", "show", late); code != 0 || !strings.Contains(out, "(it has expired)") {
		t.Errorf("expired: exit %d\n%s", code, out)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
