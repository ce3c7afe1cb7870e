package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
)

// Run is our account of a run, in `req --json` and in JSON lines.
type Run struct {
	ID       string              `json:"id"`
	ExitCode int                 `json:"exit_code"`
	Verdict  string              `json:"verdict"`
	States   batch.Counts        `json:"states"`
	Stop     *batch.Stop         `json:"stop,omitempty"`
	Rolling  bool                `json:"rolling,omitempty"` // nodes started one by one: Batches are what was sent at once
	Nodes    []batch.Result      `json:"nodes"`
	Batches  []batch.BatchResult `json:"batches"`
	Gates    []batch.GateResult  `json:"gates,omitempty"` // what the gates came to, at each place where they were asked
	Strays   map[string]int      `json:"strays,omitempty"`
}

// NewRun makes the account of a finished run.
func NewRun(s batch.Summary, exitCode int, strays map[string]int) Run {
	r := Run{
		ID: s.Run, ExitCode: exitCode, Verdict: s.Verdict.String(), States: s.States, Rolling: s.Rolling, Nodes: make([]batch.Result, 0, s.Nodes),
		Batches: s.Batches, Gates: s.Gates, Strays: strays,
	}
	if s.Stop != (batch.Stop{}) {
		r.Stop = &s.Stop
	}
	for n := range s.Results() {
		r.Nodes = append(r.Nodes, n)
	}
	if r.Batches == nil {
		r.Batches = []batch.BatchResult{}
	}
	return r
}

// RunLine is a run in JSON lines: its nodes and batches have lines of their own.
type RunLine struct {
	SchemaVersion int            `json:"schema_version"`
	ID            string         `json:"id"`
	ExitCode      int            `json:"exit_code"`
	Verdict       string         `json:"verdict"`
	States        batch.Counts   `json:"states"`
	Stop          *batch.Stop    `json:"stop,omitempty"`
	Strays        map[string]int `json:"strays,omitempty"`
}

// GateLine is a round of the gates in JSON lines.
type GateLine struct {
	Batch int       `json:"batch"` // the batch that had ended last; 0 before the first
	Time  time.Time `json:"time"`
	batch.GateRound
}

// NewGateLine makes the line of a record of a gate.
func NewGateLine(r batch.Record) GateLine { return GateLine{r.Batch, r.Time.UTC(), *r.Gate} }

// runBegun is the first JSON line of a run.
type runBegun struct {
	SchemaVersion int    `json:"schema_version"`
	ID            string `json:"id"`
}

// RunBegun is what JSON lines say of a run before its first batch: its id.
func RunBegun(id string) any { return runBegun{SchemaVersion, id} }

// Line is the run without its nodes and batches.
func (r Run) Line() RunLine {
	return RunLine{SchemaVersion: SchemaVersion, ID: r.ID, ExitCode: r.ExitCode, Verdict: r.Verdict, States: r.States, Stop: r.Stop, Strays: r.Strays}
}

// verdictWords begin the last line; the counts follow.
var verdictWords = map[batch.Verdict]string{
	batch.Done: "Done", batch.Failed: "Failed", batch.Silent: "Incomplete", batch.Uncertain: "Uncertain",
	batch.Stopped: "Stopped", batch.Interrupted: "Interrupted", batch.Fault: "Broken off",
}

// Verdict is the last line of a run: what it came to, in one sentence.
func Verdict(s batch.Summary) string {
	word, ok := verdictWords[s.Verdict]
	if !ok {
		word = "Ended"
	}
	line := fmt.Sprintf("%s: %s of %s", word, counts(s.States), plain.Count(s.Nodes, "node"))
	if s.Late > 0 {
		line += fmt.Sprintf(", %s counted late", plain.Count(s.Late, "reply"))
	}
	if reason := cmp.Or(s.Reason, s.Stop.Reason); reason != "" {
		line += "; " + oneLine(reason)
	}
	return line
}

// counts lists the states that have nodes, in their documented order.
func counts(c batch.Counts) string {
	var parts []string
	for _, s := range batch.States() {
		if n := c.Of(s); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, ", ")
}

// SuccessGroups are the nodes on which the action succeeded, in one group; an accepted one did only where nothing is proved.
func SuccessGroups(s batch.Summary, proves bool) []Group {
	var names []string
	for n := range s.Results() {
		if n.State == batch.Verified || n.State == batch.Accepted && !proves {
			names = append(names, n.Identity)
		}
	}
	if len(names) == 0 {
		return nil
	}
	word := batch.Accepted
	if proves {
		word = batch.Verified
	}
	return []Group{{Cause: word.String(), Nodes: names, Good: true}}
}

// StateGroups groups nodes by state and reason: unverified, absent, unknown and not-sent nodes, and accepted nodes
// that have a reason. The footer lists the no-reply nodes, so they are included only if their reason is grave.
func StateGroups(s batch.Summary) []Group {
	type key struct {
		state  batch.State
		reason string
	}
	at := map[key]int{}
	var groups []Group
	for n := range s.Results() {
		switch n.State {
		case batch.Unverified, batch.Absent, batch.Unknown, batch.NotSent:
		case batch.NoReply:
			if !isGrave(n.Reason) {
				continue
			}
		case batch.Accepted: // one that could not be asked for proof says so
			if n.Reason == "" && s.Unproved == 0 {
				continue
			}
			n.Reason = cmp.Or(n.Reason, "the run ended before its proof")
		default:
			continue
		}
		k := key{n.State, n.Reason}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, Group{Cause: Cause(n)})
		}
		groups[i].Nodes = append(groups[i].Nodes, n.Identity)
	}
	return gravestFirst(groups)
}

