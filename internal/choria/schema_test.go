package choria

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

// doc is a JSON object that a case changes before it is decoded.
type doc = map[string]any

func goodFilter() doc {
	return doc{
		"fact":     []any{doc{"fact": "os.family", "operator": "==", "value": "redhat"}},
		"cf_class": []any{"apache"}, "agent": []any{"rpcutil"}, "identity": []any{"/web/"},
		"compound": []any{[]any{doc{"expr": "x"}}},
	}
}

func goodV1() doc {
	return doc{"protocol": "choria:request:1", "message": "{}", "envelope": doc{
		"requestid": strings.Repeat("a", 32), "senderid": "client", "callerid": "choria=bob", "collective": "mcollective",
		"agent": "rpcutil", "ttl": 60, "time": 1795334371, "filter": goodFilter(),
	}}
}

func goodV2() doc {
	return doc{
		"protocol": "io.choria.protocol.v2.request", "message": "e30=", "id": "x", "sender": "client", "caller": "up=bob",
		"collective": "choria", "agent": "rpcutil", "ttl": 60, "time": 1795334757619238693, "filter": goodFilter(),
	}
}

// filterCases hold for the filters of both versions.
var filterCases = []struct {
	name   string
	change func(filter doc)
	fails  string // part of the error; empty: accepted
}{
	{"as it is", func(doc) {}, ""},
	{"unknown key", func(f doc) { f["more"] = doc{"x": nil} }, ""},
	{"agent absent", func(f doc) { delete(f, "agent") }, ""},
	{"agent null", func(f doc) { f["agent"] = nil }, "agent: is null"},
	{"empty lists", func(f doc) {
		for k := range f {
			f[k] = []any{}
		}
	}, ""},
	{"fact absent", func(f doc) { delete(f, "fact") }, "fact: is missing"},
	{"fact null", func(f doc) { f["fact"] = nil }, "fact: is null"},
	{"class absent", func(f doc) { delete(f, "cf_class") }, "cf_class: is missing"},
	{"class null", func(f doc) { f["cf_class"] = nil }, "cf_class: is null"},
	{"identity absent", func(f doc) { delete(f, "identity") }, "identity: is missing"},
	{"identity null", func(f doc) { f["identity"] = nil }, "identity: is null"},
	{"compound absent", func(f doc) { delete(f, "compound") }, "compound: is missing"},
	{"compound null", func(f doc) { f["compound"] = nil }, "compound: is null"},
	{"class text", func(f doc) { f["cf_class"] = "apache" }, "cf_class: is not a list"},
	{"class number", func(f doc) { f["cf_class"] = []any{1} }, "cf_class: is not a string"},
	{"identity null inside", func(f doc) { f["identity"] = []any{nil} }, "identity: is null"},
	{"agent object inside", func(f doc) { f["agent"] = []any{doc{}} }, "agent: is not a string"},
	{"class empty text", func(f doc) { f["cf_class"] = []any{""} }, ""},
	{"compound flat", func(f doc) { f["compound"] = []any{doc{"expr": "x"}} }, "compound: is not a list of lists"},
	{"compound texts", func(f doc) { f["compound"] = []any{[]any{"x"}} }, "compound: is not an object"},
	{"compound null inside", func(f doc) { f["compound"] = []any{[]any{nil}} }, "compound: is null"},
	{"compound list empty", func(f doc) { f["compound"] = []any{[]any{}} }, ""},
	{"compound without expr", func(f doc) { f["compound"] = []any{[]any{doc{"other": "x"}}} }, ""},
	{"compound value not text", func(f doc) { f["compound"] = []any{[]any{doc{"other": 1}}} }, "compound: is not a string"},
	{"fact text", func(f doc) { f["fact"] = []any{"a=b"} }, "fact: is not an object"},
	{"fact name absent", func(f doc) { f["fact"] = []any{doc{"operator": "==", "value": "x"}} }, "fact: is missing"},
	{"fact name empty", func(f doc) { f["fact"] = []any{doc{"fact": "", "operator": "==", "value": "x"}} }, "fact: is empty"},
	{"fact value empty", func(f doc) { f["fact"] = []any{doc{"fact": "x", "operator": "==", "value": ""}} }, "value: is empty"},
	{"fact value number", func(f doc) { f["fact"] = []any{doc{"fact": "x", "operator": "==", "value": 1}} }, "value: is not a string"},
	{"fact operator absent", func(f doc) { f["fact"] = []any{doc{"fact": "x", "value": "x"}} }, "operator: is missing"},
	{"fact operator odd", func(f doc) { f["fact"] = []any{doc{"fact": "x", "operator": "=", "value": "x"}} }, "operator: is not a comparison"},
	{"fact =~", func(f doc) { f["fact"] = []any{doc{"fact": "x", "operator": "=~", "value": "x"}} }, ""},
	{"fact <=", func(f doc) { f["fact"] = []any{doc{"fact": "x", "operator": "<=", "value": "x", "more": 1}} }, ""},
}

