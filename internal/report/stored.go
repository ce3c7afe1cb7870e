package report

import (
	"io"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// StoredFormats are the formats of a record: it holds the result of every node, not the replies.
var StoredFormats = []Format{Text, JSON, Nodeset, JUnit, Markdown, HTML}

// runDocument is `runs show --json`.
type runDocument struct {
	SchemaVersion int               `json:"schema_version"`
	Agent         string            `json:"agent"`
	Action        string            `json:"action"`
	Status        string            `json:"status"`
	Live          bool              `json:"live"`
	Command       []string          `json:"command"`
	Caller        string            `json:"caller"`
	User          string            `json:"user,omitempty"`
	Host          string            `json:"host,omitempty"`
	Started       time.Time         `json:"started,omitzero"`
	Ended         time.Time         `json:"ended,omitzero"`
	Parent        string            `json:"parent,omitempty"`
	Held          time.Time         `json:"held,omitzero"` // no batch begins before: --within
	Adopted       []batch.AdoptedBy `json:"adopted,omitempty"`
	Run           render.Run        `json:"run"`

	By []factStates `json:"by,omitempty"`
}

// StoredOptions define how a record is shown.
type StoredOptions struct {
	Format Format        // one of StoredFormats; others are text
	Code   int           // the exit code of the run
	Width  int           // of text
	By     []string      // facts by whose values the states are shown; none: on a page those of the record
	States []batch.State // of the nodes that text and JSON list; none: of all
	Facts  string        // a saved inventory that has the values of By; "": the record has them
}

// WriteStored writes the result of a recorded run.
func WriteStored(w io.Writer, r run.Stored, o StoredOptions) error {
	s, m, code := r.Progress.Summary(), r.Meta, o.Code
	switch o.Format {
	case Markdown, HTML:
		facts, err := o.facts(r)
		if err != nil {
			return err
		}
		return writePage(w, o.Format, runPage(r, facts))
	case JSON:
		by, err := o.byFacts(r)
		if err != nil {
			return err
		}
		account := render.NewRun(s, code, nil)
		if len(o.States) > 0 {
			account.Nodes = slices.DeleteFunc(account.Nodes, func(n batch.Result) bool { return !slices.Contains(o.States, n.State) })
		}
		return render.IndentedJSON(w, runDocument{
			SchemaVersion: render.SchemaVersion, Agent: m.Agent, Action: m.Action, Status: r.Status(), Live: r.Live,
			Command: m.Command, Caller: m.Caller, User: m.User, Host: m.Host, Started: s.Started, Ended: s.Ended,
			Parent: s.Parent, Held: heldUntil(r), Adopted: r.Progress.Adopted(), Run: account, By: by,
		})
	case Nodeset:
		var names []string
		for n := range s.Results() {
			if succeeded(n, r.Proves()) {
				names = append(names, n.Identity)
			}
		}
		return render.Nodeset(w, names)
	case JUnit:
		ended := s.Ended
		if ended.IsZero() {
			ended = time.Now()
		}
		return render.JUnit(w, render.Suite{
			Agent: m.Agent, Action: m.Action, Run: r.ID, Verdict: r.Status(), ExitCode: code,
			Start: s.Started, Took: ended.Sub(s.Started), Nodes: slices.Collect(s.Results()), Proved: r.Proves(),
		})
	}
	by, err := o.byFacts(r)
	if err != nil {
		return err
	}
	about := render.RunFacts{
		ID: r.ID, What: m.Agent + "#" + m.Action, Status: r.Status(), Command: m.Command, Caller: m.Caller,
		By: m.User + "@" + m.Host, Site: m.Site, Torn: r.Torn, States: o.States,
	}
	if err := render.RunReport(w, s, about, o.Width); err != nil {
		return err
	}
	return writeByFacts(w, s, by, o.Width)
}

// heldUntil is until when a run waits for its hours; zero for one that does not.
func heldUntil(r run.Stored) time.Time {
	if !r.Live {
		return time.Time{}
	}
	return r.Progress.Held().UTC()
}

// RunLine is one run in `runs list`.
type RunLine struct {
	ID      string        `json:"id"`
	Started time.Time     `json:"started,omitzero"`
	Agent   string        `json:"agent,omitempty"`
	Action  string        `json:"action,omitempty"`
	Nodes   int           `json:"nodes"`
	States  *batch.Counts `json:"states,omitempty"`
	Status  string        `json:"status"`
	Live    bool          `json:"live"`
	Open    int           `json:"open"`
	Parent  string        `json:"parent,omitempty"`
	User    string        `json:"user,omitempty"`
	Host    string        `json:"host,omitempty"`
	Problem string        `json:"problem,omitempty"`
	// Caller drives the run, and was heard of Heard seconds ago: of a run elsewhere.
	Caller string  `json:"caller,omitempty"`
	Heard  float64 `json:"heard_seconds_ago,omitempty"`
}

// LineOf is a run's line in a list.
func LineOf(r run.Stored) RunLine {
	s := r.Progress.Summary()
	return RunLine{
		ID: r.ID, Started: r.Progress.Header().Created, Agent: r.Meta.Agent, Action: r.Meta.Action, Nodes: s.Nodes, States: &s.States,
		Status: r.Status(), Live: r.Live, Open: r.Progress.Open(), Parent: s.Parent, User: r.Meta.User, Host: r.Meta.Host,
	}
}
