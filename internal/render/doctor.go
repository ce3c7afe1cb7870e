package render

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// StepStatus is how a step of a checkup ended.
type StepStatus string

// The statuses. Warned is passed, with something that should be fixed; skipped was not tried.
const (
	StepPassed  StepStatus = "passed"
	StepWarned  StepStatus = "warning"
	StepFailed  StepStatus = "failed"
	StepSkipped StepStatus = "skipped"
)

// Step is one step on the way to the network.
type Step struct {
	Name string `json:"name"`
	// Target is what was looked at, such as a broker's address; may be empty.
	Target string     `json:"target,omitempty"`
	Status StepStatus `json:"status"`
	Detail string     `json:"detail,omitempty"`
	// Fix is what to do about it. Its key keeps an older name: documents only grow.
	Fix string `json:"mend,omitempty"`
	// Milliseconds is how long the step took.
	Milliseconds int64 `json:"took_ms"`
}

// Setting is one value of the configuration in force.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// Origin is a file and line, a variable, or "default".
	Origin string `json:"origin"`
}

// Credential is one file that says who we are, or whom we believe.
type Credential struct {
	Kind         string    `json:"kind"`
	Path         string    `json:"path"`
	Names        []string  `json:"names,omitempty"`
	Organization string    `json:"organization,omitempty"`
	Issuer       string    `json:"issuer,omitempty"`
	NotBefore    time.Time `json:"not_before,omitzero"`
	NotAfter     time.Time `json:"not_after,omitzero"`
	Permissions  []string  `json:"permissions,omitempty"`
	Problem      string    `json:"problem,omitempty"`
}

// Checkup is what `fleetctl doctor` found, and its JSON document.
type Checkup struct {
	SchemaVersion int    `json:"schema_version"`
	ExitCode      int    `json:"exit_code"`
	Verdict       string `json:"verdict"`
	// Files are the configuration files in the order read.
	Files       []string     `json:"files"`
	Settings    []Setting    `json:"settings"`
	Credentials []Credential `json:"credentials"`
	Steps       []Step       `json:"steps"`
}

// CheckupOptions are the operator's wishes for a checkup's text.
type CheckupOptions struct {
	// Verbose shows default settings, too.
	Verbose bool
	Color   bool
	Now     time.Time
}

// CheckupText writes a checkup for people. The verdict is the last line.
func CheckupText(w io.Writer, c Checkup, o CheckupOptions) error {
	buf := bufio.NewWriter(w)
	if len(c.Files) > 0 {
		fmt.Fprintf(buf, "%s\n\n", bold.paint(o.Color, "Configuration"))
		writeSettings(buf, c.Settings, o.Verbose)
	}
	if len(c.Credentials) > 0 {
		fmt.Fprintf(buf, "\n%s\n\n", bold.paint(o.Color, "Credentials"))
		for _, cred := range c.Credentials {
			writeCredential(buf, cred, o.Now)
		}
	}
	fmt.Fprintf(buf, "\n%s\n\n", bold.paint(o.Color, "Steps"))
	for _, s := range c.Steps {
		writeStep(buf, s, o.Color)
	}
	fmt.Fprintf(buf, "\n%s\n", oneLine(c.Verdict))
	return buf.Flush()
}

// originDefault is the origin of a value that is not configured.
const originDefault = "default"

func writeSettings(w io.Writer, all []Setting, verbose bool) {
	width := 0
	var shown []Setting
	for _, s := range all {
		if verbose || s.Origin != originDefault {
			shown = append(shown, s)
			width = max(width, len(s.Key))
		}
	}
	for _, s := range shown {
		fmt.Fprintf(w, "  %-*s = %s  (%s)\n", width, oneLine(s.Key), oneLine(s.Value), oneLine(s.Origin))
	}
	if hidden := len(all) - len(shown); hidden > 0 {
		fmt.Fprintf(w, "  and %d defaults: --verbose shows them\n", hidden)
	}
}

func writeCredential(w io.Writer, c Credential, now time.Time) {
	fmt.Fprintf(w, "  %s %s\n", oneLine(c.Kind), oneLine(c.Path))
	line := func(label, value string) {
		if value != "" {
			fmt.Fprintf(w, "    %-13s %s\n", label, oneLine(value))
		}
	}
	line("for", strings.Join(c.Names, ", "))
	line("organization", c.Organization)
	line("issued by", c.Issuer)
	line("valid until", until(c.NotAfter, now))
	line("permissions", strings.Join(c.Permissions, ", "))
	line("problem", c.Problem)
}

// until is a time with what is left until it, in the coarsest unit that is exact enough.
func until(end, now time.Time) string {
	if end.IsZero() {
		return ""
	}
	left, text := end.Sub(now), end.UTC().Format(time.RFC3339)
	const day = 24 * time.Hour
	switch {
	case left < 0:
		return text + " (expired)"
	case left >= 2*day:
		return fmt.Sprintf("%s (%d days)", text, left/day)
	}
	return fmt.Sprintf("%s (%s)", text, left.Round(time.Second))
}

func writeStep(w io.Writer, s Step, colored bool) {
	c := map[StepStatus]color{StepPassed: green, StepWarned: yellow, StepFailed: red}[s.Status]
	status := fmt.Sprintf("%-7s", s.Status)
	if c != "" {
		status = c.paint(colored, status)
	}
	line := fmt.Sprintf("  %s  %-15s %s", status, oneLine(s.Name), oneLine(s.Target+separator(s)+s.Detail))
	fmt.Fprintln(w, strings.TrimRight(line, " "))
	if s.Fix != "" {
		fmt.Fprintf(w, "           fix: %s\n", oneLine(s.Fix))
	}
}

func separator(s Step) string {
	if s.Target != "" && s.Detail != "" {
		return ": "
	}
	return ""
}
