package cmd

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fleetctl/internal/choria"
	"fleetctl/internal/lab"
	"fleetctl/internal/security"
)

// site is a lab whose operator may not sign alone, and its signer, which verifies the caller as the real one does.
type site struct {
	t       *testing.T
	version choria.Version
	lab     *lab.Lab
	dir     string
	rsaKey  *rsa.PrivateKey // v1: the privileged certificate's
	cert    string
	seed    ed25519.PrivateKey // v2: the delegate's
	token   string
	deny    atomic.Pointer[string] // what the signer says instead of signing
	signed  atomic.Int32
}

// newSite starts a lab. It writes bob's token and key.
func newSite(t *testing.T, v choria.Version) *site {
	t.Helper()
	s := &site{t: t, version: v, dir: t.TempDir()}
	protocol := 1
	if v == choria.V2 {
		protocol = 2
	}
	l, err := lab.Start(t.Context(), lab.Options{Nodes: 5, Protocol: protocol, Dir: filepath.Join(s.dir, "lab"), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s.lab = l
	if v == choria.V1 {
		s.cert = string(s.read("operator.pem"))
		block, _ := pem.Decode(s.read("operator.key"))
		if s.rsaKey, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	s.token, s.seed = s.client("up=signer", security.ClientPermissions{AuthenticationDelegator: true})
	token, seed := s.client("up=bob", security.ClientPermissions{SignedFleetManagement: true})
	s.write("bob.jwt", token)
	s.write("bob.key", hex.EncodeToString(seed.Seed()))
	return s
}

func (s *site) read(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.lab.Dir(), name))
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func (s *site) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// client issues a token and its key.
func (s *site) client(caller string, p security.ClientPermissions) (string, ed25519.PrivateKey) {
	s.t.Helper()
	public, seed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	claims := security.ClientClaims{CallerID: caller, Agents: []string{"*"}, Permissions: p}
	claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(public), security.At(time.Now().Add(24*time.Hour))
	token, err := security.IssueClient(claims, s.lab.Issuer())
	if err != nil {
		s.t.Fatal(err)
	}
	return token, seed
}

// sign signs for every holder of the token.
func (s *site) sign(request []byte, signature, token string) ([]byte, error) {
	if words := s.deny.Load(); words != nil {
		return nil, errors.New(*words)
	}
	claims, err := security.ParseClient(token, time.Now(), s.lab.Issuer().Public())
	if err != nil {
		return nil, err
	}
	key, err := claims.Key()
	if err != nil {
		return nil, err
	}
	if raw, err := hex.DecodeString(signature); err != nil || !ed25519.Verify(key, request, raw) {
		return nil, errors.New("not signed by the key of the token")
	}
	req, err := choria.DecodeRequest(s.version, request)
	if err != nil || req.Caller != claims.CallerID {
		return nil, fmt.Errorf("not a request of %s: %v", claims.CallerID, err)
	}
	sr := choria.SecureRequest{Version: s.version, Request: request}
	if s.version == choria.V2 {
		sr.Signature, sr.Signer, sr.Caller = ed25519.Sign(s.seed, request), s.token, s.token
	} else {
		hash := sha256.Sum256(request)
		if sr.Signature, err = rsa.SignPKCS1v15(rand.Reader, s.rsaKey, crypto.SHA256, hash[:]); err != nil {
			return nil, err
		}
		sr.Certificate = s.cert
	}
	s.signed.Add(1)
	return choria.EncodeSecureRequest(sr)
}

// overHTTP starts the signer as an HTTPS server, and returns its URL and CA file.
func (s *site) overHTTP() (url, ca string) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Token, Signature string
			Request          []byte
		}
		out := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			out["error"] = err.Error()
		} else if secure, err := s.sign(in.Request, in.Signature, in.Token); err != nil {
			out["error"] = err.Error()
		} else {
			out["secure_request"] = secure
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			s.t.Error(err)
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	s.t.Cleanup(server.Close)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.URL, s.write("signer-ca.pem", string(cert))
}

// configure writes a client configuration: the lab's, with bob's token and the lines that are given.
func (s *site) configure(lines ...string) string {
	var out []string
	for line := range strings.Lines(string(s.read("client.conf"))) {
		if strings.Contains(line, "choria.token_file") || strings.Contains(line, "choria.seed_file") {
			continue
		}
		out = append(out, strings.TrimSpace(line))
	}
	if s.version == choria.V2 {
		out = append(out, "plugin.security.choria.token_file = "+filepath.Join(s.dir, "bob.jwt"), "plugin.security.choria.seed_file = "+filepath.Join(s.dir, "bob.key"))
	} else {
		out = append(out, "plugin.choria.security.request_signer.token_file = "+filepath.Join(s.dir, "bob.jwt"))
	}
	return s.write("client.conf", strings.Join(append(out, lines...), "\n")+"\n")
}

