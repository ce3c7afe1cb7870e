package saved

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"fleetctl/batch"
	"fleetctl/internal/gate"
)

func TestAPlanIsReadAsItWasSaved(t *testing.T) {
	f, path := file(t), at(t)
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f, got); d != "" {
		t.Error(d)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := f.Write(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written again: %v", err)
	}
	// What is written between the lines does not matter, and nothing else may be there.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(compact.Bytes()); err != nil || again.Digest != f.Digest {
		t.Errorf("compact: %v", err)
	}
	if strings.Contains(string(text), `\u003c`) || !strings.Contains(string(text), "role=<web>&") {
		t.Error("what a reader should read is escaped")
	}
}

func TestTheDigestDependsOnAllOfThePlan(t *testing.T) {
	seen := map[string]string{file(t).Digest: "the example"}
	minute := time.Minute
	for name, edit := range map[string]func(*Plan){
		"id": func(p *Plan) { p.ID += "x" }, "created": func(p *Plan) { p.Created = p.Created.Add(time.Second) }, "expires": func(p *Plan) { p.Expires = p.Expires.Add(time.Second) },
		"program": func(p *Plan) { p.Program += "x" }, "command": func(p *Plan) { p.Command = append(p.Command, "x") }, "site": func(p *Plan) { p.Site = "fra" }, "collective": func(p *Plan) { p.Collective = "other" },
		"federation": func(p *Plan) { p.Federations = nil }, "agent": func(p *Plan) { p.Agent = "rpcutil" }, "action": func(p *Plan) { p.Action = "shutdown" }, "ddl": func(p *Plan) { p.DDL = "1" },
		"inputs": func(p *Plan) { p.Inputs = map[string]string{"splay": "11"} }, "secrets": func(p *Plan) { p.Secrets = nil }, "ttl": func(p *Plan) { p.TTL++ },
		"version": func(p *Plan) { p.Nodes[0].Version = "0.30.3" }, "start": func(p *Plan) { p.Nodes[0].Started = p.Nodes[0].Started.Add(time.Second) },
		"rules": func(p *Plan) { p.Rules.FailFast = true }, "pace": func(p *Plan) { p.Pace.Sleep = 0 }, "verify": func(p *Plan) { p.Verify.None = true }, "settle": func(p *Plan) { p.Verify.Settle = &minute },
		"gates": func(p *Plan) { p.Gates[0].Command = "true" }, "script": func(p *Plan) { p.Gates[0].Scripts[0].SHA256 = "0" }, "query": func(p *Plan) { p.Gates[1].PromQL = "up" },
		"facts": func(p *Plan) { p.Facts["rack"][0] = "other" }, "selection": func(p *Plan) { p.Selection.Facts = nil }, "exclude": func(p *Plan) { p.Selection.Exclude = []string{"web9"} },
		"gate policy": func(p *Plan) { p.GatePolicy.For = 0 }, "reason": func(p *Plan) { p.Plan.Batches[0].Reason = "x" },
		"batches": func(p *Plan) {
			b := p.Plan.Batches
			b[1].Nodes, b[2].Nodes = b[1].Nodes[:1], append([]string{b[1].Nodes[1]}, b[2].Nodes...)
		},
	} {
		f := file(t, edit)
		if other := seen[f.Digest]; other != "" {
			t.Errorf("%s: the digest is that of %s", name, other)
		}
		seen[f.Digest] = name
	}
}