func TestFilterSchema(t *testing.T) {
	for _, c := range filterCases {
		t.Run(c.name, func(t *testing.T) {
			filter := goodFilter()
			c.change(filter)
			v1, v2 := goodV1(), goodV2()
			v1["envelope"].(doc)["filter"], v2["filter"] = filter, filter
			_, err := DecodeRequest(V1, encode(t, v1))
			wantProblem(t, err, c.fails)
			_, err = DecodeRequest(V2, encode(t, v2))
			wantProblem(t, err, c.fails)
		})
	}
}

func TestRequestSchemaV1(t *testing.T) {
	top := func(key string, value any) func(doc) { return func(d doc) { set(d, key, value) } }
	env := func(key string, value any) func(doc) { return func(d doc) { set(d["envelope"].(doc), key, value) } }
	for _, c := range []struct {
		name   string
		change func(doc)
		fails  string
	}{
		{"as it is", func(doc) {}, ""},
		{"unknown keys", func(d doc) { d["more"], d["envelope"].(doc)["more"] = 1, []any{nil} }, ""},
		{"protocol absent", top("protocol", gone), "unknown protocol"},
		{"protocol v2", top("protocol", "io.choria.protocol.v2.request"), "unknown protocol"},
		{"message absent", top("message", gone), "message: is missing"},
		{"message empty", top("message", ""), "message: is empty"},
		{"message object", top("message", doc{}), "message: is not a string"},
		{"envelope absent", top("envelope", gone), "envelope: is missing"},
		{"envelope null", top("envelope", nil), "envelope: is null"},
		{"envelope text", top("envelope", "x"), "envelope: is not an object"},
		{"id absent", env("requestid", gone), "requestid: is missing"},
		{"id of 31", env("requestid", strings.Repeat("a", 31)), "requestid: is not 32"},
		{"id with dashes", env("requestid", "00000000-0000-0000-0000-000000000000"), "requestid: is not 32"},
		{"id of 32 letters that are no hex", env("requestid", strings.Repeat("ü", 32)), ""},
		{"sender absent", env("senderid", gone), "senderid: is missing"},
		{"sender null", env("senderid", nil), "senderid: is null"},
		{"sender empty", env("senderid", ""), ""},
		{"caller empty", env("callerid", ""), "callerid: is empty"},
		{"caller absent", env("callerid", gone), "callerid: is missing"},
		{"collective empty", env("collective", ""), "collective: is empty"},
		{"collective absent", env("collective", gone), "collective: is missing"},
		{"agent empty", env("agent", ""), "agent: is empty"},
		{"agent absent", env("agent", gone), "agent: is missing"},
		{"ttl absent", env("ttl", gone), "ttl: is missing"},
		{"ttl null", env("ttl", nil), "ttl: is null"},
		{"ttl 29", env("ttl", 29), "ttl: is below 30"},
		{"ttl 30", env("ttl", 30), ""},
		{"ttl text", env("ttl", "60"), "ttl: is not a whole number"},
		{"ttl fraction", env("ttl", 60.5), "ttl: is not a whole number"},
		{"ttl beyond a duration", env("ttl", int64(1)<<40), "ttl: is out of range"},
		{"time absent", env("time", gone), "time: is missing"},
		{"time null", env("time", nil), "time: is null"},
		{"time text", env("time", "now"), "time: is not a whole number"},
		{"time negative", env("time", -1), ""},
		{"filter absent", env("filter", gone), "filter: is missing"},
		{"filter null", env("filter", nil), "filter: is null"},
		{"filter list", env("filter", []any{}), "filter: is not an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := goodV1()
			c.change(d)
			_, err := DecodeRequest(V1, encode(t, d))
			wantProblem(t, err, c.fails)
		})
	}
}