// fleetctl runs a command line in this process.
func (s *site) fleetctl(ctx context.Context, args ...string) result {
	var out, err bytes.Buffer
	variables := map[string]string{"HOME": s.dir, "USER": "bob", "XDG_CONFIG_HOME": s.dir, "XDG_STATE_HOME": s.dir}
	a := &app{name: productName, io: streams{strings.NewReader(""), &out, &err}, env: environment{func(name string) (string, bool) {
		v, ok := variables[name]
		return v, ok
	}}}
	code := a.execute(ctx, append(slices.Concat(patient, args), "--config", filepath.Join(s.dir, "client.conf")))
	return result{code, out.String(), err.String()}
}

func (s *site) check(got result, code int, said string) {
	s.t.Helper()
	if got.code != code || !strings.Contains(got.out+got.err, said) {
		s.t.Errorf("ended with %d, want %d and %q\nstdout: %s\nstderr: %s", got.code, code, said, got.out, got.err)
	}
}

func (s *site) received(agent, action string) int {
	n := 0
	for _, node := range s.lab.Nodes() {
		n += s.lab.Received(node.Identity, agent, action)
	}
	return n
}

// serve answers requests to aaa_signer on the lab's broker.
func (s *site) serve() {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.read("ca.pem"))
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	options := []nats.Option{nats.Secure(config)}
	var signer security.ReplySigner
	if s.version == choria.V1 {
		pair, err := tls.X509KeyPair(s.read("operator.pem"), s.read("operator.key"))
		if err != nil {
			s.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	} else {
		token, seed := s.client("up=services", security.ClientPermissions{OrgAdmin: true})
		options = append(options, nats.Token(token), nats.UserJWT(func() (string, error) { return token, nil },
			func(nonce []byte) ([]byte, error) { return ed25519.Sign(seed, nonce), nil }))
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		claims := security.ServerClaims{Identity: "services.example.net", Collectives: []string{"choria"}}
		claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(public), security.At(time.Now().Add(24*time.Hour))
		server, err := security.IssueServer(claims, s.lab.Issuer())
		if err != nil {
			s.t.Fatal(err)
		}
		signer = security.NewReplySigner(server, key)
	}
	nc, err := nats.Connect(s.lab.URL(), append(options, nats.Timeout(30*time.Second))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("*.broadcast.service.aaa_signer", func(m *nats.Msg) {
		to, data, err := s.answer(m.Data, signer)
		if err == nil {
			err = nc.Publish(to, data)
		}
		if err != nil {
			s.t.Error(err)
		}
	}); err != nil {
		s.t.Fatal(err)
	}
	flush(s.t, nc)
}

// flush waits until the broker knows a subscription.
func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		t.Fatal(err)
	}
}

// answer is the service's reply to one request, which must be unsigned.
func (s *site) answer(data []byte, signer security.ReplySigner) (to string, reply []byte, err error) {
	t, err := choria.DecodeTransport(data)
	if err != nil {
		return "", nil, err
	}
	sr, err := choria.DecodeSecureRequest(t.Data)
	if err != nil {
		return "", nil, err
	}
	if sr.Signature != nil {
		return "", nil, errors.New("the request to the signer is signed")
	}
	req, err := choria.DecodeRequest(s.version, sr.Request)
	if err != nil {
		return "", nil, err
	}
	rpc, err := choria.DecodeRPCRequest(req.Body())
	if err != nil {
		return "", nil, err
	}
	var in struct{ Request, Signature, Token string }
	if err := json.Unmarshal(rpc.Data, &in); err != nil {
		return "", nil, err
	}
	body := choria.RPCReply{Action: rpc.Action, StatusMsg: "OK", Data: json.RawMessage(`{}`)}
	if secure, err := s.sign([]byte(in.Request), in.Signature, in.Token); err != nil {
		body.StatusCode, body.StatusMsg = choria.Aborted, "Could not sign: "+err.Error()+" "+in.Token
	} else if body.Data, err = json.Marshal(map[string]string{"secure_request": string(secure)}); err != nil {
		return "", nil, err
	}
	payload, err := choria.EncodeRPCReply(body)
	if err != nil {
		return "", nil, err
	}
	inner, err := choria.EncodeReply(choria.Reply{Version: s.version, RequestID: req.ID, Sender: "services.example.net", Agent: req.Agent, Time: time.Now(), Payload: payload})
	if err != nil {
		return "", nil, err
	}
	sealed := choria.SecureReply{Version: s.version, Reply: inner}
	if s.version == choria.V2 {
		sealed.Signature, sealed.Sender = signer.Sign(inner)
	}
	if data, err = choria.EncodeSecureReply(sealed); err != nil {
		return "", nil, err
	}
	reply, err = choria.EncodeTransport(choria.Transport{Version: s.version, Data: data, Sender: "services.example.net"})
	return t.ReplyTo, reply, err
}