// BatchStep writes what went wrong in a batch, before the next one: the nodes that did not succeed, by their state. Details has a line for each of those.
func BatchStep(w io.Writer, s batch.Step, details bool, width int) error {
	var out strings.Builder
	groups := map[string][]string{}
	var causes []string
	for _, n := range s.Trouble {
		cause := Cause(n)
		if details {
			fmt.Fprintf(&out, "  %s  %s\n", oneLine(n.Identity), cause)
			continue
		}
		if groups[cause] == nil {
			causes = append(causes, cause)
		}
		groups[cause] = append(groups[cause], n.Identity)
	}
	if details && len(s.Trouble) == 0 {
		fmt.Fprintf(&out, "  the action succeeded on every node of batch %d\n", s.Done)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return err
	}
	list := make([]Group, len(causes))
	for i, cause := range causes {
		list[i] = Group{Cause: cause, Nodes: groups[cause]}
	}
	if len(list) == 0 {
		return nil
	}
	return Groups(w, gravestFirst(list), TextOptions{Width: width})
}

// RunFacts are what is known of a run besides its nodes.
type RunFacts struct {
	ID, What, Status, Caller, By, Site string
	Command                            []string
	// Torn is how many bytes at the end of the record are not whole.
	Torn int64
	// States are those whose nodes are listed; none: all.
	States []batch.State
}

// RunReport writes the result of a run.
func RunReport(w io.Writer, s batch.Summary, f RunFacts, width int) error {
	var out strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&out, "%10s: %s\n", label, oneLine(text))
		}
	}
	line("Run", f.ID)
	line("Retry of", s.Parent)
	line("Action", f.What)
	line("Command", plain.Words(f.Command))
	line("Caller", f.Caller)
	line("By", f.By)
	line("Site", f.Site)
	line("Started", When(s.Started))
	line("Ended", When(s.Ended))
	line("Status", f.Status)
	how := plain.Count(len(s.Batches), "batch")
	if s.Rolling {
		how = fmt.Sprintf("a rolling window (%s)", plain.Count(len(s.Batches), "request"))
	}
	line("Nodes", fmt.Sprintf("%d in %s: %s", s.Nodes, how, counts(s.States)))
	if s.Resumes > 0 {
		line("Resumed", plain.Count(s.Resumes, "time"))
	}
	for _, text := range gateReport(s.Gates) {
		line("Gates", text)
	}
	line("Stop", s.Stop.Reason)
	if s.Stop.Reason == "" {
		line("Reason", s.Reason)
	}
	if f.Torn > 0 {
		line("Record", fmt.Sprintf("%d bytes at its end are not whole", f.Torn))
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return err
	}
	groups := RunGroups(s)
	if len(f.States) > 0 {
		groups = slices.DeleteFunc(groups, func(g Group) bool { return !slices.Contains(f.States, g.Like.State) })
	}
	if len(groups) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return Groups(w, groups, TextOptions{Width: width})
}

// GatePlace says where gates are asked: after a batch, or (0) before the first.
func GatePlace(batch int) string {
	if batch == 0 {
		return "before the first batch"
	}
	return fmt.Sprintf("after batch %d", batch)
}

// maxGateLines is how many places at which gates did not simply pass are shown.
const maxGateLines = 20

// gateReport sums up the gates of a run: how often they passed, and each place at which they did not, or not at once.
func gateReport(gates []batch.GateResult) (lines []string) {
	passed := 0
	for _, g := range gates {
		if g.Decided && g.Verdict == batch.GatePassed && g.Rounds == 1 {
			passed++
			continue
		}
		text := fmt.Sprintf("%s: %s, %s in %s", GatePlace(g.Batch), g.Verdict, plain.Count(g.Rounds, "round"), g.Time.Sub(g.Began).Round(time.Second))
		if g.Reason != "" {
			text += ": " + g.Reason
		}
		lines = append(lines, text)
	}
	if n := len(lines) - maxGateLines; n > 0 {
		lines = append([]string{fmt.Sprintf("%d more", n)}, lines[n:]...)
	}
	if passed > 0 {
		lines = append([]string{fmt.Sprintf("passed at once at %s", plain.Count(passed, "place"))}, lines...)
	}
	return lines
}

// When is a time with its zone, that of this machine; empty for none.
func When(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// Cause is a node's state with its reason, and what that means.
func Cause(n batch.Result) string {
	if n.Reason == "" {
		return n.State.String()
	}
	return n.State.String() + ": " + explain(n.Reason)
}

// RunGroups gathers every node by its state and, where there is one, its reason; proofs differ from node to node and
// are left to the documents.
func RunGroups(s batch.Summary) []Group {
	at := map[string]int{}
	var groups []Group
	for n := range s.Results() {
		cause := n.State.String()
		if n.State != batch.Verified {
			cause = Cause(n)
		}
		i, ok := at[cause]
		if !ok {
			i = len(groups)
			at[cause] = i
			groups = append(groups, Group{Cause: cause, Like: n})
		}
		groups[i].Nodes = append(groups[i].Nodes, n.Identity)
	}
	return gravestFirst(groups)
}
