package world

import (
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
)

// healthy is a case of so many healthy nodes, without any trouble.
func healthy(action string, nodes int, sizes ...int) *spec {
	s := &spec{
		seed: 1, version: choria.V1, action: action, ttl: 30 * time.Second, verifyTimeout: 30 * time.Second, settle: settleOf(action),
		nodes: make([]traits, nodes),
		pace:  batch.Pace{Sleep: time.Second, ReplyTimeout: 12 * time.Second, LongestDelay: 11 * time.Second, VerifyTimeout: 30 * time.Second, Settle: settleOf(action), SilentHold: 71 * time.Second},
	}
	for _, n := range sizes {
		s.policy.Sizes = append(s.policy.Sizes, batch.Number(n))
	}
	if action == update {
		s.updates(5 * time.Minute)
	}
	return s
}

// at makes an event.
func at(anchor string, n int, delay time.Duration, text string, do func(w *world)) *event {
	return &event{anchor: anchor, n: n, delay: delay, text: text, do: do}
}

// of does something to nodes, by their numbers from 1.
func of(do func(n *node), numbers ...int) func(w *world) {
	return func(w *world) {
		for _, i := range numbers {
			do(w.nodes[i-1])
		}
	}
}

func kill(w *world) {
	if w.current != nil {
		w.current.kill()
	}
}

// outage takes broker 0 away for a while.
func outage(d time.Duration) func(w *world) {
	return func(w *world) {
		w.brokers[0].fall()
		w.after(d, w.brokers[0].rise)
	}
}

// want checks the states of nodes, by their numbers, in the last run.
func want(state string, numbers ...int) func(c *caseRun) {
	return func(c *caseRun) {
		p, err := batch.Replay(c.runs[len(c.runs)-1].tape.all())
		if err != nil {
			c.w.violated("the last run does not replay: %v", err)
			return
		}
		for _, i := range numbers {
			if r := resultOf(p, c.w.nodes[i-1].name); r.State.String() != state {
				c.w.violated("%s is %s, want %s: %s", c.w.nodes[i-1].name, r.State, state, r.Reason)
			}
		}
	}
}

// resultOf is what a run knows of a node, zero when it is not in the plan.
func resultOf(p batch.Progress, node string) batch.Result {
	for r := range p.Results() {
		if r.Identity == node {
			return r
		}
	}
	return batch.Result{}
}

