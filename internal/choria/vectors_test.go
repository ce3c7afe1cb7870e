package choria

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is one file of messages captured from real servers and clients.
type vector struct {
	lab      string // v1, v2, insecure
	Name     string
	Messages []struct {
		Seq     int
		Subject string
		Payload []byte `json:"payload_base64"`
		Decoded struct {
			Kind  string
			Inner json.RawMessage
			Body  json.RawMessage
			Event json.RawMessage
		}
	}
}

// vectorDirs are the copies that always exist, and the full set where it does.
func vectorDirs() []string { return []string{"testdata/vectors", "../../../shared/vectors"} }

func readVectors(tb testing.TB, dir string) []vector {
	tb.Helper()
	var all []vector
	for _, lab := range []string{"v1", "v2", "insecure"} {
		files, err := filepath.Glob(filepath.Join(dir, lab, "*.json"))
		if err != nil {
			tb.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				tb.Fatal(err)
			}
			v := vector{lab: lab}
			if err := json.Unmarshal(data, &v); err != nil {
				tb.Fatalf("%s: %v", file, err)
			}
			all = append(all, v)
		}
	}
	return all
}

func TestVectorsDecodeAndEncodeToTheSame(t *testing.T) {
	for i, dir := range vectorDirs() {
		vectors := readVectors(t, dir)
		if len(vectors) == 0 {
			if i == 0 {
				t.Fatalf("no vectors in %s", dir)
			}
			continue
		}
		check := newVectorCheck(t, dir)
		kinds := map[string]int{}
		for _, v := range vectors {
			t.Run(filepath.Base(dir)+"/"+v.lab+"/"+v.Name, func(t *testing.T) {
				for _, m := range v.Messages {
					check.t, check.lab = t, v.lab
					kinds[v.lab+" "+m.Decoded.Kind]++
					if m.Decoded.Kind == "lifecycle" {
						check.event(m.Payload, m.Decoded.Event)
						continue
					}
					check.message(m.Payload, m.Decoded.Inner, m.Decoded.Body)
				}
			})
		}
		for _, lab := range []string{"v1", "v2", "insecure"} {
			for _, kind := range []string{"request", "reply", "lifecycle"} {
				if kinds[lab+" "+kind] == 0 {
					t.Errorf("%s: no %s message of %s was checked", dir, kind, lab)
				}
			}
		}
	}
}

// vectorCheck follows one message through all of its layers.
type vectorCheck struct {
	t      *testing.T
	lab    string
	ca     *x509.CertPool
	issuer ed25519.PublicKey
}

func newVectorCheck(t *testing.T, dir string) *vectorCheck {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(dir, "keys/v1/ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in ca.pem")
	}
	public, err := os.ReadFile(filepath.Join(dir, "keys/v2/issuer.public"))
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := hex.DecodeString(strings.TrimSpace(string(public)))
	if err != nil || len(issuer) != ed25519.PublicKeySize {
		t.Fatalf("bad issuer key: %v", err)
	}
	return &vectorCheck{ca: pool, issuer: issuer}
}

func (c *vectorCheck) message(payload []byte, inner, body json.RawMessage) {
	c.t.Helper()
	tr, err := DecodeTransport(payload)
	c.must(err)
	again, err := EncodeTransport(tr)
	c.must(err)
	c.sameJSON("transport", again, payload)
	if want := map[string]Version{"v1": V1, "v2": V2, "insecure": V1}[c.lab]; tr.Version != want {
		c.t.Fatalf("version %v, want %v", tr.Version, want)
	}
	if tr.Sender == "" || len(tr.SeenBy) == 0 {
		c.t.Errorf("sender %q, hops %v: captured messages have both", tr.Sender, tr.SeenBy)
	}
	if tr.ReplyTo == "" {
		c.reply(tr, inner, body)
		return
	}
	c.request(tr, inner, body)
}

func (c *vectorCheck) request(tr Transport, inner, body json.RawMessage) {
	c.t.Helper()
	secure, err := DecodeSecureRequest(tr.Data)
	c.must(err)
	again, err := EncodeSecureRequest(secure)
	c.must(err)
	c.sameJSON("secure request", again, tr.Data)
	c.sameJSON("signed bytes", shown(secure.Request), inner)
	c.signedRequest(secure)

	req, err := DecodeRequest(secure.Version, secure.Request)
	c.must(err)
	again, err = EncodeRequest(req)
	c.must(err)
	c.sameJSON("request", again, secure.Request)
	if !bytes.Equal(again, secure.Request) {
		c.t.Errorf("request is not encoded as the real client does\n got %s\nwant %s", again, secure.Request)
	}
	if prefix := ReplyPrefix(req.Collective, req.Caller, MD5); req.Agent == "discovery" && !strings.HasPrefix(tr.ReplyTo, prefix+".") {
		c.t.Errorf("reply subject %q, want below %q", tr.ReplyTo, prefix)
	}
	if req.Agent == "discovery" {
		if !IsDiscoveryPing(req.Body()) || !bytes.Equal(req.Payload, DiscoveryPing()) {
			c.t.Errorf("payload %q, body %q", req.Payload, req.Body())
		}
		return
	}
	rpc, err := DecodeRPCRequest(req.Body())
	c.must(err)
	again, err = EncodeRPCRequest(rpc)
	c.must(err)
	c.sameJSON("RPC request", shown(again), body)
	if rpc.Agent != req.Agent {
		c.t.Errorf("agent of the body %q, of the request %q", rpc.Agent, req.Agent)
	}
}

