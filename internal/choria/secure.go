package choria

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// unsigned is what stands for a signature, and in V1 for a certificate, where
// nothing was signed (docs/protocol.md, signing).
const unsigned = "insecure"

// unsignedRegistration does the same for registration data of V1.
const unsignedRegistration = "insecure registration"

// SecureRequest is a request with the proof of its caller. Nothing of the
// proof is checked here.
type SecureRequest struct {
	Version     Version
	Request     []byte // the exact bytes that were signed
	Signature   []byte // raw; nil when the request is unsigned
	Certificate string // V1: PEM of the caller or the signer; empty when unsigned
	Caller      string // V2: the caller's token
	Signer      string // V2: the token of the signer that the caller delegated to, if any
}

type wireSecureRequestV1 struct {
	Protocol    string `json:"protocol"`
	Message     string `json:"message"`
	Signature   string `json:"signature"`
	Certificate string `json:"pubcert"`
}

type wireSecureRequestV2 struct {
	Protocol  string `json:"protocol"`
	Request   []byte `json:"request"`
	Signature []byte `json:"signature"`
	Caller    string `json:"caller"`
	Signer    string `json:"signer,omitempty"`
}

// EncodeSecureRequest returns the JSON of a secure request, as a server would
// accept it by its schema.
func EncodeSecureRequest(s SecureRequest) ([]byte, error) {
	layer := s.Version.String() + " secure request"
	if s.Signature != nil && len(s.Signature) == 0 {
		return nil, fmt.Errorf("%s: signature: is empty", layer)
	}
	if !encodable(s.Certificate, s.Caller, s.Signer) {
		return nil, fmt.Errorf("%s: not UTF-8", layer)
	}
	var w any
	switch s.Version {
	case V1:
		if !utf8.Valid(s.Request) {
			return nil, fmt.Errorf("%s: message: not UTF-8", layer)
		}
		w = s.v1()
	case V2:
		signature := s.Signature
		if signature == nil {
			signature = []byte(unsigned)
		}
		w = wireSecureRequestV2{
			Protocol: namesV2.secureRequest, Request: s.Request, Signature: signature, Caller: s.Caller, Signer: s.Signer,
		}
	default:
		return nil, fmt.Errorf("%s: %w", layer, ErrUnknownProtocol)
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layer, err)
	}
	if _, err := DecodeSecureRequest(data); err != nil {
		return nil, fmt.Errorf("cannot encode: %w", err)
	}
	return data, nil
}

func (s SecureRequest) v1() wireSecureRequestV1 {
	w := wireSecureRequestV1{
		Protocol: namesV1.secureRequest, Message: string(s.Request), Certificate: s.Certificate,
		Signature: base64.StdEncoding.EncodeToString(s.Signature),
	}
	if s.Signature == nil {
		w.Signature = unsigned
		switch s.Certificate {
		case "":
			w.Certificate = unsigned
		case unsignedRegistration:
			w.Signature = base64.StdEncoding.EncodeToString([]byte(unsignedRegistration))
		}
	}
	return w
}

// DecodeSecureRequest reads a secure request as strictly as a server does
// (docs/protocol.md, schema constraints), and also refuses an empty request or
// signature in any spelling: only the word for it makes a request unsigned.
func DecodeSecureRequest(data []byte) (SecureRequest, error) {
	const protocol, message, signature, pubcert, request, caller, signer = 0, 1, 2, 3, 4, 5, 6
	fields := [...]field{
		protocol: {key: "protocol"}, message: {key: "message"}, signature: {key: "signature"},
		pubcert: {key: "pubcert"}, request: {key: "request"}, caller: {key: "caller"}, signer: {key: "signer"},
	}
	r := reader{layer: "secure request"}
	r.scan(data, fields[:])
	var s SecureRequest
	switch name := r.value(&fields[protocol]); {
	case r.err != nil:
	case string(name) == namesV1.secureRequest:
		r.layer, s.Version = "v1 secure request", V1
		s.Request = []byte(r.needText(&fields[message]))
		s.Signature, s.Certificate = r.proofV1(&fields[signature], &fields[pubcert])
	case string(name) == namesV2.secureRequest:
		r.layer, s.Version = "v2 secure request", V2
		s.Request = r.needBase64(&fields[request])
		s.Signature = r.needBase64(&fields[signature])
		if string(s.Signature) == unsigned {
			s.Signature = nil
		}
		s.Caller = r.needText(&fields[caller])
		if fields[signer].kind == null {
			r.must(&fields[signer])
		}
		s.Signer = r.text(&fields[signer])
	default:
		r.failWith(&fields[protocol], ErrUnknownProtocol)
	}
	if r.err != nil {
		return SecureRequest{}, r.err
	}
	return s, nil
}

