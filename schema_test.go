package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fleetctl/internal/lab"
)

const schemaDir = "docs/schemas"

// schemas are docs/schemas, and which of them real output was held against.
type schemas struct {
	compiled map[string]*jsonschema.Schema
	mu       sync.Mutex // guards used
	used     map[string]bool
}

func loadSchemas(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{compiled: map[string]*jsonschema.Schema{}, used: map[string]bool{"defs": true}}
	files, err := filepath.Glob(filepath.Join(schemaDir, "*.schema.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, file := range files {
		compiled, err := c.Compile(file) // and checks it against the draft's own schema
		if err != nil {
			t.Fatal(err)
		}
		s.compiled[strings.TrimSuffix(filepath.Base(file), ".schema.json")] = compiled
	}
	return s
}

// check holds a document against a schema, and then without each of its keys in turn: those that the schema requires
// must be missed.
func (s *schemas) check(t *testing.T, name, text string) {
	t.Helper()
	schema, ok := s.compiled[name]
	if !ok {
		t.Fatalf("no schema %s", name)
	}
	s.mu.Lock()
	s.used[name] = true
	s.mu.Unlock()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Errorf("%s: %v: %q", name, err, text)
		return
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: %v\n%s", name, err, text)
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return
	}
	required := requiredKeys(schema, doc)
	if len(required) == 0 && name != "facts" {
		t.Errorf("%s: requires no key of %s", name, text)
	}
	for _, key := range required {
		value := object[key]
		delete(object, key)
		if schema.Validate(doc) == nil {
			t.Errorf("%s: a document without %q is valid", name, key)
		}
		object[key] = value
	}
}

// requiredKeys are those that a schema wants of a valid document.
func requiredKeys(s *jsonschema.Schema, doc any) []string {
	keys := s.Required
	if s.Ref != nil {
		keys = append(keys, requiredKeys(s.Ref, doc)...)
	}
	for _, part := range s.AllOf {
		keys = append(keys, requiredKeys(part, doc)...)
	}
	for _, branch := range s.OneOf {
		if branch.Validate(doc) == nil {
			keys = append(keys, requiredKeys(branch, doc)...)
		}
	}
	return keys
}

// output is a command whose output has a schema.
type output struct {
	schema string // "lines" and "inventory-lines": one document a line
	code   int
	args   string
}

// acts are outputs of what changes nodes, one after another: the fleet has a node that refuses and a silent one.
var acts = []output{
	{"lines", 5, "req choria_provision restart token=wrong --jsonl --canary 1 --state-dir c"},
	{"req", 5, "req choria_provision restart token=wrong --json --canary 1 --state-dir b"},
	{"req", 3, "req choria_provision restart splay=1 --json --canary 0 --reply-timeout 2 --state-dir a"},
	{"inventory-diff", 0, "inventory --diff snapshot --output json"},
	{"runs-list", 0, "runs list --json --state-dir a"},
	{"runs-show", 0, "runs show last --json --state-dir a"},
	{"runs-show", 0, "runs report last --output json --state-dir a"},
}

// results are outputs of what changes nothing.
var results = []output{
	{"req", 0, "req rpcutil ping --json"},
	{"req", 0, "req rpcutil agent_inventory --output json --batch 5 --batch-sleep 0"},
	{"req", 4, "req rpcutil ping -I nobody.example.net --reply-timeout 1 --json"},
	{"req", 0, "req choria_registry names plugin_type=agent --json"},
	{"req", 3, "req choria_registry ddl name=nothing plugin_type=agent format=json --json"},
	{"plan", 0, "req choria_provision restart --dry-run --json --batch 1,25% --spread-by site --max-per site=5"},
	{"lines", 0, "req rpcutil ping --jsonl --batch 4 --batch-sleep 0"},
	{"lines", 0, "req rpcutil ping --jsonl --dry-run"},
	{"lines", 4, "req rpcutil ping -I nobody.example.net --reply-timeout 1 --jsonl"},
	{"lines", 0, "req choria_registry names plugin_type=agent --jsonl"},
	{"lines", 8, "req rpcutil ping -C nothing --discovery-timeout 1 --jsonl"},
	{"lines", 2, "req rpcutil pong --jsonl"},
	{"runs-list", 0, "runs list --json --state-dir empty"},
	{"inventory-collectives", 0, "inventory --collectives --json"},
	{"inventory-fleet", 0, "inventory --output json --agent-versions"},
	{"inventory-fleet", 0, "inventory --output json --group-by version"},
	{"inventory-lines", 0, "inventory --output jsonl"},
	{"inventory-lines", 0, "inventory --output jsonl --group-by version"},
	{"names", 0, "discover --json"},
	{"names", 8, "discover --json -C nothing --discovery-timeout 1"},
	{"names", 0, "req rpcutil ping --senders --json"},
	{"names", 4, "req rpcutil ping -I nobody.example.net --reply-timeout 1 --senders --json"},
	{"facts", 0, "facts country --json"},
	{"version", 0, "version --json"},
	{"doctor", 0, "doctor --json"},
	{"doctor", 9, "doctor --json --config nobroker.conf --connect-timeout 1"},
}

