package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// errAway is what a broker says that is away.
var errAway = errors.New("the broker is away")

// world is a fleet of scripted nodes behind a bus in memory, and everything else that a run stands on. It lives in a
// synctest bubble. It is a Fleet and an rpcclient.Conn.
type world struct {
	t   *testing.T
	dir string // of the records
	// machine has the bubble's clocks, and cannot say when a file changed.
	machine journal.Machine
	events  *recorder
	asker   *fakeAsker

	about     fleet.About
	version   choria.Version // of our protocol
	wire      choria.Version // of the messages; zero is V1
	checks    bool           // replies are checked: one whose token has ended is refused
	settings  config.Settings
	token     string            // of the environment
	stdin     string            // for secrets
	vars      map[string]string // for secrets
	finds     []string          // what discovery finds
	findErr   error
	open      bool // the connection has no TLS
	seal      error
	files     map[string][]string // lists of nodes
	excluded  []discovery.Exclusion
	seed      int64 // that a random limit drew
	log       *slog.Logger
	outlived  int
	bucket    lease.Store        // of the brokers; nil: they have no streams
	shared    lease.Store        // of shared records; nil: it is the same
	elsewhere string             // the records of another machine
	signs     *security.Identity // nil: there is no key
	planID    string             // of the plan that is applied
	leaves    func(node string)
	hears     fleet.Events // nil: none arrive

	mu        sync.Mutex // guards what follows
	nodes     map[string]*server
	got       []string // requests as "node agent#action {inputs}", those to rpcutil left out
	away      bool     // publishing fails
	mute      bool     // publishing fails, but for questions
	dials     int
	client    *rpcclient.Client
	listeners map[string]func(choria.Message)
}

// server is one node. The zero value accepts whatever it is asked.
type server struct {
	silent bool
	code   choria.StatusCode
	says   string            // the reply's message
	data   string            // the reply's data; "" is {}
	facts  map[string]string // as JSON
	start  time.Time         // of its process
	runs   string            // its version; "" is 0.29.4
	stuck  bool              // accepts a restart and does nothing
	down   bool              // has no process: the broker reports it as absent
	ends   time.Time         // of its token; zero for none
	frozen bool              // answers nothing
	loses  int               // so many of its answers to come are lost
}

func newWorld(t *testing.T, names ...string) *world {
	w := &world{
		t: t, dir: t.TempDir(), events: &recorder{}, asker: &fakeAsker{away: errors.New("there is no terminal to ask at")},
		about: fleet.About{ConfigFile: "client.conf", Collective: "mcollective", MainCollective: "mcollective"}, version: choria.V1,
		machine: journal.ThisMachine(), finds: names, nodes: map[string]*server{}, listeners: map[string]func(choria.Message){},
	}
	booted := time.Now().Add(-time.Hour)
	w.machine.Now, w.machine.Uptime, w.machine.Began = time.Now, func() time.Duration { return time.Since(booted) }, time.Hour
	w.machine.Changed = func(fs.FileInfo) time.Time { return time.Time{} }
	for _, name := range names {
		w.nodes[name] = &server{start: time.Now().Add(-time.Hour)}
	}
	return w
}

func (w *world) Bucket(_ context.Context, name string) (lease.Store, error) {
	switch {
	case w.bucket == nil:
		return nil, lease.ErrNoStreams
	case name == lease.Shared && w.shared != nil:
		return w.shared, nil
	}
	return w.bucket, nil
}

func (w *world) context() Context {
	return Context{
		Fleet: w, Store: w.store(), Asker: w.asker, Reporter: w.events,
		Secrets: secret.Source{In: strings.NewReader(w.stdin), Getenv: func(name string) (string, bool) { v, ok := w.vars[name]; return v, ok }},
		Scrub:   &secret.Scrubber{}, Token: w.token, Settings: w.settings, SettingsFile: "settings.yaml", User: "operator", Host: "desk", Version: "1.2.3", Logger: w.log,
		ReadNodes: func(_ context.Context, name string) ([]string, error) { return w.files[name], nil },
		Outlive: func(Next) <-chan batch.Control {
			w.outlived++
			return nil
		},
	}
}

