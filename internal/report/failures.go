package report

import (
	"slices"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/render"
)

// failures are the nodes on which a run did not succeed so far, by cause. A node can leave them: a late reply, a later proof.
type failures struct {
	of     map[string]*cause // by node
	causes map[string]*cause
	fresh  []string // nodes that came since they were last taken
}

// cause is why nodes failed. Of many nodes, it keeps the names of the first.
type cause struct {
	text  string
	nodes int
	names []string
}

// maxNames is how many names a cause keeps.
const maxNames = 30

// note takes a node as it is now.
func (f *failures) note(r batch.Result) {
	text := ""
	switch r.State {
	case batch.Refused, batch.Unverified, batch.NoReply, batch.Absent, batch.Unknown:
		text = render.FailureCause(r)
	case batch.NotSent:
		if r.Reason != "" {
			text = render.FailureCause(r)
		}
	}
	before := f.of[r.Identity]
	if before != nil && before.text == text || before == nil && text == "" {
		return
	}
	if before != nil {
		before.nodes--
		before.names = slices.DeleteFunc(before.names, func(n string) bool { return n == r.Identity })
		delete(f.of, r.Identity)
	}
	if text == "" {
		return
	}
	f.add(r.Identity, text)
	f.fresh = append(f.fresh, r.Identity)
}

// add puts a node to its cause.
func (f *failures) add(node, text string) {
	if f.of == nil {
		f.of, f.causes = map[string]*cause{}, map[string]*cause{}
	}
	c := f.causes[text]
	if c == nil {
		c = &cause{text: text}
		f.causes[text] = c
	}
	if c.nodes++; len(c.names) < maxNames {
		c.names = append(c.names, node)
	}
	f.of[node] = c
}

// list are all causes, the gravest first.
func (f *failures) list() []render.Failure {
	var list []render.Failure
	for _, c := range f.causes {
		if c.nodes > 0 {
			list = append(list, render.Failure{Cause: c.text, Nodes: c.nodes, Names: c.folded()})
		}
	}
	return render.Gravest(list)
}

// folded are the names that are kept, and a sign where there are more.
func (c *cause) folded() string {
	names := discovery.Fold(c.names)
	if c.nodes > len(c.names) {
		names += ",…"
	}
	return names
}

// take are the nodes that failed since the last call, by cause.
func (f *failures) take() []render.Failure {
	if len(f.fresh) == 0 {
		return nil
	}
	var fresh failures
	for _, node := range f.fresh {
		if c := f.of[node]; c != nil && fresh.of[node] == nil {
			fresh.add(node, c.text)
		}
	}
	f.fresh = nil
	return fresh.list()
}
