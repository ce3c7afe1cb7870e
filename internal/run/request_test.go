package run

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/proof"
	"fleetctl/internal/secret"
)

// What cannot be meant is refused by the request itself, whichever command made it.
func TestValidateRefusesWhatCannotBeMeant(t *testing.T) {
	for want, set := range map[string]func(r *Request){
		"":                                     func(*Request) {},
		"--reply-timeout 0 waits for no reply": func(r *Request) { r.Pace.ReplyTimeout.Set = true },
		"--ttl 500ms: servers count whole seconds":   func(r *Request) { r.Pace.TTL = Wait{500 * time.Millisecond, true} },
		"--nodes - and token=- all read stdin":       func(r *Request) { r.Targets.NodesFile, r.Inputs["token"] = "-", "-" },
		"--do file=- and --expect-file - all":        func(r *Request) { r.Targets.Do, r.Guards.ExpectFile = []string{"file=-"}, "-" },
		`--reply-to "a b" is not a subject`:          func(r *Request) { r.ReplyTo = "a b" },
		"--reply-to excludes batches and stop rules": func(r *Request) { r.ReplyTo, r.Rules.FailFast = "x", true },
		"--reply-to excludes --journal":              func(r *Request) { r.ReplyTo, r.Record.Resume = "x", true },
		"--resume cannot know whether --nodes -":     func(r *Request) { r.Record.Resume, r.Targets.NodesFile = true, "-" },
		"--max-nodes 0 allows no run":                func(r *Request) { r.Guards.MaxNodes.Set = true },
		"--no-journal excludes --journal":            func(r *Request) { r.Record.Off, r.Record.On = true, true },
		"cannot plan: canary of -3 nodes":            func(r *Request) { r.Policy.Canary = -3 },
		`cannot verify by "hope"`:                    func(r *Request) { r.Proof.Verify = "hope" },
		"--verify-version excludes --no-verify":      func(r *Request) { r.Proof.Version, r.Proof.None = "1", true },
		"--no-verify and a way to verify":            func(r *Request) { r.Proof.Verify, r.Proof.Expr = VerifyNone, "ok()" },
		"--verify a#b needs --verify-expr":           func(r *Request) { r.Proof.Verify = "a#b" },
		"--verify-timeout 0 leaves no time":          func(r *Request) { r.Proof.Timeout.Set = true },
		`--verify-version "v1" is not a version`:     func(r *Request) { r.Proof.Version = "v1" },
		"--verify-version: nodes do not come back":   func(r *Request) { r.Action, r.Proof.Version = "shutdown", "1" },
		"--verify-expr needs --verify AGENT#ACTION":  func(r *Request) { r.Agent, r.Proof.Expr = "rpcutil", "ok()" },
		"--verify-expr: ":                            func(r *Request) { r.Proof.Expr = "nope()" },
		"--mode rolling needs --batch":               func(r *Request) { r.Policy.Rolling = true },
		"--confirm-each is about batches":            func(r *Request) { r.Policy, r.Pace.ConfirmEach = rollingRestart(2).Policy, Wish{On: true, Set: true} },
		"--max-failed-batch is about batches": func(r *Request) {
			r.Policy, r.Rules.MaxFailedBatch = rollingRestart(2).Policy, batch.Number(1)
		},
		"--max-no-reply-batch is about batches": func(r *Request) {
			r.Policy, r.Rules.MaxNoReplyBatch = rollingRestart(2).Policy, batch.Number(1)
		},
		"--reply-to excludes batches and stop rules: with": func(r *Request) { r.ReplyTo, r.Policy.SpreadBy = "x", "site" },
	} {
		r := restart()
		set(&r)
		err := r.Validate()
		if want == "" {
			if err != nil {
				t.Errorf("refused: %v", err)
			}
			continue
		}
		if _, ok := errors.AsType[*fleet.UsageError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A resumed run is the recorded one; what is given now stands in the place of the record's, where that is allowed.
func TestReopenMergesTheRecordAndWhatIsGiven(t *testing.T) {
	plan, err := batch.NewPlan([]batch.Node{{Identity: "n1"}}, batch.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	progress, err := batch.Begin(batch.Header{}, plan)
	if err != nil {
		t.Fatal(err)
	}
	stored := Stored{ID: "r", Progress: progress, Meta: Meta{
		Agent: "choria_provision", Action: "restart", Inputs: map[string]string{"splay": "1"}, Secrets: []string{"token"}, Collective: "sub",
		Proof: Proof{Version: "0.29.4"}, Timeout: time.Minute, Settle: 0, SettleSet: true, TTL: 40 * time.Second,
	}}
	recorded := Request{
		Agent: "choria_provision", Action: "restart", Inputs: map[string]string{"splay": "1"}, Targets: fleet.Targets{Collective: "sub"},
		Proof: Proof{Version: "0.29.4", Timeout: Wait{time.Minute, true}, Settle: Wait{0, true}},
		Pace:  Pace{TTL: Wait{40 * time.Second, true}, Sleep: Wait{0, true}, ReplyTimeout: Wait{5 * time.Second, true}}, stored: true, keptTTL: true, secrets: []string{"token"},
	}
	for _, tt := range []struct {
		name  string
		given func(r *Request)
		want  func(r *Request)
	}{
		{"nothing", func(*Request) {}, func(*Request) {}},
		{"the secret", func(r *Request) { r.Inputs = map[string]string{"token": "@f"} }, func(r *Request) { r.Inputs["token"] = "@f"; r.given = map[string]string{"token": "@f"} }},
		{"another sleep", func(r *Request) { r.Pace.Sleep = Wait{time.Minute, true} }, func(r *Request) { r.Pace.Sleep = Wait{time.Minute, true} }},
		{"no sleep", func(r *Request) { r.Pace.Sleep.Set = true }, func(*Request) {}},
		{"another timeout", func(r *Request) { r.Pace.ReplyTimeout = Wait{time.Hour, true} }, func(r *Request) { r.Pace.ReplyTimeout = Wait{time.Hour, true} }},
		{"a time to live", func(r *Request) { r.Pace.TTL = Wait{time.Minute, true} }, func(r *Request) { r.Pace.TTL, r.keptTTL = Wait{time.Minute, true}, false }},
		{"rules", func(r *Request) { r.Rules.FailFast = true }, func(r *Request) { r.Rules.FailFast = true }},
		{"no proof", func(r *Request) { r.Proof.None = true }, func(r *Request) { r.Proof.None, r.Proof.Version = true, "" }},
		{"the word auto", func(r *Request) { r.Proof.Verify = VerifyAuto }, func(*Request) {}},
		{"another version", func(r *Request) { r.Proof.Version = "0.30.0" }, func(r *Request) { r.Proof.Version = "0.30.0" }},
		{"times of the proof", func(r *Request) { r.Proof.Timeout, r.Proof.Settle = Wait{time.Hour, true}, Wait{time.Second, true} },
			func(r *Request) { r.Proof.Timeout, r.Proof.Settle = Wait{time.Hour, true}, Wait{time.Second, true} }},
		{"another agent", func(r *Request) { r.Agent, r.Action = "rpcutil", "ping" }, func(*Request) {}},
	} {
		var given Request
		tt.given(&given)
		// The pace of the record is what the engine wrote; a run that has only begun has none.
		if !given.Pace.ReplyTimeout.Set {
			given.Pace.ReplyTimeout = Wait{5 * time.Second, true}
		}
		got, err := given.Reopen(stored)
		want := recorded
		want.Inputs = maps.Clone(recorded.Inputs)
		tt.want(&want)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", tt.name, err, got, want)
		}
	}
	for want, given := range map[string]Request{
		`input "splay" cannot be changed`:    {Inputs: map[string]string{"splay": "2"}},
		`input "other" cannot be changed`:    {Inputs: map[string]string{"other": "2"}},
		"--ttl 1ms":                          {Pace: Pace{TTL: Wait{time.Millisecond, true}, ReplyTimeout: Wait{time.Second, true}}},
		`--verify-version "v1" is not a ver`: {Proof: Proof{Version: "v1"}, Pace: Pace{ReplyTimeout: Wait{time.Second, true}}},
	} {
		if _, err := given.Reopen(stored); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if len(stored.Meta.Inputs) != 1 {
		t.Errorf("the record's inputs are now %v", stored.Meta.Inputs)
	}
}

func TestAWaitOfZeroIsNotTheSameAsNone(t *testing.T) {
	if got := (Wait{}).or(time.Second); got != time.Second {
		t.Errorf("none: %s", got)
	}
	if got := (Wait{0, true}).or(time.Second); got != 0 {
		t.Errorf("zero: %s", got)
	}
}

func TestDefaultsOfThePace(t *testing.T) {
	got := Request{}.pace(7 * time.Second)
	if want := (batch.Pace{Sleep: time.Second, ReplyTimeout: 7 * time.Second}); got != want {
		t.Errorf("got %+v", got)
	}
	got = Request{Pace: Pace{Sleep: Wait{0, true}, ReplyTimeout: Wait{time.Second, true}, Deadline: Wait{time.Hour, true}, ConfirmEach: Wish{true, true}}}.pace(7 * time.Second)
	if want := (batch.Pace{ReplyTimeout: time.Second, Deadline: time.Hour, ConfirmEach: true}); got != want {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsProved(t *testing.T) {
	for _, tt := range []struct {
		proof         Proof
		agent, action string
		want          proof.Action
	}{
		{Proof{}, "choria_provision", "restart", proof.Restart}, {Proof{}, "choria_provision", "reprovision", proof.Reprovision},
		{Proof{}, "choria_provision", "release_update", proof.Update},
		{Proof{}, "choria_provision", "shutdown", proof.Shutdown}, {Proof{}, "choria_provision", "jwt", 0}, {Proof{}, "rpcutil", "ping", 0},
		{Proof{None: true}, "choria_provision", "restart", 0}, {Proof{Verify: VerifyNone}, "choria_provision", "restart", 0},
		{Proof{Verify: "rpcutil#daemon_stats", Expr: "ok()"}, "rpcutil", "ping", proof.Expression},
		{Proof{Verify: "#"}, "rpcutil", "ping", 0},
	} {
		if got := tt.proof.proves(tt.agent, tt.action); got != tt.want {
			t.Errorf("%+v of %s#%s: got %s, want %s", tt.proof, tt.agent, tt.action, got, tt.want)
		}
	}
	given := Proof{Timeout: Wait{time.Minute, true}, Settle: Wait{time.Second, true}}
	if longest, settle, timeout := given.limits("choria_provision", "restart", 9*time.Second); longest < 9*time.Second || settle != time.Second || timeout != time.Minute {
		t.Errorf("given: %s, %s, %s", longest, settle, timeout)
	}
	given.Timeout.D = 10 * time.Minute
	if longest, _, timeout := given.limits("choria_provision", "release_update", 0); longest != timeout || timeout != 10*time.Minute {
		t.Errorf("an update may take as long as proof is looked for: %s, %s", longest, timeout)
	}
	if longest, settle, timeout := given.limits("rpcutil", "ping", 0); longest+settle+timeout != 0 {
		t.Errorf("nothing is proved: %s, %s, %s", longest, settle, timeout)
	}
}

// The splay that is sent is how long a node may take, and a wrong one is none.
func TestTheSplayLengthensTheProof(t *testing.T) {
	for data, splay := range map[string]time.Duration{`{"splay":90}`: 90 * time.Second, `{"splay":"9"}`: 0, `{}`: 0} {
		c := &call{req: restart(), data: []byte(data)}
		if got, _, _ := (demand{c}).limits(); got != proof.LongestDelay(proof.Restart, splay) {
			t.Errorf("%s: %s, want that of a splay of %s", data, got, splay)
		}
	}
}

// Secrets come from where the operator says, and the environment's token goes to one agent only.
func TestInputsAreResolved(t *testing.T) {
	token := func(agent string) *ddl.Action {
		doc, err := ddl.Resolver{}.Resolve(t.Context(), agent)
		if err != nil {
			t.Fatal(err)
		}
		name := map[string]string{"choria_provision": "restart", "rpcutil": "ping"}[agent]
		action, _ := doc.Action(name)
		return action
	}
	source := secret.Source{In: strings.NewReader("from stdin\n"), Getenv: func(name string) (string, bool) { return "from " + name, name == "V" }}
	for _, tt := range []struct {
		name, agent, env string
		raw              map[string]string
		plain            map[string]string
		secret           string // the token
		literal          bool
		bad              bool
	}{
		{name: "literal", agent: "choria_provision", raw: map[string]string{"token": "t", "splay": "1"}, plain: map[string]string{"splay": "1"}, secret: "t", literal: true},
		{name: "at sign", agent: "choria_provision", raw: map[string]string{"token": "@@t"}, secret: "@t", literal: true},
		{name: "variable", agent: "choria_provision", raw: map[string]string{"token": "env:V"}, secret: "from V"},
		{name: "stdin", agent: "choria_provision", raw: map[string]string{"token": "-"}, secret: "from stdin"},
		{name: "environment", agent: "choria_provision", env: "e", secret: "e"},
		{name: "given and environment", agent: "choria_provision", env: "e", raw: map[string]string{"token": "t"}, secret: "t", literal: true},
		{name: "another agent", agent: "rpcutil", env: "e"},
		{name: "no variable", agent: "choria_provision", raw: map[string]string{"token": "env:W"}, bad: true},
		{name: "no secret", agent: "choria_provision", raw: map[string]string{"splay": "@1"}, plain: map[string]string{"splay": "@1"}},
		{name: "empty", agent: "choria_provision", raw: map[string]string{"token": ""}},
	} {
		in, literal, err := resolveInputs(t.Context(), source, tt.env, tt.agent, token(tt.agent), tt.raw)
		if (err != nil) != tt.bad {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.bad {
			continue
		}
		if got := in.secret["token"].Reveal(); got != tt.secret || slices.Contains(literal, "token") != tt.literal || !maps.Equal(in.plain, tt.plain) {
			t.Errorf("%s: token %q, literal %q, plain %v", tt.name, got, literal, in.plain)
		}
	}
}

// The next command does not need a secret that the environment gives.
func TestSecretsThatAreNeededAgain(t *testing.T) {
	for env, want := range map[string][]string{"": {"token"}, "e": nil} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1")
			w.token = env
			res, err := w.start(t.Context(), restart())
			if err != nil || !slices.Equal(res.Next.Secrets, want) {
				t.Errorf("environment %q: %q, %v", env, res.Next.Secrets, err)
			}
		})
	}
}

// A plan that spreads over a fact asks for it; a node that says nothing has no value.
func TestThePlanAsksForItsFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4", "n5")
		for name, site := range map[string]string{"n1": `"a"`, "n2": `"a"`, "n3": `null`, "n4": `7`} {
			w.nodes[name].facts = map[string]string{"site": site}
		}
		w.nodes["n5"].silent = true
		r := restart()
		r.DryRun, r.Policy = true, batch.Policy{MaxPer: []batch.MaxPer{{Fact: "site", N: 1}}, Canary: batch.CanaryOff}
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		plan := one[Planned](t, w.events).Plan
		if len(plan.Batches) != 2 || slices.Contains(plan.Batches[0].Nodes, "n1") == slices.Contains(plan.Batches[0].Nodes, "n2") {
			t.Errorf("n1 and n2 are at one site: %+v", plan.Batches)
		}
		if notes := strings.Join(plan.Notes, ";"); !strings.Contains(notes, "site") {
			t.Errorf("no note of the nodes without a site: %q", notes)
		}
		r.DryRun = false
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		s, values := w.last(), map[string]string{} // the record keeps them for its reports
		i := 0
		for n := range s.Progress.Results() {
			values[n.Identity] = s.Facts()["site"][i]
			i++
		}
		if want := map[string]string{"n1": "a", "n2": "a", "n3": "", "n4": "7", "n5": ""}; !maps.Equal(values, want) {
			t.Errorf("recorded: %v", values)
		}
		r.DryRun, r.Policy = true, batch.Policy{SpreadBy: "no fact name"}
		w.about.Collective = "a b" // cannot be addressed
		if _, err := w.start(t.Context(), r); err == nil {
			t.Error("a plan without its facts")
		}
	})
}

func TestFactsBecomeTexts(t *testing.T) {
	got := factValues([]byte(`{"values":{"a":"x","b":1,"c":null,"d":{"e":1}}}`))
	if want := map[string]string{"a": "x", "b": "1", "d": `{"e":1}`}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := factValues([]byte(`"{}"`)); got != nil {
		t.Errorf("a text in place of the facts: %v", got)
	}
}

// The targets are looked at before anything else.
func TestTargetsThatCannotBeMeantAreRefused(t *testing.T) {
	w := newWorld(t, "n1")
	r := restart()
	r.Targets.Filter = filter.Flags{Identities: []string{"web[1-"}}
	if _, err := w.start(t.Context(), r); err == nil || len(w.events.seen) > 0 {
		t.Errorf("got %v after %q", err, w.events.names())
	}
}