// faults are cases that went wrong on real networks, by hand. Each stands for its kind; the seeds look for relatives.
var faults = map[string]func() *spec{
	// A node of a retry is in doubt while another node of its batch is sent to: a resume must judge it with its own
	// attempt, not with the batch's.
	"sent twice": sentTwice,
	// The same run claims to have sent something to the node in doubt.
	"sent time of a node that was not sent to": func() *spec {
		s := sentTwice()
		s.lives, s.open = s.lives[:2], true
		s.check = func(c *caseRun) {
			r := c.runs[1]
			p, err := batch.Replay(r.tape.all())
			if err != nil {
				c.w.violated("run %s does not replay: %v", r.id, err)
				return
			}
			if res := resultOf(p, c.w.nodes[0].name); !res.Sent.IsZero() {
				c.w.violated("run %s says that it sent to %s at %v", r.id, res.Identity, res.Sent)
			}
		}
		return s
	},
	// A node was restarted by hand before its request was sent, and never got that: silence and a start later than an old
	// baseline prove nothing.
	"false proof": func() *spec {
		s := healthy("restart", 9, 3)
		s.nodes[3].boot = 28 * time.Second
		s.lives = []life{{kind: "begin", events: []*event{
			at("rec:replies", 1, 200*time.Millisecond, "broker down: 3 s", outage(3*time.Second)),
			at("rec:replies", 1, time.Second, "restart by hand: n04", of(func(n *node) { n.byHand(time.Second) }, 4)),
		}}}
		return s
	},
	// The connection is lost during proof: nodes that could not be asked stay accepted, and a resume proves them.
	"accepted and proved nowhere": func() *spec {
		s := healthy("restart", 3)
		s.open = true
		s.lives = []life{
			{kind: "begin", events: []*event{at("rec:replies", 1, 100*time.Millisecond, "broker down: 200 s", outage(200*time.Second))}},
			{kind: "resume", gap: 300 * time.Second},
		}
		s.check = func(c *caseRun) { want("verified", 1, 2, 3)(c) }
		return s
	},
	// After a reconnect the servers are still away for a while: a batch that is sent at once has no success.
	"sent before the servers are back": func() *spec {
		s := healthy("restart", 9, 3)
		s.open = true
		s.pace.Sleep = 6 * time.Second
		s.lives = []life{{kind: "begin", events: []*event{
			at("rec:replies", 1, 12*time.Second, "broker down: 2 s", outage(2*time.Second)),
			at("rec:replies", 2, 12*time.Second, "broker down: 2 s", outage(2*time.Second)),
		}}}
		s.check = want("verified", 1, 2, 3, 4, 5, 6, 7, 8, 9)
		return s
	},
	// The time to live that was configured holds for polls as well: a clock may be off by it.
	"ttl of polls": func() *spec {
		s := healthy("restart", 2)
		s.open = true
		s.ttl = 60 * time.Second
		s.nodes[0].offset = 45 * time.Second
		s.lives = []life{{kind: "begin"}}
		s.check = want("verified", 1, 2)
		return s
	},
	// A node that was silent at its baseline and then acted is proved by its age.
	"dead end without a baseline": func() *spec {
		s := healthy("restart", 2)
		s.lives = []life{
			{kind: "begin", events: []*event{
				at("ask", 1, 0, "freeze: n01", of((*node).freeze, 1)),
				at("rec:intent", 1, 500*time.Millisecond, "kill: the process", kill),
				at("rec:intent", 1, time.Second, "thaw: n01", of((*node).thaw, 1)),
			}},
			{kind: "resume", gap: 10 * time.Second},
		}
		s.check = want("verified", 1, 2)
		s.open = true
		return s
	},
	// The silent nodes of the last batch are looked at once more before the verdict.
	"silent in the last batch": func() *spec {
		s := healthy("restart", 2)
		s.open = true
		s.nodes[0].mute = true
		s.lives = []life{{kind: "begin"}}
		s.check = want("verified", 1, 2)
		return s
	},
	// A stop rule that is met while a resume proves and probes stops what was found untouched.
	"stop rules sleep during a resume": func() *spec {
		s := healthy("restart", 2)
		s.open = true
		s.verifyTimeout = 10 * time.Second
		s.nodes[0].noReturn = true
		failFast := batch.Rules{FailFast: true}
		s.lives = []life{
			{kind: "begin", events: []*event{
				at("rec:intent", 1, 0, "freeze: n02", of((*node).freeze, 2)),
				at("rec:outcomes", 1, time.Second, "kill: the process", kill),
				at("rec:intent", 1, 40*time.Second, "thaw: n02", of((*node).thaw, 2)),
			}},
			{kind: "resume", gap: time.Second, rules: &failFast},
		}
		return s
	},
	// A delay that no such action can have is not believed.
	"announced after a year": func() *spec {
		s := healthy("restart", 2)
		s.nodes[0].announces, s.nodes[0].noReturn = "Restarting Choria Server after 8760h", true
		s.lives = []life{{kind: "begin"}}
		return s
	},
	// An explicit rule replaces the implied one.
	"one refusal with a limit of five": func() *spec {
		s := healthy("restart", 4, 1)
		s.open = true
		s.nodes[0].refuses = true
		s.rules = batch.Rules{StopWhenNothing: true, MaxFailed: batch.Number(5)}
		s.lives = []life{{kind: "begin"}}
		s.check = want("verified", 2, 3, 4)
		return s
	},
	// A run that died before its plan was durable sent nothing: the command is typed again.
	"died before the plan": func() *spec {
		s := healthy("restart", 3)
		s.lives = []life{{kind: "begin", dieAt: 1, keep: keepNothing}, {kind: "resume"}}
		s.check = want("verified", 1, 2, 3)
		s.open = true
		return s
	},
	// A record from before the last batch: its planned nodes were restarted already.
	"lagging copy": func() *spec {
		s := healthy("restart", 4, 2)
		s.lives = []life{
			{kind: "begin", events: []*event{at("rec:replies", 2, 15*time.Second, "kill: the process", kill)}},
			{kind: "resume", lag: toLastBatch},
		}
		return s
	},
	// Replies that arrived in time count, however long their check takes.
	"arrived and not counted": func() *spec {
		s := healthy("restart", 300)
		s.open = true
		s.slowCheck = 50 * time.Millisecond
		s.lives = []life{{kind: "begin"}}
		s.check = func(c *caseRun) {
			if n := c.last.States.Of(batch.NoReply) + c.last.Late; n > 0 {
				c.w.violated("%d of %d nodes count as silent or late, and all their replies had arrived", n, c.last.Nodes)
			}
		}
		return s
	},
	// Replies that are in go before the timer that is due at the same time, as after a slow write to the journal.
	"a timer overtakes replies": func() *spec {
		s := healthy("restart", 12)
		s.open, s.plain, s.slowDisk = true, true, time.Second
		for i := range s.nodes {
			s.nodes[i].replyAfter = 11*time.Second + 500*time.Millisecond + time.Duration(i)*time.Millisecond
		}
		s.nodes[0].replyAfter = 11*time.Second + 200*time.Millisecond // its record is being written when the timer is due
		s.lives = []life{{kind: "begin"}}
		return s
	},
	// The operator's machine sleeps between the intent and the sending, and another operator restarts the node meanwhile.
	"restarted before it was sent to": func() *spec {
		s := healthy("restart", 2, 1)
		s.lives = []life{{kind: "begin", events: []*event{
			at("rec:intent", 1, 0, "suspended: the operator's machine for 45 s", func(w *world) { w.suspend(45 * time.Second) }),
			at("rec:intent", 1, 0, "another operator: n01", of(func(n *node) { n.byOther("restart") }, 1)),
		}}}
		return s
	},
	// A server that is frozen is not shut down.
	"frozen is not down": func() *spec {
		s := healthy("shutdown", 4)
		s.lives = []life{{kind: "begin", events: []*event{at("rec:replies", 1, 0, "freeze: n02", of((*node).freeze, 2))}}, {kind: "resume", gap: 10 * time.Minute}}
		return s
	},
	// However long proof is looked for: its broker gives up on it after minutes.
	"frozen is not down, however long proof is looked for": func() *spec {
		s := healthy("shutdown", 4)
		s.open = true
		s.verifyTimeout, s.pace.VerifyTimeout = 15*time.Minute, 15*time.Minute
		s.lives = []life{{kind: "begin", events: []*event{at("rec:replies", 1, 0, "freeze for good: n02", of((*node).freeze, 2))}}}
		s.check = want("unverified", 2)
		return s
	},
	// The connection was lost after the request, and a resume is a process with a connection of its own: the record has the loss.
	"frozen when every broker restarted": func() *spec {
		s := healthy("shutdown", 2)
		s.open = true
		s.lives = []life{
			{kind: "begin", events: []*event{
				at("send", 2, 0, "freeze for good: n02", of((*node).freeze, 2)),
				at("send", 2, 2*time.Second, "broker down: 1 s", outage(time.Second)),
				at("send", 2, 20*time.Second, "kill: the process", kill),
			}},
			{kind: "resume", gap: time.Second},
		}
		s.check = func(c *caseRun) {
			if want("no-reply", 2)(c); len(c.runs) != 1 {
				c.w.violated("the case is not what it was: %d runs", len(c.runs))
			}
		}
		return s
	},
	// A reply is lost, and its node is away when it is looked at: it is on its way back.
	"away at the last look": func() *spec {
		s := healthy("restart", 2)
		s.open = true
		s.nodes[1].mute, s.nodes[1].boot = true, 10*time.Second
		s.lives = []life{{kind: "begin"}}
		s.check = want("verified", 1, 2)
		return s
	},
	// One that accepted and froze before it acted is absent when a resume looks minutes later: its broker gave up on it.
	"frozen is not down in a resume": func() *spec {
		s := healthy("shutdown", 2)
		s.lives = []life{
			{kind: "begin", events: []*event{
				at("rec:outcomes", 2, 0, "freeze for good: n01", of((*node).freeze, 1)),
				at("rec:outcomes", 2, time.Millisecond, "kill: the process", kill),
			}},
			{kind: "resume", gap: 10 * time.Minute},
		}
		return s
	},
	// A node that is not connected is absent at once, and nothing was sent to it.
	"absent": func() *spec {
		s := healthy("restart", 3)
		s.open = true
		s.lives = []life{{kind: "begin", events: []*event{at("ask", 1, 0, "crash: n02", of((*node).crash, 2))}}}
		s.check = want("absent", 2)
		return s
	},
}