func TestOutputKeepsItsSchemas(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := loadSchemas(t)
	t.Run("real output", func(t *testing.T) {
		for _, protocol := range []int{1, 2} {
			f := newFleet(t, lab.Options{Nodes: 9, Protocol: protocol, Faults: lab.Faults{Refuse: lab.Amount{N: 1}, Silent: lab.Amount{N: 1}}})
			outputs := append(results, output{"inventory-node", 0, "inventory --json " + f.lab.Nodes()[0].Identity})
			if protocol == 2 {
				outputs = results[:6]
			}
			f.writeFile("nobroker.conf", "identity = nobody.example.net\nplugin.choria.middleware_hosts = 127.0.0.1:1\n")
			if r := f.run("inventory", "--save", "snapshot"); r.code != 0 {
				t.Errorf("save: exit code %d: %s", r.code, r.stderr)
			}
			var wait sync.WaitGroup
			for _, o := range outputs {
				wait.Go(func() { f.keepsSchema(s, o) })
			}
			wait.Wait()
			f.views(s)
			for _, o := range acts {
				f.keepsSchema(s, o)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) { interruptedOutput(t, s) })
	for name := range s.compiled {
		if !s.used[name] {
			t.Errorf("no output was held against %s", name)
		}
	}
}

func (f *fleet) writeFile(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// views holds what jwt view says of a token to its schema.
func (f *fleet) views(s *schemas) {
	f.t.Helper()
	token, key := filepath.Join(f.dir, "prov.jwt"), filepath.Join(f.dir, "prov.seed")
	f.writeFile("prov.seed", strings.Repeat("02", 32))
	if r := f.run("jwt", "provisioning", token, key, "--token", "s3cret", "--srv", "example.net"); r.code != 0 {
		f.t.Fatalf("jwt provisioning: exit code %d\n%s", r.code, r.stderr)
	}
	f.keepsSchema(s, output{"jwt-view", 0, "jwt view --json " + token})
	f.keepsSchema(s, output{"jwt-view", 0, "jwt view --json " + token + " --show-secrets --key " + key})
}

func (f *fleet) keepsSchema(s *schemas, o output) {
	f.t.Helper()
	r := f.run(append(strings.Fields(o.args), "--np")...)
	if r.code != o.code {
		f.t.Errorf("%s: exit code %d, want %d\n%s", o.args, r.code, o.code, r.stderr)
	}
	if !strings.HasSuffix(o.schema, "lines") {
		s.check(f.t, o.schema, r.out)
		return
	}
	for line := range strings.Lines(r.out) {
		s.check(f.t, o.schema, line)
	}
}

// interruptedOutput ends a run by a signal between its batches; its record is also read while it lives.
func interruptedOutput(t *testing.T, s *schemas) {
	f := newFleet(t, lab.Options{Nodes: 4})
	var out bytes.Buffer
	c := f.command(t.Context(), "req", "choria_provision", "restart", "splay=1", "--canary", "0", "--batch", "2", "--batch-sleep", "300", "--json")
	c.Stdout = &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	received := func() bool {
		for _, n := range f.lab.Nodes() {
			if f.lab.Received(n.Identity, "choria_provision", "restart") > 0 {
				return true
			}
		}
		return false
	}
	if err := f.lab.AwaitFunc(t.Context(), received); err != nil {
		t.Fatal(err)
	}
	f.keepsSchema(s, output{"runs-show", 0, "runs show last --json"})
	f.keepsSchema(s, output{"runs-list", 0, "runs list --json"})
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, c.Wait()); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	s.check(t, "req", out.String())
	if !strings.Contains(out.String(), `"verdict": "interrupted"`) {
		t.Errorf("not interrupted: %s", out.String())
	}
	f.keepsSchema(s, output{"runs-show", 0, "runs show last --json"})
	f.writeFile("state/runs/20990101-000000-abcde.journal", "no record\n")
	f.keepsSchema(s, output{"runs-list", 0, "runs list --json"})
}