// proofV1 reads the signature and the certificate of V1. The word that stands
// for no signature is itself valid base64: it must be looked at first.
func (r *reader) proofV1(signature, pubcert *field) ([]byte, string) {
	word, certificate := r.needText(signature), r.needText(pubcert)
	if word == unsigned {
		if certificate == unsigned {
			certificate = ""
		}
		return nil, certificate
	}
	raw := r.needBase64(signature)
	if string(raw) == unsignedRegistration && certificate == unsignedRegistration {
		return nil, certificate
	}
	return raw, certificate
}

// SecureReply is a reply with its hash and, in V2 from servers that sign, the
// server's signature and token. The hash protects against damage only: who
// can forge a reply can forge its hash.
type SecureReply struct {
	Version   Version
	Reply     []byte // the exact bytes that were hashed and signed
	Hash      []byte // raw SHA-256 of Reply
	Signature []byte // V2: raw; nil when the server did not sign
	Sender    string // V2: the server's token, if any
}

type wireSecureReplyV1 struct {
	Protocol string `json:"protocol"`
	Message  string `json:"message"`
	Hash     []byte `json:"hash"`
}

type wireSecureReplyV2 struct {
	Protocol  string `json:"protocol"`
	Reply     []byte `json:"reply"`
	Hash      []byte `json:"hash"`
	Signature []byte `json:"signature,omitempty"`
	Sender    string `json:"sender,omitempty"`
}

// EncodeSecureReply returns the JSON of a secure reply. It computes the hash
// when it is empty, and keeps any other as it is.
func EncodeSecureReply(s SecureReply) ([]byte, error) {
	layer := s.Version.String() + " secure reply"
	if len(s.Reply) == 0 {
		return nil, fmt.Errorf("%s: reply: is empty", layer)
	}
	hash := s.Hash
	if len(hash) == 0 {
		sum := sha256.Sum256(s.Reply)
		hash = sum[:]
	}
	switch s.Version {
	case V1:
		if !utf8.Valid(s.Reply) {
			return nil, fmt.Errorf("%s: message: not UTF-8", layer)
		}
		return json.Marshal(wireSecureReplyV1{Protocol: namesV1.secureReply, Message: string(s.Reply), Hash: hash})
	case V2:
		if !encodable(s.Sender) {
			return nil, fmt.Errorf("%s: sender: not UTF-8", layer)
		}
		return json.Marshal(wireSecureReplyV2{
			Protocol: namesV2.secureReply, Reply: s.Reply, Hash: hash, Signature: s.Signature, Sender: s.Sender,
		})
	default:
		return nil, fmt.Errorf("%s: %w", layer, ErrUnknownProtocol)
	}
}

// DecodeSecureReply reads a secure reply and checks its hash: ErrHash. The
// signature, if there is one, is not checked.
// With an Opener the data is overwritten.
func DecodeSecureReply(data []byte, o ...*Opener) (SecureReply, error) {
	return openers(o).reader().secureReply(data)
}

func (r *reader) secureReply(data []byte) (SecureReply, error) {
	const protocol, message, hash, reply, signature, sender = 0, 1, 2, 3, 4, 5
	fields := [...]field{
		protocol: {key: "protocol"}, message: {key: "message"}, reply: {key: "reply"},
		hash: {key: "hash"}, signature: {key: "signature"}, sender: {key: "sender"},
	}
	r.layer = "secure reply"
	r.scan(data, fields[:])
	var s SecureReply
	switch name := r.value(&fields[protocol]); {
	case r.err != nil:
	case string(name) == namesV1.secureReply:
		r.layer, s.Version = "v1 secure reply", V1
		r.must(&fields[message])
		s.Reply = r.value(&fields[message])
		if len(s.Reply) == 0 {
			r.fail(&fields[message], "is empty")
		}
	case string(name) == namesV2.secureReply:
		r.layer, s.Version = "v2 secure reply", V2
		s.Reply = r.needBase64(&fields[reply])
		if s.Signature = r.base64(&fields[signature]); len(s.Signature) == 0 {
			s.Signature = nil
		}
		s.Sender = r.text(&fields[sender])
	default:
		r.failWith(&fields[protocol], ErrUnknownProtocol)
	}
	s.Hash = r.needBase64(&fields[hash])
	if sum := sha256.Sum256(s.Reply); r.err == nil && !bytes.Equal(sum[:], s.Hash) {
		r.failWith(&fields[hash], ErrHash)
	}
	if r.err != nil {
		return SecureReply{}, r.err
	}
	return s, nil
}

// Opening is a secure reply on its way through the check of its signature, and what
// the check came to.
type Opening struct {
	Reply SecureReply
	// Claimed is the sender that the reply claims; "" for none. A reply that was signed
	// by another is refused before any signature is verified.
	Claimed string

	// Proven is the sender that signed it; "" where signatures are not checked, and
	// with Err.
	Proven string
	// TokenEnds is when the token that came with it ends; zero when it was not read. It
	// is set also with Err, where the token was read: then it proves nothing.
	TokenEnds time.Time
	Err       error
}
