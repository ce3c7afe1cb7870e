package ddl

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckSendsWhatTheRealClientSends(t *testing.T) {
	tests := []struct {
		agent, action string
		raw           map[string]string
		want          string
	}{
		{"choria_provision", "restart", map[string]string{"token": "s3cret", "splay": "1"}, `{"splay":1,"token":"s3cret"}`},
		{"choria_provision", "restart", map[string]string{"TOKEN": "s3cret"}, `{"token":"s3cret"}`},
		{"choria_provision", "restart", map[string]string{"token": "x", "splay": "6e2"}, `{"splay":600,"token":"x"}`},
		{"choria_provision", "restart", map[string]string{"token": "x", "splay": "0"}, `{"splay":0,"token":"x"}`},
		{"choria_provision", "gencsr", map[string]string{"token": "x", "C": "MT", "CN": "a"}, `{"C":"MT","cn":"a","token":"x"}`},
		{"choria_provision", "configure", map[string]string{"config": `{"a":"b"}`, "opa_policies": `{"x.rego":"y"}`},
			`{"action_policies":{},"config":"{\"a\":\"b\"}","ecdh_public":"","opa_policies":{"x.rego":"y"},"server_jwt":"","token":""}`},
		{"choria_registry", "names", nil, `{"plugin_type":"agent"}`},
		{"choria_registry", "ddl", map[string]string{"name": "x"}, `{"format":"json","name":"x","plugin_type":"agent"}`},
		{"rpcutil", "ping", nil, `{}`},
		{"rpcutil", "get_fact", map[string]string{"fact": "a<b"}, `{"fact":"a\u003cb"}`},
		{"scout", "trigger", map[string]string{"checks": `["a", 1]`}, `{"checks":["a",1]}`},
		{"executor", "list", map[string]string{"running": "T", "since": "12"}, `{"running":true,"since":12}`},
	}
	for _, tt := range tests {
		got, err := mustAction(t, tt.agent, tt.action).Check(tt.agent, tt.raw)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s#%s %v: got %s, %v, want %s", tt.agent, tt.action, tt.raw, got, err, tt.want)
		}
	}
}

func TestCheckRefusesBeforeAnythingIsSent(t *testing.T) {
	long := strings.Repeat("x", 129)
	tests := []struct {
		name, agent, action string
		raw                 map[string]string
		input, problem      string
	}{
		{"unknown key", "choria_provision", "restart", map[string]string{"tokn": "s3cret"}, "tokn", "is unknown"},
		{"missing, default blank", "choria_provision", "restart", nil, "token", "is required"},
		{"missing, no default", "rpcutil", "get_fact", nil, "fact", "is required"},
		{"blank", "choria_provision", "restart", map[string]string{"token": ""}, "token", "may not be blank"},
		{"too long", "choria_provision", "restart", map[string]string{"token": long}, "token", "is 129 bytes long, 128 are allowed"},
		{"splay negative", "choria_provision", "restart", map[string]string{"token": "x", "splay": "-1"}, "splay", "must be whole seconds from 0 to 600, not -1"},
		{"splay huge", "choria_provision", "restart", map[string]string{"token": "x", "splay": "601"}, "splay", "must be whole seconds from 0 to 600, not 601"},
		{"splay fraction", "choria_provision", "restart", map[string]string{"token": "x", "splay": "1.5"}, "splay", "must be whole seconds from 0 to 600, not 1.5"},
		{"splay text", "choria_provision", "restart", map[string]string{"token": "x", "splay": "x"}, "splay", `must be a number, not "x"`},
		{"splay not finite", "choria_provision", "restart", map[string]string{"token": "x", "splay": "NaN"}, "splay", `must be a number, not "NaN"`},
		{"pattern", "choria_provision", "gencsr", map[string]string{"token": "x", "C": "mt"}, "C", `does not match the pattern "^[A-Z]{2}$"`},
		{"twice", "rpcutil", "get_fact", map[string]string{"fact": "x", "Fact": "y"}, "fact", "is given twice"},
		{"list", "choria_registry", "names", map[string]string{"plugin_type": "data"}, "plugin_type", "must be one of agent"},
		{"shellsafe", "choria_registry", "ddl", map[string]string{"name": "a;b"}, "name", `may not contain ";"`},
		{"boolean", "executor", "list", map[string]string{"running": "yes"}, "running", `must be a boolean (true or false), not "yes"`},
		{"integer", "executor", "list", map[string]string{"since": "1.0"}, "since", `must be an integer, not "1.0"`},
		{"array", "scout", "trigger", map[string]string{"checks": "null"}, "checks", "must be a JSON array"},
		{"hash", "choria_provision", "configure", map[string]string{"config": "{a}", "opa_policies": "[]"}, "opa_policies", "must be a JSON object"},
		{"no inputs", "rpcutil", "ping", map[string]string{"x": "y"}, "x", "is unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mustAction(t, tt.agent, tt.action).Check(tt.agent, tt.raw)
			refusal, ok := errors.AsType[*InputError](err)
			if !ok {
				t.Fatalf("got %s, %v, want a refusal", got, err)
			}
			want := &InputError{Agent: tt.agent, Action: tt.action, Input: tt.input, Problem: tt.problem, Hint: refusal.Hint}
			if d := cmp.Diff(want, refusal); d != "" {
				t.Errorf("refusal (-want +got):\n%s", d)
			}
		})
	}
}

