package security

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/atomicfile"
)

const keyLoginURL = "plugin.login.aaasvc.login.url"

// Login asks the site's login service for a token.
type Login struct {
	URLs               []string // plugin.login.aaasvc.login.url: any of them will do
	Username, Password string
}

// String names the user, and nothing secret.
func (l Login) String() string { return l.Username }

// GoString does the same for %#v.
func (l Login) GoString() string { return l.String() }

// Session is what a login brought.
type Session struct {
	TokenFile, SeedFile string
	Caller              string
	Expires             time.Time // zero: never
}

// LogIn asks for a token, for a key made for it, and saves both with mode 0600 where the
// options have them (docs/protocol.md, login; seed and token file selection). The key is on
// disk before the service is asked, so that no token is ever without its key; token and
// key that are there stay until a new token has come and fits. Faults of the settings are
// *CredentialErrors, those of the service *RemoteErrors.
func LogIn(ctx context.Context, o Options, l Login, now time.Time) (Session, error) {
	if o.Provider == "" {
		o.Provider = providerPuppet
	}
	o.selectTokenFiles()
	s := Session{TokenFile: o.TokenFile, SeedFile: o.SeedFile}
	if o.TokenFile == "" || o.SeedFile == "" {
		return s, setting("there is no place for a token: neither plugin.security.choria.token_file nor plugin.choria.security.request_signer.token_file is set", "set one to the path of a file")
	}
	services, err := o.loginServices(l.URLs, now)
	if err != nil {
		return s, err
	}
	for _, path := range []string{s.SeedFile, s.TokenFile} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return s, fmt.Errorf("make the folder of %q: %w", path, err)
		}
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return s, fmt.Errorf("make a key: %w", err)
	}
	seed, err := atomicfile.Write(s.SeedFile, []byte(hex.EncodeToString(key.Seed())))
	if err != nil {
		return s, err
	}
	defer seed.Drop()
	token, err := l.ask(ctx, services, public, key, now)
	if err != nil {
		return s, err
	}
	claims, err := o.checkIssued(token, public, now)
	if err != nil {
		return s, err
	}
	s.Caller, s.Expires = claims.CallerID, claims.Expires()
	saved, err := atomicfile.Write(s.TokenFile, []byte(token))
	if err != nil {
		return s, err
	}
	defer saved.Drop()
	// A crash between the two leaves an old token with a new key, which Open reports and the
	// next login fixes.
	return s, errors.Join(seed.Commit(0o600), saved.Commit(0o600))
}

// loginServices prepares the ways to the login services, in any order.
func (o *Options) loginServices(urls []string, now time.Time) ([]*remote, error) {
	if len(urls) == 0 {
		return nil, setting("no login service is configured: "+keyLoginURL+" is not set", "set it to the URL of the site's login service")
	}
	i := &Identity{options: *o}
	var err error
	if i.tls.suites, i.tls.curves, err = o.tlsChoices(); err != nil {
		return nil, err
	}
	i.tls.legacy = o.Provider == providerPuppet || o.LegacyCertificates && o.Provider != providerChoria
	certificate, key, ca := o.tlsPaths()
	if err := i.openRemoteCA(ca); err != nil {
		return nil, err
	}
	if exists(certificate) && exists(key) { // upstream shows the client's certificate where there is one
		if err := i.openTLSPair(certificate, key, now); err != nil {
			return nil, err
		}
	}
	var services []*remote
	for _, text := range urls {
		u, err := parseRemote(keyLoginURL, text, o.InsecureSigner)
		if err != nil {
			return nil, err
		}
		services = append(services, newRemote("login service", u, i.remoteTLS(u, i.tls.certificates)))
	}
	mathrand.Shuffle(len(services), func(a, b int) { services[a], services[b] = services[b], services[a] })
	return services, nil
}

// tlsPaths are the files that TLS needs, "" for those that nothing names.
func (o *Options) tlsPaths() (certificate, key, ca string) {
	if o.Provider == providerChoria {
		return o.Certificate, o.Key, o.CA
	}
	name, _ := o.certname() // without a name there is no certificate, which TLS can do without
	certificate, key, ca, _ = o.x509Paths(name)
	if o.Provider == providerPuppet && !exists(ca) {
		ca = "" // not configured, only where Puppet would have it
	}
	return certificate, key, ca
}

// ask asks the services until one answers. A refusal is final.
func (l Login) ask(ctx context.Context, services []*remote, public ed25519.PublicKey, key ed25519.PrivateKey, now time.Time) (string, error) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	question := map[string]string{
		"username": l.Username, "password": l.Password, "timestamp": stamp, "public_key": hex.EncodeToString(public),
		"signature": hex.EncodeToString(ed25519.Sign(key, []byte(stamp+":"+l.Username+":"+l.Password))),
	}
	var failed []*RemoteError
	for _, service := range services {
		var answer struct {
			Token string `json:"token"`
			Error string `json:"error"`
		}
		err := service.ask(ctx, question, &answer, l.Password)
		fault, ok := errors.AsType[*RemoteError](err)
		switch {
		case ok:
			failed = append(failed, fault)
			if !fault.Away {
				return "", fault
			}
		case err != nil:
			return "", err
		case answer.Error != "":
			return "", service.fault("it refused: "+words(answer.Error, l.Password), "", nil)
		case answer.Token == "":
			return "", service.fault("its answer has no token", "is that URL the login service's?", nil)
		default:
			return strings.TrimSpace(answer.Token), nil
		}
	}
	return "", unreached(failed)
}

// unreached is the error when no service was reached.
func unreached(failed []*RemoteError) error {
	if len(failed) == 1 {
		return failed[0]
	}
	var each []string
	for _, f := range failed {
		each = append(each, f.Error())
	}
	return &RemoteError{Service: "login", Problem: strings.Join(each, "; "), Hint: failed[0].Hint, Away: true}
}

// checkIssued looks at a new token before it takes the place of an old one.
func (o *Options) checkIssued(token string, public ed25519.PublicKey, now time.Time) (*ClientClaims, error) {
	fault := func(problem string, err error) error {
		return &RemoteError{Service: "login service", Problem: "the token that it gave " + problem, Err: err}
	}
	claims, err := parseClientUnverified(token)
	if err != nil {
		return nil, fault("cannot be used: "+err.Error(), err)
	}
	if err := claims.validAt(now, clientLeeway); err != nil {
		return nil, fault("cannot be used: "+err.Error()+"; is the clock of this machine right?", err)
	}
	if claims.CallerID == "" {
		return nil, fault("names no caller", ErrTokenMalformed)
	}
	if key, err := claims.Key(); err != nil || !key.Equal(public) {
		return nil, fault("is not for the key that was made for it", ErrTokenPublicKey)
	}
	if o.Provider != providerChoria {
		return claims, nil
	}
	known, err := o.parseIssuers()
	if err != nil || !known.known() {
		return claims, err
	}
	keys, _ := known.keys(claims.Organization)
	if _, err := parseClient(token, now, clientLeeway, keys); err != nil {
		return nil, fault("is not of the configured issuer", err)
	}
	return claims, nil
}
