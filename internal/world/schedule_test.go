package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
)

// realEvery is how often a seed has real signatures and files. Of the seeds that `go test` runs, every fourth has: more would
// make long runs slow.
const realEvery = 40

// fromSeed makes a case. The same seed gives the same case.
func fromSeed(seed uint64) *spec {
	r := rand.New(rand.NewPCG(seed, 0))
	s := &spec{
		seed: seed, version: choria.V1, brokers: 1 + r.IntN(2), mute503: chance(r, 0.1),
		action:        pick(r, "restart", "restart", "restart", "restart", "restart", "shutdown", "shutdown", "reprovision"),
		verifyTimeout: pick[time.Duration](r, 20, 30, 60) * time.Second, ttl: 30 * time.Second,
	}
	if chance(r, 0.5) {
		s.version = choria.V2
	}
	if chance(r, 0.2) {
		s.ttl = 60 * time.Second
	}
	s.settle = settleOf(s.action)
	s.real = seed < 200 && seed%4 == 0 || seed%realEvery == 0
	if s.real {
		s.version = choria.V2
	}
	s.pace = batch.Pace{
		Sleep: pick[time.Duration](r, 0, 1, 3, 5, 10, 30) * time.Second, ReplyTimeout: pick[time.Duration](r, 8, 12, 22) * time.Second,
		LongestDelay: 11 * time.Second, VerifyTimeout: s.verifyTimeout, Settle: s.settle,
	}
	if chance(r, 0.15) {
		s.slowDisk = upTo(r, time.Second)
	}
	if chance(r, 0.1) && !s.real {
		s.slowCheck = upTo(r, 500*time.Millisecond)
	}
	nodes := 2 + r.IntN(13)
	for range nodes {
		s.nodes = append(s.nodes, randomTraits(r, s))
	}
	s.policy = batch.Policy{TakesToken: true}
	if chance(r, 0.8) {
		s.policy.Sizes = batch.Sizes{batch.Number(1 + r.IntN(4))}
	}
	if chance(r, 0.2) {
		s.policy.Canary = 1
	}
	s.rules = randomRules(r)
	if chance(r, 0.25) {
		s.noise = noise{lost: 0.1 * r.Float64(), late: 0.1 * r.Float64(), duplicate: 0.1 * r.Float64(), forged: 0.1 * r.Float64()}
	}
	s.randomUpdate()
	s.randomWindow()
	s.randomHours()
	s.randomGates()
	s.randomOrder()
	s.lives = append(s.lives, randomLife(r, s, "begin"))
	for range r.IntN(5) {
		kind := pick(r, "resume", "resume", "retry")
		s.lives = append(s.lives, randomLife(r, s, kind))
	}
	if chance(r, 0.08) { // long enough for a broker to give up on a node that does not answer
		first := &s.lives[0]
		first.events = append(first.events, &event{anchor: "life", n: 1, delay: time.Second, text: "freeze for good: n01", do: func(w *world) { w.nodes[0].freeze() }})
		late := randomLife(r, s, "resume")
		late.gap = 9 * time.Minute
		s.lives = append(s.lives, late)
	}
	if s.policy.Rolling {
		for i := range s.lives {
			if rules := s.lives[i].rules; rules != nil {
				*rules = ofWindow(*rules)
			}
		}
	}
	return s
}

// randomWindow makes a share of the cases roll. It has a generator of its own, so that the others stay what they were.
func (s *spec) randomWindow() {
	r := rand.New(rand.NewPCG(s.seed, 3))
	s.pace.SilentHold = s.ttl + s.pace.LongestDelay + s.verifyTimeout
	if !chance(r, 0.4) {
		return
	}
	s.policy.Rolling = true
	s.policy.Sizes = batch.Sizes{batch.Number(1 + r.IntN(5))}
	if chance(r, 0.25) {
		s.policy.Sizes = batch.Sizes{batch.Number(1), batch.Number(2), batch.Number(2 + r.IntN(4))}
	}
	if s.racks = 1 + r.IntN(4); chance(r, 0.4) {
		s.policy.MaxPer = []batch.MaxPer{{Fact: "rack", N: 1 + r.IntN(2)}}
	}
	if chance(r, 0.3) {
		s.policy.SpreadBy = "rack"
	}
	s.rules = ofWindow(s.rules)
}

// randomHours makes a share of the cases begin batches only within some minutes. It has a generator of its own, as
// randomWindow.
func (s *spec) randomHours() {
	r := rand.New(rand.NewPCG(s.seed, 4))
	if !chance(r, 0.2) {
		return
	}
	clock := func(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }
	var parts []string
	for from := r.IntN(3); from < 120; {
		to := from + 1 + r.IntN(3)
		s.hours = append(s.hours, [2]int{from, to})
		parts = append(parts, clock(from)+"-"+clock(to)+" UTC")
		from = to + 1 + r.IntN(3)
	}
	s.hours = append(s.hours, [2]int{180, 24 * 60}) // so that every run ends
	parts = append(parts, "03:00-24:00 UTC")
	s.pace.Within = batch.Hours(strings.Join(parts, "; "))
}

