package report

import (
	"fmt"
	"time"

	"fleetctl/batch"
)

// gateLines word a round of the gates. A round that changes nothing says nothing: gates may be asked for hours. last is the
// reason that was shown last.
func gateLines(r batch.Record, last *string) (lines []string) {
	g := r.Gate
	before := *last
	if *last = g.Reason; g.Decided {
		*last = ""
	}
	switch {
	case g.Decided && g.Verdict == batch.GatePassed:
		for _, l := range g.Looks {
			lines = append(lines, fmt.Sprintf("%v (%s)", l, l.Took.Round(10*time.Millisecond)))
		}
	case g.Decided:
		lines = append(lines, g.Reason)
	case g.Verdict == batch.GatePassed && before == "":
		lines = append(lines, fmt.Sprintf("the gates pass, and must pass until %s", g.Until.Local().Format(time.TimeOnly)))
	case g.Verdict != batch.GatePassed && g.Reason != before:
		lines = append(lines, fmt.Sprintf("%s; the gates are asked again until %s", g.Reason, g.Until.Local().Format(time.TimeOnly)))
	}
	return lines
}

// pausedBy words a pause, or its end.
func pausedBy(r batch.Record) string {
	switch pause := r.Kind == batch.KindPaused; {
	case pause && r.Pauser() == batch.ByGate:
		return "paused by a gate"
	case pause && r.Pauser() == batch.ByShared:
		return "waits: " + r.By
	case pause:
		return "paused by " + r.By
	case r.Pauser() == batch.ByGate:
		return "continued: no gate is inconclusive"
	case r.Pauser() == batch.ByShared:
		return "continued: the wait is over"
	}
	return "continued by " + r.By
}
