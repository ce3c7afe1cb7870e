package run

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
)

// guardTests hold each guard back once, and let it pass once.
var guardTests = []struct {
	guard string
	says  string // its sentence in the plan; "" for none
	error string // "" when it lets the run pass
	hint  string
	set   func(w *world, r *Request)
}{
	{"read_only", "refused: read_only in settings.yaml", "cannot call choria_provision#restart: only actions that change nothing are allowed here",
		"read_only in settings.yaml", func(w *world, _ *Request) { w.settings.ReadOnly = true }},
	{"read_only", "", "", "", func(w *world, r *Request) { w.settings.ReadOnly, *r = true, ping() }},
	{"require_filter", "refused without a filter: require_filter in settings.yaml", "cannot call choria_provision#restart on every node of the fleet",
		"name the nodes with a filter or --nodes", func(w *world, _ *Request) { w.settings.RequireFilter = true }},
	{"require_filter", "", "", "", func(w *world, r *Request) { w.settings.RequireFilter, r.Targets.Filter.Facts = true, []string{"a=b"} }},
	{"require_filter", "", "", "", func(w *world, r *Request) { w.settings.RequireFilter, r.Targets.NodesFile = true, "f" }},
	{"require_client_filter", "refused without a filter: plugin.choria.require_client_filter in client.conf",
		"cannot ask every node of the fleet: plugin.choria.require_client_filter is set in client.conf", "",
		func(w *world, r *Request) {
			w.about.RequireFilter, r.Targets.Filter.Agents = true, []string{"choria_provision"}
		}},
	{"require_client_filter", "", "", "", func(w *world, r *Request) { w.about.RequireFilter, r.Targets.Filter.Identities = true, []string{"/n/"} }},
	{"max_nodes", "at most 2 nodes: max_nodes in settings.yaml", "cannot restart 3 nodes: limit is 2", "raise --max-nodes and max_nodes",
		func(w *world, _ *Request) { w.settings.MaxNodes = 2 }},
	{"max_nodes", "at most 3 nodes: max_nodes in settings.yaml", "", "", func(w *world, _ *Request) { w.settings.MaxNodes = 3 }},
	{"--max-nodes", "at most 2 nodes: --max-nodes", "cannot shut down 3 nodes: limit is 2", "choose fewer nodes",
		func(_ *world, r *Request) { r.Action, r.Guards.MaxNodes = "shutdown", Count{2, true} }},
	{"--max-nodes", "at most 3 nodes: --max-nodes", "", "", func(_ *world, r *Request) { r.Guards.MaxNodes = Count{3, true} }},
	{"--expect", "exactly 4 nodes: --expect", "cannot continue: expected 4 nodes, found 3", "fleetctl discover",
		func(_ *world, r *Request) { r.Guards.Expect = Count{4, true} }},
	{"--expect", "exactly 0 nodes: --expect", "cannot continue: expected 0 nodes, found 3", "", func(_ *world, r *Request) { *r = ping(); r.Guards.Expect = Count{0, true} }},
	{"--expect", "exactly 3 nodes: --expect", "", "", func(_ *world, r *Request) { r.Guards.Expect = Count{3, true} }},
	{"--expect-file", "exactly the nodes of f: --expect-file", "cannot continue: the nodes found are not those of f: 1 missing: n4; 1 not expected: n3", "",
		func(w *world, r *Request) {
			w.files, r.Guards.ExpectFile = map[string][]string{"f": {"n1", "n2", "n4"}}, "f"
		}},
	{"--expect-file", "exactly the nodes of f: --expect-file", "", "", func(w *world, r *Request) {
		w.files, r.Guards.ExpectFile = map[string][]string{"f": {"n3", "n2", "n1"}}, "f"
	}},
	{shareGuard, "shares its record: operators elsewhere can follow, pause, stop and adopt this run", "cannot share a run without a record", "leave out --no-journal",
		func(w *world, r *Request) {
			w.bucket, w.shared, w.settings.Share, r.Record.Off = newBucket(), newShared(), true, true
		}},
	{shareGuard, "shares its record: operators elsewhere can follow, pause, stop and adopt this run", "", "",
		func(w *world, r *Request) { w.bucket, w.shared, r.Shared.Mirror = newBucket(), newShared(), true }},
	{shareGuard, "", "", "", func(w *world, r *Request) { w.settings.Share, *r = true, ping() }},
	{"--exclude", "", "cannot continue: --exclude \"n9\" excludes no node", "--exclude @FILE", func(w *world, r *Request) {
		r.Targets.Exclude, w.excluded = []string{"n9"}, []discovery.Exclusion{{Spec: "n9"}}
	}},
	{"--exclude", "", "", "", func(w *world, r *Request) {
		r.Targets.Exclude, w.excluded = []string{"n4"}, []discovery.Exclusion{{Spec: "n4", Out: 1}}
	}},
	{"--exclude", "", "", "", func(w *world, r *Request) {
		*r = ping()
		r.Targets.Exclude, w.excluded = []string{"n9"}, []discovery.Exclusion{{Spec: "n9"}}
	}},
	{"--confirm-each", "", "cannot ask between batches: there is no terminal to ask at", "leave out --confirm-each",
		func(_ *world, r *Request) {
			r.Pace.ConfirmEach, r.Policy.Sizes = Wish{true, true}, batch.Sizes{batch.Number(2)}
		}},
	{"--confirm-each", "", "cannot ask between batches: --no-input", "--yes", func(w *world, r *Request) {
		w.asker.away, r.Guards.NoInput, r.Pace.ConfirmEach, r.Policy.Sizes = nil, true, Wish{true, true}, batch.Sizes{batch.Number(2)}
	}},
	{"--confirm-each", "", "", "", func(_ *world, r *Request) { r.Pace.ConfirmEach = Wish{true, true} }}, // one batch: nothing will be asked
	{"secrets", "", "cannot send a secret to nats://broker.example.net:4222: the connection has no TLS", "--insecure-token",
		func(w *world, _ *Request) { w.open = true }},
	{"secrets", "", "", "", func(w *world, r *Request) { w.open, r.Guards.InsecureToken = true, true }},
	{"secrets", "", "", "", func(w *world, r *Request) { w.open, *r = true, ping() }},
	{"--allow-expiring", "refused while a node's token ends before the run does", "cannot restart 2 nodes: the token ends within 10m10s, and a server that starts with " +
		"an expired token deletes its identity and goes into provisioning: n[1-2]", "renew their tokens, leave them out: --exclude 'n[1-2]'; or go ahead anyway: --allow-expiring",
		func(w *world, _ *Request) { w.expiring(10*time.Minute+10*time.Second, -time.Minute) }}, // one that has ended, too
	{"--allow-expiring", "refused while a node's token ends before the run does", "", "", func(w *world, _ *Request) { w.expiring(time.Hour) }},
	{"--allow-expiring", "restarts nodes whose token ends soon, too, which costs them their identity: --allow-expiring", "", "",
		func(w *world, r *Request) { w.expiring(time.Minute); r.Guards.AllowExpiring = true }},
	{"--allow-expiring", "", "", "", func(w *world, r *Request) { w.expiring(time.Minute); w.about.Collective = fleet.ProvisioningCollective }},
	{"--allow-expiring", "", "", "", func(w *world, _ *Request) { w.expiring(time.Minute); w.checks = false }}, // nothing that replies show is believed
	{"--allow-expiring", "", "cannot restart 1 node without a look at the token first: n2", "leave them out: --exclude 'n2'", func(w *world, r *Request) {
		w.expiring(time.Hour) // without proof nothing looks at it again
		w.nodes["n2"].frozen, r.Proof.None = true, true
	}},
	{"--max-collateral", "", "", "", func(w *world, r *Request) { w.hears, r.Gates.Collateral = quiet{}, Count{0, true} }},
	{"--max-collateral", "", "cannot count starts of other nodes: lifecycle events do not cross federations", "leave out --max-collateral", func(_ *world, r *Request) { r.Gates.Collateral = Count{0, true} }},
	{"approvals", "needs 1 approval: approvals in settings.yaml", "cannot restart 3 nodes: 1 approval needed (approvals in settings.yaml), 0 given", "--save-plan FILE",
		func(w *world, _ *Request) { w.settings.Approvals = []config.Approval{{Action: "restart", Need: 1}} }},
	{"approvals", "needs 2 approvals above 2 nodes, 1 approval: approvals in settings.yaml", "cannot restart 3 nodes: 2 approvals needed (approvals in settings.yaml), 0 given", "plan approve FILE",
		func(w *world, _ *Request) {
			w.settings.Approvals = []config.Approval{{NodesOver: 2, Need: 2}, {Action: "choria_provision#restart", Need: 1}}
		}},
	{"approvals", "", "", "", func(w *world, _ *Request) {
		w.settings.Approvals = []config.Approval{{NodesOver: 3, Need: 1}, {Action: "shutdown", Need: 1}, {Action: "rpcutil#restart", Need: 1}}
	}},
	{"approvals", "", "", "", func(w *world, r *Request) {
		w.settings.Approvals, *r = []config.Approval{{NodesOver: 0, Need: 1}}, ping()
	}},
	{lockGuard, "holds lock web while it runs", "lock web is held by choria=bob", "wait for it with --lock-wait", func(w *world, _ *Request) { heldByBob(w) }},
	{lockGuard, "holds lock db while it runs", "", "", func(w *world, r *Request) { w.bucket, r.Shared.Locks = newBucket(), []string{"db"} }},
	{lockGuard, "", "", "", func(w *world, r *Request) { heldByBob(w); *r = ping() }},
	{budgetGuard, "at most 5 down at once, with those of other runs: --max-down; down now: 1 by run r9 of choria=bob", "cannot keep the limit of nodes that are down without a record of this run", "leave out --no-journal",
		func(w *world, r *Request) { unrecorded(w, r); bobs(w.t, w.bucket, "x1") }},
	{budgetGuard, "at most 1 per rack down at once, with those of other runs: fleetctl shared limits", "", "", func(w *world, _ *Request) {
		w.bucket, w.shared = newBucket(), shelf()
		if _, err := lease.SetLimits(w.t.Context(), w.shared, "mcollective", lease.Limits{"rack": 1}); err != nil {
			w.t.Fatal(err)
		}
	}},
	{budgetGuard, "", "", "", func(w *world, r *Request) { unrecorded(w, r); *r = ping() }},
	{"consent", "asks for the number of nodes to be typed; without a terminal needs --yes", "cannot shut down 3 nodes without asking", "add --yes to confirm",
		func(_ *world, r *Request) { r.Action = "shutdown" }},
	{"consent", "asks before it begins (confirm in settings.yaml)", "cannot restart 3 nodes without asking", "add --yes to confirm",
		func(w *world, _ *Request) { w.settings.Confirm = true }},
	{"consent", "asks before it begins, at a terminal", "cannot restart 3 nodes without asking", "add --yes", // there is a terminal, and it may not be used
		func(w *world, r *Request) { w.asker.away, r.Guards.NoInput = nil, true }},
	{"consent", "asks before it begins, at a terminal", "not confirmed: nothing was sent", "", func(w *world, _ *Request) { w.asker.away, w.asker.answers = nil, []string{"n"} }},
	{"consent", "asks before it begins, at a terminal", "", "", func(*world, *Request) {}}, // no terminal: a script goes ahead
	{"consent", "", "", "", func(w *world, r *Request) { w.asker.away, r.Guards.Yes = nil, true }},
}

