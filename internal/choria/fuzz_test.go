package choria

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// layers are the documents of each layer of the captured messages.
type layers struct {
	transports, secureRequests, secureReplies [][]byte
	requests, replies                         map[Version][][]byte
	rpcRequests, rpcReplies, events           [][]byte
}

func captured(f *testing.F) layers {
	f.Helper()
	l := layers{requests: map[Version][][]byte{}, replies: map[Version][][]byte{}}
	for _, v := range readVectors(f, "testdata/vectors") {
		for _, m := range v.Messages {
			if m.Decoded.Kind == "lifecycle" {
				l.events = append(l.events, m.Payload)
				continue
			}
			l.transports = append(l.transports, m.Payload)
			tr, err := DecodeTransport(m.Payload)
			if err != nil {
				f.Fatal(err)
			}
			if secure, err := DecodeSecureRequest(tr.Data); err == nil {
				l.secureRequests = append(l.secureRequests, tr.Data)
				l.requests[secure.Version] = append(l.requests[secure.Version], secure.Request)
				req, err := DecodeRequest(secure.Version, secure.Request)
				if err != nil {
					f.Fatal(err)
				}
				l.rpcRequests = append(l.rpcRequests, req.Body())
				continue
			}
			secure, err := DecodeSecureReply(tr.Data)
			if err != nil {
				f.Fatal(err)
			}
			l.secureReplies = append(l.secureReplies, tr.Data)
			l.replies[secure.Version] = append(l.replies[secure.Version], secure.Reply)
			reply, err := DecodeReply(secure.Version, secure.Reply)
			if err != nil {
				f.Fatal(err)
			}
			l.rpcReplies = append(l.rpcReplies, reply.Payload)
		}
	}
	return l
}

