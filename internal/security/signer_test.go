package security

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

// signingDesk signs as the real service does: for the holder of the token only. Its
// hooks make it go wrong.
type signingDesk struct {
	t       *testing.T
	version choria.Version
	ca      authority
	before  func(w http.ResponseWriter) (done bool) // answer in its own way
	edit    func(sr *choria.SecureRequest)          // before it is encoded
	request func(req []byte) []byte                 // what is signed in place of the request

	tokenFile string // the caller's

	mu    sync.Mutex // guards asked
	asked int
}

var delegateKey = edKey(7)

func delegateToken(t testing.TB, now time.Time, edit ...func(*ClientClaims)) string {
	return mustClient(t, clientClaims(now, append([]func(*ClientClaims){func(c *ClientClaims) {
		c.CallerID, c.PublicKey, c.Permissions = "up=signer", hexKey(delegateKey), ClientPermissions{AuthenticationDelegator: true}
	}}, edit...)...), orgKey)
}

// sign verifies the caller and signs.
func (d *signingDesk) sign(request []byte, signature, token string) ([]byte, error) {
	claims, err := ParseClient(token, time.Now(), public(orgKey))
	if err != nil {
		return nil, err
	}
	key, err := claims.Key()
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(signature)
	if err != nil || !ed25519.Verify(key, request, raw) {
		return nil, errors.New("the request is not signed by the key of the token")
	}
	req, err := choria.DecodeRequest(d.version, request)
	if err != nil {
		return nil, err
	}
	if req.Caller != claims.CallerID {
		return nil, fmt.Errorf("the request is made as %s", req.Caller)
	}
	if d.request != nil {
		request = d.request(request)
	}
	sr := choria.SecureRequest{Version: d.version, Request: request}
	if d.version == choria.V2 {
		sr.Signature, sr.Signer = ed25519.Sign(delegateKey, request), delegateToken(d.t, time.Now())
		sr.Caller = sr.Signer // whatever it is, the client replaces it
	} else {
		hash := sha256.Sum256(request)
		sr.Certificate = d.ca.issue(d.t, "signer.privileged.mcollective", rsaKeyB().Public(), time.Now())
		if sr.Signature, err = rsa.SignPKCS1v15(rand.Reader, rsaKeyB(), crypto.SHA256, hash[:]); err != nil {
			return nil, err
		}
	}
	if d.edit != nil {
		d.edit(&sr)
	}
	return choria.EncodeSecureRequest(sr)
}

func (d *signingDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.asked++
	d.mu.Unlock()
	// The body is read first: a server that closes a connection with unread data resets it,
	// and the client may lose the end of the answer.
	body, err := io.ReadAll(r.Body)
	if d.before != nil && d.before(w) {
		return
	}
	var in struct {
		Token     string `json:"token"`
		Request   []byte `json:"request"`
		Signature string `json:"signature"`
	}
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || err != nil {
		http.Error(w, "bad question", http.StatusBadRequest)
		return
	}
	out := map[string]any{}
	if secure, err := d.sign(in.Request, in.Signature, in.Token); err != nil {
		out["error"] = err.Error()
	} else {
		out["secure_request"] = secure
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		d.t.Error(err)
	}
}

// Sign implements SigningService.
func (d *signingDesk) Sign(_ context.Context, request, signature, token string) (string, error) {
	secure, err := d.sign([]byte(request), signature, token)
	return string(secure), err
}

// quiet keeps the test servers' TLS errors out of the output.
func quiet(s *httptest.Server) {
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
}

