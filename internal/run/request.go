package run

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/ddl"
	"fleetctl/internal/fleet"
	"fleetctl/internal/saved"
	"fleetctl/internal/secret"
)

// Wait is a duration that was given, or was not: 0 is not the same as nothing.
type Wait struct {
	D   time.Duration
	Set bool
}

// or is the duration given, or another.
func (w Wait) or(d time.Duration) time.Duration {
	if w.Set {
		return w.D
	}
	return d
}

// recorded is the duration as it is written down; nil: it was not given.
func (w Wait) recorded() *time.Duration {
	if !w.Set {
		return nil
	}
	return &w.D
}

// keep takes a duration that was written down, where none was given now.
func (w *Wait) keep(d *time.Duration) {
	if d != nil && !w.Set {
		*w = Wait{*d, true}
	}
}

// Wish is a yes or a no that was given, or was not.
type Wish struct{ On, Set bool }

// Count is a number of nodes that was given, or was not.
type Count struct {
	N   int
	Set bool
}

// Request is what the operator asks for: an action on nodes, and how. The zero value of every part is its documented
// default.
type Request struct {
	Agent, Action string
	Inputs        map[string]string // as typed; secrets may be @FILE, - or env:NAME
	Targets       fleet.Targets
	Policy        batch.Policy // how nodes become batches; TakesToken is filled in from the agent's document
	Pace          Pace
	Rules         batch.Rules // StopWhenNothing is filled in for actions that change something
	Guards        Guards
	Gates         Gates
	Proof         Proof
	Record        Record
	Shared        Shared
	DryRun        bool   // report the plan and stop
	Save          Saving // save the plan and stop
	ReplyTo       string // where replies go in place of here; "" is the rule
	Detach        bool   // Context.Detach takes the run when its guards have passed
	Protocol      bool   // keep each reply's protocol document

	// Typed is the command and its flags as they were typed, for the record; the inputs stand after its first word. Empty
	// for a request that no command line made.
	Typed   Typed
	stored  bool              // what a recorded run leaves is meant
	given   map[string]string // with stored: the inputs that were typed now
	secrets []string          // with stored: the names of its secret inputs
	handed  *Handover         // another process handed the run over
	keptTTL bool              // Pace.TTL is that of the record or the plan
	plan    *saved.File       // that is applied
	drift   batch.Amount      // with plan: how many nodes may have changed; they are left out
	// approved is how many approvals count, of the plan that is applied or of that of the recorded run.
	approved int
}

// Pace reports how fast a run goes, as far as the operator has said so.
type Pace struct {
	Sleep        Wait // between batches; 1 s
	ReplyTimeout Wait // for a batch's replies; the document's timeout and 2 s
	Deadline     Wait // no batch begins after this long; 0 is none
	TTL          Wait // of the request; the configuration's, else 30 s
	ConfirmEach  Wish // ask between batches
	NotSince     Wait // leave out nodes that started within this time
	Hours        Hours
}

// Hours are those in which batches may begin, where they were given; without them, always.
type Hours struct {
	Within  batch.Hours
	Set     bool
	Outside Outside
}

// Outside is what a run does outside of its hours.
type Outside string

// The values of Outside; "" is OutsideWait.
const (
	OutsideWait Outside = "wait"
	OutsideStop Outside = "stop"
)

// Guards hold a run back. Our own settings can ask for the same.
type Guards struct {
	MaxNodes      Count  // refuse a plan of more nodes
	Expect        Count  // refuse unless exactly this many nodes were found
	ExpectFile    string // refuse unless exactly these nodes were found
	Yes, NoInput  bool   // answer every question with yes; refuse in place of asking
	InsecureToken bool   // send secrets even without TLS
	AllowExpiring bool   // restart nodes whose token ends before the run does
}

// Record reports whether a run is recorded. Where, is the Store's matter.
type Record struct {
	Off    bool // keep no record
	On     bool // keep one of an action that changes nothing, too
	Resume bool // resume this command's interrupted run, if there is one
	Trust  bool // take a record for complete that looks like a copy
}

// defaultSleep is upstream's: a second between batches when none is named.
const defaultSleep = time.Second