// expiring makes a world of protocol v2, in which the nodes' tokens end after these times, in turn, the others' in a year.
func (w *world) expiring(left ...time.Duration) {
	w.version, w.wire, w.checks = choria.V2, choria.V2, true
	for i, name := range w.finds {
		w.nodes[name].ends = time.Now().Add(365 * 24 * time.Hour)
		if i < len(left) {
			w.nodes[name].ends = time.Now().Add(left[i])
		}
	}
}

func TestEveryGuardRefusesBeforeAnythingIsSent(t *testing.T) {
	for _, tt := range guardTests {
		t.Run(tt.guard, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2", "n3")
				r := restart()
				tt.set(w, &r)
				dry := r
				dry.DryRun = true
				wants := func(when, prefix string, err error, refuses bool) {
					t.Helper()
					hint := ""
					e, ok := errors.AsType[*GuardError](err)
					if ok {
						hint = e.Hint
					}
					if refused := err != nil; refused != refuses || refused && (!ok || err.Error() != prefix+tt.error || !strings.Contains(hint, tt.hint)) {
						t.Errorf("%s: got %v with hint %q, want %q with %q", when, err, hint, tt.error, tt.hint)
					}
				}
				_, err := w.start(t.Context(), dry)
				wants("a dry run", "guard "+tt.guard+" would refuse: ", err, tt.error != "" && tt.guard != "consent" && tt.guard != "approvals") // which asks nothing
				if sentences := one[Planned](t, w.events).Guards; tt.says != "" && !slices.Contains(sentences, tt.says) {
					t.Errorf("the plan says %q, not %q", sentences, tt.says)
				}
				if len(w.sent()) > 0 {
					t.Fatalf("a dry run sent %q", w.sent())
				}
				_, err = w.start(t.Context(), r)
				wants("the run", "", err, tt.error != "")
				if tt.error == "" {
					return
				}
				list, err := w.store().List()
				if len(w.sent()) > 0 || len(list) > 0 || err != nil {
					t.Errorf("nodes got %q, %d records, %v", w.sent(), len(list), err)
				}
			})
		})
	}
	for _, g := range guards() {
		kinds := map[bool]bool{}
		for _, tt := range guardTests {
			if tt.guard == g.name {
				kinds[tt.error == ""] = true
			}
		}
		if g.name == "--trust-record" || g.name == linkedGuard || g.name == onceGuard {
			continue // about recorded runs and saved plans: see TestEveryGuardOnEveryPath
		}
		if !kinds[true] || !kinds[false] {
			t.Errorf("guard %s needs a row that it refuses and a row that it lets pass", g.name)
		}
	}
}

