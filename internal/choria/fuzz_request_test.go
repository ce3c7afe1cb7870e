package choria

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzDecodeRPCRequest(f *testing.F) {
	seed(f, captured(f).rpcRequests)
	f.Add([]byte(`{"agent":"a","action":"b","data":"\u003c"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeRPCRequest(data)
		s, slowErr := slowly(data)
		var want RPCRequest
		if slowErr == nil {
			want = RPCRequest{Agent: s.text("agent", &slowErr), Action: s.text("action", &slowErr), Data: json.RawMessage(`{}`)}
			if !s.missing("data") {
				want.Data = s["data"]
			}
		}
		agree(t, got, err, want, slowErr)
		if err == nil && got.Agent != "" && got.Action != "" {
			compact, failed := EncodeRPCRequest(got)
			if failed != nil {
				t.Fatalf("cannot encode what was decoded: %v", failed)
			}
			if got, err = DecodeRPCRequest(compact); err != nil {
				t.Fatal(err)
			}
			again(t, got, EncodeRPCRequest, DecodeRPCRequest)
		}
	})
}

func FuzzDecodeSecureRequest(f *testing.F) {
	seed(f, captured(f).secureRequests)
	f.Add([]byte(`{"protocol":"choria:secure:request:1","message":"m\u00fc","signature":"insecure","pubcert":"x"}`))
	f.Add([]byte(`{"protocol":"io.choria.protocol.v2.secure_request","request":"bQ==","signature":"aW5zZWN1cmU=","caller":"c","signer":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeSecureRequest(data)
		if err != nil {
			return
		}
		again(t, got, EncodeSecureRequest, DecodeSecureRequest)
		s, slowErr := slowly(data)
		if slowErr != nil {
			t.Fatal(slowErr)
		}
		want := []byte(s.text("message", &slowErr))
		if got.Version == V2 {
			want = s.base64("request", &slowErr)
		}
		if !bytes.Equal(got.Request, want) {
			t.Fatalf("signed bytes %q, want %q", got.Request, want)
		}
	})
}

// FuzzDecodeRequest wants that encoding/json reads the same from a request, and
// that what a server accepts survives the way out and back.
func FuzzDecodeRequest(f *testing.F) {
	l := captured(f)
	seed(f, l.requests[V1], l.requests[V2])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []Version{V1, V2} {
			got, err := DecodeRequest(v, data)
			if err != nil {
				continue
			}
			sameRequest(t, got, data)
			if !got.Time.IsZero() {
				again(t, got, EncodeRequest, func(data []byte) (Request, error) { return DecodeRequest(v, data) })
			}
		}
	})
}

func sameRequest(t *testing.T, got Request, data []byte) {
	t.Helper()
	s, err := slowly(data)
	if err != nil {
		t.Fatal(err)
	}
	want := Request{Version: got.Version}
	if got.Version == V1 {
		e := s.inside("envelope", &err)
		want.Payload = []byte(s.text("message", &err))
		want.ID, want.Sender, want.Caller = e.text("requestid", &err), e.text("senderid", &err), e.text("callerid", &err)
		want.Time = time.Unix(e.integer("time", &err), 0).UTC()
		s = e
	} else {
		want.Payload = s.base64("message", &err)
		want.ID, want.Sender, want.Caller = s.text("id", &err), s.text("sender", &err), s.text("caller", &err)
		want.Time = time.Unix(0, s.integer("time", &err)).UTC()
	}
	want.Collective, want.Agent = s.text("collective", &err), s.text("agent", &err)
	want.TTL = time.Duration(s.integer("ttl", &err)) * time.Second
	if !s.missing("filter") {
		want.Filter = slowFilter(t, s.inside("filter", &err))
	}
	if err != nil {
		t.Fatalf("encoding/json refuses a part of %s", data)
	}
	if diff := cmp.Diff(want, got, sameBytes); diff != "" {
		t.Fatalf("encoding/json reads something else: %s\n%s", diff, data)
	}
}

// slowFilter goes by maps: structs would also take keys in other letters.
func slowFilter(t *testing.T, s slow) Filter {
	t.Helper()
	var facts []map[string]json.RawMessage
	var compounds [][]map[string]json.RawMessage
	var want Filter
	into := map[string]any{
		"fact": &facts, "cf_class": &want.Class, "agent": &want.Agent, "identity": &want.Identity, "compound": &compounds,
	}
	for key, value := range into {
		if !s.missing(key) {
			if err := json.Unmarshal(s[key], value); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
	}
	var err error
	for _, f := range facts {
		want.Fact = append(want.Fact, FactFilter{slow(f).text("fact", &err), slow(f).text("operator", &err), slow(f).text("value", &err)})
	}
	for _, group := range compounds {
		one := []CompoundFilter{}
		for _, c := range group {
			one = append(one, CompoundFilter{slow(c).text("expr", &err)})
		}
		want.Compound = append(want.Compound, one)
	}
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func FuzzDecodeEvent(f *testing.F) {
	seed(f, captured(f).events)
	f.Add([]byte(`{"protocol":"io.choria.lifecycle.v1.startup","identity":"n","component":"server","timestamp":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEvent(data)
		if err != nil {
			return
		}
		if e.Type == "" {
			t.Fatal("an event without a type")
		}
		if e.Component == "" || e.Time.IsZero() {
			return
		}
		for _, legacy := range []bool{true, false} {
			again(t, e, func(e Event) ([]byte, error) { return EncodeEvent(e, legacy) }, DecodeEvent)
		}
	})
}

func FuzzCheckIdentity(f *testing.F) {
	for _, name := range []string{"web1.example.net", "a..b", "*", "\u00a0", "a\x7f"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckIdentity(name) != nil {
			return
		}
		subject := NodeSubject("mcollective", name)
		if strings.ContainsAny(subject, " \t\r\n*>\x00\x1b\x7f") || !utf8.ValidString(subject) {
			t.Fatalf("accepted %q", name)
		}
		for token := range strings.SplitSeq(subject, ".") {
			if token == "" {
				t.Fatalf("accepted %q: empty token", name)
			}
		}
	})
}
