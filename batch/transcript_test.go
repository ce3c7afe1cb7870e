package batch

import (
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the machine says now")

// TestTranscripts plays testdata/*.txt: lines at the margin are events, indented
// ones the commands that the machine answered. -update rewrites the answers; the
// invariants (see audit) are checked anyway, so read the diff for sense and
// trust it for safety.
//
//	plan nodes=5 batch=2 canary=1 [verify] [probe] [confirm] [gates] [watch] sleep=5s reply=10s deadline=1m max-failed=2 nothing ...
//	     [rolling] hold=60s rack=a,b [max-per=1] [spread]   node k has the k-th rack, over and over
//	     [within=Mon-Fri_01:00-05:00_UTC] [stop-outside]   the clock starts on Thursday, 2026-01-01 00:00 UTC
//	     [last=n1,n2]                   these go last
//	start                                begin, or resume after kill
//	reply BATCH NODE ok|CODE [REASON]    a reply comes in
//	sent BATCH [unsent=a,b|error]        Act returns
//	proof NODE acted|unproved            the Verifier answers; "verifier-ended" when it ends
//	probe NODE acted|unproved|untouched  the Prober answers; "probe-ended" when it ends
//	baseline QUESTION [NODE=TEXT...]     the answers are in; TEXT may be absent, or TEXT@AGE
//	wait DURATION                        time passes, due timers fire
//	absent BATCH NODE                    the broker knew no subscriber
//	link down|up|gone                    state of the connection
//	confirm yes|no, interrupt, pause, continue, abandon, disk-full
//	gate QUESTION VERDICT [decided]      a round of the gates: passed, failed, inconclusive; "gate-ended QUESTION [error]"
//	kill                                 the process dies; the journal is replayed
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// play answers the events of a transcript.
func play(t *testing.T, text string) string {
	d := &driver{t: t, audit: newAudit(t), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "\t") {
			continue
		}
		out.WriteString(line + "\n")
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			d.out = nil
			d.event(f[0], f[1:])
			for _, o := range d.out {
				out.WriteString("\t" + o + "\n")
			}
		}
	}
	return out.String()
}

// driver plays the runner for one machine.
type driver struct {
	t      *testing.T
	audit  *audit
	m      *machine
	rules  Rules
	pace   Pace
	gates  Gates
	verify bool
	probe  bool
	now    time.Time
	timers []timerCmd
	out    []string
}

func (d *driver) event(name string, args []string) {
	num := func(i int) int {
		n, err := strconv.Atoi(args[i])
		if err != nil {
			d.t.Fatal(err)
		}
		return n
	}
	why := errors.New("tested")
	if d.m != nil && name != "disk-full" {
		d.m.l.commit() // what the event before gave is durable
	}
	switch name {
	case "plan":
		d.plan(args)
	case "start":
		d.do(d.m.start(d.now, d.rules, d.pace, d.gates, false, Shortest))
	case "reply":
		o := Outcome{Batch: num(0), Node: args[1], Time: d.now, OK: args[2] == "ok", Reason: strings.Join(args[3:], " ")}
		if !o.OK {
			o.Code = num(2)
		}
		d.step(&outcomeEvent{d.now, o})
	case "absent":
		d.step(&outcomeEvent{d.now, Outcome{Batch: num(0), Node: args[1], Time: d.now, Absent: true}})
	case "sent":
		e := sentEvent{At: d.now, Batch: num(0)}
		if len(args) > 1 {
			e.Err = why
			if names, ok := strings.CutPrefix(args[1], "unsent="); ok {
				not := &NotSentError{Nodes: []string{}, Err: why, Uncertain: slices.Contains(args, "uncertain"), Again: slices.Contains(args, "again")}
				if names != "" {
					not.Nodes = strings.Split(names, ",")
				} else if !not.Uncertain {
					not.Nodes = nil // none was sent to
				}
				e.Err = not
			}
		}
		d.step(e)
	case "proof", "probe":
		p := Proof{Node: args[0], Time: d.now}
		if err := p.Found.UnmarshalText([]byte(args[1])); err != nil {
			d.t.Fatal(err)
		}
		if name == "proof" {
			d.step(proofEvent{d.now, p})
			return
		}
		if p.Found == Untouched {
			d.audit.untouched[p.Node] = true
		}
		d.step(probeEvent{d.now, p})
	case "verifier-ended":
		d.step(verifierEnd{d.now})
	case "probe-ended":
		d.step(probeEnd{d.now})
	case "baseline":
		e := baselineEvent{At: d.now, Question: num(0), Baselines: map[string]Baseline{}}
		for _, a := range args[1:] {
			k, v, _ := strings.Cut(a, "=")
			v, ends, _ := strings.Cut(v, "+") // a token that ends so much later
			text, age, _ := strings.Cut(v, "@")
			b := Baseline{Text: text}
			if text == "silent" {
				b = Baseline{Silent: true}
			}
			if left, err := time.ParseDuration(ends); err == nil {
				b.TokenEnds = d.now.Add(left)
			}
			if age != "" {
				b.Age, _ = time.ParseDuration(age)
			}
			if text == "absent" {
				b = Baseline{Absent: true}
			}
			e.Baselines[k] = b
		}
		d.step(e)
	case "wait":
		d.wait(args[0])
	case "confirm":
		d.step(confirmEvent{d.now, args[0] == "yes", nil})
	case "gate":
		r := GateRound{Reason: args[1], Decided: len(args) > 2}
		if err := r.Verdict.UnmarshalText([]byte(args[1])); err != nil {
			d.t.Fatal(err)
		}
		d.step(gateEvent{d.now, num(0), r})
	case "gate-ended":
		e := gateEnd{At: d.now, Question: num(0)}
		if len(args) > 1 {
			e.Err = why
		}
		d.step(e)
	case "interrupt":
		d.step(interruptEvent{d.now, errors.New("interrupt signal received")})
	case "link":
		d.step(linkEvent{d.now, Link{Time: d.now, Up: args[0] == "up", Gone: args[0] == "gone", Err: why}})
	case "pause", "continue":
		d.step(controlEvent{d.now, Control{Time: d.now, Pause: name == "pause", By: "ann"}})
	case "abandon":
		d.step(abandonEvent{d.now, why})
	case "disk-full":
		d.do(d.m.fail(journalEvent{d.now, errors.New("no space left on device")}))
	case "kill":
		d.kill()
	default:
		d.t.Fatalf("unknown event %q", name)
	}
}

