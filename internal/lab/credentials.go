package lab

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"
)

const (
	// operatorName is privileged: any caller id may use its certificate, so that the
	// lab works whatever USER is.
	operatorName = "operator.privileged.mcollective"
	bobName      = "bob.mcollective" // another operator, of a lab with streams
	validity     = 10 * 365 * 24 * time.Hour
)

// credentials are what a network needs to trust one operator. The private parts stay
// in memory and in files of mode 0600.
type credentials struct {
	version      choria.Version
	ca           *x509.CertPool
	issuerPublic ed25519.PublicKey
	issuer       ed25519.PrivateKey
	authority    *authority
	brokerTLS    *tls.Config
	provisionJWT map[bool]string   // what nodes would find in provisioning.jwt, by upgradable
	files        map[string][]byte // what the client needs, by name
	settings     []string          // lines of client.conf, %s is the folder
}

func newCredentials(o Options) (*credentials, error) {
	c := &credentials{version: choria.V1, files: make(map[string][]byte), ca: x509.NewCertPool()}
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate issuer key: %w", err)
	}
	c.issuer, c.issuerPublic = signer, signer.Public().(ed25519.PublicKey)
	if err := c.makeCertificates(o); err != nil {
		return nil, err
	}
	if o.Protocol == 2 {
		c.version = choria.V2
		err = c.makeTokens(o)
	}
	if err != nil {
		return nil, err
	}
	return c, c.makeProvisioningTokens(o)
}

// makeCertificates makes the CA, the broker's certificate and, in v1, the operator's.
func (c *credentials) makeCertificates(o Options) error {
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	c.authority = authority
	c.ca.AddCert(authority.certificate)
	c.files["ca.pem"] = pemOf("CERTIFICATE", authority.certificate.Raw)
	if !o.InProcess {
		if err := c.makeBrokerTLS(authority, o); err != nil {
			return err
		}
	}
	if o.Protocol == 2 {
		return nil
	}
	// Requests of v1 are signed with RSA; the other keys may be anything.
	key := o.operatorKey
	if key == nil {
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return fmt.Errorf("generate operator key: %w", err)
		}
	}
	if err := c.makeOperator(authority, "operator", operatorName, key); err != nil {
		return err
	}
	if o.Streams {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return fmt.Errorf("generate operator key: %w", err)
		}
		if err := c.makeOperator(authority, "bob", bobName, key); err != nil {
			return err
		}
	}
	c.settings = []string{
		"identity = " + operatorName,
		"plugin.security.provider = file",
		"plugin.security.file.certificate = %s/operator.pem",
		"plugin.security.file.key = %s/operator.key",
		"plugin.security.file.ca = %s/ca.pem",
	}
	return nil
}

// makeOperator makes the certificate of an operator of v1, with its files.
func (c *credentials) makeOperator(authority *authority, file, name string, key *rsa.PrivateKey) error {
	cert, err := authority.issueOperator(name, key.Public())
	if err != nil {
		return fmt.Errorf("issue operator certificate: %w", err)
	}
	c.files[file+".pem"] = pemOf("CERTIFICATE", cert)
	c.files[file+".key"] = pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	return nil
}

func (c *credentials) makeBrokerTLS(authority *authority, o Options) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate broker key: %w", err)
	}
	cert, err := authority.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return fmt.Errorf("issue broker certificate: %w", err)
	}
	c.brokerTLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS12,
	}
	if o.Protocol != 2 {
		c.brokerTLS.ClientAuth, c.brokerTLS.ClientCAs = tls.RequireAndVerifyClientCert, c.ca
	}
	return nil
}

// makeTokens makes the operator's and the provisioner's tokens, and their keys.
func (c *credentials) makeTokens(o Options) error {
	callers := map[string]security.ClientClaims{
		"operator": {
			CallerID: "choria=operator", Agents: []string{"*"},
			Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true, Service: true},
		},
		"provisioner": {
			CallerID: "choria=provisioner", Agents: []string{"*"},
			Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true, ElectionUser: true, Provisioner: true},
		},
	}
	if o.Streams {
		streamCallers(callers)
	}
	for name, claims := range callers {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return fmt.Errorf("generate key of %s: %w", name, err)
		}
		claims.PublicKey = hex.EncodeToString(public)
		claims.ExpiresAt = security.At(time.Now().Add(validity))
		token, err := security.IssueClient(claims, c.issuer)
		if err != nil {
			return fmt.Errorf("issue token of %s: %w", name, err)
		}
		c.files[name+".jwt"] = []byte(token)
		c.files[name+".seed"] = []byte(hex.EncodeToString(private.Seed()))
	}
	c.settings = []string{
		"identity = operator.example.net",
		"plugin.security.provider = choria",
		"plugin.security.issuer.names = choria",
		"plugin.security.issuer.choria.public = " + hex.EncodeToString(c.issuerPublic),
		"plugin.security.choria.token_file = %s/operator.jwt",
		"plugin.security.choria.seed_file = %s/operator.seed",
		"plugin.security.choria.ca = %s/ca.pem",
	}
	return nil
}