func TestRequestSchemaV2(t *testing.T) {
	for _, c := range []struct {
		name, key string
		value     any
		fails     string
	}{
		{"unknown key", "more", doc{}, ""},
		{"protocol absent", "protocol", gone, "unknown protocol"},
		{"protocol v1", "protocol", "choria:request:1", "unknown protocol"},
		{"message absent", "message", gone, "message: is missing"},
		{"message empty", "message", "", "message: is empty"},
		{"message plain", "message", "{}", "message: is not base64"},
		{"id absent", "id", gone, "id: is missing"},
		{"id empty", "id", "", "id: is empty"},
		{"sender empty", "sender", "", "sender: is empty"},
		{"caller empty", "caller", "", "caller: is empty"},
		{"collective absent", "collective", gone, "collective: is missing"},
		{"agent null", "agent", nil, "agent: is null"},
		{"ttl 0", "ttl", 0, "ttl: is below 1"},
		{"ttl 1", "ttl", 1, ""},
		{"ttl absent", "ttl", gone, "ttl: is missing"},
		{"time 0", "time", 0, "time: is below 1"},
		{"time 1", "time", 1, ""},
		{"time absent", "time", gone, "time: is missing"},
		{"time fraction", "time", 1.5, "time: is not a whole number"},
		{"time beyond 63 bits", "time", uint64(1) << 63, "time: is not a whole number"},
		{"filter absent", "filter", gone, ""},
		{"filter null", "filter", nil, "filter: is null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := goodV2()
			set(d, c.key, c.value)
			_, err := DecodeRequest(V2, encode(t, d))
			wantProblem(t, err, c.fails)
		})
	}
}

func TestSecureRequestSchema(t *testing.T) {
	v1 := doc{"protocol": "choria:secure:request:1", "message": "m", "signature": "c2ln", "pubcert": "pem"}
	v2 := doc{"protocol": "io.choria.protocol.v2.secure_request", "request": "bQ==", "signature": "c2ln", "caller": "jwt", "signer": "jwt"}
	for _, c := range []struct {
		name  string
		base  doc
		key   string
		value any
		fails string
	}{
		{"v1", v1, "more", 1, ""},
		{"v1 message absent", v1, "message", gone, "message: is missing"},
		{"v1 message empty", v1, "message", "", "message: is empty"},
		{"v1 signature absent", v1, "signature", gone, "signature: is missing"},
		{"v1 signature empty", v1, "signature", "", "signature: is empty"},
		{"v1 signature a newline", v1, "signature", "\n", "signature: is empty"},
		{"v1 signature not base64", v1, "signature", "?", "signature: is not base64"},
		{"v1 pubcert absent", v1, "pubcert", gone, "pubcert: is missing"},
		{"v1 pubcert empty", v1, "pubcert", "", "pubcert: is empty"},
		{"v1 pubcert number", v1, "pubcert", 1, "pubcert: is not a string"},
		{"protocol absent", v1, "protocol", gone, "unknown protocol"},
		{"protocol odd", v1, "protocol", "choria:secure:request:3", "unknown protocol"},
		{"protocol number", v1, "protocol", 1, "protocol: is not a string"},
		{"protocol of a reply", v1, "protocol", "choria:secure:reply:1", "unknown protocol"},
		{"v2", v2, "more", 1, ""},
		{"v2 request absent", v2, "request", gone, "request: is missing"},
		{"v2 request empty", v2, "request", "", "request: is empty"},
		{"v2 signature absent", v2, "signature", gone, "signature: is missing"},
		{"v2 signature null", v2, "signature", nil, "signature: is null"},
		{"v2 signature empty", v2, "signature", "", "signature: is empty"},
		{"v2 signature a newline", v2, "signature", "\n", "signature: is empty"},
		{"v2 caller absent", v2, "caller", gone, "caller: is missing"},
		{"v2 caller empty", v2, "caller", "", "caller: is empty"},
		{"v2 signer absent", v2, "signer", gone, ""},
		{"v2 signer empty", v2, "signer", "", ""},
		{"v2 signer null", v2, "signer", nil, "signer: is null"},
		{"v2 signer number", v2, "signer", 1, "signer: is not a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := maps.Clone(c.base)
			set(d, c.key, c.value)
			_, err := DecodeSecureRequest(encode(t, d))
			wantProblem(t, err, c.fails)
		})
	}
}

