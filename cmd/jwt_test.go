package cmd

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/security"
)

// The seed of all twos, its public key, and another public key.
const (
	seedText   = "0202020202020202020202020202020202020202020202020202020202020202"
	publicText = "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"
	otherText  = "0000000000000000000000000000000000000000000000000000000000000001"
)

// tokens is a folder with a signing key, where tokens are made and read.
type tokens struct{ folder }

func newTokens(t *testing.T) *tokens {
	k := &tokens{folder{t, t.TempDir()}}
	k.write("issuer.seed", seedText)
	k.write("issuer.public", publicText)
	k.write("token.txt", "s3cret\n")
	return k
}

// run runs `fleetctl jwt` with %NAME as a file of the folder.
func (k *tokens) run(line string) result {
	k.t.Helper()
	args := strings.Fields("jwt " + line)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "%", k.dir+"/")
	}
	env := map[string]string{"TOKEN": "s3cret", "PASS": "brokerpass", "LONG": strings.Repeat("x", maxToken+1)}
	code, out, errs := runApp(k.t, env, args...)
	return result{code, out, errs}
}

func TestAProvisioningTokenIsMadeAndReadBack(t *testing.T) {
	k := newTokens(t)
	made := k.run("provisioning %prov.jwt %issuer.seed --token env:TOKEN --urls nats://a:4222 --urls nats://b:4222 --default --update --protocol-v2 " +
		`--username u --password env:PASS --org acme --no-insecure --registration /r --facts /f --extensions {"a":1}`)
	if made.code != 0 || !strings.Contains(made.out, "prov.jwt") || strings.Contains(made.out+made.err, "s3cret") {
		t.Fatalf("%+v", made)
	}
	if info, err := os.Stat(k.path("prov.jwt")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text := k.run("view %prov.jwt")
	for _, want := range []string{
		"Holder: unconfigured servers", "Signature: EdDSA, not checked", "Provisioning Token: [redacted]", "Broker Password: [redacted]", "Brokers: nats://a:4222, nats://b:4222",
		"Upgrades Allowed: yes", "TLS and Signatures Checked: yes", "Protocol: 2", "Provisioning by Default: yes", "Registration Data: /r", "Facts File: /f", "Broker User: u",
		"Organization: acme", `Extensions: {"a":1}`,
	} {
		if !strings.Contains(text.out, want) {
			t.Errorf("view lacks %q:\n%s", want, text.out)
		}
	}
	for line, secrets := range map[string]bool{
		"view %prov.jwt": false, "view %prov.jwt --json": false, "view %prov.jwt --show-secrets": true, "v %prov.jwt -j --show-secrets": true,
	} {
		got := k.run(line)
		if got.code != 0 || strings.Contains(got.out, "s3cret") != secrets || strings.Contains(got.out, "brokerpass") != secrets {
			t.Errorf("%s: exit %d, %s", line, got.code, got.out)
		}
	}
	var doc struct{ Claims map[string]any }
	if err := json.Unmarshal([]byte(k.run("view %prov.jwt --json --show-secrets").out), &doc); err != nil {
		t.Fatal(err)
	}
	for claim, want := range map[string]any{"cht": "s3cret", "chu": "nats://a:4222,nats://b:4222", "update": true, "chpd": true, "v2": true, "chs": true, "purpose": "choria_provisioning"} {
		if doc.Claims[claim] != want {
			t.Errorf("claim %s is %v, want %v", claim, doc.Claims[claim], want)
		}
	}
}

// The signature is checked with a key in a file or as text; the exit code says when it does not fit.
func TestASignatureIsCheckedWhereAKeyIsGiven(t *testing.T) {
	k := newTokens(t)
	if made := k.run("prov %prov.jwt %issuer.seed --token @%token.txt --srv example.net"); made.code != 0 {
		t.Fatalf("%+v", made)
	}
	for line, want := range map[string]result{
		"view %prov.jwt --key %issuer.seed":    {code: 0, out: "checked: it fits the key"},
		"view %prov.jwt %issuer.public":        {code: 0, out: "checked: it fits the key"},
		"view %prov.jwt --key " + publicText:   {code: 0, out: "checked: it fits the key"},
		"view %prov.jwt --key " + otherText:    {code: exitRefused, out: "does NOT fit"},
		"view %prov.jwt":                       {code: 0, out: "SRV Domain: example.net"},
		"view %prov.jwt --key %token.txt":      {code: exitUsage},
		"view %prov.jwt --key /nowhere/k":      {code: exitUsage, err: "/nowhere/k"},
		"view %token.txt":                      {code: exitUsage, err: "token.txt: token file: not a token"},
		"view %prov.jwt -j --key " + otherText: {code: exitRefused, out: `"signature": "misfits"`},
	} {
		got := k.run(line)
		if got.code != want.code || !strings.Contains(got.out, want.out) || !strings.Contains(got.err, want.err) {
			t.Errorf("%s: %+v, want %+v", line, got, want)
		}
	}
}

// A token is never overwritten unseen, and nothing is written when something is wrong.
func TestATokenIsReplacedOnlyByForce(t *testing.T) {
	k := newTokens(t)
	const srv = " %issuer.seed --srv example.net --token "
	if got := k.run("provisioning %a.jwt" + srv + "env:TOKEN"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	before, err := os.ReadFile(k.path("a.jwt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := k.run("provisioning %a.jwt" + srv + "env:TOKEN"); got.code != exitGuard || !strings.Contains(got.err, "it exists") || !strings.Contains(got.err, "--force") {
		t.Errorf("%+v", got)
	}
	if after, _ := os.ReadFile(k.path("a.jwt")); string(after) != string(before) {
		t.Error("the token was replaced")
	}
	if got := k.run("provisioning %a.jwt" + srv + "env:TOKEN --force"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	for line, want := range map[string]string{
		"provisioning %b.jwt %none.seed --srv x --token env:TOKEN":                  "none.seed: signing key does not exist",
		"provisioning %b.jwt %token.txt --srv x --token env:TOKEN":                  "token.txt",
		"provisioning %b.jwt" + srv + "env:NONE":                                    "the variable NONE is not set",
		"provisioning %b.jwt" + srv + "env:LONG":                                    "the token has 129 characters: requests carry 128 at most",
		"provisioning %b.jwt %issuer.seed --srv x":                                  "the token cannot be asked for",
		"provisioning %b.jwt" + srv + "env:TOKEN --username u --password @/nowhere": "/nowhere",
	} {
		if got := k.run(line); got.code != exitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v, want %q", line, got, want)
		}
	}
	if _, err := os.Stat(k.path("b.jwt")); err == nil {
		t.Error("a token was written anyway")
	}
	if got := k.run("provisioning %b.jwt" + srv + "s3cret"); got.code != 0 || !strings.Contains(got.err, "hint: --token on a command line shows") || strings.Contains(got.err, "s3cret") {
		t.Errorf("a token on the command line: %+v", got)
	}
}

// Tokens of clients and servers, and those that are not valid now, are shown as they are.
func TestTokensOfEveryPurposeAreShown(t *testing.T) {
	k := newTokens(t)
	key, err := security.ReadSigningKey(k.path("issuer.seed"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	client := func(set func(*security.ClientClaims)) string {
		c := security.ClientClaims{CallerID: "up=bob", Agents: []string{"rpcutil"}, UserProperties: map[string]string{"group": "ops"}}
		c.PublicKey, c.ExpiresAt = hex.EncodeToString(make([]byte, 32)), security.At(now.Add(time.Hour))
		set(&c)
		token, err := security.IssueClient(c, key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	k.write("client.jwt", client(func(*security.ClientClaims) {}))
	k.write("expired.jwt", client(func(c *security.ClientClaims) { c.ExpiresAt = security.At(now.Add(-time.Hour)) }))
	k.write("early.jwt", client(func(c *security.ClientClaims) { c.NotBefore = security.At(now.Add(time.Minute)) }))
	server := security.ServerClaims{Identity: "web1.example.net", Collectives: []string{"c1", "c2"}}
	server.PublicKey, server.ExpiresAt = hex.EncodeToString(make([]byte, 32)), security.At(now.Add(time.Hour))
	token, err := security.IssueServer(server, key)
	if err != nil {
		t.Fatal(err)
	}
	k.write("server.jwt", token)
	for name, want := range map[string]result{
		"client.jwt": {code: 0, out: "Holder: up=bob|Agents: rpcutil|User Properties: {\"group\":\"ops\"}"}, "server.jwt": {code: 0, out: "Holder: web1.example.net|Collectives: c1, c2"},
		"expired.jwt": {code: exitRefused, out: "EXPIRED"}, "early.jwt": {code: exitRefused, out: "it is not valid yet"},
	} {
		got := k.run("view %" + name)
		for piece := range strings.SplitSeq(want.out, "|") {
			if got.code != want.code || !strings.Contains(got.out, piece) {
				t.Errorf("%s: exit %d, lacks %q:\n%s%s", name, got.code, piece, got.out, got.err)
			}
		}
		if got := k.run("view -j %" + name); !strings.Contains(got.out, `"permissions": [`) {
			t.Errorf("%s as JSON: %s", name, got.out)
		}
	}
}

// The units are those of upstream's flag parser: fisk's ParseDuration.
func TestValidityTakesUpstreamsUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1y": 365 * day, "1Y": 365 * day, "2w": 14 * day, "2W": 14 * day, "30d": 30 * day, "30D": 30 * day, "1M": 30 * day,
		"1m": time.Minute, "12h": 12 * time.Hour, "90s": 90 * time.Second, "1500ms": 1500 * time.Millisecond, "1.5d": 36 * time.Hour,
		"30d12h": 30*day + 12*time.Hour, "12h30d": 30*day + 12*time.Hour, " 1Y ": 365 * day, "100y": 100 * 365 * day,
	} {
		var v validity
		if err := v.Set(text); err != nil || time.Duration(v) != want {
			t.Errorf("--validity %q is %v, %v; want %v", text, time.Duration(v), err, want)
		}
	}
	for _, wrong := range []string{"", "0", "1", "soon", "1x", "-1y", "y", "1y-1d", "1..5d", "0.5s", "101y", "1e9y", "99999999999y", "999999999h", strings.Repeat("100y", 6), "1y 1d", "NaNy", "Infy"} {
		var v validity
		if err := v.Set(wrong); err == nil {
			t.Errorf("--validity %q is %v, want an error", wrong, time.Duration(v))
		}
	}
}