func TestEditedPlansAreRefused(t *testing.T) {
	f := file(t)
	f.Approvals = []Approval{approve(t, f, by(t, "bob", ourOrg, time.Hour), start)}
	encoded, err := f.encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(encoded)
	// resealed gives an edited plan the digest that it should have: an attacker knows how.
	resealed := func(edited string) string {
		var outer struct{ Plan json.RawMessage }
		var compact bytes.Buffer
		if err := json.Unmarshal([]byte(edited), &outer); err != nil {
			t.Fatal(err)
		}
		if err := json.Compact(&compact, outer.Plan); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(edited, f.Digest, digest(compact.Bytes()))
	}
	change := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("no %s in\n%s", old, text)
		}
		return strings.Replace(text, old, new, 1)
	}
	const otherDigest, otherWay, impossible = "its digest is that of another plan", "not written as fleetctl writes it", "not a plan that fleetctl makes"
	for _, tt := range []struct{ name, text, want string }{
		{"action", change(`"action": "restart"`, `"action": "shutdown"`), otherDigest},
		{"a node more", change(`"web1.example.net"`, `"web9.example.net"`), otherDigest},
		{"expiry", change(`"expires": "`, `"expires": "9`), otherDigest},
		{"digest", change(f.Digest, strings.Repeat("0", 64)), otherDigest},
		{"digest in capitals", change(f.Digest, strings.ToUpper(f.Digest)), otherDigest},
		{"a key twice", resealed(change(`"action": "restart"`, `"action": "ping", "action": "restart"`)), otherWay},
		{"a key in capitals", resealed(change(`"action": "restart"`, `"ACTION": "restart"`)), otherWay},
		{"a key again, in capitals", resealed(change(`"action": "restart"`, `"action": "ping", "Action": "restart"`)), otherWay},
		{"keys in another order", resealed(change(`"agent": "choria_provision",`, `"action": "restart", "agent": "choria_provision",`)), otherWay},
		{"an escape", resealed(change(`"action": "restart"`, `"action": "rest\u0061rt"`)), otherWay},
		{"a number in another way", resealed(change(`"ttl": 30000000000`, `"ttl": 3e10`)), "does not know"},
		{"a null", resealed(change(`"ddl": "0.30.2"`, `"ddl": null`)), otherWay},
		{"an unknown key", resealed(change(`"action": "restart"`, `"action": "restart", "pwn": 1`)), "does not know"},
		{"an unknown key outside", change(`"digest":`, `"x": 1, "digest":`), "does not know"},
		{"two plans", change("{\n \"plan\"", "{ \"plan\": {},\n \"plan\""), otherWay},
		{"no UTF-8", resealed(change(`"action": "restart"`, "\"action\": \"rest\xffrt\"")), otherWay},
		{"nodes and batches differ", resealed(strings.Replace(text, `"identity": "web1.example.net"`, `"identity": "web9.example.net"`, 1)), impossible},
		{"a node twice", resealed(strings.ReplaceAll(text, `"web2.example.net"`, `"web1.example.net"`)), impossible},
		{"no owner", resealed(change(`"owner": "up=alice"`, `"owner": ""`)), impossible},
		{"id is a path", resealed(change(`"id": "20261126-120000-abcde"`, `"id": "../../etc/passwd"`)), impossible},
		{"expires late", resealed(change(`"expires": "2`, `"expires": "3`)), impossible},
		{"a secret has a value", resealed(change(`"splay": "10"`, `"splay": "10", "token": "x"`)), impossible},
		{"a gate of nothing", resealed(change(`"command": "./check.sh",`, ``)), impossible},
		{"too many approvals", func() string {
			g := *f
			for range maxApprovals {
				g.Approvals = append(g.Approvals, f.Approvals[0])
			}
			text, err := g.encode()
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}(), "65 approvals"},
		{"newer", change(`"schema_version": 1`, `"schema_version": 2`), "a newer fleetctl wrote this plan (version 2, this program reads up to 1)"},
	} {
		path := write(t, tt.text)
		_, err := Read(path)
		if r, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || r.Hint == "" {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	for _, tt := range []struct{ name, text string }{
		{"empty", ""}, {"no JSON", "plan"}, {"another document", `{"plan":{"policy":{}}}`}, {"an array", "[]"}, {"null", "null"}, {"no plan", `{"digest":"x"}`}, {"cut", text[:len(text)/2]}, {"more behind", text + "x"},
	} {
		_, err := Read(write(t, tt.text))
		if _, ok := errors.AsType[*RefusedError](err); ok || err == nil || !strings.Contains(err.Error(), "it is not a saved plan") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestWhatIsNoPlanFile(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	large := at(t)
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+1); err != nil { // no block of it is on the disk
		t.Fatal(err)
	}
	if _, err := Read(large); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("large: %v", err)
	}
	if mkfifo, err := exec.LookPath("mkfifo"); err == nil {
		pipe := at(t)
		if err := exec.Command(mkfifo, pipe).Run(); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(pipe); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("a pipe: %v", err)
		}
	}
	f := file(t)
	if err := f.Write(filepath.Join(t.TempDir(), "none", "plan.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	link := at(t)
	if err := os.Symlink(at(t), link); err != nil {
		t.Skip(err)
	}
	if err := f.Write(link); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link to nowhere: %v", err)
	}
}

func TestPlansThatCannotBeSaved(t *testing.T) {
	for name, edit := range map[string]func(*Plan){
		"no id": func(p *Plan) { p.ID = "" }, "long id": func(p *Plan) { p.ID = strings.Repeat("a", 65) }, "no owner": func(p *Plan) { p.Owner = "" }, "no collective": func(p *Plan) { p.Collective = "" },
		"no agent": func(p *Plan) { p.Agent = "" }, "no action": func(p *Plan) { p.Action = "" }, "no start": func(p *Plan) { p.Created = time.Time{} }, "expired at once": func(p *Plan) { p.Expires = p.Created },
		"lives long": func(p *Plan) { p.Expires = p.Created.Add(LongestLife + time.Second) }, "no time to live": func(p *Plan) { p.TTL = 0 },
		"a secret": func(p *Plan) { p.Inputs = map[string]string{"password": "x"} }, "a secret by its kind": func(p *Plan) { p.Inputs, p.Secrets = map[string]string{"x": "x"}, []string{"x"} },
		"secrets unsorted": func(p *Plan) { p.Secrets = []string{"token", "key"} }, "a secret twice": func(p *Plan) { p.Secrets = []string{"token", "token"} },
		"a node less": func(p *Plan) { p.Nodes = p.Nodes[:4] }, "a node more": func(p *Plan) { p.Nodes = append(p.Nodes, Node{Identity: "x"}) }, "another order": func(p *Plan) { p.Nodes[0], p.Nodes[1] = p.Nodes[1], p.Nodes[0] },
		"no nodes": func(p *Plan) { p.Nodes, p.Plan.Batches = nil, nil }, "wildcard": func(p *Plan) { p.Nodes[0].Identity, p.Plan.Batches[0].Nodes[0] = "*", "*" },
		"nodes that are left out": func(p *Plan) { p.Plan.LeftOut = []batch.LeftOut{{Nodes: []string{"db9.example.net"}}} }, "a value of a fact less": func(p *Plan) { p.Facts["rack"] = p.Facts["rack"][1:] },
		"a file of nodes": func(p *Plan) { p.Selection.Exclude = []string{"@/etc/hosts"} },
		"doubts":          func(p *Plan) { p.Plan.Doubts = []batch.Target{{Node: "web1.example.net"}} }, "rules": func(p *Plan) { p.Rules.MaxFailed = batch.Number(-1) }, "pace": func(p *Plan) { p.Pace.ReplyTimeout = 0 },
		"policy": func(p *Plan) { p.Plan.Policy.Canary = -7 }, "two kinds of gate": func(p *Plan) { p.Gates[0].PromQL = "up" }, "scripts of a query": func(p *Plan) { p.Gates[1].Scripts = []gate.Script{{}} },
		"gate without time": func(p *Plan) { p.GatePolicy.Timeout = 0 }, "gate policy": func(p *Plan) { p.GatePolicy.Every = 0 },
	} {
		if _, err := New(example(t, edit)); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
	if _, err := New(example(t, func(p *Plan) {
		p.Created = p.Created.Add(time.Millisecond).Local()
		p.Gates = nil
		p.GatePolicy = GatePolicy{}
	})); err != nil {
		t.Errorf("times of this machine: %v", err)
	}
}

func TestApprovalsAreAddedToTheFile(t *testing.T) {
	f, path := file(t), at(t)
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	const n = 8
	var all sync.WaitGroup
	for i := range n {
		a := approve(t, f, by(t, string(rune('c'+i)), ourOrg, time.Hour), start)
		all.Go(func() {
			for {
				if _, err := AddApproval(path, f.Digest, a); err == nil {
					return
				} else if _, busy := errors.AsType[*RefusedError](err); !busy {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	got, err := Read(path)
	if err != nil || Count(got.Judge(by(t, "zoe", ourOrg, time.Hour), nil, start)) != n {
		t.Errorf("%d approvals, %v", len(got.Approvals), err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	a := approve(t, f, by(t, "bob", ourOrg, time.Hour), start)
	if _, err := AddApproval(path, strings.Repeat("0", 64), a); err == nil || !strings.Contains(err.Error(), "another plan now") {
		t.Errorf("another digest: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err == nil {
		if _, err := AddApproval(link, f.Digest, a); err != nil {
			t.Error(err)
		}
		if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
			t.Errorf("the link is %v, %v", info.Mode(), err)
		}
	}
	if _, err := AddApproval(filepath.Join(t.TempDir(), "none"), f.Digest, a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*approving"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".plan.json.approving"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := AddApproval(path, f.Digest, a); err == nil || !strings.Contains(err.Error(), "another approval is being added") {
		t.Errorf("a dead one: %v", err)
	}
}

func TestTheSchemaHolds(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("../../docs/schemas/saved-plan.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	full := file(t)
	full.Approvals = []Approval{approve(t, full, by(t, "bob", ourOrg, time.Hour), start)}
	ca, caPEM := authority(t, "ca")
	second := certified(t, "alice.mcollective", ca, caPEM)
	ofV1, err := New(example(t, func(p *Plan) { p.Owner = "choria=alice.mcollective" }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ofV1.Sign(second); err != nil {
		t.Fatal(err)
	}
	bare, err := New(example(t, func(p *Plan) {
		p.Gates, p.GatePolicy, p.Verify, p.Inputs, p.Secrets, p.Command, p.Federations, p.Site, p.DDL, p.Program = nil, GatePolicy{}, Verify{}, nil, nil, nil, nil, "", "", ""
		p.Rules, p.Facts, p.Selection = batch.Rules{}, nil, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*File{"full": full, "version 1": ofV1, "bare": bare} {
		text, err := f.encode()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range []map[string]any{doc.(map[string]any), doc.(map[string]any)["plan"].(map[string]any)} {
			part["unknown"] = true
			if schema.Validate(doc) == nil {
				t.Errorf("%s: an unknown key is valid", name)
			}
			delete(part, "unknown")
			if name == "bare" { // every key of it is required
				for key, value := range part {
					delete(part, key)
					if schema.Validate(doc) == nil {
						t.Errorf("without %s it is valid", key)
					}
					part[key] = value
				}
			}
		}
	}
}

// FuzzParse: what is read is a plan that is whole, and is written as it was read.
func FuzzParse(f *testing.F) {
	full, err := New(example(f))
	if err != nil {
		f.Fatal(err)
	}
	text, err := full.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, false)
	f.Add([]byte(`{"plan":{"format":"fleetctl-plan","schema_version":1},"digest":""}`), true)
	f.Fuzz(func(t *testing.T, text []byte, seal bool) {
		if seal { // past the digest, which fuzzing does not guess
			var outer struct {
				Plan json.RawMessage `json:"plan"`
			}
			var compact bytes.Buffer
			if json.Unmarshal(text, &outer) != nil || json.Compact(&compact, outer.Plan) != nil {
				return
			}
			text = []byte(`{"plan":` + compact.String() + `,"digest":"` + digest(compact.Bytes()) + `"}`)
		}
		got, err := Parse(text)
		if err != nil {
			if got != nil {
				t.Error("a plan beside an error")
			}
			return
		}
		again, err := got.encode()
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		if err := errors.Join(json.Compact(&a, text), json.Compact(&b, again)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("read %s, wrote %s, %v", a.String(), b.String(), err)
		}
		p := got.Plan
		if p.Plan.Nodes() != len(p.Nodes) || len(p.Nodes) == 0 || !p.Expires.After(p.Created) || !runID().MatchString(p.ID) {
			t.Errorf("believed %s", a.String())
		}
	})
}