// A guard that does not look at a call has no sentence in its plan.
func TestAPlanWithoutGuardsHasNoSentences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		r := ping()
		r.DryRun = true
		if _, err := w.start(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if p := one[Planned](t, w.events); len(p.Guards) > 0 || p.Plan.Nodes() != 1 || p.Agent != "rpcutil" || p.Action != "ping" {
			t.Errorf("%+v", p)
		}
	})
}

func TestEveryRuleHasItsSentence(t *testing.T) {
	r := batch.Rules{
		MaxFailed: batch.Number(1), MaxAbsent: batch.Number(5), MaxNoReply: batch.Amount{Millionths: 20_000}, MaxFailedBatch: batch.Number(3), MaxNoReplyBatch: batch.Amount{Millionths: 40_000}, FailFast: true, StopWhenNothing: true,
		NotSince: time.Hour,
	}
	want := []string{
		"stops at 1 failed", "stops at the first failure", "stops at 2% without a reply", "stops at 5 absent", "stops at 3 failed in one batch",
		"stops at 4% without a reply in one batch", "stops when no node of a batch succeeds",
		"leaves out nodes that started within 1h0m0s: --not-since",
	}
	if got := RuleSentences(r, false); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	want = []string{"stops when a window full of nodes in a row has no success"}
	if got := RuleSentences(batch.Rules{StopWhenNothing: true}, true); !slices.Equal(got, want) {
		t.Errorf("of a window: got %q", got)
	}
	if got := RuleSentences(batch.Rules{}, false); got != nil {
		t.Errorf("no rules: %q", got)
	}
}

