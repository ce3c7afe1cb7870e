package world

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/proof"
)

// Updates of nodes in provisioning mode (docs/protocol.md, choria_provision). The operator's account is that of the provisioner;
// the nodes are in it from the beginning.

const (
	update      = "release_update"
	updatedTo   = "0.30.2"
	updatedFrom = "0.29.4"
	agentTime   = 20 * time.Second // a reply that comes later is dropped
)

// firstVersion is what nodes run when a case begins.
func firstVersion(action string) string {
	if action == update {
		return updatedFrom
	}
	return updatedTo
}

// updates makes the case one of updates: proof is looked for from the sending on, for so long.
func (s *spec) updates(verify time.Duration) {
	s.action, s.settle, s.verifyTimeout = update, settleOf(update), verify
	p := &s.pace
	p.Watch, p.Settle, p.VerifyTimeout = true, s.settle, verify
	p.ReplyTimeout, p.LongestDelay = max(p.ReplyTimeout, verify), max(proof.LongestDelay(proof.Update, 0), verify)
	p.SilentHold = s.ttl + p.LongestDelay + verify
}

// demands is what the reply to a poll must satisfy, nil for nothing.
func (s *spec) demands() (*filter.ReplyExpr, error) {
	if s.action != update {
		return nil, nil
	}
	return filter.CompileReply(fmt.Sprintf("data(%q) == %q", "version", updatedTo))
}

// randomUpdate makes a share of the cases update nodes. It has a generator of its own, so that the others stay what they were.
func (s *spec) randomUpdate() {
	r := rand.New(rand.NewPCG(s.seed, 2))
	if s.real || !chance(r, 0.08) {
		return
	}
	s.updates(pick[time.Duration](r, 1, 5) * time.Minute)
	for i := range s.nodes {
		t := &s.nodes[i]
		t.tokenEnds, t.provisioner = 0, 0
		t.download, t.rollsBack = upTo(r, pick(r, 10*time.Second, 45*time.Second, 8*time.Minute)), chance(r, 0.15)
		if chance(r, 0.1) {
			t.installs = "0.29.9"
		}
	}
}

// update downloads a program, swaps it and replies, then starts again 2 s later. A failed update is rolled back.
func (n *node) update(req asked) {
	takes := cmp.Or(n.traits.download, time.Second)
	n.busy, n.pending = true, req.id
	n.accepted[req.id]++
	n.pledges = append(n.pledges, pledge{req.id, time.Now(), takes})
	n.w.judgeAccepted(req.id)
	n.logf("begins %s, which takes %v (%s)", req.action, takes, short(req.id))
	n.later(takes, func() {
		reply := func(code choria.StatusCode, text string, data []byte) {
			if takes > agentTime {
				n.w.saw("update: reply dropped")
				return
			}
			n.answer(req, code, text, data)
		}
		if n.traits.rollsBack {
			n.logf("rolls the update back")
			n.w.saw("update: rolled back")
			n.busy, n.pending = false, ""
			n.pledges = slices.DeleteFunc(n.pledges, func(p pledge) bool { return p.request == req.id })
			reply(choria.Aborted, "Update to version "+updatedTo+" failed, release rolled back: no such file", nil)
			return
		}
		if n.disk = cmp.Or(n.traits.installs, updatedTo); n.disk != updatedTo {
			n.w.saw("update: another version")
		}
		reply(choria.OK, "OK", []byte(`{"message":"Restarting Choria Server after 2s"}`))
		n.later(2*time.Second+time.Duration(n.rng.IntN(90))*time.Millisecond, func() { n.act(req.id, req.action) })
	})
}

// configure is the work of a provisioner: the node leaves the account.
func (n *node) configure() {
	n.finish("configured by a provisioner")
	n.left = true
	n.w.after(time.Second, func() { n.begin(causeProvisioner, "") })
}

// judgeUpdate: a node that is called updated has started with the version since the request was sent.
func (w *world) judgeUpdate(n *node, sent time.Time) {
	for _, s := range n.starts {
		if s.at.After(sent) && s.version == updatedTo {
			return
		}
	}
	w.violated("false proof: %s is verified, and no process of version %s began after the sending", n.name, updatedTo)
}