// streamCallers gives the operator what shared runs need, and adds callers with less.
func streamCallers(callers map[string]security.ClientClaims) {
	plain := callers["operator"]
	with := func(name string, allow func(*security.ClientClaims)) {
		claims := plain
		claims.CallerID = "choria=" + name
		allow(&claims)
		callers[name] = claims
	}
	all := func(claims *security.ClientClaims) {
		claims.Permissions.StreamsUser = true
		claims.PubSubjects = []string{"$JS.API.STREAM.CREATE.KV_FLEETCTL"}
	}
	with("operator", all)
	with("bob", all)
	with("streams", func(claims *security.ClientClaims) { claims.Permissions.StreamsUser = true })
	with("election", func(claims *security.ClientClaims) { claims.Permissions.ElectionUser = true })
	with("plain", func(*security.ClientClaims) {})
}

func (c *credentials) makeProvisioningTokens(o Options) error {
	c.provisionJWT = make(map[bool]string)
	for _, upgradable := range []bool{false, true} {
		token, err := security.IssueProvisioning(security.ProvisioningClaims{
			Token: o.Token, Secure: true, URLs: "nats://127.0.0.1:4222", Default: true,
			ProtocolV2: c.version == choria.V2, AllowUpdate: upgradable,
		}, c.issuer)
		if err != nil {
			return fmt.Errorf("issue provisioning token: %w", err)
		}
		c.provisionJWT[upgradable] = token
	}
	return nil
}

// serverSigner makes the key and the token of a node, from the seed, when first needed:
// most nodes of a large fleet never reply.
func (c *credentials) serverSigner(seed uint64, identity string, collectives []string, end time.Time) (security.ReplySigner, error) {
	digest := sha256.Sum256(fmt.Appendf(bytes.Clone(c.issuer.Seed()), "%d %s", seed, identity))
	key := ed25519.NewKeyFromSeed(digest[:])
	claims := security.ServerClaims{Identity: identity, Collectives: collectives}
	claims.PublicKey = hex.EncodeToString(key.Public().(ed25519.PublicKey))
	claims.ExpiresAt = security.At(end)
	token, err := security.IssueServer(claims, c.issuer)
	if err != nil {
		return security.ReplySigner{}, fmt.Errorf("issue token of %s: %w", identity, err)
	}
	return security.NewReplySigner(token, key), nil
}

// mainCollective is the collective that every node is in.
func (c *credentials) mainCollective() string {
	if c.version == choria.V2 {
		return "choria"
	}
	return "mcollective"
}

// write puts the client's files into dir, private ones with mode 0600.
func (c *credentials) write(dir string, urls []string, provisionerPassword string) error {
	url := strings.Join(urls, ",")
	if url == "" {
		url = "nats://in-process.invalid:4222"
	}
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write client file: %w", err)
		}
	}
	common := []string{
		"loglevel = warn", "color = false", "plugin.choria.use_srv = false", "plugin.fleetctl.practice = true",
		"plugin.choria.middleware_hosts = " + url,
	}
	for _, line := range c.settings {
		common = append(common, strings.Replace(line, "%s", dir, 1))
	}
	main := c.mainCollective()
	client := append([]string{
		"# A client of the practice fleet; the real choria client reads it too.",
		"collectives = " + main + ",mt_collective", "main_collective = " + main,
	}, common...)
	provisioner := append([]string{
		"# The same client in the provisioning account, where nodes wait to be configured.",
		"collectives = provisioning", "main_collective = provisioning",
		"plugin.nats.user = " + provisionerUser, "plugin.nats.pass = " + provisionerPassword,
	}, common...)
	files := map[string][]string{"client.conf": client, "provisioner.conf": c.as(provisioner, dir, "provisioner")}
	for file := range c.files {
		name, signs := strings.CutSuffix(file, ".key")
		if !signs {
			name, signs = strings.CutSuffix(file, ".seed")
		}
		if signs && name != "operator" && name != "provisioner" {
			files["client-"+name+".conf"] = c.as(client, dir, name)
		}
	}
	for name, lines := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return fmt.Errorf("write client configuration: %w", err)
		}
	}
	return nil
}

// as is a configuration of the operator's, made another caller's.
func (c *credentials) as(lines []string, dir, name string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		for _, suffix := range []string{".jwt", ".seed", ".pem", ".key"} {
			if _, ok := c.files[name+suffix]; ok {
				line = strings.Replace(line, dir+"/operator"+suffix, dir+"/"+name+suffix, 1)
			}
		}
		if out[i] = line; line == "identity = "+operatorName && name == "bob" {
			out[i] = "identity = " + bobName
		}
	}
	return out
}

// authority is a throwaway CA; its key is never written.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate CA key: %w", err)
	}
	a := &authority{key: key, certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleetctl lab CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	raw, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("issue CA certificate: %w", err)
	}
	a.certificate, err = x509.ParseCertificate(raw)
	return a, err
}

func (a *authority) issue(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = a.certificate.NotBefore, a.certificate.NotAfter
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
}

// issueOperator issues the certificate of an operator, in DER.
func (a *authority) issueOperator(name string, public crypto.PublicKey) ([]byte, error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