func TestEncodeRequestRefusesWhatServersDrop(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Request)
		v1, v2 string
	}{
		{"as it is", func(*Request) {}, "", ""},
		{"version", func(r *Request) { r.Version = 0 }, "unknown protocol", "unknown protocol"},
		{"short id", func(r *Request) { r.ID = "a" }, "requestid: is not 32", ""},
		{"no id", func(r *Request) { r.ID = "" }, "requestid: is empty", "id: is empty"},
		{"no sender", func(r *Request) { r.Sender = "" }, "", "sender: is empty"},
		{"no caller", func(r *Request) { r.Caller = "" }, "caller", "caller"},
		{"no collective", func(r *Request) { r.Collective = "" }, "collective", "collective"},
		{"no agent", func(r *Request) { r.Agent = "" }, "agent", "agent"},
		{"no payload", func(r *Request) { r.Payload = nil }, "message", "message"},
		{"ttl 29s", func(r *Request) { r.TTL = 29 * time.Second }, "ttl: is below 30", ""},
		{"ttl 0", func(r *Request) { r.TTL = 0 }, "ttl: is below 30", "ttl: is below 1"},
		{"ttl in parts", func(r *Request) { r.TTL += time.Millisecond }, "ttl: 1m0.001s is not", "ttl: 1m0.001s is not"},
		{"no time", func(r *Request) { r.Time = time.Time{} }, "time: is not set", "time: is not set"},
		{"year 1900", func(r *Request) { r.Time = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC) }, "", "time: is below 1"},
		{"year 1000", func(r *Request) { r.Time = time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC) }, "", "time: year 1000 is out of range"},
		{"odd operator", func(r *Request) { r.Filter.Fact = []FactFilter{{"a", "=", "b"}} }, "operator", "operator"},
		{"empty fact value", func(r *Request) { r.Filter.Fact = []FactFilter{{"a", "==", ""}} }, "value: is empty", "value: is empty"},
		{"payload not text", func(r *Request) { r.Payload = []byte{0xff} }, "message: not UTF-8", ""},
		{"agent not text", func(r *Request) { r.Agent = "\xff" }, "not UTF-8", "not UTF-8"},
		{"filter not text", func(r *Request) { r.Filter.Class = []string{"\xff"} }, "not UTF-8", "not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for version, want := range map[Version]string{V1: c.v1, V2: c.v2} {
				r := goodRequest(version)
				c.change(&r)
				_, err := EncodeRequest(r)
				wantProblem(t, err, want)
			}
		})
	}
}

func goodRequest(v Version) Request {
	return Request{
		Version: v, ID: strings.Repeat("0", 32), Sender: "client.example.net", Caller: "choria=bob", Collective: "mcollective",
		Agent: "rpcutil", TTL: time.Minute, Time: time.Unix(1795334371, 0).UTC(), Payload: []byte(`{"agent":"rpcutil"}`),
	}
}

// gone as a value takes the key away.
var gone = new(int)

func set(d doc, key string, value any) {
	if value == any(gone) {
		delete(d, key)
		return
	}
	d[key] = value
}

func encode(t *testing.T, d doc) []byte {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantProblem wants an error that contains the text, or none when it is empty.
func wantProblem(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("accepted, want an error with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want one with %q", err, want)
	}
}