// Each way in which an update can end, in batches and in a window.
func TestUpdatesEndAsTheyMust(t *testing.T) {
	retry := life{kind: "retry", states: retryStates("failed", "no-reply", "unknown"), gap: time.Minute}
	for name, c := range map[string]struct {
		adapt func(s *spec)
		check func(c *caseRun)
	}{
		"with a reply": {func(*spec) {}, want("verified", 1, 2, 3, 4, 5, 6)},
		"the replies are dropped": {func(s *spec) {
			for i := range s.nodes {
				s.nodes[i].download = time.Duration(21+20*i) * time.Second
			}
		}, want("verified", 1, 2, 3, 4, 5, 6)},
		"rolled back": {func(s *spec) { s.nodes[1].rollsBack = true }, func(c *caseRun) {
			want("verified", 1, 3, 4, 5, 6)(c)
			want("refused", 2)(c)
		}},
		"rolled back without a reply, and retried": {func(s *spec) {
			s.nodes[1].rollsBack, s.nodes[1].download = true, 30*time.Second
			s.lives = append(s.lives, retry)
		}, want("unknown", 2)},
		"another version, and retried": {func(s *spec) {
			s.nodes[1].installs = "0.29.9"
			s.lives = append(s.lives, retry)
		}, func(c *caseRun) {
			if n := len(c.w.nodes[1].acts); n != 1 || len(c.runs) != 2 {
				c.w.violated("n02 acted %d times in %d runs", n, len(c.runs))
			}
		}},
		"restarted by hand while it downloads": {func(s *spec) {
			s.nodes[1].download = time.Minute
			s.lives[0].events = []*event{at("rec:intent", 1, 10*time.Second, "restart by hand: n02", of(func(n *node) { n.byHand(time.Second) }, 2))}
		}, want("no-reply", 2)},
		"configured meanwhile": {func(s *spec) {
			s.nodes[1].download = time.Minute
			s.lives[0].events = []*event{at("rec:intent", 1, 10*time.Second, "configured: n02", of((*node).configure, 2))}
		}, want("no-reply", 2)},
		"the operator's process dies while nodes download": {func(s *spec) {
			for i := range s.nodes {
				s.nodes[i].download = time.Duration(10+10*i) * time.Second
			}
			s.lives[0].events = []*event{at("rec:sent", 1, 5*time.Second, "kill: the process", kill)}
			s.lives = append(s.lives, life{kind: "resume", gap: 10 * time.Second})
		}, want("verified", 1, 2, 3, 4, 5, 6)},
	} {
		for _, mode := range []string{"batches", "window"} {
			t.Run(strings.ReplaceAll(name, " ", "-")+"/"+mode, func(t *testing.T) {
				s := healthy(update, 6, 3)
				if mode == "window" {
					s = rolling(update, 6, 3)
					s.policy.MaxPer = []batch.MaxPer{{Fact: "rack", N: 1}}
				}
				s.lives, s.open = []life{{kind: "begin"}}, true
				c.adapt(s)
				s.check = c.check
				sweep(t, name, s)
			})
		}
	}
}

// TestUpdateDeathAtEveryAppend kills a run of updates at each of its appends: one resume ends with every node updated, but for those
// whose intent was recorded and whose request never left. Nothing shows that these got none: a download has no longest duration.
func TestUpdateDeathAtEveryAppend(t *testing.T) {
	walked := 0
	for dieAt, over := 1, false; !over; dieAt++ {
		for keep := range deaths {
			s := healthy(update, 4, 1, 2)
			s.nodes[1].download, s.nodes[3].download = 25*time.Second, 40*time.Second
			s.lives = []life{{kind: "begin", dieAt: dieAt, keep: keep}, {kind: "resume", gap: time.Second}}
			s.open, s.check = true, func(c *caseRun) {
				for i, n := range c.w.nodes {
					state := "verified"
					if len(n.received) == 0 {
						state = "unknown"
					}
					want(state, i+1)(c)
				}
			}
			r := sweep(t, fmt.Sprintf("update: dies at append %d (%d)", dieAt, keep), s)
			if over = r.seen["killed at an append"] == 0; over {
				break
			}
			walked++
		}
	}
	if walked < 20 {
		t.Errorf("walked %d deaths only", walked)
	}
}
