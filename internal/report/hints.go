package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/run"
	"fleetctl/rpcclient"
)

// SecretHint reports how to keep a secret off the command line.
func SecretHint(name string) string {
	return fmt.Sprintf("%s on a command line shows in process lists and histories; %[1]s=@FILE, %[1]s=- or %[1]s=env:NAME keep it out", name)
}

// ToResume is the hint that names the command by which a run is resumed, with the secrets that have to be given again.
func ToResume(id string, secrets []string) string {
	return "to resume: fleetctl runs resume " + id + secretsAgain(secrets)
}

func secretsAgain(names []string) string {
	var again strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		again.WriteString(" " + name + "=@FILE")
	}
	return again.String()
}

// printHint prints the run's id and the command to type next.
func (l *Live) printHint(r run.Result) {
	if r.ID == "" {
		return
	}
	again := secretsAgain(r.Secrets)
	switch s := r.Summary; {
	case s.Open > 0:
		l.say("hint: %s", ToResume(r.ID, r.Secrets))
	case s.States.Failed()+s.States.Of(batch.NoReply)+s.States.Of(batch.Absent) > 0:
		var which strings.Builder
		for _, state := range []struct {
			nodes int
			flag  string
		}{{s.States.Failed(), " --failed"}, {s.States.Of(batch.NoReply), " --no-reply"}, {s.States.Of(batch.Absent), " --absent"}} {
			if state.nodes > 0 {
				which.WriteString(state.flag)
			}
		}
		l.say("hint: to try these nodes again: fleetctl runs retry %s%s%s", r.ID, &which, again)
	case s.States.Of(batch.Unknown) > 0:
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
