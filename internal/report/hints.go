package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/plain"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

// SecretHint reports how to keep a secret off the command line.
func SecretHint(name string) string {
	return fmt.Sprintf("%s on a command line shows in process lists and histories; %[1]s=@FILE, %[1]s=- or %[1]s=env:NAME keep it out", name)
}

// ToResumeShared is the hint for a run that another operator may have adopted: then a resume is refused.
func ToResumeShared(n run.Next) string {
	return "to resume: " + n.Command("resume") + "; if another operator has adopted the run: " + n.Command("watch", "--shared")
}

// hopeless are parts of the reasons of nodes that a retry never sends to or cannot help, and what the hint says of them. The
// request has had its effect there, or the host must be repaired first (docs/protocol.md, choria_provision).
var hopeless = []struct{ part, hint string }{
	{"rollback also failed, server in broken state", "a retry cannot help %s without a program on the disk: repair the host before anything restarts it"},
	{"came back unprovisioned", "a retry cannot help %s that came back unprovisioned: see the provisioner and its token"},
	{"started again, but ", "a retry sends nothing to %s that started again, and not as demanded: remove the cause, then name them in a new run"},
}

// pastRetry counts the nodes that failed and that a retry cannot help, by their row of hopeless.
func pastRetry(s batch.Summary) []int {
	counts := make([]int, len(hopeless))
	if s.States.Failed() == 0 {
		return counts
	}
	for r := range s.Results() {
		if r.State != batch.Refused && r.State != batch.Unverified {
			continue
		}
		for i, h := range hopeless {
			if strings.Contains(r.Reason, h.part) {
				counts[i]++
				break
			}
		}
	}
	return counts
}

// printHint prints the commands to type next.
func (l *Live) printHint(r run.Result) {
	if r.ID == "" {
		return
	}
	left := r.Summary.States
	failed := left.Failed()
	for i, n := range pastRetry(r.Summary) {
		if n > 0 {
			failed -= n
			l.say("hint: "+hopeless[i].hint, plain.Count(n, "node"))
		}
	}
	flags, states := run.RetryFlags(left, failed)
	switch s := r.Summary; {
	case s.Open > 0 && r.Lost:
		l.say("hint: %s", ToResumeShared(r.Next))
	case s.Open > 0 && s.Stop.Kind == batch.StopRule && len(flags) > 0:
		l.say("hint: to look at the nodes that stopped it: %s", r.Next.Command("show", "--state", strings.Join(states, ",")))
		l.say("hint: to continue without them: %s", r.Next.Command("resume"))
		l.say("hint: to try them again later: %s", r.Next.Command("retry", flags...))
	case s.Open > 0:
		l.say("hint: to resume: %s", r.Next.Command("resume"))
	case len(flags) > 0:
		l.say("hint: to try these nodes again: %s", r.Next.Command("retry", flags...))
	case left.Of(batch.Unknown) > 0:
		l.say("hint: fleetctl cannot find out what the unknown nodes did: check their hosts; to send to them again, start a new run that names them")
	}
}

// maxBehind is how long replies may wait to be checked before the operator is warned.
const maxBehind = time.Second

// warnBehind reports that this machine is too slow for so many replies.
func (l *Live) warnBehind(r run.Result) {
	if r.Behind > maxBehind {
		l.say("warning: this machine cannot keep up: replies that had arrived waited %s to be checked; they were counted", r.Behind.Round(time.Second/10))
	}
	if r.Dropped > 0 {
		l.say("warning: this machine cannot keep up: %d messages arrived and did not fit in memory; nodes without a reply may be among them", r.Dropped)
	}
}

func (l *Live) warnStrays(s rpcclient.Strays) {
	if s.Total() == 0 {
		return
	}
	var parts []string
	for k := range s.Count {
		parts = append(parts, fmt.Sprintf("%d %s (%s)", s.Count[k], k, discovery.Fold(s.Names(k))))
	}
	slices.Sort(parts)
	l.say("warning: replies that were rejected: %s", strings.Join(parts, "; "))
}

// warnFilter reports what the expression could not judge.
func (l *Live) warnFilter(g *gathered) {
	if g.unfit > 0 {
		l.say("warning: --filter-replies could not be evaluated for %d replies, which are hidden: %v", g.unfit, g.why)
	}
}

// tellRecord reports at once what the operator must not learn at the end only: the connection, pauses and gates.
func (l *Live) tellRecord(r batch.Record) {
	switch r.Kind {
	case batch.KindLink, batch.KindSlots, batch.KindHours:
		l.say("%s", r.Reason)
	case batch.KindSent:
		if r.Uncertain {
			l.say("%s: nodes that stay silent may have its request, and are not sent to again", r.Reason)
		}
	case batch.KindAdopted:
		l.say("the run was adopted by %s", plain.Line(r.By))
	case batch.KindPaused:
		l.say("%s: nothing new is sent; replies and proof continue", pausedBy(r))
	case batch.KindContinued:
		l.say("%s", pausedBy(r))
	case batch.KindGate:
		if lines := gateLines(r, &l.gate); len(lines) > 0 {
			l.say("%s", strings.Join(lines, "\n"))
		}
	}
}
