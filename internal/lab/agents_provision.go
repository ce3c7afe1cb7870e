package lab

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// lockWindow is how long a provisioner keeps a node to itself after each of its calls.
const lockWindow = 2 * time.Minute

type provisionLock struct {
	holder string // sender and caller
	until  time.Time
}

// provisionKeys are what a node in provisioning mode has generated.
type provisionKeys struct{ exchange *ecdh.PrivateKey }

// locked gives an action the provisioning lock (docs/protocol.md, choria_provision). It
// comes before every other check.
func locked(next action) action {
	return func(c *call) result {
		holder := c.arrival.request.Sender + "." + c.arrival.request.Caller
		if lock := &c.node.lock; lock.holder == holder || !lock.until.After(c.now) {
			*lock = provisionLock{holder, c.now.Add(lockWindow)}
		} else {
			return *aborted("Could not obtain provisioning lock")
		}
		return next(c)
	}
}

// stalled is the answer while a pending restart or shutdown, or an update, holds the agent's
// mutex: none, because the process ends, or the agent's time is up, before the mutex is free.
// (After an update that fails within seconds a real server would answer what had waited.)
var stalled = result{quiet: true}

const (
	wrongToken = "Incorrect provision token supplied"
	notInMode  = "Cannot reconfigure a server that is not in provisioning mode"
)

// begin parses the inputs and compares the token, which all actions do in this order.
func (c *call) begin(into any, token *string) *result {
	if bad := c.parse(into); bad != nil {
		return bad
	}
	if *token != c.node.lab.options.Token {
		return aborted(wrongToken)
	}
	if c.node.state == Provisioning {
		c.node.adopted = true
	}
	return nil
}

type message struct {
	Message string `json:"message"`
}

// RestartRequest has the name that error texts of a real server show.
type RestartRequest struct {
	Token string `json:"token"`
	Splay int    `json:"splay"`
}

func provisionRestart(c *call) result {
	n := c.node
	if n.busy {
		return stalled
	}
	var args RestartRequest
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	if !n.configured {
		return *aborted("Configuration %s enables provisioning, restart cannot continue", configFile)
	}
	if args.Splay < 0 {
		// The real server panics: the process is gone, without a reply.
		about := &c.arrival.asked
		return result{quiet: true, then: func(process int) { n.end(process, Down, "crashed by a negative splay", about) }}
	}
	if args.Splay == 0 {
		args.Splay = 10
	}
	delay := time.Duration(n.pick(args.Splay)+2) * time.Second
	return n.restartAfter(delay, "Restarting Choria Server after %v", &c.arrival.asked)
}

// pick draws a number from 0 to below of the delay of an action. A hasty node has the shortest delay.
func (n *node) pick(below int) int {
	drawn := n.rng.IntN(below)
	if n.lab.options.Hasty {
		return 0
	}
	return drawn
}

// restartAfter announces a restart and does it once the reply is out.
func (n *node) restartAfter(delay time.Duration, text string, about *asked) result {
	n.busy = true
	return result{data: message{fmt.Sprintf(text, delay)}, then: func(process int) { n.restart(process, delay, about.action, about) }}
}