func TestThePaceHasItsSentences(t *testing.T) {
	p, pace := batch.Policy{SpreadBy: "rack", MaxPer: []batch.MaxPer{{Fact: "rack", N: 2}, {Fact: "site", N: 1}}}, batch.Pace{Deadline: 2 * time.Hour}
	want := []string{"at most 2 nodes with the same rack in a batch", "at most 1 node with the same site in a batch", "spreads over the values of rack", "begins no batch after 2h0m0s: --deadline"}
	if got := PaceSentences(p, pace); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	p.Rolling, p.SpreadBy, p.MaxPer = true, "", p.MaxPer[:1]
	want = []string{"at most 2 nodes with the same rack in flight", "starts no node after 2h0m0s: --deadline"}
	if got := PaceSentences(p, pace); !slices.Equal(got, want) {
		t.Errorf("of a window: got %q", got)
	}
	if got := PaceSentences(batch.Policy{}, batch.Pace{}); got != nil {
		t.Errorf("nothing: %q", got)
	}
}

func TestTheProofHasItsSentence(t *testing.T) {
	for _, tt := range []struct {
		proof Proof
		want  string
	}{
		{Proof{}, "proves each node: restart"}, {Proof{Version: "0.29.4"}, "proves each node: restart, and version 0.29.4"},
		{Proof{None: true}, ""}, {Proof{Verify: VerifyNone}, ""},
	} {
		c := &call{req: restart()}
		c.req.Proof = tt.proof
		if got := strings.Join(c.checkpoint().proofSentences(), "; "); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.proof, got, tt.want)
		}
	}
	for want, p := range map[string]Proof{
		"a later start with version 0.30.2, within 5m0s of the sending":          {},
		"a later start with version 0.30.3, within 1m0s of the sending":          {Version: "0.30.3", Timeout: Wait{time.Minute, true}},
		"a later start with version as --verify-expr has it, within 5m0s of the": {Expr: "ok()"},
	} {
		c := &call{req: releaseUpdate()}
		c.req.Proof = p
		if got := strings.Join(c.checkpoint().proofSentences(), "; "); !strings.Contains(got, want) {
			t.Errorf("%+v: got %q, want %q", p, got, want)
		}
	}
}

