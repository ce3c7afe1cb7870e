package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// RunDifference is how a recorded run differs from another.
type RunDifference struct {
	From, To RunSide
	Changes  []RunChange // of what was asked for, in a fixed order
	Same     int         // nodes to which the same happened
	Groups   []NodeChange
}

// RunSide is one of the two runs.
type RunSide struct {
	ID      string    `json:"id"`
	Agent   string    `json:"agent"`
	Action  string    `json:"action"`
	Status  string    `json:"status"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"` // zero: it is still being done, or died
	Nodes   int       `json:"nodes"`
	Batches int       `json:"batches"`
}

// RunChange is something that was asked for in another way.
type RunChange struct {
	Name string `json:"name"`
	From string `json:"from"` // "" where it was not given
	To   string `json:"to"`
}

// NodeChange is what happened otherwise, and to which nodes. A node that one of the runs does not have has no state there.
type NodeChange struct {
	From       *batch.State `json:"from,omitempty"`
	FromReason string       `json:"from_reason,omitempty"`
	To         *batch.State `json:"to,omitempty"`
	ToReason   string       `json:"to_reason,omitempty"`
	Nodes      []string     `json:"nodes"` // in the order of the first run, else of the second
}

// cause is the change in words.
func (c NodeChange) cause() string {
	state := func(s *batch.State, reason string) string {
		if reason == "" {
			return s.String()
		}
		return s.String() + " (" + reason + ")"
	}
	switch {
	case c.To == nil:
		return "only in the first run: " + state(c.From, c.FromReason)
	case c.From == nil:
		return "only in the second run: " + state(c.To, c.ToReason)
	}
	return state(c.From, c.FromReason) + ", then " + state(c.To, c.ToReason)
}

// because is why a node came to its state. Each proof has a time of its own: it makes no difference.
func because(r batch.Result) string {
	if r.State == batch.Verified {
		return ""
	}
	return r.Reason
}

// CompareRuns compares what was asked for, and the state of each node. Nodes are the same when they came to the same
// state for the same reason; of verified nodes the state is enough.
func CompareRuns(from, to run.Stored) RunDifference {
	d := RunDifference{From: sideOf(from), To: sideOf(to), Changes: changesOf(from, to)}
	after := map[string]batch.Result{}
	for n := range to.Progress.Results() {
		after[n.Identity] = n
	}
	folded := grouping{at: map[changeKey]int{}}
	for a := range from.Progress.Results() {
		b, both := after[a.Identity]
		delete(after, a.Identity)
		switch {
		case !both:
			folded.add(changeKey{a.State, 0, because(a), ""}, a.Identity)
		case a.State == b.State && because(a) == because(b):
			d.Same++
		default:
			folded.add(changeKey{a.State, b.State, because(a), because(b)}, a.Identity)
		}
	}
	for b := range to.Progress.Results() {
		if _, left := after[b.Identity]; left {
			folded.add(changeKey{0, b.State, "", because(b)}, b.Identity)
		}
	}
	d.Groups = folded.groups
	slices.SortStableFunc(d.Groups, func(a, b NodeChange) int { return cmp.Compare(len(b.Nodes), len(a.Nodes)) })
	return d
}

// changeKey is a change; the zero state is that of a node that is not there.
type changeKey struct {
	from, to             batch.State
	fromReason, toReason string
}

// grouping gathers the nodes of each change.
type grouping struct {
	at     map[changeKey]int
	groups []NodeChange
}

func (g *grouping) add(k changeKey, node string) {
	i, ok := g.at[k]
	if !ok {
		i = len(g.groups)
		g.at[k] = i
		c := NodeChange{FromReason: k.fromReason, ToReason: k.toReason}
		if k.from != 0 {
			c.From = &k.from
		}
		if k.to != 0 {
			c.To = &k.to
		}
		g.groups = append(g.groups, c)
	}
	g.groups[i].Nodes = append(g.groups[i].Nodes, node)
}

func sideOf(r run.Stored) RunSide {
	s := r.Progress.Summary()
	return RunSide{ID: r.ID, Agent: r.Meta.Agent, Action: r.Meta.Action, Status: r.Status(), Started: s.Started, Ended: s.Ended, Nodes: s.Nodes, Batches: len(s.Batches)}
}

// changesOf compares what was asked for. Secrets are not in the records, and are not compared.
func changesOf(from, to run.Stored) []RunChange {
	var out []RunChange
	add := func(name, a, b string) {
		if a != b {
			out = append(out, RunChange{name, a, b})
		}
	}
	a, b := from.Meta, to.Meta
	add("action", a.Agent+"#"+a.Action, b.Agent+"#"+b.Action)
	names := maps.Clone(a.Inputs)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, b.Inputs)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add("input "+name, a.Inputs[name], b.Inputs[name])
	}
	add("secrets", strings.Join(a.Secrets, ", "), strings.Join(b.Secrets, ", "))
	add("collective", a.Collective, b.Collective)
	add("federations", strings.Join(a.Federations, ", "), strings.Join(b.Federations, ", "))
	add("configuration", a.Config, b.Config)
	add("caller", a.Caller, b.Caller)
	add("time to live", a.TTL.String(), b.TTL.String())
	add("batch sizes", from.Progress.Plan().Policy.Sizes.String(), to.Progress.Plan().Policy.Sizes.String())
	p, q := from.Progress.Pace(), to.Progress.Pace()
	add("batch sleep", p.Sleep.String(), q.Sleep.String())
	add("reply timeout", p.ReplyTimeout.String(), q.ReplyTimeout.String())
	add("fleetctl", a.Version, b.Version)
	return out
}

// WriteRunDifference writes the difference for people.
func WriteRunDifference(w io.Writer, d RunDifference, width int) error {
	var b strings.Builder
	for _, s := range []struct {
		word string
		RunSide
	}{{"From", d.From}, {"To  ", d.To}} {
		took := ""
		if !s.Ended.IsZero() {
			took = ", " + s.Ended.Sub(s.Started).Round(time.Second).String()
		}
		fmt.Fprintf(&b, "%s %s: %s#%s, %s in %s, %s%s\n", s.word, s.ID, s.Agent, s.Action, plain.Count(s.Nodes, "node"), plain.Count(s.Batches, "batch"), s.Status, took)
	}
	b.WriteByte('\n')
	shown := func(text string) string { return cmp.Or(text, "none") }
	for _, c := range d.Changes {
		fmt.Fprintf(&b, "%s: %s, then %s\n", plain.Line(c.Name), plain.Line(shown(c.From)), plain.Line(shown(c.To)))
	}
	if len(d.Changes) > 0 {
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	groups := make([]render.Group, len(d.Groups))
	for i, g := range d.Groups {
		groups[i] = render.Group{Cause: g.cause(), Nodes: g.Nodes}
	}
	if err := render.Groups(w, groups, render.TextOptions{Width: width}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s the same.\n", plain.Count(d.Same, "node"))
	return err
}

// WriteRunDifferenceJSON writes it as a document.
func WriteRunDifferenceJSON(w io.Writer, d RunDifference) error {
	doc := struct {
		SchemaVersion int          `json:"schema_version"`
		From          RunSide      `json:"from"`
		To            RunSide      `json:"to"`
		Changes       []RunChange  `json:"changes"`
		Same          int          `json:"same"`
		Groups        []NodeChange `json:"groups"`
	}{render.SchemaVersion, d.From, d.To, d.Changes, d.Same, d.Groups}
	if doc.Changes == nil {
		doc.Changes = []RunChange{}
	}
	if doc.Groups == nil {
		doc.Groups = []NodeChange{}
	}
	return render.IndentedJSON(w, doc)
}