func (w *world) store() Store { return Store{Dir: w.dir, Machine: &w.machine} }

// start is Start with the events of this run alone.
func (w *world) start(ctx context.Context, r Request) (Result, error) {
	w.events.seen = nil
	return Start(ctx, w.context(), r)
}

// sent are the requests that nodes got.
func (w *world) sent() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.got...)
}

// last is the newest run's record.
func (w *world) last() Stored {
	w.t.Helper()
	s, err := w.store().Named("last")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// restart is the request of most tests: it changes something, takes a secret and is proved.
func restart() Request {
	return Request{Agent: "choria_provision", Action: "restart", Inputs: map[string]string{"token": "s3cret"}}
}

func ping() Request { return Request{Agent: "rpcutil", Action: "ping"} }

// recorder is a Reporter that keeps the events.
type recorder struct {
	seen []Event
	hook func(Event)       // may be nil
	fail func(Event) error // may be nil
}

func (r *recorder) Report(e Event) error {
	r.seen = append(r.seen, e)
	if r.hook != nil {
		r.hook(e)
	}
	if r.fail != nil {
		return r.fail(e)
	}
	return nil
}

// names are the events in order; records are their kinds, and notes have their level.
func (r *recorder) names() []string {
	var out []string
	for _, e := range r.seen {
		name := strings.TrimPrefix(fmt.Sprintf("%T", e), "run.")
		switch e := e.(type) {
		case Recorded:
			name = string(e.Record.Kind)
		case Noted:
			name += " " + string(e.Level)
		}
		out = append(out, name)
	}
	return out
}

// notes are the texts of what was noted.
func (r *recorder) notes() string {
	var out strings.Builder
	for _, e := range r.seen {
		if n, ok := e.(Noted); ok {
			out.WriteString(string(n.Level) + ": " + n.Text + "\n")
		}
	}
	return out.String()
}

// one returns the only event of a type.
func one[E Event](t *testing.T, r *recorder) E {
	t.Helper()
	var found []E
	for _, e := range r.seen {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events %T in %q", len(found), *new(E), r.names())
	}
	return found[0]
}

// fakeAsker answers the questions of a test in turn.
type fakeAsker struct {
	away    error // no question can be asked
	answers []string
	asked   []string
	think   time.Duration // before each answer
}

func (a *fakeAsker) Reachable() error { return a.away }

func (a *fakeAsker) Line(_ context.Context, question string) (string, error) {
	a.asked = append(a.asked, question)
	<-time.After(a.think)
	if len(a.answers) == 0 {
		return "", nil
	}
	answer := a.answers[0]
	a.answers = a.answers[1:]
	return answer, nil
}

func (a *fakeAsker) Yes(ctx context.Context, question string) (bool, error) {
	text, err := a.Line(ctx, question)
	return text == "y", err
}

// The Fleet.

func (w *world) About() fleet.About { return w.about }

// Identity implements Fleet: these operators have no key.
func (w *world) Identity() (*security.Identity, error) {
	if w.signs != nil {
		return w.signs, nil
	}
	return security.Open(security.Options{Provider: "file", Identity: "ops", User: "rip", Insecure: true}, time.Now())
}

func (w *world) Who() (fleet.Caller, error) {
	return fleet.Caller{ID: w.Caller(), Version: w.version, ChecksReplies: w.checks}, nil
}

func (w *world) Documents() ddl.Resolver {
	return ddl.Resolver{Fetch: func(context.Context, string) ([]byte, error) { return []byte(deployer), nil }}
}

// deployer is a service whose action changes something and takes a secret.
const deployer = `{"metadata": {"name": "deployer", "description": "deploys", "author": "a", "license": "l", "version": "1", "url": "u", "timeout": 10, "service": true},
	"actions": [{"action": "deploy", "description": "d", "display": "always", "output": {},
		"input": {"token": {"prompt": "p", "description": "d", "type": "string", "optional": false, "validation": ".", "maxlength": 100}}}]}`

func (w *world) Find(context.Context, fleet.Targets, filter.Filter, string) (discovery.Result, error) {
	return discovery.Result{Nodes: w.finds, Excluded: w.excluded, Seed: w.seed, Took: time.Second}, w.findErr
}

func (w *world) MethodName(fleet.Targets, filter.Filter) string { return "mc" }

func (w *world) Dial(context.Context) (*rpcclient.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	if w.client == nil {
		w.client = rpcclient.New(w, w).WithLogger(w.log)
	}
	return w.client, nil
}

func (w *world) Private(context.Context) (bool, string, error) {
	return !w.open, w.URL(), nil
}

func (w *world) KeepTokens() {
	client, _ := w.Dial(context.Background()) // never an error
	client.KeepTokens()
}

func (w *world) AskOfAbsence() {}

func (w *world) Events() fleet.Events { return w.hears }

// quiet are lifecycle events of which none comes.
type quiet struct{}

func (quiet) Subscribe(context.Context, string, func(choria.Message)) (func(), error) {
	return func() {}, nil
}

func (w *world) Links() <-chan batch.Link { return nil }

// The identity.

func (w *world) Version() choria.Version { return cmp.Or(w.wire, choria.V1) }
func (w *world) Caller() string          { return "choria=rip.mcollective" }
func (w *world) Sender() string          { return "client.example.net" }
func (w *world) Seal(_ context.Context, request []byte) ([]byte, error) {
	if w.seal != nil {
		return nil, w.seal
	}
	return choria.EncodeSecureRequest(choria.SecureRequest{Version: w.Version(), Request: request, Caller: "e30.e30.e30"})
}
func (w *world) OpenReply(r choria.SecureReply, _ string) (string, error) {
	if ends, ok := w.TokenEnds(r.Sender); w.checks && ok && !ends.After(time.Now()) {
		return "", errors.New("the token has ended")
	}
	return "", nil
}

// TokenEnds: the nodes' tokens are their ends, in unix seconds.
func (w *world) TokenEnds(token string) (time.Time, bool) {
	end, err := strconv.ParseInt(token, 10, 64)
	return time.Unix(end, 0), err == nil
}

// The connection.

func (w *world) URL() string { return "nats://broker.example.net:4222" }

func (w *world) Flush(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return errAway
	}
	return nil
}

