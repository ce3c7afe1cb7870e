package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
	"fleetctl/internal/saved"
)

// WriteSavedPlan writes a saved plan for those who are to read it before it is approved or applied. Nothing is verified:
// approvals are shown as they describe themselves.
func WriteSavedPlan(w io.Writer, f *saved.File, now time.Time, width int, all bool) error {
	p := f.Plan
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%10s: %s\n", label, plain.Line(fmt.Sprintf(format, args...)))
	}
	line("Plan", "%s", p.ID)
	line("Action", "%s#%s", p.Agent, p.Action)
	for _, name := range slices.Sorted(maps.Keys(p.Inputs)) {
		line("Input", "%s=%s", name, p.Inputs[name])
	}
	for _, name := range p.Secrets {
		line("Input", "%s is to be given when the plan is applied", name)
	}
	if p.Site != "" {
		line("Site", "%s", p.Site)
	}
	line("Collective", "%s", strings.Join(append([]string{p.Collective}, p.Federations...), ", federation "))
	line("Owner", "%s", p.Owner)
	line("Created", "%s", p.Created.Format(time.RFC3339))
	line("Expires", "%s%s", p.Expires.Format(time.RFC3339), remaining(p.Expires.Sub(now)))
	if len(p.Command) > 0 {
		line("Command", "fleetctl %s", plain.Words(p.Command))
	}
	for version, n := range versions(p.Nodes) {
		line("Nodes", "%s: %s", plain.Count(n, "node"), version)
	}
	line("Digest", "%s", f.Digest)
	for _, a := range f.Approvals {
		line("Approval", "%s at %s, not verified here", a.Caller, a.Time.Format(time.RFC3339))
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return render.Plan(w, p.Plan, p.Plan.Estimate(p.Pace), render.PlanOptions{Width: width, Guards: planSentences(p), All: all})
}

// remaining says how much time is left.
func remaining(left time.Duration) string {
	if left <= 0 {
		return " (it has expired)"
	}
	return fmt.Sprintf(" (in %s)", left.Round(time.Second))
}

// versions counts the nodes of each version, in order.
func versions(nodes []saved.Node) func(yield func(string, int) bool) {
	counts := map[string]int{}
	for _, n := range nodes {
		version := "version " + n.Version
		if n.Version == "" {
			version = "did not answer when the plan was saved"
		}
		counts[version]++
	}
	return func(yield func(string, int) bool) {
		for _, version := range slices.Sorted(maps.Keys(counts)) {
			if !yield(version, counts[version]) {
				return
			}
		}
	}
}

// planSentences say what holds the plan back while it is applied.
func planSentences(p saved.Plan) []string {
	out := slices.Concat(run.PaceSentences(p.Plan.Policy, p.Pace), run.RuleSentences(p.Rules, p.Plan.Policy.Rolling))
	if p.Verify.None {
		out = append(out, "nothing is proved")
	}
	for _, g := range p.Gates {
		if g.PromQL != "" {
			out = append(out, "gate, a query: "+g.PromQL)
			continue
		}
		out = append(out, "gate, a command that runs where the plan is applied: "+g.Command)
		for _, s := range g.Scripts {
			out = append(out, fmt.Sprintf("  script %s, SHA-256 %s", s.Path, s.SHA256))
		}
	}
	if len(p.Gates) > 0 && p.GatePolicy.For > 0 {
		out = append(out, fmt.Sprintf("each gate has to pass for %s", p.GatePolicy.For))
	}
	return out
}

// PlanCheck is one thing that was checked of a saved plan.
type PlanCheck struct {
	Name    string
	Text    string // what is so, or what is wrong
	Refused bool   // the plan cannot be applied like this
}

// WritePlanChecks writes what was checked, a line each.
func WritePlanChecks(w io.Writer, checks []PlanCheck) error {
	var b strings.Builder
	for _, c := range checks {
		mark := "ok"
		if c.Refused {
			mark = "no"
		}
		fmt.Fprintf(&b, "%-3s %-9s %s\n", mark, c.Name, plain.Line(c.Text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
