package security

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/internal/choria"
)

func TestOpenNamesEveryFaultOfACertificate(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	cert := func(edit ...func(*x509.Certificate)) string {
		return ca.issue(t, "bob.mcollective", rsaKeyA().Public(), noon, edit...)
	}
	tests := []struct {
		name string
		edit func(f folder, o *Options)
		want string // of the error, after the path
		hint string // a part of the hint
	}{
		{"missing certificate", func(f folder, o *Options) { o.Certificate = f.path("none.pem") }, "none.pem: client certificate does not exist", "plugin.security.file.certificate"},
		{"missing key", func(f folder, o *Options) { o.Key = f.path("none.pem") }, "none.pem: private key does not exist", "plugin.security.file.certificate, .key"},
		{"missing CA", func(f folder, o *Options) { o.CA = f.path("none.pem") }, "none.pem: CA file does not exist", "system's roots"},
		{"directory", func(f folder, o *Options) { o.Certificate = f.dir }, ": client certificate is a directory", "name the file in it"},
		{"empty certificate", func(f folder, _ *Options) { f.write("cert.pem", "") }, "cert.pem: client certificate is empty", "write it again"},
		{"empty key", func(f folder, _ *Options) { f.write("key.pem", "\n") }, "key.pem: private key is empty", "write it again"},
		{"empty CA", func(f folder, _ *Options) { f.write("ca.pem", "") }, "ca.pem: CA file is empty", "write it again"},
		{"under a file", func(f folder, o *Options) { o.Key = f.path("cert.pem/key.pem") }, "key.pem: private key cannot be read: not a directory", ""},
		{"too large", func(f folder, _ *Options) { f.write("ca.pem", strings.Repeat("x", maxCredential+1)) }, "ca.pem: CA file is far too large to be one", "right file"},
		{"exchanged certificate", func(f folder, o *Options) { o.Certificate = o.Key }, "key.pem: client certificate holds a key, not a certificate", "exchanged"},
		{"exchanged key", func(f folder, o *Options) { o.Key = o.Certificate }, "cert.pem: private key holds a certificate, not a key", "exchanged"},
		{"no PEM certificate", func(f folder, _ *Options) { f.write("cert.pem", "hello") }, "cert.pem: client certificate holds no certificate in PEM", "BEGIN CERTIFICATE"},
		{"no PEM key", func(f folder, _ *Options) { f.write("key.pem", "hello") }, "key.pem: private key holds no key in PEM", "BEGIN PRIVATE KEY"},
		{"no PEM CA", func(f folder, _ *Options) { f.write("ca.pem", "hello") }, "ca.pem: CA file holds no certificate in PEM", "BEGIN CERTIFICATE"},
		{"damaged certificate", func(f folder, _ *Options) { f.write("cert.pem", pemCert([]byte("junk"))) }, "cert.pem: client certificate is damaged: its PEM holds no valid certificate", "copy it again"},
		{"damaged key", func(f folder, _ *Options) {
			f.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("junk")})))
		}, "key.pem: private key is damaged: its PEM holds no private key", "copy it again"},
		{"passphrase", func(f folder, _ *Options) {
			f.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("junk")})))
		}, "key.pem: private key is encrypted with a passphrase", "openssl pkey"},
		{"old passphrase", func(f folder, _ *Options) {
			f.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("junk")})))
		}, "key.pem: private key is encrypted with a passphrase", "openssl pkey"},
		{"expired", func(f folder, _ *Options) {
			f.write("cert.pem", cert(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }))
		},
			"cert.pem: client certificate expired on 2026-11-22T11:59:59Z", "renew"},
		{"not yet valid", func(f folder, _ *Options) {
			f.write("cert.pem", cert(func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Hour) }))
		},
			"cert.pem: client certificate is not valid before 2026-11-22T13:00:00Z", "it shows 2026-11-22T12:00:00Z"},
		{"other key", func(f folder, _ *Options) { f.write("key.pem", pkcs1(rsaKeyB())) }, "key.pem", "made together"},
		{"EC key", func(f folder, _ *Options) { f.write("key.pem", pkcs8(t, ecKey())) }, "key.pem: private key is an EC key, where RSA is needed", "RSA only"},
		{"EC key, old form", func(f folder, _ *Options) {
			der, err := x509.MarshalECPrivateKey(ecKey())
			if err != nil {
				t.Fatal(err)
			}
			f.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
		}, "key.pem: private key is an EC key, where RSA is needed", "RSA only"},
		{"ed25519 key", func(f folder, _ *Options) { f.write("key.pem", pkcs8(t, edKey(5))) }, "key.pem: private key is an ed25519 key, where RSA is needed", "RSA only"},
		{"EC certificate", func(f folder, _ *Options) {
			f.write("cert.pem", ca.issue(t, "bob.mcollective", ecKey().Public(), noon))
		},
			"cert.pem: client certificate has a key of kind ECDSA, where RSA is needed", "RSA only"},
		{"no client authentication", func(f folder, _ *Options) {
			f.write("cert.pem", cert(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
		}, "cert.pem: client certificate may not be used by clients: it lacks the extended key usage client auth, which servers demand", "client authentication"},
		{"certificate not set", func(_ folder, o *Options) { o.Certificate = "" }, "security provider file needs plugin.security.file.certificate, which is not set", "path"},
		{"key not set", func(_ folder, o *Options) { o.Key = "" }, "security provider file needs plugin.security.file.key, which is not set", "path"},
		{"unknown provider", func(_ folder, o *Options) { o.Provider = "x" }, `security provider "x" is unknown`, "file, puppet or choria"},
		{"pkcs11", func(_ folder, o *Options) { o.Provider = "pkcs11" }, `security provider "pkcs11" is not supported`, "file, puppet, choria"},
		{"no identity", func(_ folder, o *Options) { o.Identity = "" }, "the identity of this machine is not known", "set identity"},
		{"cipher suite", func(_ folder, o *Options) { o.CipherSuites = []string{"TLS_RSA_WITH_RC4_128_SHA"} },
			`plugin.security.cipher_suites: "TLS_RSA_WITH_RC4_128_SHA" is not a secure cipher suite`, "TLS_ECDHE"},
		{"curve", func(_ folder, o *Options) { o.Curves = []string{"P256"} }, `plugin.security.ecc_curves: "P256" is unknown`, "CurveP256, CurveP384, CurveP521, X25519"},
		{"signer without a token", func(_ folder, o *Options) { o.SignerURL = "https://x/" }, "a remote signer needs our token, and neither plugin.security.choria.token_file nor plugin.choria.security.request_signer.token_file is set", "fleetctl login"},
		{"signer service without a token", func(_ folder, o *Options) { o.SignerService = true }, "request_signer.token_file is set", "fleetctl login"},
		{"signer's token is missing", func(f folder, o *Options) { o.SignerService, o.SignerTokenFile = true, f.path("none.jwt") }, "none.jwt: token file does not exist", "fleetctl login"},
		{"anonymous TLS", func(_ folder, o *Options) { o.AnonTLS = true }, "plugin.security.client_anon_tls needs a remote signer: without a certificate this client cannot sign", "client certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o := f.fileOptions(ca, noon)
			tt.edit(f, &o)
			checkFault(t, o, tt.want, tt.hint)
		})
	}
}