func (w *world) Subscribe(_ context.Context, subject string, deliver func(choria.Message)) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	prefix := strings.TrimRight(subject, "*>")
	w.listeners[prefix] = deliver
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.listeners, prefix)
	}, nil
}

func (w *world) Reconnected() (time.Time, bool) { return time.Time{}, false }

func (w *world) Publish(subject, notice string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		return errAway
	}
	absent := func() { w.deliver(choria.Message{Subject: notice, NoResponders: true}) }
	if len(data) == 0 { // of a node whose name was made up
		time.AfterFunc(5*time.Millisecond, absent)
		return nil
	}
	transport, request, body := decoded(data)
	name := strings.TrimPrefix(subject, request.Collective+".node.")
	if service, ok := strings.CutPrefix(subject, request.Collective+".broadcast.service."); ok {
		name = service
	}
	if body.Agent != "rpcutil" {
		if w.mute {
			return errAway
		}
		w.got = append(w.got, fmt.Sprintf("%s %s#%s %s", name, body.Agent, body.Action, body.Data))
		if w.leaves != nil {
			w.leaves(name)
		}
	}
	s := w.nodes[name]
	if s == nil || s.down {
		if notice != "" {
			time.AfterFunc(5*time.Millisecond, absent)
		}
		return nil
	}
	if s.frozen || s.silent && body.Action != "daemon_stats" {
		return nil
	}
	if s.loses > 0 {
		s.loses--
		return nil
	}
	token := ""
	if !s.ends.IsZero() {
		token = strconv.FormatInt(s.ends.Unix(), 10)
	}
	reply := s.answer(body)
	latency := 50*time.Millisecond + time.Duration(len(name))*time.Millisecond + time.Duration(name[len(name)-1])*time.Microsecond
	time.AfterFunc(latency, func() {
		w.deliver(choria.Message{Subject: transport.ReplyTo, Data: encoded(name, request, reply, token)})
	})
	return nil
}