func (d *driver) plan(args []string) {
	var p Policy
	set := map[string]string{}
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		set[k] = v
	}
	amount := func(key string) Amount {
		var a Amount
		if err := a.UnmarshalText([]byte(set[key])); err != nil {
			d.t.Fatal(err)
		}
		return a
	}
	length := func(key, def string) time.Duration {
		if set[key] != "" {
			def = set[key]
		}
		v, err := time.ParseDuration(def)
		if err != nil {
			d.t.Fatal(err)
		}
		return v
	}
	count, err := strconv.Atoi(set["nodes"])
	if err != nil {
		d.t.Fatal(err)
	}
	if p.Sizes, err = ParseSizes(set["batch"]); err != nil {
		d.t.Fatal(err)
	}
	p.Canary, _ = strconv.Atoi(set["canary"])
	_, p.Rolling = set["rolling"]
	if set["max-per"] != "" {
		n, err := strconv.Atoi(set["max-per"])
		if err != nil {
			d.t.Fatal(err)
		}
		p.MaxPer = []MaxPer{{"rack", n}}
	}
	if _, spread := set["spread"]; spread {
		p.SpreadBy = "rack"
	}
	racks := strings.Split(set["rack"], ",")
	_, nothing := set["nothing"]
	_, confirm := set["confirm"]
	_, watch := set["watch"]
	if _, gated := set["gates"]; gated {
		d.gates.Commands = []string{"true"}
	}
	_, d.verify = set["verify"]
	_, d.probe = set["probe"]
	d.rules = Rules{MaxFailed: amount("max-failed"), MaxNoReply: amount("max-no-reply"), MaxFailedBatch: amount("max-failed-batch"),
		MaxNoReplyBatch: amount("max-no-reply-batch"), MaxAbsent: amount("max-absent"), StopWhenNothing: nothing,
		TokenMargin: length("tokens", "0s"), NotSince: length("not-since", "0s")}
	d.pace = Pace{Sleep: length("sleep", "0s"), ReplyTimeout: length("reply", "10s"), Deadline: length("deadline", "0s"), ConfirmEach: confirm,
		SilentHold: length("hold", "1m"), Watch: watch, Within: Hours(strings.ReplaceAll(set["within"], "_", " "))}
	_, d.pace.StopOutside = set["stop-outside"]
	var nodes []Node
	for i := range count {
		nodes = append(nodes, Node{Identity: fmt.Sprintf("n%d", i+1), Facts: map[string]string{"rack": racks[i%len(racks)]},
			Last: slices.Contains(strings.Split(set["last"], ","), fmt.Sprintf("n%d", i+1))})
	}
	plan, err := NewPlan(nodes, p)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, name := range strings.FieldsFunc(set["doubt"], func(r rune) bool { return r == ',' }) {
		plan.Doubts = append(plan.Doubts, Target{Node: name, Batch: 1, Baseline: "old", Sent: d.now.Add(-time.Hour)})
	}
	for _, b := range plan.Batches {
		d.say("batch %d: %s (%s)", b.Number, strings.Join(b.Nodes, " "), b.Reason)
	}
	if len(plan.Pool) > 0 {
		d.say("pool: %s", strings.Join(plan.Pool, " "))
	}
	progress, err := Begin(Header{Run: "r1"}, plan)
	if err != nil {
		d.t.Fatal(err)
	}
	d.m = newMachine(progress.l, d.verify, d.probe, nil)
}