func (c *vectorCheck) reply(tr Transport, inner, body json.RawMessage) {
	c.t.Helper()
	secure, err := DecodeSecureReply(tr.Data)
	c.must(err)
	again, err := EncodeSecureReply(secure)
	c.must(err)
	c.sameJSON("secure reply", again, tr.Data)
	c.sameJSON("hashed bytes", shown(secure.Reply), inner)
	if computed, err := EncodeSecureReply(SecureReply{
		Version: secure.Version, Reply: secure.Reply, Signature: secure.Signature, Sender: secure.Sender,
	}); err != nil || !bytes.Equal(computed, again) {
		c.t.Errorf("computed hash differs: %s, %v", computed, err)
	}
	if secure.Signature != nil {
		if key := c.tokenKey(secure.Sender); !ed25519.Verify(key, secure.Reply, secure.Signature) {
			c.t.Error("signature of the reply does not verify")
		}
	}

	reply, err := DecodeReply(secure.Version, secure.Reply)
	c.must(err)
	again, err = EncodeReply(reply)
	c.must(err)
	c.sameJSON("reply", again, secure.Reply)
	if reply.Sender != tr.Sender {
		c.t.Errorf("sender of the reply %q, of the transport %q", reply.Sender, tr.Sender)
	}
	if reply.Agent == "discovery" {
		if !bytes.Equal(reply.Payload, DiscoveryPong()) {
			c.t.Errorf("payload %q", reply.Payload)
		}
		return
	}
	rpc, err := DecodeRPCReply(reply.Payload)
	c.must(err)
	again, err = EncodeRPCReply(rpc)
	c.must(err)
	c.sameJSON("RPC reply", shown(again), body)
}

func (c *vectorCheck) event(payload []byte, want json.RawMessage) {
	c.t.Helper()
	e, err := DecodeEvent(payload)
	c.must(err)
	cloud, err := EncodeEvent(e, false)
	c.must(err)
	c.sameJSON("event", cloud, want)
	legacy, err := EncodeEvent(e, true)
	c.must(err)
	again, err := DecodeEvent(legacy)
	c.must(err)
	if diff := cmp.Diff(e, again); diff != "" {
		c.t.Errorf("legacy form differs: %s", diff)
	}
}

func (c *vectorCheck) signedRequest(s SecureRequest) {
	c.t.Helper()
	switch c.lab {
	case "insecure":
		if s.Signature != nil || s.Certificate != "" {
			c.t.Errorf("signature %q, certificate %q: want none", s.Signature, s.Certificate)
		}
	case "v1":
		block, _ := pem.Decode([]byte(s.Certificate))
		if block == nil {
			c.t.Fatal("no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		c.must(err)
		_, err = cert.Verify(x509.VerifyOptions{
			Roots: c.ca, CurrentTime: cert.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		c.must(err)
		sum := sha256.Sum256(s.Request)
		c.must(rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], s.Signature))
	case "v2":
		if !ed25519.Verify(c.tokenKey(s.Caller), s.Request, s.Signature) {
			c.t.Error("signature of the request does not verify")
		}
	}
}

// tokenKey returns the key in a token that the issuer signed.
func (c *vectorCheck) tokenKey(token string) ed25519.PublicKey {
	c.t.Helper()
	signed, signature, _ := cutLast(token, ".")
	_, claims, _ := strings.Cut(signed, ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	c.must(err)
	if !ed25519.Verify(c.issuer, []byte(signed), raw) {
		c.t.Fatal("token is not signed by the issuer")
	}
	data, err := base64.RawURLEncoding.DecodeString(claims)
	c.must(err)
	var body struct {
		PublicKey string `json:"public_key"`
	}
	c.must(json.Unmarshal(data, &body))
	key, err := hex.DecodeString(body.PublicKey)
	c.must(err)
	return key
}

// shown spells paths as the decoded parts of the vectors do.
func shown(data []byte) []byte { return bytes.ReplaceAll(data, []byte("/tmp/lab/"), []byte("/lab/")) }

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (c *vectorCheck) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *vectorCheck) sameJSON(what string, got, want []byte) {
	c.t.Helper()
	if diff := cmp.Diff(parse(c.t, want), parse(c.t, got)); diff != "" {
		c.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// parse keeps numbers as they are written: nanoseconds do not fit a float.
func parse(tb testing.TB, data []byte) any {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		tb.Fatalf("%v in %q", err, data)
	}
	return v
}