func (w *world) deliver(m choria.Message) {
	w.mu.Lock()
	var to func(choria.Message)
	for prefix, deliver := range w.listeners {
		if strings.HasPrefix(m.Subject, prefix) {
			to = deliver
		}
	}
	w.mu.Unlock()
	if to != nil {
		m.Arrived = time.Now()
		to(m)
	}
}

// answer is what a node says, and does.
func (s *server) answer(body choria.RPCRequest) choria.RPCReply {
	reply := choria.RPCReply{Action: body.Action, StatusCode: s.code, StatusMsg: s.says, Data: json.RawMessage("{}")}
	if reply.StatusMsg == "" {
		reply.StatusMsg = "OK"
	}
	switch {
	case body.Action == "daemon_stats":
		reply.StatusCode, reply.Data = choria.OK, fmt.Appendf(nil, `{"starttime":%d,"version":%q}`, s.start.Unix(), cmp.Or(s.runs, "0.29.4"))
	case body.Action == "get_facts":
		values := map[string]json.RawMessage{}
		for name, text := range s.facts {
			values[name] = json.RawMessage(text)
		}
		reply.Data, _ = json.Marshal(map[string]any{"values": values}) // of valid JSON
	case body.Action == "inventory" && s.facts != nil:
		facts := map[string]json.RawMessage{}
		for name, text := range s.facts {
			facts[name] = json.RawMessage(text)
		}
		reply.Data, _ = json.Marshal(map[string]any{"facts": facts}) // of valid JSON
	case s.data != "":
		reply.Data = json.RawMessage(s.data)
	case body.Action == "restart" && s.code == choria.OK:
		reply.Data = json.RawMessage(`{"message":"Restarting Choria Server after 2s"}`)
		if !s.stuck {
			s.start = time.Now().Add(3 * time.Second)
		}
	case body.Action == "shutdown" && s.code == choria.OK:
		s.down = !s.stuck // the reply is on its way already
	}
	return reply
}

func decoded(data []byte) (choria.Transport, choria.Request, choria.RPCRequest) {
	transport, err := choria.DecodeTransport(data)
	must(err)
	secure, err := choria.DecodeSecureRequest(transport.Data)
	must(err)
	request, err := choria.DecodeRequest(transport.Version, secure.Request)
	must(err)
	body, err := choria.DecodeRPCRequest(request.Body())
	must(err)
	return transport, request, body
}

func encoded(sender string, request choria.Request, body choria.RPCReply, token string) []byte {
	payload, err := choria.EncodeRPCReply(body)
	must(err)
	reply, err := choria.EncodeReply(choria.Reply{
		Version: request.Version, RequestID: request.ID, Sender: sender, Agent: request.Agent, Time: time.Now(), Payload: payload,
	})
	must(err)
	secure, err := choria.EncodeSecureReply(choria.SecureReply{Version: request.Version, Reply: reply, Sender: token})
	must(err)
	data, err := choria.EncodeTransport(choria.Transport{Version: request.Version, Data: secure, Sender: sender})
	must(err)
	return data
}

// must is for what this file encodes itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// states are the counts of a result that are not zero.
func states(s batch.Summary) map[batch.State]int {
	out := map[batch.State]int{}
	for _, state := range batch.States() {
		if n := s.States.Of(state); n > 0 {
			out[state] = n
		}
	}
	return out
}

// result is the result of one node.
func result(t *testing.T, p batch.Progress, node string) batch.Result {
	t.Helper()
	for r := range p.Results() {
		if r.Identity == node {
			return r
		}
	}
	t.Fatalf("the run has no node %s", node)
	return batch.Result{}
}
