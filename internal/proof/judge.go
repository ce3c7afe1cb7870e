package proof

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

// provisionComponent is the component of a server in provisioning mode (docs/protocol.md, lifecycle events).
const provisionComponent = "provision_mode_server"

// past is a node before its act, on its own clock, in unix seconds; 0 is not known.
type past struct {
	base  int64 // the start time that it told just before the request
	stamp int64 // when it replied to the request
}

func pastOf(t batch.Target) past {
	var p past
	if base, err := strconv.ParseInt(t.Baseline, 10, 64); err == nil && base > 0 {
		p.base = base
	}
	if !t.Stamp.IsZero() {
		p.stamp = t.Stamp.Unix()
	}
	return p
}

func baselineText(start int64) string { return strconv.FormatInt(start, 10) }

// known tells whether there is anything to compare with.
func (p past) known() bool { return p.base > 0 || p.stamp > 0 }

// before tells whether something happened after all that we know of the node's past. The process that replied had
// started by then, and acts two seconds later at the earliest: whatever began in the second of the reply, or after the
// baseline and before the reply, is not the act.
func (p past) before(unix int64) bool { return p.known() && unix > p.base && unix > p.stamp }

// startTime reads rpcutil#daemon_stats.
func startTime(r rpcclient.Reply) (int64, bool) {
	var body struct {
		StartTime int64 `json:"starttime"`
	}
	if r.Code != choria.OK || json.Unmarshal(r.Data, &body) != nil || body.StartTime <= 0 {
		return 0, false
	}
	return body.StartTime, true
}

// sighting is what the last answer of a node showed.
type sighting uint8

const (
	unseen      sighting = iota // it has not answered yet
	sameProcess                 // the process that accepted the request
	later                       // a later process
	lacking                     // a later process, but the expression does not hold; or no expression holds
	noReference                 // a start time, and nothing to compare it with
	unreadable                  // an answer without a start time: refused, most of all
)

// judge looks at the answer to a poll. It returns what it shows, the start time when it tells one, and what to say.
func (v *Verifier) judge(p past, r rpcclient.Reply) (s sighting, start int64, note string) {
	start, ok := startTime(r)
	if v.o.Action == Expression {
		if holds, note := v.holds(r); !holds {
			return lacking, start, note
		}
		return later, start, ""
	}
	switch {
	case !ok:
		return unreadable, 0, r.Message
	case !p.known():
		return noReference, start, ""
	case !p.before(start):
		return sameProcess, start, ""
	}
	if holds, note := v.holds(r); !holds {
		return lacking, start, note
	}
	return later, start, ""
}

// holds evaluates the expression on a reply, and says why it does not hold. Without one it holds.
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

// versionNote names the version, which is what people look for.
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

// proved is the reason of a proof, for people: "started 12:00:03, was 11:12:40".
func (v *Verifier) proved(w *watched) string {
	switch {
	case v.o.Action == Shutdown:
		return "silent since it was to shut down"
	case v.o.Action == Expression:
		return "the expression holds"
	case w.sees != later:
		return "in provisioning mode since " + clock(w.entered, w.entered)
	case w.base > 0:
		return "started " + clock(w.start, w.start) + ", was " + clock(w.base, w.start)
	}
	return "started " + clock(w.start, w.start) + ", after its reply of " + clock(w.stamp, w.start)
}

// unproved says why there is no proof, and what to do. It names no times: the same reason of many nodes is shown once.
func (v *Verifier) unproved(w *watched, noEvents bool) string {
	switch {
	case w.trouble != "":
		return "could not be asked: " + w.trouble
	case v.o.Action == Shutdown:
		if w.sees == later {
			return "answers again as a new process: see what starts the service"
		}
		return "still answers: see its log"
	case w.silent() && v.o.Action == Reprovision:
		return reprovisionSilent(w, noEvents)
	case w.silent() && w.sees == later:
		return "had started again, and no longer answers: see the host"
	case w.silent() && v.o.Action == Restart:
		return "does not answer, it may not have come back: see the host"
	case w.silent():
		return "does not answer: see the host"
	}
	switch w.sees {
	case sameProcess:
		return "accepted, and is still the same process: see its log"
	case lacking:
		if v.o.Action == Expression {
			return w.note
		}
		return "started again, but " + w.note
	case noReference:
		return "nothing to compare its start time with: no start time from before, no time in its reply"
	case unreadable:
		return fmt.Sprintf("does not tell its start time (%s): allow rpcutil#daemon_stats", w.note)
	}
	if w.tardy {
		return "started again, and was seen too late to tell whether it stays: see whether it answers"
	}
	return "did not stay as it was to be: it starts again and again, see its log"
}

func reprovisionSilent(w *watched, noEvents bool) string {
	switch {
	case w.entered > 0:
		return "in provisioning mode, and has not come back: see the provisioner"
	case noEvents:
		return "has left, and whether into provisioning mode is not known, as lifecycle events are not to be had " +
			"(v2 tokens need events_viewer): look for it in collective provisioning"
	}
	return "has left, and was not seen in provisioning mode: look for it in collective provisioning, perhaps under the host's name"
}