// Validate refuses what cannot be meant, before any network. Errors are *fleet.UsageError.
func (r Request) Validate() error {
	if r.Pace.ReplyTimeout.Set && r.Pace.ReplyTimeout.D == 0 {
		return usage(errors.New("--reply-timeout 0 waits for no reply"), "")
	}
	if ttl := r.Pace.TTL; ttl.Set && (ttl.D < time.Second || ttl.D%time.Second != 0) {
		return usage(fmt.Errorf("--ttl %s: servers count whole seconds, from 1", ttl.D), "")
	}
	if readers := r.stdinReaders(); len(readers) > 1 {
		return usage(fmt.Errorf("%s all read stdin", strings.Join(readers, " and ")), "give one of them a file")
	}
	if err := r.validateReplyTo(); err != nil {
		return err
	}
	if reader := r.Targets.Stdin(); r.Record.Resume && reader != "" {
		return usage(fmt.Errorf("--resume cannot know whether %s brings the same nodes", reader), "name the run: `fleetctl runs resume RUN`")
	}
	if max := r.Guards.MaxNodes; max.Set && max.N == 0 { // a script that computed 0 must not go ahead without any limit
		return usage(errors.New("--max-nodes 0 allows no run"), "leave it out for no limit")
	}
	if err := errors.Join(r.Pace.Hours.validate(), r.validateDetach(), r.Shared.validate(r), r.Save.validate(r), r.Gates.validate(r)); err != nil {
		return err
	}
	if text := r.Policy.LastIf; text != "" {
		if _, err := lastIf(text); err != nil {
			return err
		}
	}
	if r.Record.Off && (r.Record.On || r.Record.Resume) {
		return usage(errors.New("--no-journal excludes --journal and --resume"), "")
	}
	if r.Policy.Rolling && len(r.Policy.Sizes) == 0 {
		return usage(errors.New("--mode rolling needs --batch: how many nodes may be in flight?"), "")
	}
	if r.Policy.Rolling {
		if err := r.rolls(); err != nil {
			return err
		}
	}
	if err := r.Policy.Validate(); err != nil {
		return usage(err, "")
	}
	return r.Proof.validate(r.Agent, r.Action)
}

// rolls refuses what asks or judges batch by batch: a rolling window has no batches.
func (r Request) rolls() error {
	for _, flag := range []struct {
		name, hint string
		given      bool
	}{
		{"--confirm-each", "begin with --canary, and pause the run to look: `fleetctl runs pause RUN`", r.Pace.ConfirmEach.On},
		{"--max-failed-batch", "use --max-failed", !r.Rules.MaxFailedBatch.IsZero()},
		{"--max-no-reply-batch", "use --max-no-reply", !r.Rules.MaxNoReplyBatch.IsZero()},
	} {
		if flag.given {
			return usage(fmt.Errorf("%s is about batches, and a rolling window has none", flag.name), flag.hint)
		}
	}
	return nil
}

// stdinReaders names everything that would read stdin: two readers would each get half.
func (r Request) stdinReaders() []string {
	var readers []string
	if nodes := r.Targets.Stdin(); nodes != "" {
		readers = append(readers, nodes)
	}
	if r.Guards.ExpectFile == secret.Stdin {
		readers = append(readers, "--expect-file -")
	}
	for key, text := range r.Inputs {
		if text == secret.Stdin && slices.Contains([]string{"token", "password", "secret"}, strings.ToLower(key)) {
			readers = append(readers, key+"=-")
		}
	}
	slices.Sort(readers)
	return readers
}

// Typed is a command line in parts, without its inputs: those may be secret, which only the agent's document knows.
type Typed struct {
	Words []string // the command and its arguments: req AGENT ACTION, or runs retry RUN
	Flags []string // as they were typed, each with its value
}

// command is what was typed, for the record, with every secret taken out. Pasted into a shell, with the secrets given
// again, it means the same nodes.
func (r Request) command(action *ddl.Action, typed map[string]string) []string {
	out := slices.Clone(r.Typed.Words)
	if len(out) == 0 {
		out = []string{"req", r.Agent, r.Action}
	}
	for _, key := range slices.Sorted(maps.Keys(typed)) {
		value := typed[key]
		if secretInput(action, key) {
			value = secret.Redacted
		}
		out = append(out, key+"="+value)
	}
	if r.Typed.Words == nil {
		return append(out, r.Targets.Arguments()...)
	}
	return append(out, r.Typed.Flags...)
}

func (r Request) pace(replies time.Duration) batch.Pace {
	return batch.Pace{
		Sleep: r.Pace.Sleep.or(defaultSleep), ReplyTimeout: r.Pace.ReplyTimeout.or(replies), Deadline: r.Pace.Deadline.D, ConfirmEach: r.Pace.ConfirmEach.On,
		Within: r.Pace.Hours.Within, StopOutside: r.Pace.Hours.Outside == OutsideStop,
	}
}

// pacesOrStops reports that batches or stop rules were asked for.
func (r Request) pacesOrStops() bool {
	paced := len(r.Policy.Sizes) > 0 || r.Policy.Canary > 0 || r.Policy.SpreadBy != "" || len(r.Policy.MaxPer) > 0 || r.Policy.LastIf != "" || r.Pace.ConfirmEach.On || r.Pace.Hours.Within != ""
	return paced || r.Rules != batch.Rules{}
}