// checkFault opens and compares the error.
func checkFault(t *testing.T, o Options, want, hint string) {
	t.Helper()
	_, err := Open(o, noon)
	fault, ok := errors.AsType[*CredentialError](err)
	if !ok {
		t.Fatalf("got %v (%T), want a CredentialError", err, err)
	}
	if got := err.Error(); !strings.HasSuffix(got, want) {
		t.Errorf("error:\ngot  %s\nwant ...%s", got, want)
	}
	if !strings.Contains(fault.Hint, hint) || (hint != "" && fault.Hint == "") {
		t.Errorf("hint:\ngot  %s\nwant ...%s...", fault.Hint, hint)
	}
}

func TestOpenNamesEveryFaultOfAToken(t *testing.T) {
	token := func(edit ...func(*ClientClaims)) string { return mustClient(t, clientClaims(noon, edit...), orgKey) }
	write := func(f folder, text string) { f.write("token.jwt", text) }
	tests := []struct {
		name string
		edit func(f folder, o *Options)
		want string
		hint string
	}{
		{"missing token", func(f folder, o *Options) { o.TokenFile = f.path("none") }, "none: token file does not exist", "fleetctl login"},
		{"missing seed", func(f folder, o *Options) { o.SeedFile = f.path("none") }, "none: seed file does not exist", "choria jwt keys"},
		{"token directory", func(f folder, o *Options) { o.TokenFile = f.dir }, ": token file is a directory", "name the file"},
		{"empty token", func(f folder, _ *Options) { write(f, " \n") }, "token.jwt: token file is empty", "write it again"},
		{"no token", func(f folder, _ *Options) { write(f, "hello") }, "token.jwt: token file does not hold a token (JWT)", "new one"},
		{"PEM", func(f folder, _ *Options) { write(f, "-----BEGIN CERTIFICATE-----") }, "token.jwt: token file holds PEM, not a token", "new one"},
		{"seed as token", func(f folder, _ *Options) { write(f, hex.EncodeToString(clientKey.Seed())) }, "token.jwt: token file holds a seed, not a token", "exchanged"},
		{"expired", func(f folder, _ *Options) {
			write(f, token(func(c *ClientClaims) { c.ExpiresAt = At(noon.Add(-5 * time.Second)) }))
		},
			"token.jwt: token file holds a token that expired on 2026-11-22T11:59:55Z", "new one"},
		{"not yet valid", func(f folder, _ *Options) {
			write(f, token(func(c *ClientClaims) { c.NotBefore = At(noon.Add(6 * time.Second)) }))
		},
			"token.jwt: token file holds a token that is not valid before 2026-11-22T12:00:06Z", "it shows 2026-11-22T12:00:00Z"},
		{"server's token", func(f folder, _ *Options) { write(f, mustServer(t, serverClaims(noon), orgKey)) },
			"token.jwt: token file holds a token of purpose server, and requests need one of purpose client", "new one"},
		{"no caller", func(f folder, _ *Options) { write(f, token(func(c *ClientClaims) { c.CallerID = "" })) }, "token.jwt: token file holds a token without a caller id", "new one"},
		{"no public key", func(f folder, _ *Options) { write(f, token(func(c *ClientClaims) { c.PublicKey = "" })) },
			"token.jwt: token file holds a token without a usable public key, so that nothing can be signed for it", "new one"},
		{"no permission", func(f folder, _ *Options) {
			write(f, token(func(c *ClientClaims) { c.Permissions = ClientPermissions{OrgAdmin: true} }))
		},
			"token.jwt: token file holds a token without permission fleet_management, which requests to the fleet need", "--fleet-management"},
		{"must be delegated", func(f folder, _ *Options) {
			write(f, token(func(c *ClientClaims) { c.Permissions.SignedFleetManagement = true }))
		},
			"token.jwt: token file holds a token with permission signed_fleet_management, which may not sign for itself: it needs a remote signer, and none is configured", "fleet_management"},
		{"other issuer", func(f folder, _ *Options) { write(f, mustClient(t, clientClaims(noon), edKey(7))) },
			"token.jwt: token file holds a token that the configured issuer did not issue", "plugin.security.issuer"},
		{"other organization", func(f folder, _ *Options) { write(f, token(func(c *ClientClaims) { c.Organization = "acme" })) },
			`token.jwt: token file holds a token of organization "acme", for which no issuer is configured`, "plugin.security.issuer.names"},
		{"other seed", func(f folder, _ *Options) { f.write("bob.seed", hex.EncodeToString(edKey(8).Seed())) },
			"bob.seed: seed file does not belong to the token in ", "issued for one seed"},
		{"newline in seed", func(f folder, _ *Options) { f.write("bob.seed", hex.EncodeToString(clientKey.Seed())+"\n") },
			"bob.seed: seed file has a newline or blanks around the seed; Choria needs exactly 64 characters", "tr -d"},
		{"short seed", func(f folder, _ *Options) { f.write("bob.seed", "abcd") }, "bob.seed: seed file has 4 characters, not 64", "64 hexadecimal"},
		{"odd seed", func(f folder, _ *Options) { f.write("bob.seed", strings.Repeat("z", 64)) }, "bob.seed: seed file is not hexadecimal", "64 hexadecimal"},
		{"PEM seed", func(f folder, _ *Options) { f.write("bob.seed", pkcs1(rsaKeyA())) }, "bob.seed: seed file holds PEM, not a seed", "64 hexadecimal"},
		{"token as seed", func(f folder, _ *Options) { f.write("bob.seed", token()) }, "bob.seed: seed file holds a token, not a seed", "exchanged"},
		{"token not set", func(_ folder, o *Options) { o.TokenFile = "" }, "security provider choria needs plugin.security.choria.token_file, which is not set", "path"},
		{"seed not set", func(_ folder, o *Options) { o.SeedFile = "" }, "security provider choria needs plugin.security.choria.seed_file, which is not set", "path"},
		{"configured CA is missing", func(f folder, o *Options) { o.CA = f.path("none") }, "none: CA file does not exist", "system's roots"},
		{"key is missing", func(f folder, o *Options) { o.Certificate = f.path("none") }, "plugin.security.choria.certificate is set without plugin.security.choria.key", "both"},
		{"certificate is missing", func(f folder, o *Options) { o.Key = f.path("none") }, "plugin.security.choria.key is set without plugin.security.choria.certificate", "both"},
		{"issuer key", func(_ folder, o *Options) { o.Issuers = map[string]string{"choria": "abc"} }, "plugin.security.issuer.choria.public is not an ed25519 public key", "64"},
		{"trusted signer", func(_ folder, o *Options) { o.TrustedSigners = []string{hexKey(orgKey), "00"} },
			"entry 2 of plugin.security.choria.trusted_signers is not an ed25519 public key", "64"},
		{"anonymous TLS", func(_ folder, o *Options) { o.AnonTLS = true }, "plugin.security.client_anon_tls cannot be used with security provider choria", "remove it"},
		{"signer seed", func(_ folder, o *Options) { o.SignerSeedFile = "x" }, "plugin.choria.security.request_signer.seed_file cannot be used with security provider choria", "remove it"},
		{"unsigned", func(_ folder, o *Options) { o.Insecure = true }, "security provider choria has no unsigned mode", "version 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o := f.choriaOptions(noon)
			tt.edit(f, &o)
			if tt.name == "other seed" {
				tt.want += o.TokenFile + ": the token names another public key"
			}
			checkFault(t, o, tt.want, tt.hint)
			_, err := Open(o, noon)
			for _, secret := range []string{token(), hex.EncodeToString(clientKey.Seed())} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a secret: %s", err)
				}
			}
		})
	}
}

func TestOpenSaysThatAFileMayNotBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may read everything: only the wording is not exercised here")
		return
	}
	f := newFolder(t)
	o := f.choriaOptions(noon)
	if err := os.Chmod(o.SeedFile, 0); err != nil {
		t.Fatal(err)
	}
	checkFault(t, o, "bob.seed: seed file may not be read by this user", "owner")
}

func TestOtherKeyNamesBothFiles(t *testing.T) {
	f := newFolder(t)
	o := f.fileOptions(newAuthority(t, "ca", noon), noon)
	f.write("key.pem", pkcs1(rsaKeyB()))
	checkFault(t, o, "cert.pem: client certificate does not belong to the private key "+o.Key, "made together")
}

func TestOpenFindsWhoWeAre(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	tests := []struct {
		name string
		edit func(f folder, o *Options)
		want string
	}{
		{"file, a user", func(folder, *Options) {}, "choria=bob.mcollective"},
		{"file, root is the host", func(_ folder, o *Options) { o.Root = true }, "choria=ops.example.net"},
		{"file, without a user", func(_ folder, o *Options) { o.User = "" }, "choria=ops.example.net"},
		{"file, named", func(_ folder, o *Options) { o.CertnameOverride = "rip.mcollective"; o.Root = true }, "choria=rip.mcollective"},
		{"file, PKCS#1 key", func(f folder, _ *Options) { f.write("key.pem", pkcs1(rsaKeyA())) }, "choria=bob.mcollective"},
		{"file, no CA", func(_ folder, o *Options) { o.CA = "" }, "choria=bob.mcollective"},
		{"file, CA of no use", func(_ folder, o *Options) { o.CA = "/nowhere"; o.DisableTLS = true }, "choria=bob.mcollective"},
		{"puppet, a user", puppet("home", "bob.mcollective"), "choria=bob.mcollective"},
		{"puppet is the default", func(f folder, o *Options) { puppet("home", "bob.mcollective")(f, o); o.Provider = "" }, "choria=bob.mcollective"},
		{"puppet, root is root", func(f folder, o *Options) { puppet("dir", "root.mcollective")(f, o); o.Root, o.User = true, "root" }, "choria=root.mcollective"},
		{"puppet, named", func(f folder, o *Options) {
			puppet("dir", "rip.mcollective")(f, o)
			o.CertnameOverride = "rip.mcollective"
		}, "choria=rip.mcollective"},
		{"file, caller of a token", func(f folder, o *Options) { o.TokenFile = f.write("t", mustClient(t, clientClaims(noon), orgKey)+"\n") }, "up=bob"},
		{"file, token expired", func(f folder, o *Options) {
			o.TokenFile = f.write("t", mustClient(t, clientClaims(noon.AddDate(0, 0, -7)), orgKey))
		}, "choria=bob.mcollective"},
		{"choria", func(f folder, o *Options) { *o = f.choriaOptions(noon) }, "up=bob"},
		{"choria, newline in the token", func(f folder, o *Options) {
			*o = f.choriaOptions(noon)
			f.write("token.jwt", mustClient(t, clientClaims(noon), orgKey)+"\n")
		}, "up=bob"},
		{"choria, any trusted signer", func(f folder, o *Options) {
			*o = f.choriaOptions(noon)
			o.Issuers, o.TrustedSigners = nil, []string{hexKey(edKey(9)), hexKey(orgKey)}
		}, "up=bob"},
		{"choria, token just expired", func(f folder, o *Options) {
			*o = f.choriaOptions(noon)
			f.write("token.jwt", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.ExpiresAt = At(noon.Add(-4 * time.Second)) }), orgKey))
		}, "up=bob"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o := f.fileOptions(ca, noon)
			tt.edit(f, &o)
			i := mustOpen(t, o, noon)
			if got := i.Caller(); got != tt.want {
				t.Errorf("caller: got %s, want %s", got, tt.want)
			}
			if got := i.Sender(); got != "ops.example.net" {
				t.Errorf("sender: got %s", got)
			}
			v2 := o.Provider == "choria"
			if got := i.Version() == choria.V2; got != v2 {
				t.Errorf("version: got %s", i.Version())
			}
			if got := i.Token() != ""; got != v2 || strings.TrimSpace(i.Token()) != i.Token() {
				t.Errorf("token: present %v, or not trimmed", got)
			}
		})
	}
}

