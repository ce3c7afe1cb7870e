package render

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
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
	Strays   map[string]int      `json:"strays,omitempty"`
}

// NewRun makes the account of a finished run.
func NewRun(s batch.Summary, exitCode int, strays map[string]int) Run {
	r := Run{
		ID: s.Run, ExitCode: exitCode, Verdict: s.Verdict.String(), States: s.States, Rolling: s.Rolling, Nodes: make([]batch.Result, 0, s.Nodes),
		Batches: s.Batches, Strays: strays,
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
	line := fmt.Sprintf("%s: %s of %s", word, counts(s.States), plural(s.Nodes, "node"))
	if s.Late > 0 {
		line += fmt.Sprintf(", %s counted late", plural(s.Late, "reply"))
	}
	if reason := cmp.Or(s.Reason, s.Stop.Reason); reason != "" {
		line += ". " + oneLine(reason)
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

func plural(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(thing, "y"))
	case strings.HasSuffix(thing, "h"):
		return fmt.Sprintf("%d %ses", n, thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// StateGroups gathers the nodes that have no reply to show for themselves by what became of them. The silent ones are
// left out, as the footer lists them, but for those of a grave reason.
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
			if n.Reason == "" {
				continue
			}
		default:
			continue
		}
		k := key{n.State, n.Reason}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			cause := n.State.String()
			if n.Reason != "" {
				cause += ": " + explain(n.Reason)
			}
			groups = append(groups, Group{Cause: cause})
		}
		groups[i].Nodes = append(groups[i].Nodes, n.Identity)
	}
	return gravestFirst(groups)
}

// BatchStep writes what a batch came to, before the next one: the counts, and the nodes that did not do it, by what became of
// them. Details has a line for each of those.
func BatchStep(w io.Writer, s batch.Step, details bool, width int) error {
	var out strings.Builder
	if !details {
		fmt.Fprintf(&out, "batch %d: %s of %s; %s left\n", s.Done, counts(s.Last.States), plural(s.Last.Nodes, "node"), plural(s.Left, "node"))
	}
	groups := map[string][]string{}
	var causes []string
	for _, n := range s.Trouble {
		cause := n.State.String()
		if n.Reason != "" {
			cause += ": " + explain(n.Reason)
		}
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
		fmt.Fprintf(&out, "  every node of batch %d did it\n", s.Done)
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

// PlanOptions are what a plan is shown with.
type PlanOptions struct {
	// Width is the terminal's; zero means no wrapping.
	Width int
	// Guards say what holds the run back, one a line.
	Guards []string
	// Modes are how long the nodes take in each mode; zero where that is not known.
	Modes batch.Estimates
	// All shows every batch of a long plan.
	All bool
}

// shownBatches is how many batches of a plan are shown in full; the last one always is.
const shownBatches = 12

// Plan writes what a run would do.
func Plan(w io.Writer, p batch.Plan, e batch.Estimate, o PlanOptions) error {
	var out strings.Builder
	how, other, instead := plural(len(p.Batches), "batch"), "with --mode rolling", o.Modes.Rolling
	if p.Rolls() {
		how, other, instead = "a rolling window of "+p.Policy.Sizes.String(), "with --mode barrier", o.Modes.Barrier
	}
	fmt.Fprintf(&out, "%s in %s", plural(p.Nodes(), "node"), how)
	if e.Typical > 0 {
		fmt.Fprintf(&out, ", about %s (at most %s)", e.Typical.Round(time.Second), e.Longest.Round(time.Second))
	}
	fmt.Fprintln(&out)
	if instead.Typical > 0 && (p.Rolls() || len(p.Batches) > 1) {
		fmt.Fprintf(&out, "  %s: about %s (at most %s)\n", other, instead.Typical.Round(time.Second), instead.Longest.Round(time.Second))
	}
	for _, n := range append(p.Notes, o.Guards...) {
		fmt.Fprintln(&out, "  "+oneLine(n))
	}
	fmt.Fprintln(&out)
	last := len(p.Batches) - 1
	for i, b := range p.Batches {
		if !o.All && i >= shownBatches && i < last {
			if i == shownBatches {
				fmt.Fprintf(&out, "  ... %s more ...\n", plural(last-i, "batch"))
			}
			continue
		}
		fmt.Fprintf(&out, "  batch %d: %s (%s)\n", b.Number, plural(len(b.Nodes), "node"), oneLine(b.Reason))
		for _, l := range wrapNames(oneLine(discovery.Fold(b.Nodes)), o.Width-len(groupIndent)) {
			fmt.Fprintf(&out, "%s%s\n", groupIndent, l)
		}
	}
	if len(p.Pool) > 0 {
		fmt.Fprintf(&out, "  one by one: %s\n", plural(len(p.Pool), "node"))
		for _, l := range wrapNames(oneLine(discovery.Fold(p.Pool)), o.Width-len(groupIndent)) {
			fmt.Fprintf(&out, "%s%s\n", groupIndent, l)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// PlanDocument is `req --dry-run --json`.
type PlanDocument struct {
	SchemaVersion int            `json:"schema_version"`
	Agent         string         `json:"agent"`
	Action        string         `json:"action"`
	Nodes         int            `json:"nodes"`
	Plan          batch.Plan     `json:"plan"`
	Estimate      batch.Estimate `json:"estimate"`
	// Mode is that of the plan, Estimates how long its nodes take in each.
	Mode      string          `json:"mode"`
	Estimates batch.Estimates `json:"estimates"`
	// Guards say what holds the run back.
	Guards []string `json:"guards"`
	// Refused are the guards that would not let the run pass.
	Refused []Refusal `json:"refused,omitempty"`
}

// Refusal is a guard's, with its reason.
type Refusal struct {
	Guard  string `json:"guard"`
	Reason string `json:"reason"`
}

// RunFacts are what is known of a run besides its nodes.
type RunFacts struct {
	ID, What, Status, Caller, By string
	Command                      []string
	// Torn is how many bytes at the end of the record are not whole.
	Torn int64
}

// RunReport writes what became of a run.
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
	line("Command", strings.Join(f.Command, " "))
	line("Caller", f.Caller)
	line("By", f.By)
	line("Started", when(s.Started))
	line("Ended", when(s.Ended))
	line("Status", f.Status)
	how := plural(len(s.Batches), "batch")
	if s.Rolling {
		how = fmt.Sprintf("a rolling window (%s)", plural(len(s.Batches), "request"))
	}
	line("Nodes", fmt.Sprintf("%d in %s: %s", s.Nodes, how, counts(s.States)))
	if s.Resumes > 0 {
		line("Resumed", plural(s.Resumes, "time"))
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
	groups := allGroups(s)
	if len(groups) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return Groups(w, groups, TextOptions{Width: width})
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// allGroups gathers every node by its state and, where there is one, its reason; proofs differ from node to node and
// are left to the JSON document.
func allGroups(s batch.Summary) []Group {
	at := map[string]int{}
	var groups []Group
	for n := range s.Results() {
		cause := n.State.String()
		if n.Reason != "" && n.State != batch.Verified {
			cause += ": " + explain(n.Reason)
		}
		i, ok := at[cause]
		if !ok {
			i = len(groups)
			at[cause] = i
			groups = append(groups, Group{Cause: cause})
		}
		groups[i].Nodes = append(groups[i].Nodes, n.Identity)
	}
	return gravestFirst(groups)
}
