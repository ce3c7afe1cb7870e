package proof

import (
	"encoding/json"
	"fmt"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

// provisionComponent is the component of a server in provisioning mode (docs/protocol.md, lifecycle events).
const provisionComponent = "provision_mode_server"

// startTime reads rpcutil#daemon_stats.
func startTime(r rpcclient.Reply) (int64, bool) {
	if r.Code != choria.OK {
		return 0, false
	}
	start, ok := choria.Integer(r.Data, "starttime")
	return start, ok && start > 0
}

// sighting is what the last answer of a node showed.
type sighting uint8

const (
	unseen      sighting = iota // it has not answered yet
	sameProcess                 // a process that began before the request
	later                       // one that began after it
	lacking                     // one that began after it, but the expression does not hold; or no expression holds
	uncertain                   // a process for which neither is certain
	unreadable                  // an answer without a start time, mostly a refusal
)

// judge looks at the answer to a poll. It returns what it shows, the start time when there is one, and a note.
func (v *Verifier) judge(p past, r rpcclient.Reply, l look, steady bool) (s sighting, note string) {
	if v.o.Action == Expression {
		if holds, note := v.holds(r); !holds {
			return lacking, note
		}
		return later, ""
	}
	if l.start == 0 {
		return unreadable, r.Message
	}
	switch v.began(p, l, steady) {
	case same, before:
		return sameProcess, ""
	case unclear:
		return uncertain, ""
	}
	if holds, note := v.holds(r); !holds {
		return lacking, note
	}
	return later, ""
}

// lookOf reads an answer; asked is when its poll left, zero when that is not known.
func lookOf(r rpcclient.Reply, asked time.Time) look {
	start, _ := startTime(r)
	return look{start: start, clock: r.Time, asked: asked, received: r.Received}
}

// holds evaluates the expression on a reply, and reports why it does not hold. Without one it holds.
func (v *Verifier) holds(r rpcclient.Reply) (bool, string) {
	if v.o.Expr == nil {
		return true, ""
	}
	ok, err := v.o.Expr.Match(filter.ReplyEnv{
		Sender: r.Node, Message: r.Message, Code: int(r.Code), Data: r.Data, Time: r.Time,
	})
	switch {
	case err != nil:
		return false, "the expression cannot be evaluated: " + err.Error()
	case !ok && r.Code != choria.OK:
		return false, fmt.Sprintf("the expression does not hold: %s#%s: %s", r.Agent, r.Action, r.Message)
	case !ok:
		return false, "the expression does not hold" + versionNote(r.Data)
	}
	return true, ""
}

// versionNote names the version, for the operator.
func versionNote(data []byte) string {
	var body struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(data, &body) != nil || body.Version == "" {
		return ""
	}
	return ": version " + body.Version
}

// clock shows a node's time: the hour alone, unless it is of another day than the reference.
func clock(unix, reference int64) string {
	const day = 24 * 60 * 60
	t := time.Unix(unix, 0).UTC()
	if unix/day != reference/day {
		return t.Format(time.DateTime)
	}
	return t.Format(time.TimeOnly)
}

// proved is the reason of a proof, for the operator: "started 12:00:03, was 11:12:40".
func (v *Verifier) proved(w *watched) string {
	switch {
	case v.o.Action == Shutdown && w.gone != never:
		return "gone since its shutdown was due"
	case v.o.Action == Shutdown:
		return "silent since its shutdown was due"
	case v.o.Action == Expression:
		return "the expression holds"
	case w.sees != later:
		return "in provisioning mode since " + clock(w.entered, w.entered)
	}
	return w.past.started(w.start)
}

// started shows the start time of a later process beside what it is later than.
func (p past) started(start int64) string {
	s := "started " + clock(start, start)
	switch {
	case p.base > 0:
		return s + ", was " + clock(p.base, start)
	case p.stamp > 0:
		return s + ", after its reply of " + clock(p.stamp/int64(time.Second), start)
	}
	return s + ", younger than the request"
}

const (
	lostReason   = "the connection to the broker was lost: not asked"
	unsentReason = "the request for its proof could not be sent: not asked"
)

// tokenEnded reports whether replies have shown a token of the node that has expired. They may have been rejected for that.
func (v *Verifier) tokenEnded(node string) bool {
	t, seen := v.o.Client.Token(node)
	return seen && !t.Ends.After(time.Now())
}

// unproved is why there is no proof, and what to do. It contains no times: the same reason of many nodes is printed once.
func (v *Verifier) unproved(w *watched, noEvents bool) string {
	switch {
	case v.o.Action == Shutdown:
		return w.stillUp()
	case w.entered > 0 && v.o.Action == Restart && w.sees != later:
		return "came back unprovisioned: it is in provisioning mode, see the provisioner and its token"
	case w.silent() && v.o.Action == Reprovision:
		return reprovisionSilent(w, noEvents)
	case w.silent() && w.sees == later:
		return "had started again, and no longer answers: see the host"
	case w.silent() && w.gone != never && v.o.Action == Update:
		return "is not connected: it may not have come back, or was provisioned meanwhile: see the host and the provisioner"
	case w.silent() && w.gone != never && v.o.Action == Restart && v.tokenEnded(w.node):
		return "is not connected, and its token has ended: a server that starts with it is in provisioning mode"
	case w.silent() && w.gone != never:
		return "is not connected, it may not have come back: see the host"
	case w.silent() && v.o.Action == Restart:
		return "does not answer, it may not have come back: see the host"
	case w.silent():
		return "does not answer: see the host"
	}
	switch w.sees {
	case sameProcess:
		switch {
		case !w.replied && v.o.Action == Update:
			return "is still the same process: the update failed without a reply, or has not ended: see its log"
		case !w.replied:
			return "is still the same process"
		}
		return "accepted, and is still the same process: see its log"
	case lacking:
		if v.o.Action == Expression {
			return w.note
		}
		return "started again, but " + w.note
	case uncertain:
		return w.past.unsure(w.track)
	case unreadable:
		return fmt.Sprintf("does not report its start time (%s): allow rpcutil#daemon_stats", w.note)
	}
	if w.tardy {
		return "started again, and was seen too late to know whether it stays up: check whether it answers"
	}
	return "did not stay up: it starts again and again, see its log"
}

// unsure is why the process that was seen proves nothing.
func (p past) unsure(t track) string {
	switch {
	case t.set:
		return "its clock was set meanwhile, so that its start time proves nothing: see its log"
	case p.base == 0 && p.stamp == 0 && p.sent.IsZero():
		return "nothing to compare its start time with: no start time from before, no time in its reply"
	case p.base > 0:
		return "another process than before, and its start time does not show whether it began after the request: see its log"
	}
	return "its start time does not show whether it began after the request: see its log"
}

func (w *watched) stillUp() string {
	switch {
	case w.gone != never:
		return "is not connected, and whether it shut down cannot be proved: see the host"
	case w.heard == never || w.asked > w.heard+forgetPoll:
		return "does not answer, and is still connected: it may be frozen, see the host"
	case w.sees == later || w.sees == lacking:
		return "answers again as a new process: see what starts the service"
	}
	return "still answers: see its log"
}

func reprovisionSilent(w *watched, noEvents bool) string {
	left := "does not answer"
	if w.gone != never {
		left = "left the account"
	}
	switch {
	case w.entered > 0:
		return "in provisioning mode, and has not come back: see the provisioner"
	case noEvents:
		return left + ", and it is unknown whether in provisioning mode, as lifecycle events are not available " +
			"(v2 tokens need events_viewer): look for it in collective provisioning"
	}
	return left + ", and was not seen in provisioning mode: look for it in collective provisioning, perhaps under the host's name"
}