// puppet turns options into those of provider puppet, with an ssl directory under
// home or of its own.
func puppet(where, name string) func(folder, *Options) {
	return func(f folder, o *Options) {
		dir := "own/"
		if where == "home" {
			dir = ".puppetlabs/etc/puppet/ssl/"
		} else {
			o.SSLDir = f.path(dir)
		}
		ca := newAuthority(f.t, "ca", noon)
		f.write(dir+"certs/"+name+".pem", ca.issue(f.t, name, rsaKeyA().Public(), noon))
		f.write(dir+"private_keys/"+name+".pem", pkcs8(f.t, rsaKeyA()))
		f.write(dir+"certs/ca.pem", ca.pem)
		o.Provider, o.Certificate, o.Key, o.CA = "puppet", "/ignored", "/ignored", "/ignored"
	}
}

func TestPuppetNeedsToKnowWhoAndWhere(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		want string
		hint string
	}{
		{"who", Options{Provider: "puppet", Identity: "x", Home: "/home/bob"}, "the caller is unknown: the variable USER is not set", "MCOLLECTIVE_CERTNAME"},
		{"where", Options{Provider: "puppet", Identity: "x", User: "bob"}, "Puppet's ssl directory is unknown: there is no home directory", "plugin.choria.ssldir"},
		{"odd name", Options{Provider: "puppet", Identity: "x", User: "../bob", Home: "/home/bob"}, `"../bob.mcollective" cannot be the name of a certificate`, "MCOLLECTIVE_CERTNAME"},
		{"root's directory", Options{Provider: "puppet", Identity: "x", CertnameOverride: "no.such.mcollective", Root: true}, "/etc/puppetlabs/puppet/ssl/certs/no.such.mcollective.pem: client certificate does not exist", "choria enroll"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkFault(t, tt.o, tt.want, tt.hint) })
	}
}