func seed(f *testing.F, sets ...[][]byte) {
	f.Helper()
	for _, set := range sets {
		for _, data := range set {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"protocol":"\u0063horia:transport:1","a":[1,-0.5e+3,true,null,{"":"\ud83d\ude00\ud800"}]}`))
	f.Add([]byte("{\"a\":\"\xff\xc3(\",\"a\":null}"))
}

// again wants that what was decoded can be encoded, and decodes to the same.
func again[T any](t *testing.T, first T, encode func(T) ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	data, err := encode(first)
	if err != nil {
		t.Fatalf("cannot encode what was decoded: %v\n%+v", err, first)
	}
	second, err := decode(data)
	if err != nil {
		t.Fatalf("cannot decode what was encoded: %v\n%s", err, data)
	}
	if diff := cmp.Diff(first, second, sameBytes); diff != "" {
		t.Fatalf("encoded and decoded: %s\n%s", diff, data)
	}
}

// agree compares a decoder with its slow twin: both refuse, or both accept
// and say the same.
func agree[T any](t *testing.T, got T, err error, want T, slowErr error) {
	t.Helper()
	if (err == nil) != (slowErr == nil) {
		t.Fatalf("decoder: %v, encoding/json: %v", err, slowErr)
	}
	if diff := cmp.Diff(want, got, sameBytes); err == nil && diff != "" {
		t.Fatalf("decoder and encoding/json differ: %s", diff)
	}
}

func FuzzScanObject(f *testing.F) {
	l := captured(f)
	for _, data := range append(append(l.transports, l.events...), l.rpcReplies...) {
		f.Add(data, "data")
	}
	f.Add([]byte(`{"k\u0065y":1,"key":"a\tb","list":[1,"x",{"y":[]}]}`), "list")
	f.Add([]byte("{\"\xff\":\"\x7f\xfe\"}"), "\ufffd")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		fields := []field{{key: "protocol"}, {key: key}}
		err := scanObject(data, fields)
		want, slowErr := slowly(data)
		if (err == nil) != (slowErr == nil) {
			t.Fatalf("scanner: %v, encoding/json: %v", err, slowErr)
		}
		if err != nil {
			return
		}
		for _, f := range fields {
			if key == "protocol" && f.kind == absent {
				continue // wanted twice: one of the two has the value
			}
			raw, ok := want[f.key]
			if ok != (f.kind != absent) {
				t.Fatalf("key %q: scanner %v, encoding/json %v", f.key, f.kind, ok)
			}
			sameField(t, f, raw)
		}
	})
}

// sameField compares a value with what encoding/json says about it.
func sameField(t *testing.T, f field, raw json.RawMessage) {
	t.Helper()
	switch f.kind {
	case absent:
	case text:
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("scanner says text: %v in %q", err, raw)
		}
		r := reader{layer: "test"}
		if got := r.text(&f); got != want || r.err != nil {
			t.Fatalf("text %q, %v, want %q", got, r.err, want)
		}
		if f.plain && string(f.raw) != want {
			t.Fatalf("plain text %q is %q", f.raw, want)
		}
	case array, object:
		if !bytes.Equal(f.raw, raw) {
			t.Fatalf("value %q, want %q", f.raw, raw)
		}
		sameElements(t, f, raw)
	default:
		if !bytes.Equal(f.raw, raw) {
			t.Fatalf("value %q, want %q", f.raw, raw)
		}
	}
}

func sameElements(t *testing.T, f field, raw json.RawMessage) {
	t.Helper()
	if f.kind == object {
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		n := 0
		for range elements(f) {
			n++
		}
		if n < len(want) { // repeated keys are yielded each time
			t.Fatalf("%d values, want %d in %q", n, len(want), raw)
		}
		return
	}
	var want []json.RawMessage
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	i := 0
	for e := range elements(f) {
		if i >= len(want) {
			t.Fatalf("more than %d elements in %q", len(want), raw)
		}
		sameField(t, e, want[i])
		i++
	}
	if i != len(want) {
		t.Fatalf("%d elements, want %d in %q", i, len(want), raw)
	}
}

func FuzzDecodeTransport(f *testing.F) {
	seed(f, captured(f).transports)
	f.Add([]byte(`{"protocol":"choria:transport:1","data":"eA==","headers":{"reply-to":"r","seen-by":[["a"],null,["b","c","d",1]],"federation":{"req":"1","target":["x",null]}}}`))
	f.Add([]byte(`{"protocol":"io.choria.protocol.v2.transport","data":"eA\n==","headers":{"reply":"r","sender":"s","trace":[],"federation":{"targets":["x"]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeTransport(data)
		want, slowErr := slowTransport(data)
		agree(t, got, err, want, slowErr)
		if err == nil {
			again(t, got, EncodeTransport, DecodeTransport)
		}
	})
}

func slowTransport(data []byte) (Transport, error) {
	s, err := slowly(data)
	var t Transport
	if err != nil {
		return t, err
	}
	keys := headersV1
	switch s.text("protocol", &err) {
	case "choria:transport:1":
		t.Version = V1
	case "io.choria.protocol.v2.transport":
		t.Version, keys = V2, headersV2
	default:
		return t, ErrUnknownProtocol
	}
	t.Data = s.base64("data", &err)
	if len(t.Data) == 0 {
		return t, errSlow
	}
	h := s.inside("headers", &err)
	t.ReplyTo, t.Sender = h.text(keys.replyTo, &err), h.text(keys.sender, &err)
	if !h.missing(keys.seenBy) && json.Unmarshal(h[keys.seenBy], &t.SeenBy) != nil {
		err = errSlow
	}
	if fed := h.inside("federation", &err); fed != nil {
		t.Federation = &Federation{RequestID: fed.text(keys.request, &err), ReplyTo: fed.text(keys.reply, &err)}
		if !fed.missing(keys.targets) && json.Unmarshal(fed[keys.targets], &t.Federation.Targets) != nil {
			err = errSlow
		}
	}
	return t, err
}

func FuzzDecodeSecureReply(f *testing.F) {
	seed(f, captured(f).secureReplies)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeSecureReply(data)
		want, slowErr := slowSecureReply(data)
		agree(t, got, err, want, slowErr)
		if err == nil {
			again(t, got, EncodeSecureReply, func(d []byte) (SecureReply, error) { return DecodeSecureReply(d) })
		}
	})
}

