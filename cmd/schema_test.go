package cmd

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"fleetctl/internal/lab"
	"fleetctl/internal/run"
)

const schemaDir = "../docs/schemas"

// schemas are docs/schemas, and which of them real output was held against.
type schemas struct {
	compiled map[string]*jsonschema.Schema
	mu       sync.Mutex // guards used
	used     map[string]bool
}

func loadSchemas(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{compiled: map[string]*jsonschema.Schema{}, used: map[string]bool{"defs": true, "saved-plan": true}} // internal/saved holds its own
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
	for _, key := range undescribed(schema, doc) {
		t.Errorf("%s does not describe the key %s", name, key)
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

// output is a command whose output has a schema; DIR is the folder of the test.
type output struct {
	schema string // "lines" and "inventory-lines": one document a line
	code   int
	args   string
}

// acts are outputs of what changes nodes, one after another: the fleet has a node that refuses and a silent one.
var acts = []output{
	{"lines", 5, "req choria_provision restart token=wrong --nodes DIR/all --jsonl --canary 1 --reply-timeout 1 --state-dir DIR/c"},
	{"req", 5, "req choria_provision restart token=wrong --nodes DIR/all --json --canary 1 --reply-timeout 1 --state-dir DIR/b"},
	{"req", 3, "req choria_provision restart splay=1 --nodes DIR/all --json --canary 0 --reply-timeout 1 --verify-timeout 4 --state-dir DIR/a"},
	{"req", 3, "req choria_provision restart splay=1 --nodes DIR/all --json --mode rolling --batch 3 --max-per site=2 --reply-timeout 1 --verify-timeout 4 --state-dir DIR/d"},
	{"lines", 5, "req choria_provision restart token=wrong --nodes DIR/all --jsonl --mode rolling --batch 2 --spread-by site --reply-timeout 1 --state-dir DIR/e"},
	{"runs-show", 0, "runs show last --json --by site --state-dir DIR/e"},
	{"inventory-diff", 0, "inventory --nodes DIR/all --diff DIR/snapshot --output json"},
	{"runs-list", 0, "runs list --json --state-dir DIR/a"},
	{"runs-show", 0, "runs show last --json --state-dir DIR/a"},
	{"runs-show", 0, "runs report last --output json --state-dir DIR/a"},
	{"shared-limits", 0, "shared limits --json"}, // with the silent node
}

// results are outputs of what changes nothing.
var results = []output{
	{"req", 0, "req rpcutil ping --json"},
	{"req", 0, "req rpcutil agent_inventory --output json --batch 5 --batch-sleep 0"},
	{"req", 4, "req rpcutil ping -I nosuch.example.net --reply-timeout 1 --json"},
	{"req", 0, "req choria_registry names plugin_type=agent --json"},
	{"req", 3, "req choria_registry ddl name=nothing plugin_type=agent format=json --json"},
	{"plan", 0, "req choria_provision restart --dry-run --json --batch 1,25% --spread-by site --max-per site=5"},
	{"plan", 0, "req choria_provision restart --dry-run --json --mode rolling --batch 1,25% --canary 1 --spread-by site --max-per rack=2"},
	{"lines", 0, "req rpcutil ping --jsonl --batch 4 --batch-sleep 0"},
	{"lines", 0, "req rpcutil ping --jsonl --dry-run"},
	{"lines", 4, "req rpcutil ping -I nosuch.example.net --reply-timeout 1 --jsonl"},
	{"lines", 0, "req choria_registry names plugin_type=agent --jsonl"},
	{"lines", 8, "req rpcutil ping -C nothing --discovery-timeout 1 --jsonl"},
	{"lines", 2, "req rpcutil pong --jsonl"},
	{"runs-list", 0, "runs list --json --state-dir DIR/empty"},
	{"inventory-collectives", 0, "inventory --collectives --json"},
	{"inventory-fleet", 0, "inventory --output json --agent-versions"},
	{"inventory-fleet", 0, "inventory --output json --group-by version"},
	{"inventory-lines", 0, "inventory --output jsonl"},
	{"inventory-lines", 0, "inventory --output jsonl --group-by version"},
	{"names", 0, "discover --json"},
	{"names", 8, "discover --json -C nothing --discovery-timeout 1"},
	{"names", 0, "req rpcutil ping --senders --json"},
	{"names", 4, "req rpcutil ping -I nosuch.example.net --reply-timeout 1 --senders --json"},
	{"facts", 0, "facts country --json"},
	{"version", 0, "version --json"},
	{"sites", 0, "sites --json"},
	{"shared-locks", 0, "shared locks --json"},
	{"doctor", 0, "doctor --json"},
	{"doctor", 9, "doctor --json --config DIR/nobroker.conf --connect-timeout 1"},
}

func TestOutputKeepsItsSchemas(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := loadSchemas(t)
	t.Run("real output", func(t *testing.T) {
		t.Run("interrupted", func(t *testing.T) {
			t.Parallel()
			interruptedOutput(t, s)
		})
		for _, protocol := range []int{1, 2} {
			t.Run(strconv.Itoa(protocol), func(t *testing.T) {
				t.Parallel()
				p := newReluctant(t, protocol)
				outputs := append(slices.Clone(results), output{"inventory-node", 0, "inventory --json " + p.lab.Nodes()[0].Identity})
				if protocol == 2 {
					outputs = results[:6]
				}
				p.write("nobroker.conf", "identity = nosuch.example.net\nplugin.choria.middleware_hosts = 127.0.0.1:1\n")
				if r := p.run("inventory --nodes " + p.path("all") + " --save " + p.path("snapshot")); r.code != 0 {
					t.Errorf("save: exit code %d: %s", r.code, r.err)
				}
				var wait sync.WaitGroup
				if r := p.run("shared init"); r.code != 0 {
					t.Errorf("shared init: exit code %d: %s", r.code, r.err)
				}
				p.keepsSchema(s, output{"shared-limits", 0, "shared limits --max-down 500 --max-down rack=400 --json"})
				for _, o := range outputs {
					wait.Go(func() { p.keepsSchema(s, o) })
				}
				wait.Wait()
				p.views(s)
				for _, o := range acts {
					p.keepsSchema(s, o)
				}
				p.notices(s)
			})
			t.Run(strconv.Itoa(protocol)+" steered", func(t *testing.T) {
				t.Parallel()
				newReluctant(t, protocol).steered(s)
			})
		}
	})
	for name := range s.compiled {
		if !s.used[name] {
			t.Errorf("no output was held against %s", name)
		}
	}
}

// newReluctant makes a fleet with a node that refuses and a silent one. Its nodes are in file "all".
func newReluctant(t *testing.T, protocol int) *practice {
	t.Helper()
	p := newPractice(t, lab.Options{Nodes: 9, Protocol: protocol, Streams: true, Faults: lab.Faults{Refuse: lab.Amount{N: 1}, Silent: lab.Amount{N: 1}}})
	p.write("all", strings.Join(p.names, "\n"))
	return p
}

// views holds what jwt view says of a token to its schema.
func (p *practice) views(s *schemas) {
	p.t.Helper()
	token, key := p.path("prov.jwt"), p.write("prov.seed", seedText)
	if r := p.run("jwt provisioning " + token + " " + key + " --token s3cret --srv example.net --force"); r.code != 0 {
		p.t.Fatalf("jwt provisioning: exit code %d\n%s", r.code, r.err)
	}
	p.keepsSchema(s, output{"jwt-view", 0, "jwt view --json " + token})
	p.keepsSchema(s, output{"jwt-view", 0, "jwt view --json " + token + " --show-secrets --key " + key})
}

// notices holds what the command of --on-event reads to its schema.
func (p *practice) notices(s *schemas) {
	p.t.Helper()
	if r := p.run("req rpcutil ping --np -I "+p.names[0], "--on-event", "cat >> "+p.path("notices")); r.code != 0 || strings.Contains(r.err, "warning") {
		p.t.Errorf("exit code %d: %s", r.code, r.err)
	}
	text := readAt(p.t, p.path("notices"))
	if n := strings.Count(text, "\n"); n != 2 {
		p.t.Errorf("%d notices: %s", n, text)
	}
	for line := range strings.Lines(text) {
		s.check(p.t, "event", line)
	}
}

func (p *practice) keepsSchema(s *schemas, o output) {
	p.t.Helper()
	r := p.run(strings.ReplaceAll(o.args, "DIR", p.dir) + " --np")
	if r.code != o.code {
		p.t.Errorf("%s: exit code %d, want %d\n%s", o.args, r.code, o.code, r.err)
	}
	if !strings.HasSuffix(o.schema, "lines") {
		s.check(p.t, o.schema, r.out)
		return
	}
	for line := range strings.Lines(r.out) {
		s.check(p.t, o.schema, line)
	}
}

// interruptedOutput ends a run by a signal between its batches; its record is also read while it lives.
func interruptedOutput(t *testing.T, s *schemas) {
	p := newPractice(t, lab.Options{Nodes: 4})
	a, out, errs := newApp(t, "", p.env())
	ctx, signal := context.WithCancelCause(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- a.execute(ctx, strings.Fields("req choria_provision restart splay=1 --canary 0 --batch 2 --batch-sleep 300 --json -I "+strings.Join(p.names, ",")))
	}()
	if err := awaitRestarts(p, ended, 1); err != nil {
		t.Fatal(err)
	}
	p.keepsSchema(s, output{"runs-show", 0, "runs show last --json"})
	p.keepsSchema(s, output{"runs-list", 0, "runs list --json"})
	signal(signalError{syscall.SIGINT})
	if code := <-ended; code != exitInt {
		t.Errorf("exit code %d, want %d: %s", code, exitInt, errs)
	}
	s.check(t, "req", out.String())
	if !strings.Contains(out.String(), `"verdict": "interrupted"`) {
		t.Errorf("not interrupted: %s", out)
	}
	p.keepsSchema(s, output{"runs-show", 0, "runs show last --json"})
	first, err := run.Store{Dir: p.path("state/runs")}.Find("last")
	if err != nil {
		t.Fatal(err)
	}
	if r := p.run("req rpcutil ping --journal -I " + p.names[3]); r.code != 0 { // the first two may be restarting
		t.Errorf("another run: %s", r.err)
	}
	p.keepsSchema(s, output{"runs-diff", 0, "runs diff " + first + " last --json"})
	p.write("state/runs/20990101-000000-abcde.journal", "no record\n")
	p.keepsSchema(s, output{"runs-list", 0, "runs list --json"})
}