func (d *driver) say(format string, args ...any) { d.out = append(d.out, fmt.Sprintf(format, args...)) }

func (d *driver) step(e event) { d.do(d.m.step(e)) }

// wait lets time pass, timer by timer.
func (d *driver) wait(length string) {
	v, err := time.ParseDuration(length)
	if err != nil {
		d.t.Fatal(err)
	}
	until := d.now.Add(v)
	for {
		slices.SortStableFunc(d.timers, func(a, b timerCmd) int { return a.At.Compare(b.At) })
		if len(d.timers) == 0 || d.timers[0].At.After(until) {
			d.now = until
			return
		}
		t := d.timers[0]
		d.timers = d.timers[1:]
		d.now = t.At
		d.step(timerEvent{d.now, t.Timer, t.Batch})
	}
}

// kill loses everything but the journal.
func (d *driver) kill() {
	p, err := Replay(fromLines(d.audit.lines))
	if err != nil {
		d.t.Fatalf("replay: %v", err)
	}
	d.timers = nil
	d.m = newMachine(p.l, d.verify, d.probe, nil)
	d.audit.stopped, d.audit.paused, d.audit.away, d.audit.passed, d.audit.sentNow = false, false, false, false, map[string]bool{}
	d.say("replayed: %s, open %d, %s", counts(p.Counts()), p.Open(), p.Summary().Verdict)
}

func fromLines(lines [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func counts(c Counts) string {
	var words []string
	for _, s := range States() {
		if n := c.Of(s); n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(words, ", ")
}

// do prints the commands, as the runner would carry them out.
func (d *driver) do(commands []command) {
	d.audit.now = d.now
	for _, c := range slices.Clone(commands) {
		d.audit.command(d.m, c)
		switch c := whole(c).(type) {
		case recordCmd:
			d.say("record %s%s", c.Kind, describe(c.Record))
		case actCmd:
			d.say("ACT batch %d: %s", c.Batch, strings.Join(c.Nodes, " "))
		case baselineCmd:
			d.say("baseline %d: %s", c.Question, strings.Join(c.Nodes, " "))
		case verifyCmd:
			d.say("verify %s", targets(c.Targets))
		case probeCmd:
			d.say("probe %s", targets(c.Targets))
		case confirmCmd:
			d.say("confirm batch %d of %d nodes, %d left", c.Next, c.Nodes, c.Left)
		case gateCmd:
			d.say("gates %d after batch %d of %d: %s", c.Question, c.Batch, c.Batches, momentNodes(c.Nodes))
		case gateCancelCmd:
			d.say("gates canceled")
		case timerCmd:
			d.timers = append(d.timers, c)
			d.say("timer %s in %v", c.Timer, c.At.Sub(d.now))
		case haltCmd:
			d.say("halt")
		case endCmd:
			s := Progress{d.m.l}.Summary()
			d.say("END %s: %s, open %d", s.Verdict, counts(s.States), s.Open)
		}
	}
	d.audit.account(d.m.l)
}

func momentNodes(all []MomentNode) string {
	var words []string
	for _, n := range all {
		words = append(words, n.Identity+" "+n.State.String())
	}
	return strings.Join(words, ", ")
}

func targets(all []Target) string {
	var words []string
	for _, t := range all {
		w := t.Node
		if t.Baseline != "" {
			w += "(" + t.Baseline + ")"
		}
		if t.Replied.IsZero() {
			w += "(silent)"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func describe(r Record) string {
	var b strings.Builder
	if r.Batch > 0 {
		fmt.Fprintf(&b, " batch %d", r.Batch)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Baselines)) {
		fmt.Fprintf(&b, " %s=%s", k, r.Baselines[k])
	}
	for _, o := range r.Outcomes {
		fmt.Fprintf(&b, " %s", o.Node)
		switch {
		case o.Absent:
			b.WriteString(" absent")
		case !o.OK:
			fmt.Fprintf(&b, " refused %d %s", o.Code, o.Reason)
		}
	}
	for _, p := range r.Proofs {
		fmt.Fprintf(&b, " %s %s", p.Node, p.Found)
	}
	if len(r.Nodes) > 0 {
		b.WriteString(": " + strings.Join(r.Nodes, " "))
	}
	if r.Kind == KindLink || r.Kind == KindSlots || r.Kind == KindHours || r.Kind == KindAbsent || r.Kind == KindRestarted || r.Kind == KindReplaced || r.Kind == KindLeftOut || r.Kind == KindSkipped || r.By != "" {
		b.WriteString(" (" + r.Reason + r.By + ")")
	}
	if r.Gate != nil {
		fmt.Fprintf(&b, " %s, decided %v", r.Gate.Verdict, r.Gate.Decided)
	}
	if r.Stop != nil {
		fmt.Fprintf(&b, " by %s: %s", r.Stop.Kind, r.Stop.Reason)
	}
	return b.String()
}