func sentTwice() *spec {
	s := healthy("restart", 2)
	s.lives = []life{
		{kind: "begin", events: []*event{
			at("rec:intent", 1, 0, "freeze: both", of((*node).freeze, 1, 2)),
			at("rec:intent", 1, 20*time.Second, "thaw: n01", of((*node).thaw, 1)),
			at("rec:intent", 1, 34*time.Second, "freeze: n01", of((*node).freeze, 1)),
			at("rec:intent", 1, 45*time.Second, "thaw: n02", of((*node).thaw, 2)),
			at("rec:intent", 1, 140*time.Second, "thaw: n01", of((*node).thaw, 1)),
		}},
		{kind: "retry", states: retryStates("no-reply"), gap: 45 * time.Second},
		{kind: "resume", gap: 60 * time.Second},
	}
	s.check = func(c *caseRun) {
		if len(c.w.nodes[0].acts) != 1 || len(c.runs) != 2 {
			c.w.violated("the case is not what it was: n01 acted %d times, %d runs", len(c.w.nodes[0].acts), len(c.runs))
		}
	}
	return s
}

func TestFaults(t *testing.T) {
	for name := range faults {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := playIn(t, faults[name]())
			for range 10 { // what is due at the same time is taken in any order
				if name == "a timer overtakes replies" && len(r.verdicts) == 0 {
					r = playIn(t, faults[name]())
				}
			}
			if len(r.verdicts) > 0 {
				t.Errorf("%s\n%s", strings.Join(r.verdicts, "\n"), strings.Join(r.lines, "\n"))
			}
		})
	}
}