// randomOrder makes some nodes of a share of the cases go last, and leaves young ones out in a share of them. It has a
// generator of its own, as randomWindow.
func (s *spec) randomOrder() {
	r := rand.New(rand.NewPCG(s.seed, 40))
	if chance(r, 0.3) {
		s.policy.LastIf = "leader"
		for i := range s.nodes {
			s.nodes[i].last = chance(r, 0.3)
		}
	}
	if chance(r, 0.2) {
		s.rules.NotSince = pick[time.Duration](r, 1, 5, 30) * time.Minute
		for i := range s.nodes {
			if chance(r, 0.25) {
				s.nodes[i].age = 31*time.Second + upTo(r, 2*s.rules.NotSince)
			}
		}
	}
}

// within reports whether a batch may begin at a moment, by the minutes of the case.
func (s *spec) within(at time.Time) bool {
	minute := at.UTC().Hour()*60 + at.UTC().Minute()
	return s.hours == nil || slices.ContainsFunc(s.hours, func(h [2]int) bool { return minute >= h[0] && minute < h[1] })
}

// ofWindow leaves out the rules about one batch.
func ofWindow(r batch.Rules) batch.Rules {
	r.MaxFailedBatch, r.MaxNoReplyBatch = batch.Amount{}, batch.Amount{}
	return r
}

func chance(r *rand.Rand, share float64) bool { return r.Float64() < share }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// upTo is a time between a tenth of a second and most, short ones as likely as long ones.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	least := 0.1
	d := least * math.Pow(most.Seconds()/least, r.Float64())
	return time.Duration(d * float64(time.Second))
}

func randomTraits(r *rand.Rand, s *spec) traits {
	t := traits{broker: r.IntN(s.brokers), boot: upTo(r, 4*time.Second)}
	switch {
	case chance(r, 0.6):
		t.offset = time.Duration(r.IntN(200)-100) * time.Millisecond
	case chance(r, 0.9):
		t.offset = time.Duration(r.IntN(6000)-3000) * time.Millisecond
	default:
		t.offset = time.Duration(r.IntN(50_000)-25_000) * time.Millisecond
	}
	t.refuses = chance(r, 0.07)
	t.denies = chance(r, 0.03)
	t.noReturn = chance(r, 0.05)
	if chance(r, 0.3) {
		t.supervisor = upTo(r, 60*time.Second)
	}
	if chance(r, 0.6) {
		t.provisioner = upTo(r, 40*time.Second)
	}
	if chance(r, 0.01) {
		t.announces = "Restarting Choria Server after 8760h"
	}
	if chance(r, 0.04) {
		t.tokenEnds = time.Minute
	}
	if chance(r, 0.1) {
		t.age = 30 * time.Second
	}
	return t
}

func randomRules(r *rand.Rand) batch.Rules {
	rules := batch.Rules{StopWhenNothing: chance(r, 0.6)}
	if chance(r, 0.2) {
		rules.MaxFailed = batch.Number(1 + r.IntN(3))
	}
	if chance(r, 0.2) {
		rules.MaxNoReply = batch.Number(1 + r.IntN(3))
	}
	if chance(r, 0.15) {
		rules.MaxFailedBatch = batch.Number(1 + r.IntN(2))
	}
	if chance(r, 0.2) {
		rules.MaxNoReplyBatch = batch.Number(1 + r.IntN(2))
	}
	if chance(r, 0.1) {
		limitAbsent(&rules, 1+r.IntN(3))
	}
	rules.FailFast = chance(r, 0.1)
	return rules
}

func randomLife(r *rand.Rand, s *spec, kind string) life {
	l := life{kind: kind, gap: upTo(r, pick(r, 5*time.Second, 90*time.Second, 15*time.Minute))}
	if kind == "retry" {
		for _, flag := range []string{"failed", "no-reply", "absent", "unknown", "not-sent"} {
			if chance(r, 0.7) {
				l.states = append(l.states, retryStates(flag)...)
			}
		}
	}
	if kind == "resume" && !s.real && chance(r, 0.1) {
		l.lag = 1 + r.IntN(6)
	}
	if chance(r, 0.1) {
		l.deadline = upTo(r, 5*time.Minute)
	}
	if chance(r, 0.25) {
		rules := randomRules(r)
		l.rules = &rules
	}
	if chance(r, 0.2) {
		l.dieAt, l.keep = 1+r.IntN(pick(r, 1, 4, 12, 25)), death(r.IntN(int(deaths)))
	}
	for range r.IntN(9) {
		l.events = append(l.events, randomEvent(r, s))
	}
	if chance(r, 0.15) { // another operator's request is there first
		l.events = append(l.events, &event{anchor: "rec:intent", n: 1 + r.IntN(3), text: "another operator: everywhere", do: func(w *world) {
			for _, n := range w.nodes {
				n.byOther(s.action)
			}
		}})
	}
	slices.SortStableFunc(l.events, func(a, b *event) int { return int(a.delay - b.delay) })
	return l
}

