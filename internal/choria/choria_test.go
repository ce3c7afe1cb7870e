package choria

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSubjects(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{BroadcastSubject("choria", "discovery"), "choria.broadcast.agent.discovery"},
		{NodeSubject("mcollective", "srv-1.example.net"), "mcollective.node.srv-1.example.net"},
		{ServiceSubject("mcollective", "choria_registry"), "mcollective.broadcast.service.choria_registry"},
		{MD5.Of("choria=rip.mcollective"), "37bdf08389145a56c13096c178802d3b"},
		{MD5.Of("up=bob"), "72dc525f8fe0064c0372c1fb3d729560"},
		{MD5.Of("choria=root.mcollective"), "978fdafb453694aeec90eb6e14b6b41f"},
		{SHA256.Of("choria=rip.mcollective"), "a8d26d6b19525a023b576468d70dd050cdace101bf8d438a58f071913d559a95"},
		{ReplyPrefix("choria", "up=bob", MD5), "choria.reply.72dc525f8fe0064c0372c1fb3d729560"},
		{ReplyPrefix("choria", "up=bob", SHA256), "choria.reply.a49a21f8923940b1a0d4044bdeda660a5e083b5159b84ba4355abbe6fdf94d78"},
		{MD5.String() + " " + SHA256.String() + " " + CallerHash(9).String(), "MD5 SHA-256 hash(9)"},
		{FederationSubject("fed1"), "choria.federation.fed1.federation"},
		{LifecycleSubject("startup", "server"), "choria.lifecycle.event.startup.server"},
		{LifecycleSubjects(), "choria.lifecycle.event.>"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	now := time.Unix(1795334371, 0)
	one, two := NewRequestID(V1, now), NewRequestID(V1, now)
	if len(one) != 32 || strings.Trim(one, "0123456789abcdef") != "" || one == two {
		t.Errorf("v1 ids %q, %q", one, two)
	}
	if one[12] != '4' || !strings.ContainsRune("89ab", rune(one[16])) {
		t.Errorf("v1 id %q is no UUID of version 4", one)
	}
	one, two = NewRequestID(V2, now), NewRequestID(V2, now)
	if len(one) != 27 || strings.Trim(one, base62) != "" || one == two {
		t.Errorf("v2 ids %q, %q", one, two)
	}
	if later := NewRequestID(V2, now.Add(time.Second)); later <= one || later <= two {
		t.Errorf("id %q of a later second does not sort behind %q and %q", later, one, two)
	}
	if got := NewRequestID(0, now); got != "" {
		t.Errorf("id %q without a version", got)
	}
}

// The text of a known KSUID, and the bounds of its alphabet.
func TestKSUIDText(t *testing.T) {
	known := [20]byte{
		0x06, 0x69, 0xF7, 0xEF, 0xB5, 0xA1, 0xCD, 0x34, 0xB5, 0xF9, 0x9D, 0x11, 0x54, 0xFB, 0x68, 0x53, 0x34, 0x5C, 0x97, 0x35,
	}
	if got, want := ksuidText(known), "0ujtsYcgvSTl8PAuAdqWYSMnLOv"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := ksuidText([20]byte{}), strings.Repeat("0", 27); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	highest := [20]byte(slices.Repeat([]byte{0xff}, 20))
	if got, want := ksuidText(highest), "aWgEPTl1tmebfsQzFP4bxwgy80V"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckIdentity(t *testing.T) {
	for _, good := range []string{"web1", "web1.example.net", "i-0abc_x", "büro.example", "a:b@c", "1"} {
		if err := CheckIdentity(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", " ", "\n", "a b", "a\tb", "web1 ", "*", "web*", ">", "a.>", ".a", "a.", "a..b", "a\x00b", "a\x1b[31m", "a\u200bb",
		"a\u00a0b", "\xff",
	} {
		if err := CheckIdentity(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestVersionAndStatusNames(t *testing.T) {
	for v, want := range map[Version]string{0: "unset", V1: "v1", V2: "v2", 3: "unset"} {
		if got := v.String(); got != want {
			t.Errorf("version %d: got %q, want %q", v, got, want)
		}
	}
	for code, want := range map[StatusCode]string{
		OK: "", Aborted: "Request Aborted", UnknownAction: "Unknown Action", MissingData: "Missing Request Data",
		InvalidData: "Invalid Request Data", UnknownError: "Unknown Request Status", 6: "Unknown Request Status", -2: "Unknown Request Status",
		Absent: "Not Connected",
	} {
		if got := code.String(); got != want {
			t.Errorf("status %d: got %q, want %q", code, got, want)
		}
	}
}

func TestFilterShape(t *testing.T) {
	for _, c := range []struct {
		name   string
		filter Filter
		want   string
	}{
		{"empty", Filter{}, `{"fact":[],"cf_class":[],"agent":[],"identity":[],"compound":[]}`},
		{"worked shape", Filter{
			Fact: []FactFilter{{"os.family", "==", "redhat"}}, Class: []string{"apache"}, Agent: []string{"rpcutil"},
			Compound: [][]CompoundFilter{{{"E"}}},
		}, `{"fact":[{"fact":"os.family","operator":"==","value":"redhat"}],"cf_class":["apache"],"agent":["rpcutil"],"identity":[],"compound":[[{"expr":"E"}]]}`},
		{"nil inside", Filter{Compound: [][]CompoundFilter{nil}}, `{"fact":[],"cf_class":[],"agent":[],"identity":[],"compound":[[]]}`},
	} {
		got, err := json.Marshal(c.filter)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

// Servers undo base64 wherever it decodes, so the ping is sent encoded: once
// in the V1 text, twice in the V2 document.
func TestPayloadRules(t *testing.T) {
	for version, want := range map[Version]string{V1: `"message":"cGluZw=="`, V2: `"message":"Y0dsdVp3PT0="`} {
		r := goodRequest(version)
		r.Payload = DiscoveryPing()
		data, err := EncodeRequest(r)
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%v: %s, %v: want %s", version, data, err, want)
		}
		got, err := DecodeRequest(version, data)
		if err != nil || string(got.Body()) != "ping" || !IsDiscoveryPing(got.Body()) {
			t.Errorf("%v: body %q, %v", version, got.Body(), err)
		}
	}
	for payload, want := range map[string]string{
		`{"agent":"x"}`: `{"agent":"x"}`, "ping": "\xa6)\xe0", "eyJ9": `{"}`, "e30=\n": "{}", "": "",
	} {
		if got := string(Request{Payload: []byte(payload)}.Body()); got != want {
			t.Errorf("payload %q: body %q, want %q", payload, got, want)
		}
	}
	if IsDiscoveryPing([]byte("pong")) || !IsDiscoveryPing([]byte(" ping!")) {
		t.Error("a ping is what contains ping")
	}
}

func TestUnsignedRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure SecureRequest
		want   string
	}{
		{"v1", SecureRequest{Version: V1, Request: []byte("m")},
			`{"protocol":"choria:secure:request:1","message":"m","signature":"insecure","pubcert":"insecure"}`},
		{"v1 registration", SecureRequest{Version: V1, Request: []byte("m"), Certificate: "insecure registration"},
			`{"protocol":"choria:secure:request:1","message":"m","signature":"aW5zZWN1cmUgcmVnaXN0cmF0aW9u","pubcert":"insecure registration"}`},
		{"v2", SecureRequest{Version: V2, Request: []byte("m"), Caller: "jwt"},
			`{"protocol":"io.choria.protocol.v2.secure_request","request":"bQ==","signature":"aW5zZWN1cmU=","caller":"jwt"}`},
	} {
		data, err := EncodeSecureRequest(c.secure)
		if err != nil || string(data) != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.name, data, err, c.want)
		}
		again, err := DecodeSecureRequest(data)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.secure, again); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	empty := SecureRequest{Version: V2, Request: []byte("m"), Caller: "jwt", Signature: []byte{}}
	if _, err := EncodeSecureRequest(empty); err == nil {
		t.Error("an empty signature passed for none")
	}
}

func TestTransportOfBothVersions(t *testing.T) {
	full := Transport{
		Data: []byte("{}"), ReplyTo: "r", Sender: "s", SeenBy: [][3]string{{"a", "b", "c"}},
		Federation: &Federation{RequestID: "i", ReplyTo: "o", Targets: []string{"mcollective.node.x"}},
	}
	for version, want := range map[Version]string{
		V1: `{"protocol":"choria:transport:1","data":"e30=","headers":{"reply-to":"r","mc_sender":"s","seen-by":[["a","b","c"]],"federation":{"req":"i","reply-to":"o","target":["mcollective.node.x"]}}}`,
		V2: `{"protocol":"io.choria.protocol.v2.transport","data":"e30=","headers":{"reply":"r","sender":"s","trace":[["a","b","c"]],"federation":{"request":"i","reply":"o","targets":["mcollective.node.x"]}}}`,
	} {
		full.Version = version
		data, err := EncodeTransport(full)
		if err != nil || string(data) != want {
			t.Errorf("got %s, %v, want %s", data, err, want)
		}
		again, err := DecodeTransport(data)
		if diff := cmp.Diff(full, again); err != nil || diff != "" {
			t.Errorf("%v, %s", err, diff)
		}
		bare := Transport{Version: version, Data: []byte("{}")}
		data, err = EncodeTransport(bare)
		if err != nil || !strings.HasSuffix(string(data), `"headers":{}}`) {
			t.Errorf("got %s, %v: headers are always there", data, err)
		}
	}
}

func TestTransportTolerance(t *testing.T) {
	for _, c := range []struct {
		data, fails string
		want        Transport
	}{
		{`{"protocol":"choria:transport:1","data":"eA=="}`, "", Transport{Version: V1, Data: []byte("x")}},
		{" {\"data\":\"eA\\n==\",\"x\":[{}],\"protocol\":\"choria:transport:1\",\"headers\":null}\n", "", Transport{Version: V1, Data: []byte("x")}},
		{`{"protocol":"choria:transport:1","data":"eA==","headers":{"seen-by":[["a"],null,["b","c","d",1]],"federation":{}}}`, "",
			Transport{Version: V1, Data: []byte("x"), SeenBy: [][3]string{{"a"}, {}, {"b", "c", "d"}}, Federation: &Federation{}}},
		{`{"protocol":"choria:transport:1","data":"eA==","headers":{"reply":"v2 name"}}`, "", Transport{Version: V1, Data: []byte("x")}},
		{`{"protocol":"choria:transport:2","data":"eA=="}`, "unknown protocol", Transport{}},
		{`{"data":"eA=="}`, "unknown protocol", Transport{}},
		{`{"protocol":"choria:transport:1"}`, "data: is missing", Transport{}},
		{`{"protocol":"choria:transport:1","data":"?"}`, "data: is not base64", Transport{}},
		{`{"protocol":"choria:transport:1","data":""}`, "data: is empty", Transport{}},
		{`{"protocol":"choria:transport:1","data":"eA==","headers":[]}`, "headers: is not an object", Transport{}},
		{`{"protocol":"choria:transport:1","data":"eA==","headers":{"mc_sender":1}}`, "mc_sender: is not a string", Transport{}},
		{`{"protocol":"choria:transport:1","data":"eA==","headers":{"seen-by":{}}}`, "seen-by: is not a list", Transport{}},
		{`[]`, "not a JSON object", Transport{}},
		{``, "not a JSON object", Transport{}},
		{`{"protocol":"choria:transport:1","data":"eA=="}}`, "not JSON at byte 47", Transport{}},
	} {
		got, err := DecodeTransport([]byte(c.data))
		wantProblem(t, err, c.fails)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.data, diff)
		}
	}
	if _, err := DecodeTransport([]byte(`{}`)); !errors.Is(err, ErrUnknownProtocol) {
		t.Errorf("error %v is not ErrUnknownProtocol", err)
	}
}

func TestReplyHash(t *testing.T) {
	for _, version := range []Version{V1, V2} {
		data, err := EncodeSecureReply(SecureReply{Version: version, Reply: []byte(`{"a":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		reply, err := DecodeSecureReply(data)
		if err != nil || len(reply.Hash) != 32 || string(reply.Reply) != `{"a":1}` {
			t.Errorf("%v: %+v, %v", version, reply, err)
		}
		reply.Hash[0]++
		if data, err = EncodeSecureReply(reply); err != nil {
			t.Fatal(err)
		}
		if _, err = DecodeSecureReply(data); !errors.Is(err, ErrHash) {
			t.Errorf("%v: error %v, want ErrHash", version, err)
		}
		reply.Hash = []byte("short")
		if data, err = EncodeSecureReply(reply); err != nil {
			t.Fatal(err)
		}
		if _, err = DecodeSecureReply(data); !errors.Is(err, ErrHash) {
			t.Errorf("%v: error %v, want ErrHash", version, err)
		}
	}
}

func TestReplyTolerance(t *testing.T) {
	for _, c := range []struct {
		version     Version
		data, fails string
		want        Reply
	}{
		{V1, `{"protocol":"choria:reply:1","message":"","envelope":{"senderid":"n","x":1}}`, "", Reply{Version: V1, Sender: "n", Payload: []byte{}}},
		{V1, `{"protocol":"choria:reply:1","envelope":{"senderid":"n"}}`, "message: is missing", Reply{}},
		{V1, `{"protocol":"choria:reply:1","message":"m"}`, "envelope: is missing", Reply{}},
		{V1, `{"protocol":"choria:reply:1","message":"m","envelope":{}}`, "senderid: is missing", Reply{}},
		{V1, `{"protocol":"choria:reply:1","message":"m","envelope":{"senderid":""}}`, "senderid: is empty", Reply{}},
		{V1, `{"protocol":"choria:reply:1","message":"m","envelope":{"senderid":"n","time":1.5}}`, "time: is not a whole number", Reply{}},
		{V1, `{"protocol":"io.choria.protocol.v2.reply","message":"bQ==","sender":"n"}`, "unknown protocol", Reply{}},
		{V2, `{"protocol":"io.choria.protocol.v2.reply","message":"bQ==","sender":"n","time":0}`, "",
			Reply{Version: V2, Sender: "n", Payload: []byte("m"), Time: time.Unix(0, 0).UTC()}},
		{V2, `{"protocol":"io.choria.protocol.v2.request","message":"bQ==","sender":"n"}`, "unknown protocol", Reply{}},
		{V2, `{"protocol":"io.choria.protocol.v2.reply","message":"m","sender":"n"}`, "message: is not base64", Reply{}},
		{0, `{}`, "unknown protocol", Reply{}},
	} {
		got, err := DecodeReply(c.version, []byte(c.data))
		wantProblem(t, err, c.fails)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.data, diff)
		}
	}
}

func TestRPCBodies(t *testing.T) {
	for data, want := range map[string]RPCRequest{
		`{"agent":"a","action":"b"}`:               {"a", "b", json.RawMessage(`{}`)},
		`{"agent":"a","action":"b","data":null}`:   {"a", "b", json.RawMessage(`{}`)},
		`{"agent":"a","action":"b","data":[1, 2]}`: {"a", "b", json.RawMessage(`[1, 2]`)},
		`{"action":"b","data":"a\"b","caller":1}`:  {"", "b", json.RawMessage(`"a\"b"`)},
		`{}`: {"", "", json.RawMessage(`{}`)},
	} {
		got, err := DecodeRPCRequest([]byte(data))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", data, err, diff)
		}
	}
	for data, want := range map[string]RPCReply{
		`{"action":"a","statuscode":0,"statusmsg":"OK","data":{"x":1}}`: {"a", OK, "OK", json.RawMessage(`{"x":1}`)},
		`{"statuscode":99,"data":null}`:                                 {"", 99, "", nil},
		`{"statuscode":1,"statusmsg":"<\u00fc>","data":"{}"}`:           {"", Aborted, "<ü>", json.RawMessage(`"{}"`)},
	} {
		got, err := DecodeRPCReply([]byte(data))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", data, err, diff)
		}
	}
	for data, want := range map[string]string{
		`{"action":"a","statusmsg":"OK","data":{}}`: "statuscode: is missing",
		`{"statuscode":null}`:                       "statuscode: is null",
		`{"statuscode":"0"}`:                        "statuscode: is not a whole number",
		`{"statuscode":-1}`:                         "statuscode: is negative",
		`{"statuscode":0,"data":{]}`:                "not JSON",
		`pong`:                                      "not a JSON object",
	} {
		_, err := DecodeRPCReply([]byte(data))
		wantProblem(t, err, want)
	}
	_, err := EncodeRPCRequest(RPCRequest{Agent: "a", Action: "b", Data: json.RawMessage(`{"token":"s3cret`)})
	wantProblem(t, err, "data: is not JSON")
	if strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %q quotes an input", err)
	}
}

func TestEvents(t *testing.T) {
	now := time.Unix(1795334447, 0).UTC()
	e := Event{Type: "upgraded", ID: "u", Identity: "n", Component: "server", Version: "1", NewVersion: "2", Time: now}
	inner := `{"protocol":"io.choria.lifecycle.v1.upgraded","id":"u","identity":"n","component":"server","timestamp":1795334447,"version":"1","new_version":"2"}`
	cloud := `{"specversion":"1.0","id":"u","source":"io.choria.lifecycle","type":"io.choria.lifecycle.v1.upgraded","subject":"n",` +
		`"datacontenttype":"application/json","time":"2026-11-22T08:00:47Z","data":` + inner + `}`
	for legacy, want := range map[bool]string{true: inner, false: cloud} {
		got, err := EncodeEvent(e, legacy)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
		again, err := DecodeEvent(got)
		if diff := cmp.Diff(e, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	for data, want := range map[string]string{
		`{"protocol":"io.choria.lifecycle.v1.new_kind","x":1}`:                                     "",
		`{"protocol":"choria:lifecycle:startup:1"}`:                                                "unknown protocol",
		`{"protocol":"io.choria.lifecycle.v1."}`:                                                   "unknown protocol",
		`{"protocol":"io.choria.lifecycle.v2.startup"}`:                                            "unknown protocol",
		`{"protocol":"io.choria.lifecycle.v1.startup","timestamp":"x"}`:                            "timestamp: is not a whole number",
		`{"protocol":"io.choria.machine.v1"}`:                                                      "unknown protocol",
		`{"specversion":"1.1","source":"io.choria.lifecycle","data":` + inner + `}`:                "unknown protocol",
		`{"specversion":"1.0","source":"io.choria.machine","data":` + inner + `}`:                  "unknown protocol",
		`{"specversion":"1.0","source":"io.choria.lifecycle","data":"x"}`:                          "data: is not an object",
		`{"specversion":"1.0","source":"io.choria.lifecycle","data":{}}`:                           "unknown protocol",
		`{"specversion":1.0,"source":"io.choria.lifecycle","data":` + inner + `}`:                  "unknown protocol",
		`{"protocol":"x","specversion":"1.0","source":"io.choria.lifecycle","data":` + inner + `}`: "",
	} {
		_, err := DecodeEvent([]byte(data))
		wantProblem(t, err, want)
	}
	if _, err := EncodeEvent(Event{Type: "a.b", Component: "c", Time: now}, true); err == nil {
		t.Error("a type of two tokens was encoded")
	}
}
