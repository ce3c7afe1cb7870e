package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/plain"
)

// PlanOptions are what a plan is shown with.
type PlanOptions struct {
	// Width is the terminal's; zero means no wrapping.
	Width int
	// Guards define what holds the run back, one a line.
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
	how, other, instead := plain.Count(len(p.Batches), "batch"), "with --mode rolling", o.Modes.Rolling
	if p.Rolls() {
		how, other, instead = "a rolling window of "+p.Policy.Sizes.String(), "with --mode barrier", o.Modes.Barrier
	}
	fmt.Fprintf(&out, "%s in %s", plain.Count(p.Nodes(), "node"), how)
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
				fmt.Fprintf(&out, "  ... %s more ...\n", plain.Count(last-i, "batch"))
			}
			continue
		}
		fmt.Fprintf(&out, "  batch %d: %s (%s)\n", b.Number, plain.Count(len(b.Nodes), "node"), oneLine(b.Reason))
		for _, l := range wrapNames(oneLine(discovery.Fold(b.Nodes)), o.Width-len(groupIndent)) {
			fmt.Fprintf(&out, "%s%s\n", groupIndent, l)
		}
	}
	if len(p.Pool) > 0 {
		fmt.Fprintf(&out, "  in the window: %s\n", plain.Count(len(p.Pool), "node"))
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
	// Guards define what holds the run back.
	Guards []string `json:"guards"`
	// Refused are the guards that would not let the run pass.
	Refused []Refusal `json:"refused,omitempty"`
}

// Refusal is a guard's, with its reason.
type Refusal struct {
	Guard  string `json:"guard"`
	Reason string `json:"reason"`
}