// anchors are the moments that events are counted from.
var anchors = []string{"life", "ask", "send", "rec:intent", "rec:sent", "rec:outcomes", "rec:replies", "rec:proofs", "rec:batch-end", "rec:resumed", "rec:probed", "rec:baseline", "rec:plan"}

func randomEvent(r *rand.Rand, s *spec) *event {
	e := &event{anchor: pick(r, anchors...), n: 1 + r.IntN(6), delay: upTo(r, pick(r, time.Second, 12*time.Second, 90*time.Second))}
	if e.anchor == "life" || e.anchor == "rec:resumed" || e.anchor == "rec:plan" {
		e.n = 1
	}
	if chance(r, 0.25) {
		e.delay = 0
	}
	name := r.IntN(len(s.nodes))
	many := chance(r, 0.3) // the event concerns a third of the nodes
	d := upTo(r, pick(r, 3*time.Second, 25*time.Second, 5*time.Minute))
	long := upTo(r, 20*time.Minute)
	step := time.Duration(r.IntN(240)-120) * time.Second
	to := r.IntN(s.brokers)
	each := func(do func(n *node)) func(w *world) {
		return func(w *world) {
			for i, n := range w.nodes {
				if i == name || many && i%3 == name%3 {
					do(n)
				}
			}
		}
	}
	type choice struct {
		weight int
		text   string
		do     func(w *world)
	}
	choices := []choice{
		{12, fmt.Sprintf("freeze: n%02d for %v", name+1, d), each(func(n *node) {
			n.freeze()
			gen := n.gen
			n.w.after(d, func() {
				if n.gen == gen {
					n.thaw()
				}
			})
		})},
		{3, fmt.Sprintf("freeze for good: n%02d", name+1), each((*node).freeze)},
		{5, fmt.Sprintf("crash: n%02d", name+1), each((*node).crash)},
		{10, fmt.Sprintf("restart by hand: n%02d", name+1), each(func(n *node) { n.byHand(time.Second + d/20) })},
		{6, fmt.Sprintf("disconnect: n%02d", name+1), each(func(n *node) { n.leave("for a while") })},
		{4, fmt.Sprintf("silent network: n%02d for %v", name+1, d), each(func(n *node) { n.silence(d) })},
		{4, fmt.Sprintf("power lost: n%02d for %v", name+1, long), each(func(n *node) { n.losePower(long) })},
		{4, fmt.Sprintf("clock step: n%02d by %v", name+1, step), each(func(n *node) { n.step(step) })},
		{5, fmt.Sprintf("another operator: n%02d", name+1), each(func(n *node) { n.byOther(s.action) })},
		{8, fmt.Sprintf("broker down: %d for %v", to, d), func(w *world) {
			w.brokers[to].fall()
			w.after(d, w.brokers[to].rise)
		}},
		{4, "every broker down: for " + d.String(), func(w *world) {
			for _, b := range w.brokers {
				b.fall()
				w.after(d, b.rise)
			}
		}},
		{4, fmt.Sprintf("suspended: the operator's machine for %v", long), func(w *world) { w.suspend(long) }},
		{6, "kill: the operator's process", func(w *world) {
			if w.current != nil {
				w.current.kill()
			}
		}},
		{5, "signal: the first", func(w *world) {
			if w.current != nil {
				w.current.signal()
			}
		}},
		{2, "second signal: soon after the first", func(w *world) {
			if p := w.current; p != nil {
				p.signal()
				w.after(d/10+time.Millisecond, func() {
					if w.current == p {
						p.leave()
					}
				})
			}
		}},
		{4, fmt.Sprintf("pause: for %v", d), func(w *world) {
			if p := w.current; p != nil {
				p.hold(true)
				w.after(d, func() {
					if w.current == p {
						p.hold(false)
					}
				})
			}
		}},
		{3, "noise: begins", func(w *world) { w.noise = noise{0.3, 0.2, 0.2, 0.2} }},
	}
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	roll := r.IntN(total)
	for _, c := range choices {
		if roll -= c.weight; roll < 0 {
			e.text, e.do = c.text, c.do
			break
		}
	}
	return e
}