// delegated are good options with a remote signer over HTTPS, and the signer.
func (f folder) delegated(t *testing.T, v choria.Version) (Options, *signingDesk) {
	t.Helper()
	now := time.Now()
	d := &signingDesk{t: t, version: v, ca: newAuthority(t, "site", now)}
	server := httptest.NewUnstartedServer(d)
	quiet(server)
	server.StartTLS()
	t.Cleanup(server.Close)
	token := f.write("bob.jwt", mustClient(t, clientClaims(now, func(c *ClientClaims) {
		c.Permissions = ClientPermissions{SignedFleetManagement: true}
	}), orgKey)+"\n")
	d.tokenFile = token
	o := Options{Provider: "choria", Identity: "ops.example.net", TokenFile: token, SeedFile: f.write("bob.key", hex.EncodeToString(clientKey.Seed())),
		Issuers: map[string]string{"choria": hexKey(orgKey)}, SignerURL: server.URL + "/sign",
		SignerCA: f.write("signer-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))}
	if v == choria.V1 {
		o.Provider, o.AnonTLS, o.SignerTokenFile, o.TokenFile, o.SeedFile, o.Issuers = "file", true, token, "", "", nil
	}
	return o, d
}

// verifier is what servers have.
func (d *signingDesk) verifier() *RequestVerifier {
	if d.version == choria.V2 {
		return NewV2Verifier(map[string]ed25519.PublicKey{"choria": public(orgKey)})
	}
	return NewV1Verifier(d.ca.pool(), nil, nil)
}

func TestServersBelieveWhatARemoteSignerSigned(t *testing.T) {
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		for _, way := range []string{"http", "service"} {
			t.Run(v.String()+" "+way, func(t *testing.T) {
				o, desk := newFolder(t).delegated(t, v)
				if way == "service" {
					o.SignerService, o.Service, o.SignerURL = true, desk, "https://the-service-wins.invalid/"
				}
				i := mustOpen(t, o, time.Now())
				if i.Version() != v || i.Caller() != "up=bob" || i.Token() == "" {
					t.Fatalf("opened %v with token %t, want up=bob, %s, to connect with a token", i, i.Token() != "", v)
				}
				req := request(t, v, i.Caller(), time.Now())
				data, err := i.Seal(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				sr, err := choria.DecodeSecureRequest(data)
				if err != nil {
					t.Fatal(err)
				}
				caller, err := desk.verifier().Verify(sr, time.Now())
				if err != nil {
					t.Fatalf("a server does not believe it: %v", err)
				}
				if caller.ID != "up=bob" {
					t.Errorf("caller %q", caller.ID)
				}
				if v == choria.V2 && (sr.Caller != i.Token() || caller.Delegate != "up=signer") {
					t.Errorf("delegate %q, own token is the caller: %t", caller.Delegate, sr.Caller == i.Token())
				}
				if v == choria.V1 && !caller.Privileged {
					t.Error("not signed by the privileged certificate")
				}
			})
		}
	}
}

func TestRequestsToTheSigningServiceAreNotSigned(t *testing.T) {
	for _, v := range []choria.Version{choria.V1, choria.V2} {
		o, desk := newFolder(t).delegated(t, v)
		i := mustOpen(t, o, time.Now())
		req, err := choria.EncodeRequest(choria.Request{Version: v, ID: choria.NewRequestID(v, time.Now()), Sender: "x", Caller: i.Caller(), Collective: "c",
			Agent: "aaa_signer", TTL: time.Minute, Time: time.Now(), Payload: []byte(`{"agent":"aaa_signer"}`)})
		if err != nil {
			t.Fatal(err)
		}
		data, err := i.Seal(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		sr, err := choria.DecodeSecureRequest(data)
		if err != nil || sr.Signature != nil || sr.Certificate != "" {
			t.Errorf("%s: signature %d bytes, certificate %d bytes, %v; want none", v, len(sr.Signature), len(sr.Certificate), err)
		}
		if v == choria.V2 && sr.Caller == "" {
			t.Error("v2: without the caller's token")
		}
		if desk.asked != 0 {
			t.Errorf("%s: the signer was asked to sign a request to itself", v)
		}
		// Another agent whose data only mention the service is signed.
		if _, err := i.Seal(t.Context(), request(t, v, i.Caller(), time.Now())); err != nil || desk.asked != 1 {
			t.Errorf("%s: an ordinary request: %v, asked %d times", v, err, desk.asked)
		}
	}
}

func answering(status int, body string) func(http.ResponseWriter) bool {
	return func(w http.ResponseWriter) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the client may have gone
		return true
	}
}

func encoded(t testing.TB, edit func(*choria.Request), v choria.Version) func([]byte) []byte {
	return func(data []byte) []byte {
		req, err := choria.DecodeRequest(v, data)
		if err != nil {
			t.Error(err)
			return data
		}
		req.Payload = req.Body()
		edit(&req)
		out, err := choria.EncodeRequest(req)
		if err != nil {
			t.Error(err)
		}
		return out
	}
}

func TestASignerThatDoesNotSignIsAnError(t *testing.T) {
	v1, v2 := choria.V1, choria.V2
	change := func(v choria.Version, edit func(*choria.Request)) func(*signingDesk) {
		return func(d *signingDesk) { d.request = encoded(d.t, edit, v) }
	}
	answer := func(status int, body string) func(*signingDesk) {
		return func(d *signingDesk) { d.before = answering(status, body) }
	}
	tests := []struct {
		name    string
		version choria.Version
		edit    func(*signingDesk)
		want    string // "" where the request may go out
	}{
		{"says no", v2, answer(200, `{"error":"up=bob may not call\u001b[31m this"}`), "it refused: up=bob may not call [31m this"},
		{"says no with a status", v1, answer(403, `{"error":"denied"}`), "it answered 403 Forbidden: denied"},
		{"tells the token", v2, func(d *signingDesk) {
			d.before = func(w http.ResponseWriter) bool {
				data, _ := os.ReadFile(d.tokenFile)
				return answering(200, fmt.Sprintf(`{"error":"I do not know %s"}`, strings.TrimSpace(string(data))))(w)
			}
		}, "it refused: I do not know [redacted]"},
		{"breaks", v2, answer(500, "<html>oops"), "it answered 500 Internal Server Error"},
		{"moved", v2, func(d *signingDesk) {
			d.before = func(w http.ResponseWriter) bool {
				w.Header().Set("Location", "http://127.0.0.1:1/")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
		}, "it answered 307 Temporary Redirect"},
		{"created", v2, answer(201, `{"secure_request":"e30="}`), "it answered 201 Created"},
		{"not JSON", v1, answer(200, "hello"), "its answer is not the JSON that was expected"},
		{"cut off", v1, answer(200, `{"secure_request":"e30`), "its answer is not the JSON that was expected"},
		{"endless", v2, func(d *signingDesk) {
			d.before = func(w http.ResponseWriter) bool {
				for range 5 {
					if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
						break
					}
				}
				return true
			}
		}, "its answer is longer than 4 MiB"},
		{"nothing", v1, answer(200, `{}`), "its answer has no secure_request"},
		{"null", v2, answer(200, `null`), "its answer has no secure_request"},
		{"not a request", v2, answer(200, `{"secure_request":"e30="}`), "what it signed is no request: secure request: protocol: unknown protocol"},
		{"v2 without a signer", v2, func(d *signingDesk) { d.edit = func(sr *choria.SecureRequest) { sr.Signer = "" } }, "it did not name the signer: the field signer is empty"},
		{"unsigned", v2, func(d *signingDesk) { d.edit = func(sr *choria.SecureRequest) { sr.Signature = nil } }, "it gave the request back without a signature"},
		{"unsigned v1", v1, func(d *signingDesk) {
			d.edit = func(sr *choria.SecureRequest) { sr.Signature, sr.Certificate = nil, "" }
		}, "it gave the request back without a signature"},
		{"bad signature", v2, func(d *signingDesk) { d.edit = func(sr *choria.SecureRequest) { sr.Signature[0] ^= 1 } },
			"servers would not believe what it signed: request: signature does not fit"},
		{"bad signature v1", v1, func(d *signingDesk) { d.edit = func(sr *choria.SecureRequest) { sr.Signature[0] ^= 1 } }, "servers would not believe what it signed: signature does not fit"},
		{"no delegate", v2, func(d *signingDesk) {
			d.edit = func(sr *choria.SecureRequest) {
				sr.Signer = delegateToken(d.t, time.Now(), func(c *ClientClaims) { c.Permissions = ClientPermissions{FleetManagement: true} })
			}
		}, "servers would not believe what it signed: request: token lacks a permission: authentication_delegator"},
		{"other organization", v2, func(d *signingDesk) {
			d.edit = func(sr *choria.SecureRequest) {
				claims := clientClaims(time.Now(), func(c *ClientClaims) {
					c.PublicKey, c.Permissions = hexKey(delegateKey), ClientPermissions{AuthenticationDelegator: true}
				})
				sr.Signer = mustClient(d.t, claims, edKey(9))
			}
		}, "servers would not believe what it signed: request: delegate's token: not issued by a trusted issuer: the token's signature was not made by it"},
		{"other version", v2, func(d *signingDesk) {
			d.before = func(w http.ResponseWriter) bool {
				data, _ := choria.EncodeSecureRequest(choria.SecureRequest{Version: v1, Request: []byte("{}"), Signature: []byte("x"), Certificate: "x"})
				_ = json.NewEncoder(w).Encode(map[string]any{"secure_request": data})
				return true
			}
		}, "it signed for protocol v1, and we speak v2"},
		{"other agent", v2, change(v2, func(r *choria.Request) { r.Agent = "choria_provision" }), "it signed another request than ours: the agent differs"},
		{"other action", v1, change(v1, func(r *choria.Request) { r.Payload = []byte(`{"agent":"rpcutil","action":"x","data":{}}`) }), "it signed another request than ours: the action or its inputs differ"},
		{"other collective", v1, change(v1, func(r *choria.Request) { r.Collective = "all" }), "it signed another request than ours: the collective differs"},
		{"other filter", v2, change(v2, func(r *choria.Request) { r.Filter.Class = []string{"db"} }), "it signed another request than ours: the filter differs"},
		{"other id", v2, change(v2, func(r *choria.Request) { r.ID = choria.NewRequestID(v2, time.Now()) }), "it signed another request than ours: the id differs"},
		{"longer life", v1, change(v1, func(r *choria.Request) { r.TTL = time.Hour }), "it signed another request than ours: it is valid for longer"},
		{"written anew", v2, change(v2, func(*choria.Request) {}), ""},
		{"another caller", v2, change(v2, func(r *choria.Request) { r.Caller = "up=robert" }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, desk := newFolder(t).delegated(t, tt.version)
			tt.edit(desk)
			i := mustOpen(t, o, time.Now())
			_, err := i.Seal(t.Context(), request(t, tt.version, i.Caller(), time.Now()))
			checkRemote(t, err, tt.want, i.Token())
			if desk.asked != 1 {
				t.Errorf("asked %d times", desk.asked)
			}
		})
	}
}

// checkRemote compares the problem of a RemoteError, and that it holds no secret.
func checkRemote(t *testing.T, err error, want, secret string) {
	t.Helper()
	fault, ok := errors.AsType[*RemoteError](err)
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want == "":
	case !ok:
		t.Errorf("got %v (%T), want a RemoteError: %s", err, err, want)
	case fault.Problem != want:
		t.Errorf("got  %s\nwant %s", fault.Problem, want)
	case strings.Contains(err.Error()+fault.Hint, secret):
		t.Error("the error holds the token")
	}
}

func TestASignerWhoseCertificateIsUnknownIsNotAsked(t *testing.T) {
	f := newFolder(t)
	o, desk := f.delegated(t, choria.V2)
	o.SignerCA = ""
	seal := func(o Options) (*Identity, error) {
		i := mustOpen(t, o, time.Now())
		_, err := i.Seal(t.Context(), request(t, choria.V2, i.Caller(), time.Now()))
		return i, err
	}
	i, err := seal(o)
	checkRemote(t, err, "its certificate is of a certificate authority that is not known here", i.Token())
	if fault, ok := errors.AsType[*RemoteError](err); !ok || !strings.Contains(fault.Hint, "--signer-ca") {
		t.Error("no hint at --signer-ca")
	}
	o.CA = f.write("ca.pem", newAuthority(t, "site", time.Now()).pem)
	i, err = seal(o)
	checkRemote(t, err, "its certificate is of a certificate authority that is not known here", i.Token())
	if desk.asked != 0 {
		t.Error("an unknown signer was shown the token")
	}
	o.InsecureSigner = true
	i, err = seal(o)
	if err != nil || desk.asked != 1 || !strings.Contains(strings.Join(i.Warnings(), "\n"), "request signer's certificate is not verified") {
		t.Errorf("insecure signer: %v, asked %d times, warnings %q", err, desk.asked, i.Warnings())
	}
	o.InsecureSigner, o.InsecureBroker, o.CA, o.SignerCA = false, true, f.path("signer-ca.pem"), ""
	if _, err = seal(o); err != nil {
		t.Errorf("the security provider's CA does not count for the signer when the broker's certificate is not verified: %v", err)
	}
	o.SignerURL = strings.Replace(o.SignerURL, "127.0.0.1", "localhost", 1)
	i, err = seal(o)
	if fault, ok := errors.AsType[*RemoteError](err); !ok || !strings.HasPrefix(fault.Problem, "its certificate is for another name: ") {
		t.Errorf("another name: %v (%v)", err, i)
	}
}

func TestASignerThatIsAwayOrSlowIsAnError(t *testing.T) {
	o, desk := newFolder(t).delegated(t, choria.V1)
	release := make(chan struct{})
	defer close(release)
	desk.before = func(http.ResponseWriter) bool { <-release; return true }
	i := mustOpen(t, o, time.Now())
	i.delegate.http.limit = 50 * time.Millisecond
	req := request(t, choria.V1, i.Caller(), time.Now())
	_, err := i.Seal(t.Context(), req)
	checkRemote(t, err, "it did not answer in time (50ms)", i.Token())

	i.delegate.http.limit = time.Minute
	cause := errors.New("interrupt signal received")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, err := i.Seal(ctx, req); !errors.Is(err, cause) {
		t.Errorf("interrupted: %v", err)
	}

	o.SignerURL = "https://127.0.0.1:1/"
	i = mustOpen(t, o, time.Now())
	_, err = i.Seal(t.Context(), req)
	checkRemote(t, err, "it is out of reach: connect: connection refused", i.Token())

	o.SignerURL = "http://" + strings.TrimPrefix(desk.url(t), "https://")
	i = mustOpen(t, o, time.Now())
	_, err = i.Seal(t.Context(), req)
	checkRemote(t, err, "it answered 404 Not Found: 404 page not found", i.Token())
}

// url is a plain HTTP server that knows no path.
func (d *signingDesk) url(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http://", "https://", 1)
}

func TestAServiceThatSaysNoIsAnError(t *testing.T) {
	o, desk := newFolder(t).delegated(t, choria.V2)
	desk.ca = authority{}
	o.SignerURL, o.SignerService = "", true
	i := mustOpen(t, o, time.Now())
	req := request(t, choria.V2, i.Caller(), time.Now())
	_, err := i.Seal(t.Context(), req)
	checkRemote(t, err, "there is no connection to ask it over", i.Token())
	i.delegate.service = desk
	_, err = i.Seal(t.Context(), request(t, choria.V2, "up=other", time.Now()))
	checkRemote(t, err, "the request is made as up=other", i.Token())
}

func TestOpenDelegatedNeedsOnlyATokenToBeAnonymous(t *testing.T) {
	f := newFolder(t)
	o, _ := f.delegated(t, choria.V1)
	i := mustOpen(t, o, time.Now())
	c, err := i.TLS()
	if err != nil || c.InsecureSkipVerify || len(c.Certificates) != 0 {
		t.Errorf("TLS: skip %t, %d certificates, %v; want verification without a certificate", c.InsecureSkipVerify, len(c.Certificates), err)
	}
	if sig, err := i.SignNonce([]byte("nonce")); err != nil || !ed25519.Verify(public(clientKey), []byte("nonce"), sig) {
		t.Errorf("nonce: %v", err)
	}

	o.Provider, o.User, o.CertnameOverride = "puppet", "", ""
	o.Home = f.dir
	if i = mustOpen(t, o, time.Now()); i.Caller() != "up=bob" {
		t.Errorf("puppet without USER is %v", i)
	}

	o.Provider, o.AnonTLS, o.User = "file", false, "bob"
	checkOpenFails(t, o, "security provider file needs plugin.security.file.certificate, which is not set")
	ca := newAuthority(t, "ca", time.Now())
	o.Certificate, o.Key = f.write("cert.pem", ca.issue(t, "anything", ecKey().Public(), time.Now())), f.write("key.pem", pkcs8(t, ecKey()))
	i = mustOpen(t, o, time.Now())
	if c, err = i.TLS(); err != nil || len(c.Certificates) != 1 || i.Token() != "" || i.Caller() != "up=bob" {
		t.Errorf("with a certificate: %d certificates, token to connect with %t, %v, %v; want one, false, up=bob", len(c.Certificates), i.Token() != "", i, err)
	}
}

func checkOpenFails(t *testing.T, o Options, want string) {
	t.Helper()
	if _, err := Open(o, time.Now()); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestOpenChoosesTokenAndSeed(t *testing.T) {
	f := newFolder(t)
	good, _ := f.delegated(t, choria.V1)
	f.write("other.jwt", mustClient(t, clientClaims(time.Now(), func(c *ClientClaims) { c.CallerID, c.PublicKey = "up=other", hexKey(edKey(4)) }), orgKey))
	f.write("other.key", hex.EncodeToString(edKey(4).Seed()))
	f.write("named.seed", hex.EncodeToString(clientKey.Seed()))
	tests := []struct {
		name                                string
		token, seed, signerToken, signerKey string
		want                                string // the caller, or the end of the error
	}{
		{"signer's, derived seed", "", "", "bob.jwt", "", "up=bob"},
		{"own wins", "other.jwt", "", "bob.jwt", "", "up=other"},
		{"own seed wins", "bob.jwt", "named.seed", "", "other.key", "up=bob"},
		{"signer's seed", "bob.jwt", "", "", "named.seed", "up=bob"},
		{"seed of another", "bob.jwt", "other.key", "", "", "the token names another public key"},
		{"no seed", "bob.jwt", "none", "", "", "none: seed file does not exist"},
	}
	for _, tt := range tests {
		for _, provider := range []string{"file", "puppet"} {
			o := good
			o.Provider, o.User, o.Home = provider, "x", f.dir
			path := func(name string) string {
				if name == "" {
					return ""
				}
				return f.path(name)
			}
			o.TokenFile, o.SeedFile, o.SignerTokenFile, o.SignerSeedFile = path(tt.token), path(tt.seed), path(tt.signerToken), path(tt.signerKey)
			i, err := Open(o, time.Now())
			if err != nil {
				if !strings.HasSuffix(err.Error(), tt.want) {
					t.Errorf("%s, %s: %v, want %s", tt.name, provider, err, tt.want)
				}
				continue
			}
			if i.Caller() != tt.want {
				t.Errorf("%s, %s: caller %s, want %s", tt.name, provider, i.Caller(), tt.want)
			}
		}
	}
}

func TestOpenRefusesSignersThatCannotWork(t *testing.T) {
	f := newFolder(t)
	good, _ := f.delegated(t, choria.V2)
	tests := []struct {
		name string
		edit func(*Options)
		want string
	}{
		{"plain http", func(o *Options) { o.SignerURL = "http://bob:pw@signer.example.net/" },
			"plugin.choria.security.request_signer.url: http://bob:xxxxx@signer.example.net/ is not encrypted, and would show your token or password to every reader on the network"},
		{"no URL", func(o *Options) { o.SignerURL = "signer.example.net" }, "plugin.choria.security.request_signer.url is not a URL of a service"},
		{"other scheme", func(o *Options) { o.SignerURL = "ftp://signer.example.net" }, "plugin.choria.security.request_signer.url is not a URL of a service"},
		{"missing CA", func(o *Options) { o.SignerCA = f.path("none.pem") }, "none.pem: CA file does not exist"},
		{"may not", func(o *Options) {
			o.TokenFile = f.write("no.jwt", mustClient(t, clientClaims(time.Now(), func(c *ClientClaims) { c.Permissions = ClientPermissions{} }), orgKey))
		}, "neither permission fleet_management nor signed_fleet_management, one of which requests to the fleet need"},
		{"signer's token with choria", func(o *Options) { o.SignerTokenFile = "x" }, "plugin.choria.security.request_signer.token_file cannot be used with security provider choria"},
	}
	for _, tt := range tests {
		o := good
		tt.edit(&o)
		t.Run(tt.name, func(t *testing.T) { checkOpenFails(t, o, tt.want) })
	}
	good.SignerURL, good.InsecureSigner = "http://signer.example.net/", true
	mustOpen(t, good, time.Now())
}

// answers is a service with a prepared answer.
type answers string

func (a answers) Sign(context.Context, string, string, string) (string, error) { return string(a), nil }

func FuzzSignersAnswer(f *testing.F) {
	now := time.Now()
	i := &Identity{version: choria.V2, token: mustClient(f, clientClaims(now), orgKey), seed: clientKey, caller: "up=bob",
		issuers: issuers{byOrganization: map[string]ed25519.PublicKey{"choria": public(orgKey)}}}
	ours := request(f, choria.V2, "up=bob", now)
	good, err := choria.EncodeSecureRequest(choria.SecureRequest{Version: choria.V2, Request: ours, Signature: ed25519.Sign(delegateKey, ours), Signer: delegateToken(f, now), Caller: "x.y.z"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(good))
	f.Add(`{"protocol":"io.choria.protocol.v2.secure_request","request":"e30=","signature":"eA==","caller":"a"}`)
	f.Add("")
	verifier := NewV2Verifier(i.issuers.byOrganization)
	f.Fuzz(func(t *testing.T, answer string) {
		i := &Identity{version: i.version, token: i.token, seed: i.seed, issuers: i.issuers, delegate: &requestSigner{service: answers(answer)}}
		data, err := i.sealElsewhere(t.Context(), ours, now)
		if err != nil {
			if _, ok := errors.AsType[*RemoteError](err); !ok {
				t.Errorf("got %v (%T), want a RemoteError", err, err)
			}
			return
		}
		sr, err := choria.DecodeSecureRequest(data)
		if err != nil {
			t.Fatalf("what was accepted cannot be read: %v", err)
		}
		if caller, err := verifier.Verify(sr, now); err != nil || caller.Token.CallerID != "up=bob" || changed(choria.V2, ours, sr.Request) != "" {
			t.Errorf("what was accepted is not our request, or servers do not believe it: %v", err)
		}
	})
}