func provisionShutdown(c *call) result {
	n := c.node
	if n.busy {
		return stalled
	}
	var args struct {
		Token string `json:"token"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	n.busy = true
	delay := time.Duration(n.pick(10)) * time.Second
	about := &c.arrival.asked
	return result{
		data: message{fmt.Sprintf("Shutting Choria Server down after %v", delay)},
		// Real servers were never seen to send an event here.
		then: func(process int) {
			n.later(delay, process, func() {
				n.mu.Lock()
				n.note(Acted, about, about.action)
				n.mu.Unlock()
				n.end(process, Down, about.action, about)
			})
		},
	}
}

func provisionAgain(c *call) result {
	n := c.node
	if n.busy {
		return stalled
	}
	if n.state == Provisioning {
		return *aborted("Server is already in provisioning mode, cannot enable provisioning mode again")
	}
	var args struct {
		Token string `json:"token"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	n.configured = false
	return n.restartAfter(time.Duration(n.pick(10)+2)*time.Second, "Restarting after %v", &c.arrival.asked)
}

// inMode refuses what only a node in provisioning mode does.
func (c *call) inMode(refusal string) *result {
	if c.node.busy {
		return &stalled
	}
	if c.node.state != Provisioning {
		return aborted("%s", refusal)
	}
	return nil
}

func provisionJWT(c *call) result {
	if bad := c.inMode(notInMode); bad != nil {
		return *bad
	}
	var args struct {
		Token string `json:"token"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return *aborted("Could not calculate EDCH keys: %v", err)
	}
	c.node.keys.exchange = key
	return result{data: map[string]any{
		"jwt": c.node.lab.creds.provisionJWT[c.node.upgradable], "ecdh_public": hex.EncodeToString(key.PublicKey().Bytes()),
	}}
}

func provisionKeyPair(c *call) result {
	if bad := c.inMode(notInMode); bad != nil {
		return *bad
	}
	var args struct {
		Token string `json:"token"`
		Nonce string `json:"nonce"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return *aborted("Could not create keypair: %v", err)
	}
	return result{data: map[string]any{
		"public_key": hex.EncodeToString(public), "directory": path.Dir(configFile),
		"signature": hex.EncodeToString(ed25519.Sign(private, []byte(args.Nonce))),
	}}
}

func provisionCSR(c *call) result {
	if bad := c.inMode(notInMode); bad != nil {
		return *bad
	}
	var args struct {
		Token, CN, C, L, O, OU, ST string
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	if args.CN == "" {
		args.CN = c.node.identity
	}
	subject := pkix.Name{CommonName: args.CN}
	for _, part := range []struct {
		value string
		field *[]string
	}{{args.C, &subject.Country}, {args.L, &subject.Locality}, {args.O, &subject.Organization}, {args.OU, &subject.OrganizationalUnit}} {
		if part.value != "" {
			*part.field = []string{part.value}
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return *aborted("Could not create CSR: %v", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, SignatureAlgorithm: x509.SHA256WithRSA}, key)
	if err != nil {
		return *aborted("Could not create CSR: %v", err)
	}
	return result{data: map[string]any{
		"csr":        string(pemOf("CERTIFICATE REQUEST", csr)),
		"public_key": string(pemOf("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey))), // sic
		"ssldir":     path.Dir(configFile) + "/ssl",
	}}
}

func provisionConfigure(c *call) result {
	if bad := c.inMode(notInMode); bad != nil {
		return *bad
	}
	var args struct {
		Token          string            `json:"token"`
		Configuration  string            `json:"config"`
		Certificate    string            `json:"certificate"`
		CA             string            `json:"ca"`
		SSLDir         string            `json:"ssldir"`
		Key            string            `json:"key"`
		ECDHPublic     string            `json:"ecdh_public"`
		ServerJWT      string            `json:"server_jwt"`
		ActionPolicies map[string]string `json:"action_policies"`
		OPAPolicies    map[string]string `json:"opa_policies"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	if args.Configuration == "" {
		return *aborted("Did not receive any configuration to write, cannot write a empty configuration file")
	}
	if args.Key != "" && args.ECDHPublic == "" {
		return *aborted("EDCH Public Key not supplied while providing a private key")
	}
	settings := map[string]string{}
	if err := json.Unmarshal([]byte(args.Configuration), &settings); err != nil {
		return *aborted("Could not decode configuration data: %v", err)
	}
	if args.Certificate != "" && args.CA != "" && args.SSLDir != "" && args.Key != "" {
		if err := c.node.checkKey(args.Key); err != nil {
			return *aborted("TLS Setup Failed: could not decrypt private key: %v", err)
		}
	}
	if args.ServerJWT != "" {
		c.node.stripped, c.node.tokenEnd, c.node.signer = false, time.Time{}, nil
	}
	c.node.configured = !slices.Contains([]string{"1", "yes", "true", "y", "t"}, strings.ToLower(settings["plugin.choria.server.provision"]))
	if name := otherSuffix(args.ActionPolicies, ".policy"); name != "" {
		return *aborted("Could not save Action Policies: expected %q to have .policy extension", name)
	}
	if name := otherSuffix(args.OPAPolicies, ".rego"); name != "" {
		return *aborted("Could not save Open Policy Agent Policies: expected %q to have .rego extension", name)
	}
	return result{
		data: message{fmt.Sprintf("Wrote %d lines to %s", len(settings)+1, configFile)},
		then: func(int) { c.node.publish("provisioned") },
	}
}

// checkKey looks at an encrypted private key as far as that is possible without its secret.
func (n *node) checkKey(text string) error {
	if n.keys.exchange == nil {
		return fmt.Errorf("private key not set")
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return fmt.Errorf("bad key received")
	}
	if block.Headers["DEK-Info"] == "" {
		return fmt.Errorf("key is not encrypted")
	}
	return nil
}

// otherSuffix returns the first name, in order, that does not end as it must.
func otherSuffix(policies map[string]string, suffix string) string {
	var wrong []string
	for name := range policies {
		if !strings.HasSuffix(name, suffix) {
			wrong = append(wrong, name)
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return slices.Min(wrong)
}