// keepPace keeps the recorded pace and rules where nothing else was given now. A window takes over nothing that is about
// batches.
func (r *Request) keepPace(p batch.Progress) {
	pace, rules := p.Pace(), p.Rules()
	if r.Policy.Rolling {
		pace.ConfirmEach, rules.MaxFailedBatch, rules.MaxNoReplyBatch = false, batch.Amount{}, batch.Amount{}
	}
	if !r.Pace.Sleep.Set {
		r.Pace.Sleep = Wait{pace.Sleep, true}
	}
	if !r.Pace.ReplyTimeout.Set {
		r.Pace.ReplyTimeout = Wait{pace.ReplyTimeout, true}
	}
	if !r.Pace.Deadline.Set {
		r.Pace.Deadline = Wait{pace.Deadline, pace.Deadline > 0}
	}
	if !r.Pace.ConfirmEach.Set {
		r.Pace.ConfirmEach = Wish{pace.ConfirmEach, pace.ConfirmEach}
	}
	if !r.Pace.NotSince.Set {
		r.Pace.NotSince = Wait{rules.NotSince, rules.NotSince > 0}
	}
	if !r.Pace.Hours.Set {
		r.Pace.Hours.Within = pace.Within
	}
	if r.Pace.Hours.Outside == "" && pace.StopOutside && r.Pace.Hours.Within != "" {
		r.Pace.Hours.Outside = OutsideStop
	}
	keepRules(&r.Rules, rules)
	r.Gates.keep(p.Gates())
}

// keepSplit keeps how the nodes of an earlier run were split, where nothing else was given now: a retry must not send to all
// of a rack at once that the run restarted one by one. What --max-down made of it is left out: the budget decides that again.
func (r *Request) keepSplit(s Stored) {
	now, recorded := &r.Policy, s.Progress.Plan().Policy
	if len(now.Sizes) == 0 && !slices.Contains(r.Typed.Flags, "--mode") {
		now.Rolling, now.Sizes = recorded.Rolling, recorded.Sizes
		now.Canary = cmp.Or(now.Canary, recorded.Canary)
	}
	now.SpreadBy = cmp.Or(now.SpreadBy, recorded.SpreadBy)
	if len(now.MaxPer) == 0 {
		for _, most := range recorded.MaxPer {
			if s.Meta.MaxDown[most.Fact] != most.N {
				now.MaxPer = append(now.MaxPer, most)
			}
		}
	}
}

// keepRules fills in every stop rule that was not given now.
func keepRules(now *batch.Rules, recorded batch.Rules) {
	for _, rule := range []struct{ now, recorded *batch.Amount }{
		{&now.MaxFailed, &recorded.MaxFailed}, {&now.MaxNoReply, &recorded.MaxNoReply}, {&now.MaxAbsent, &recorded.MaxAbsent},
		{&now.MaxFailedBatch, &recorded.MaxFailedBatch}, {&now.MaxNoReplyBatch, &recorded.MaxNoReplyBatch},
	} {
		if rule.now.IsZero() {
			*rule.now = *rule.recorded
		}
	}
	if now.MaxFailed == recorded.MaxFailed { // a limit of its own replaces --fail-fast, which is a limit of 1
		now.FailFast = now.FailFast || recorded.FailFast
	}
}

// fromRecord fills in what the record knows; inputs may only be the secrets that it does not.
func (r *Request) fromRecord(m Meta) error {
	r.Agent, r.Action, r.Targets.Collective = m.Agent, m.Action, m.Collective
	given := r.Inputs
	r.given, r.secrets, r.approved = given, m.Secrets, m.Approved
	r.Inputs = maps.Clone(m.Inputs)
	if r.Inputs == nil {
		r.Inputs = map[string]string{}
	}
	for k, v := range given {
		if !slices.Contains(m.Secrets, k) {
			return usage(fmt.Errorf("input %q cannot be changed: the run was begun with its own", k), "begin a new run with `fleetctl req`")
		}
		r.Inputs[k] = v
	}
	p := &r.Proof
	if cmp.Or(p.Verify, VerifyAuto) == VerifyAuto && !p.None && p.Expr == "" && p.Version == "" {
		p.Verify, p.None, p.Expr, p.Version = m.Proof.Verify, m.Proof.None, m.Proof.Expr, m.Proof.Version
	}
	if !p.Timeout.Set && m.Timeout > 0 {
		p.Timeout = Wait{m.Timeout, true}
	}
	if !p.Settle.Set && m.SettleSet {
		p.Settle = Wait{m.Settle, true}
	}
	if !r.Pace.TTL.Set {
		r.Pace.TTL, r.keptTTL = Wait{m.TTL, true}, true
	}
	r.Shared.keep(m)
	return nil
}