func TestWarnings(t *testing.T) {
	ca := newAuthority(t, "ca", noon)
	tests := []struct {
		name string
		edit func(f folder, o *Options)
		want []string // a part of each
	}{
		{"file, nothing", func(folder, *Options) {}, nil},
		{"choria, nothing", func(f folder, o *Options) { *o = f.choriaOptions(noon) }, nil},
		{"no issuer", func(f folder, o *Options) { *o = f.choriaOptions(noon); o.Issuers = nil }, []string{"signatures of replies are not checked"}},
		{"both kinds of issuer", func(f folder, o *Options) { *o = f.choriaOptions(noon); o.TrustedSigners = []string{hexKey(orgKey)} }, []string{"only the issuers are used"}},
		{"broker", func(_ folder, o *Options) { o.InsecureBroker = true }, []string{"certificate is not verified"}},
		{"no TLS", func(_ folder, o *Options) { o.DisableTLS = true; o.InsecureBroker = true }, []string{"not encrypted"}},
		{"unsigned", func(_ folder, o *Options) { o.Insecure = true }, []string{"not signed"}},
		{"certificate ends", func(f folder, _ *Options) {
			f.write("cert.pem", ca.issue(t, "bob.mcollective", rsaKeyA().Public(), noon, func(c *x509.Certificate) { c.NotAfter = noon.Add(59 * time.Minute) }))
		}, []string{"expires in 59m0s, at 2026-11-22T12:59:00Z"}},
		{"token ends", func(f folder, o *Options) {
			*o = f.choriaOptions(noon)
			f.write("token.jwt", mustClient(t, clientClaims(noon, func(c *ClientClaims) { c.ExpiresAt = At(noon.Add(time.Minute)) }), orgKey))
		}, []string{"expires in 1m0s"}},
		{"name not in the certificate", func(_ folder, o *Options) { o.User = "alice" }, []string{"is for bob.mcollective, and requests are made as choria=alice.mcollective"}},
		{"privileged", func(f folder, o *Options) {
			o.User = "alice"
			f.write("cert.pem", ca.issue(t, "x.privileged.mcollective", rsaKeyA().Public(), noon))
		}, nil},
		{"other CA", func(f folder, _ *Options) { f.write("ca.pem", newAuthority(t, "other", noon).pem) }, []string{"was not issued by the CA"}},
		{"token beside a certificate", func(f folder, o *Options) { o.TokenFile = f.path("none") }, []string{"is not usable, so requests are made as choria=bob.mcollective"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFolder(t)
			o := f.fileOptions(ca, noon)
			tt.edit(f, &o)
			got := mustOpen(t, o, noon).Warnings()
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for n, part := range tt.want {
				if !strings.Contains(got[n], part) {
					t.Errorf("got %q, want %q in it", got[n], part)
				}
			}
		})
	}
}

func TestWarningsBelongToTheCaller(t *testing.T) {
	f := newFolder(t)
	o := f.choriaOptions(noon)
	o.Issuers = nil
	i := mustOpen(t, o, noon)
	i.Warnings()[0] = "changed"
	if got := i.Warnings(); cmp.Equal(got, []string{"changed"}) {
		t.Error("a caller can change the warnings")
	}
}