// What the operator is asked, and which answers are a yes.
func TestConsent(t *testing.T) {
	shutdown := restart()
	shutdown.Action = "shutdown"
	for _, tt := range []struct {
		name, question, answer string
		r                      Request
		confirm, ok            bool
	}{
		{"yes", "restart 3 nodes?", "y", restart(), false, true},
		{"no", "restart 3 nodes?", "", restart(), false, false},
		{"no update", "update 3 nodes?", "n", releaseUpdate(), false, false},
		{"the number", "shutdown takes 3 nodes off the network for good. Type the number of nodes to confirm: ", "3", shutdown, false, true},
		{"a wrong number", "shutdown takes 3 nodes off the network for good. Type the number of nodes to confirm: ", "2", shutdown, false, false},
		{"y is no number", "shutdown takes 3 nodes off the network for good. Type the number of nodes to confirm: ", "y", shutdown, false, false},
		{"a question needs none", "", "", ping(), false, true},
		{"nor with confirm", "", "", ping(), true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2", "n3")
				w.asker.away, w.asker.answers, w.settings.Confirm = nil, []string{tt.answer}, tt.confirm
				_, err := w.start(t.Context(), tt.r)
				if (err == nil) != tt.ok || strings.Join(w.asker.asked, "|") != tt.question {
					t.Errorf("asked %q, %v", w.asker.asked, err)
				}
				if tt.question != "" {
					one[Proposed](t, w.events)
				}
			})
		})
	}
}

// Between batches the screen is freed, and a no leaves the rest alone.
func TestConfirmEachAsksBetweenBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.asker.away, w.asker.answers = nil, []string{"y", "y", "n"}
		r := restart()
		r.Pace.ConfirmEach, r.Policy.Sizes = Wish{true, true}, batch.Sizes{batch.Number(1)}
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Verdict != batch.Stopped || len(w.sent()) != 2 {
			t.Errorf("%v, %v, sent %q", res.Summary.Verdict, err, w.sent())
		}
		want := "Send batch 3 to 1 node (1 left)? [y/N, d for details] "
		if len(w.asker.asked) != 3 || w.asker.asked[2] != want {
			t.Errorf("asked %q", w.asker.asked)
		}
		var steps []batch.Step
		for _, e := range w.events.seen {
			if e, ok := e.(Asking); ok && !e.Details {
				steps = append(steps, e.Step)
			}
		}
		if len(steps) != 2 || steps[1].Done != 2 || steps[1].Next != 3 || steps[1].Left != 1 || steps[1].Last.States.Of(batch.Verified) != 1 {
			t.Errorf("shown %+v", steps)
		}
	})
}