func TestCheckSuggestsTheNearestInput(t *testing.T) {
	_, err := mustAction(t, "choria_provision", "restart").Check("choria_provision", map[string]string{"spaly": "1"})
	refusal, ok := errors.AsType[*InputError](err)
	if want := `did you mean "splay"? inputs of restart: splay, token`; !ok || refusal.Hint != want {
		t.Errorf("got %v, want the hint %s", err, want)
	}
}

// What the document says of an input does not help when a variable of the shell was empty.
func TestABlankInputAsksAboutAVariable(t *testing.T) {
	for input, want := range map[string]string{"token": "is a variable unset? give token=@FILE, token=- or token=env:NAME, or token=VALUE", "splay": "is a variable unset? give splay=VALUE"} {
		raw := map[string]string{"token": "x"}
		raw[input] = ""
		_, err := mustAction(t, "choria_provision", "restart").Check("choria_provision", raw)
		if refusal, ok := errors.AsType[*InputError](err); !ok || refusal.Hint != want {
			t.Errorf("%s: got %v, %+v, want the hint %s", input, err, refusal, want)
		}
	}
}

func TestErrorsNeverQuoteSecrets(t *testing.T) {
	const value = "hunter2-value"
	for _, kind := range []string{"string", "integer", "number", "boolean", "list", "hash", "array", "odd"} {
		for _, name := range []string{"token", "Password", "secret"} {
			for _, validation := range []string{"^$", "ipaddress", "ipv4address", "ipv6address", "("} {
				a := &Action{Name: "do", Inputs: map[string]Input{name: {Name: name, Type: kind, MaxLength: 50, Validation: validation, List: []string{"a"}}}}
				got, err := a.Check("x", map[string]string{name: value})
				if err == nil {
					t.Errorf("%s %s: got %s, want an error", kind, validation, got)
				} else if refusal, _ := errors.AsType[*InputError](err); strings.Contains(err.Error()+refusal.Hint, "hunter2") {
					t.Errorf("%s %s: %v quotes the value", kind, validation, err)
				}
			}
		}
	}
}

func TestStringChecks(t *testing.T) {
	tests := []struct {
		validation, text string
		max              int
		ok               bool
	}{
		{"ipv4address", "10.0.0.1", 50, true}, {"ipv4address", "::ffff:10.0.0.1", 50, true}, {"ipv4address", "::1", 50, false},
		{"ipv6address", "::1", 50, true}, {"ipv6address", "10.0.0.1", 50, false}, {"ipv6address", "fe80::1%eth0", 50, false},
		{"ipaddress", "::1", 50, true}, {"ipaddress", "10.0.0.1", 50, true}, {"ipaddress", "x", 50, false},
		{"shellsafe", "a b & c", 50, true}, {"shellsafe", "a && b", 50, false}, {"shellsafe", "`x`", 50, false},
		{"unheard_of", "anything", 50, true},
		{"^a", "ba", 0, true}, // no length: nothing is checked
		{"^a", "ba", 5, false},
		{"", "é", 1, false}, // bytes count
		{"(", "a", 5, false},
	}
	for _, tt := range tests {
		i := Input{Name: "x", Type: "String", MaxLength: tt.max, Validation: tt.validation}
		if _, problem := i.convert(tt.text); (problem == "") != tt.ok {
			t.Errorf("%q against %q: problem %q, want ok %v", tt.text, tt.validation, problem, tt.ok)
		}
	}
}

// vector is a captured request of the real client.
type vector struct {
	Command  []string `json:"command"`
	Messages []struct {
		Decoded struct {
			Body struct {
				Agent  string          `json:"agent"`
				Action string          `json:"action"`
				Data   json.RawMessage `json:"data"`
			} `json:"body"`
		} `json:"decoded"`
	} `json:"messages"`
}

func TestCheckAgreesWithCapturedRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %d vectors, %v", len(files), err)
	}
	for _, pattern := range []string{"provision_*.json", "rpcutil_*.json", "choria_util_*.json"} {
		more, _ := filepath.Glob("../../../shared/vectors/insecure/" + pattern)
		files = append(files, more...)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v vector
		if err := json.Unmarshal(data, &v); err != nil || len(v.Messages) == 0 {
			t.Fatalf("%s: %v", file, err)
		}
		body := v.Messages[0].Decoded.Body
		if body.Agent == "" {
			continue // a discovery request
		}
		raw := map[string]string{}
		for _, arg := range v.Command {
			if key, value, ok := strings.Cut(arg, "="); ok && !strings.HasPrefix(arg, "-") && key != "country" {
				raw[key] = value
			}
		}
		got, err := mustAction(t, body.Agent, body.Action).Check(body.Agent, raw)
		if strings.HasSuffix(file, "_no_token.json") || strings.HasSuffix(file, "_bad_splay.json") {
			if err == nil {
				t.Errorf("%s: %s was accepted, the real client's mistake", file, got)
			}
			continue
		}
		var compact strings.Builder
		if e := json.NewEncoder(&compact).Encode(body.Data); e != nil {
			t.Fatal(e)
		}
		if err != nil || string(got) != strings.TrimSpace(compact.String()) {
			t.Errorf("%s: got %s, %v, want %s", file, got, err, compact.String())
		}
	}
}

// TestInputsThatAreSecret: what such an input holds is neither recorded nor shown, whatever the document calls it.
func TestInputsThatAreSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"token": true, "new_password": true, "passphrase": true, "apiKey": true, "psk": true, "bind_pass": true, "client_secret": true,
		"splay": false, "monkey": false, "": false,
	} {
		if got := (Input{Name: name}).Secret(); got != want {
			t.Errorf("input %q is secret: %v, want %v", name, got, want)
		}
	}
}