func slowSecureReply(data []byte) (SecureReply, error) {
	s, err := slowly(data)
	if err != nil {
		return SecureReply{}, err
	}
	r := SecureReply{Hash: s.base64("hash", &err)}
	switch s.text("protocol", &err) {
	case "choria:secure:reply:1":
		r.Version, r.Reply = V1, []byte(s.text("message", &err))
	case "io.choria.protocol.v2.secure_reply":
		r.Version, r.Reply = V2, s.base64("reply", &err)
		r.Signature, r.Sender = s.base64("signature", &err), s.text("sender", &err)
	default:
		return r, ErrUnknownProtocol
	}
	if sum := sha256.Sum256(r.Reply); len(r.Reply) == 0 || !bytes.Equal(sum[:], r.Hash) {
		return r, ErrHash
	}
	return r, err
}

// The hash stops most of what fuzzing makes up, so this one puts it right.
func FuzzSecureReplyContent(f *testing.F) {
	l := captured(f)
	seed(f, l.replies[V1], l.replies[V2])
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, v := range []Version{V1, V2} {
			s := SecureReply{Version: v, Reply: content}
			data, err := EncodeSecureReply(s)
			if err != nil {
				continue // empty, or no text in V1
			}
			got, err := DecodeSecureReply(data)
			if err != nil || !bytes.Equal(got.Reply, content) {
				t.Fatalf("%v: %q, %v, want %q", v, got.Reply, err, content)
			}
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	l := captured(f)
	seed(f, l.replies[V1], l.replies[V2])
	f.Add([]byte(`{"protocol":"choria:reply:1","message":"m","envelope":{"requestid":"i","senderid":"n","agent":"a","time":1}}`))
	f.Add([]byte(`{"protocol":"io.choria.protocol.v2.reply","message":"bQ==","request":"i","sender":"n","agent":null,"time":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []Version{V1, V2} {
			got, err := DecodeReply(v, data)
			want, slowErr := slowReply(v, data)
			agree(t, got, err, want, slowErr)
			if err == nil && !got.Time.IsZero() {
				again(t, got, EncodeReply, func(data []byte) (Reply, error) { return DecodeReply(v, data) })
			}
		}
	})
}

func slowReply(v Version, data []byte) (Reply, error) {
	s, err := slowly(data)
	if err != nil {
		return Reply{}, err
	}
	r := Reply{Version: v}
	if s.missing("message") {
		return r, errSlow
	}
	if v == V1 {
		r.Payload = []byte(s.text("message", &err))
		e := s.inside("envelope", &err)
		r.RequestID, r.Sender, r.Agent = e.name("requestid", &err), e.text("senderid", &err), e.name("agent", &err)
		if !e.missing("time") {
			r.Time = slowTime(time.Unix(e.integer("time", &err), 0), &err)
		}
	} else {
		r.Payload = s.base64("message", &err)
		r.RequestID, r.Sender, r.Agent = s.name("request", &err), s.text("sender", &err), s.name("agent", &err)
		if !s.missing("time") {
			r.Time = slowTime(time.Unix(0, s.integer("time", &err)), &err)
		}
	}
	names := map[Version]string{V1: "choria:reply:1", V2: "io.choria.protocol.v2.reply"}
	if s.text("protocol", &err) != names[v] || r.Sender == "" {
		return r, errSlow
	}
	return r, err
}

func FuzzDecodeRPCReply(f *testing.F) {
	seed(f, captured(f).rpcReplies)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeRPCReply(data)
		want, slowErr := slowRPCReply(data)
		agree(t, got, err, want, slowErr)
		if err == nil {
			compact, failed := EncodeRPCReply(got)
			if failed != nil {
				t.Fatalf("cannot encode what was decoded: %v", failed)
			}
			if got, err = DecodeRPCReply(compact); err != nil {
				t.Fatal(err)
			}
			again(t, got, EncodeRPCReply, func(d []byte) (RPCReply, error) { return DecodeRPCReply(d) })
		}
	})
}

func slowRPCReply(data []byte) (RPCReply, error) {
	s, err := slowly(data)
	if err != nil || s.missing("statuscode") {
		return RPCReply{}, errSlow
	}
	r := RPCReply{
		Action: s.name("action", &err), StatusCode: StatusCode(s.integer("statuscode", &err)), StatusMsg: string(cut([]byte(s.text("statusmsg", &err)))),
	}
	if !s.missing("data") {
		r.Data = s["data"]
	}
	return r, err
}