// Details are shown as often as they are asked for, and are no answer.
func TestConfirmEachShowsDetails(t *testing.T) {
	w := newWorld(t)
	w.asker.away, w.asker.answers = nil, []string{"d", "details", "Y"}
	c := job{&call{Context: w.context()}}
	if ok, err := c.confirm(t.Context(), batch.Step{Next: 2, Nodes: 5}); !ok || err != nil || len(w.asker.asked) != 3 {
		t.Errorf("%t, %v, asked %q", ok, err, w.asker.asked)
	}
	var details []bool
	for _, e := range w.events.seen {
		details = append(details, e.(Asking).Details)
	}
	if !slices.Equal(details, []bool{false, true, true}) {
		t.Errorf("details %v", details)
	}
}

func TestConfirmFollowsTheGuards(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		guards Guards
		away   error
		ok     bool
		err    error
	}{
		{Guards{Yes: true}, errAway, true, nil}, {Guards{NoInput: true}, nil, false, nil}, {Guards{}, errAway, false, errAway}, {Guards{}, nil, true, nil},
	} {
		w.asker.away, w.asker.answers = tt.away, []string{"y"}
		c := job{&call{Context: w.context(), req: Request{Guards: tt.guards}}}
		if ok, err := c.confirm(t.Context(), batch.Step{}); ok != tt.ok || !errors.Is(err, tt.err) {
			t.Errorf("%+v: %t, %v", tt.guards, ok, err)
		}
	}
}

// Nodes of a change are in one federation, and the plan says what cannot be relied on there.
func TestFederations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		w.about.Federations = []string{"a", "b"}
		_, err := w.start(t.Context(), restart())
		if e, ok := errors.AsType[*fleet.UsageError](err); !ok || !strings.Contains(err.Error(), "in 2 federations at once (a, b)") || !strings.Contains(e.Hint, "--federations") {
			t.Errorf("two for a change: %v", err)
		}
		for federations, want := range map[string]string{
			"":  "",
			"a": "sent to federation a; lifecycle events do not cross federations: restarts are proved by polling alone",
		} {
			w.about.Federations = strings.Fields(federations)
			r := restart()
			r.DryRun = true
			if _, err := w.start(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			p := one[Planned](t, w.events)
			if got := strings.Join(p.Plan.Notes, "; "); got != want {
				t.Errorf("%q: the plan notes %q, want %q", federations, got, want)
			}
		}
		w.about.Federations = []string{"a", "b"}
		r := ping()
		r.DryRun = true
		if _, err := w.start(t.Context(), r); err != nil {
			t.Errorf("two for a question: %v", err)
		}
	})
}

// Servers of protocol v1 drop requests with a shorter time to live, silently.
func TestAShortTimeToLiveIsRefusedForV1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		r := restart()
		r.Pace.TTL = Wait{29 * time.Second, true}
		if _, err := w.start(t.Context(), r); err == nil || !strings.Contains(err.Error(), "a time to live of 29s is too short") || len(w.sent()) > 0 {
			t.Errorf("v1: %v", err)
		}
		w.version, r.DryRun = choria.V2, true
		if _, err := w.start(t.Context(), r); err != nil {
			t.Errorf("v2: %v", err)
		}
		w.version, w.about.TTL = choria.V1, 10*time.Second
		if _, err := w.start(t.Context(), restart()); err == nil || !strings.Contains(err.Error(), "a time to live of 10s") || len(w.sent()) > 0 {
			t.Errorf("a short one in the configuration: %v", err)
		}
	})
}

// An action that changes something is not sent without an account of it, unless the operator says so.
func TestRepliesElsewhereNeedAWordOfTheOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1")
		r := restart()
		r.ReplyTo = "site.x"
		_, err := w.start(t.Context(), r)
		if e, ok := errors.AsType[*GuardError](err); !ok || !strings.Contains(e.Hint, "--no-journal") || len(w.sent()) > 0 {
			t.Errorf("got %v", err)
		}
	})
}
