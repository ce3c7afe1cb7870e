package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"fleetctl/internal/fleet"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/inventory"
)

// fleetSink takes the wanted nodes one by one, and the account at the end.
type fleetSink interface {
	add(a inventory.Answer) error
	end(t *inventory.Tally) error
}

// fleetSinks are the places where the nodes go.
type fleetSinks struct {
	list  []fleetSink
	saved *snapshotSink // nil without --save
}

func (s *fleetSinks) add(a inventory.Answer) error {
	for _, sink := range s.list {
		if err := sink.add(a); err != nil {
			return err
		}
	}
	return nil
}

func (s *fleetSinks) end(t *inventory.Tally) error {
	for _, sink := range s.list {
		if err := sink.end(t); err != nil {
			return err
		}
	}
	return nil
}

// abandon takes an unfinished snapshot away.
func (s *fleetSinks) abandon() {
	if s.saved != nil {
		s.saved.abandon()
	}
}

func openSinks(a *app, n *fleet.Fleet, o *inventoryOptions, survey inventory.Survey) (sinks *fleetSinks, err error) {
	sinks = &fleetSinks{}
	defer func() {
		if err != nil {
			sinks.abandon()
		}
	}()
	info := inventory.SnapshotInfo{Taken: time.Now(), Collective: n.Collective, Selection: o.fleet.selection(&o.targets), AgentVersions: survey.AgentVersions}
	if o.fleet.diff != "" {
		diff, err := newDiffSink(a, &o.fleet, info)
		if err != nil {
			return sinks, err
		}
		sinks.list = append(sinks.list, diff)
	}
	if o.fleet.save != "" {
		if sinks.saved, err = newSnapshotSink(a, o.fleet.save, info); err != nil {
			return sinks, err
		}
		sinks.list = append(sinks.list, sinks.saved)
	}
	if o.fleet.diff == "" && (o.fleet.save == "" || o.fleet.output != "" || o.fleet.groupBy != "") {
		shown, err := newFleetSink(a, &o.fleet)
		if err != nil {
			return sinks, err
		}
		sinks.list = append(sinks.list, shown)
	}
	return sinks, nil
}

func newFleetSink(a *app, o *fleetOptions) (fleetSink, error) {
	order, err := orderOf(o.sort)
	if err != nil {
		return nil, usage(err, "")
	}
	if o.kind == 0 || o.kind == report.Text {
		options := render.FleetOptions{GroupBy: o.groupBy}
		if isTerminal(a.io.out) {
			options.Bars = widthOf(a.io.out)
		}
		return textSink{a.io.out, options}, nil
	}
	if o.groupBy != "" {
		return groupSink{a, o}, nil
	}
	switch o.kind {
	case report.Nodeset:
		return &nodesetSink{app: a}, nil
	case report.JSON:
		return &jsonSink{app: a, o: o, order: order}, nil
	case report.Lines:
		return &jsonlSink{app: a, o: o, order: order, lines: render.NewLines(a.io.out)}, nil
	}
	s := &rowSink{app: a, order: order, table: o.kind == report.Table}
	names := o.columns
	if len(names) == 0 {
		names = defaultColumns
	}
	for _, name := range names {
		c, err := columnOf(name)
		if err != nil {
			return nil, usage(err, "")
		}
		s.columns = append(s.columns, c)
		title := c.title
		if !s.table {
			title = c.name
		}
		s.header = append(s.header, title)
	}
	if !s.table {
		s.csv, err = render.NewCSVStream(a.io.out, s.header)
	}
	return s, err
}

// textSink shows the counts.
type textSink struct {
	w io.Writer
	o render.FleetOptions
}

func (s textSink) add(inventory.Answer) error   { return nil }
func (s textSink) end(t *inventory.Tally) error { return render.Fleet(s.w, t, s.o) }

// groupSink shows the groups in the formats of machines.
type groupSink struct {
	app *app
	o   *fleetOptions
}

func (s groupSink) add(inventory.Answer) error { return nil }

func (s groupSink) end(t *inventory.Tally) error {
	defer verdict(s.app, t)
	header, rows := render.FleetGroups(t, s.o.groupBy)
	switch s.o.kind {
	case report.Table:
		return render.Table(s.app.io.out, "", header, rows)
	case report.CSV:
		return render.CSVRows(s.app.io.out, []string{s.o.groupBy, "nodes", "upgradable"}, rows)
	case report.JSON:
		return render.FleetJSON(s.app.io.out, t, nil, render.FleetOptions{GroupBy: s.o.groupBy})
	}
	lines := render.NewLines(s.app.io.out)
	for _, g := range t.Groups() {
		if err := lines.Group(g); err != nil {
			return err
		}
	}
	return render.FleetLine(lines, t)
}

// verdict goes to stderr where stdout is for machines.
func verdict(a *app, t *inventory.Tally) { fmt.Fprintln(a.io.err, render.FleetVerdict(t)) }

// nodesetSink shows the names alone, to be piped into --nodes -.
type nodesetSink struct {
	app   *app
	names []string
}

func (s *nodesetSink) add(a inventory.Answer) error {
	s.names = append(s.names, a.Identity)
	return nil
}

func (s *nodesetSink) end(t *inventory.Tally) error {
	verdict(s.app, t)
	return render.NodeSet(s.app.io.out, s.names)
}

// rowSink shows a row for each node: CSV as they come unless they are sorted, a table at the end.
type rowSink struct {
	app     *app
	columns []column
	header  []string
	order   []sorting
	table   bool
	csv     render.CSVStream
	lines   []line
}

func (s *rowSink) add(a inventory.Answer) error {
	l := newLine(a, s.order)
	for _, c := range s.columns {
		l.cells = append(l.cells, c.text(a))
	}
	if !s.table && len(s.order) == 0 {
		return s.csv.Row(l.cells)
	}
	s.lines = append(s.lines, l)
	return nil
}

func (s *rowSink) end(t *inventory.Tally) error {
	defer verdict(s.app, t)
	sortLines(s.lines, s.order)
	var rows [][]string
	for _, l := range s.lines {
		if !s.table {
			if err := s.csv.Row(l.cells); err != nil {
				return err
			}
		}
		rows = append(rows, l.cells)
	}
	if s.table {
		return render.Table(s.app.io.out, "", s.header, rows)
	}
	return s.csv.Close()
}

// jsonSink shows one document.
type jsonSink struct {
	app   *app
	o     *fleetOptions
	order []sorting
	lines []line
}

// recordText is the record of a node as JSON. Facts that were needed for something else are left out.
func recordText(a inventory.Answer, o *fleetOptions) ([]byte, error) {
	r := inventory.RecordOf(a)
	if !o.withFacts {
		r.Facts = nil
	}
	return json.Marshal(r)
}

func (s *jsonSink) add(a inventory.Answer) (err error) {
	l := newLine(a, s.order)
	l.text, err = recordText(a, s.o)
	s.lines = append(s.lines, l)
	return err
}

func (s *jsonSink) end(t *inventory.Tally) error {
	defer verdict(s.app, t)
	sortLines(s.lines, s.order)
	nodes := make([]json.RawMessage, len(s.lines))
	for i, l := range s.lines {
		nodes[i] = l.text
	}
	return render.FleetJSON(s.app.io.out, t, nodes, render.FleetOptions{})
}

// jsonlSink shows a line for each node as it comes, unless they are sorted.
type jsonlSink struct {
	app    *app
	o      *fleetOptions
	order  []sorting
	lines  render.Lines
	sorted []line
}

func (s *jsonlSink) add(a inventory.Answer) error {
	text, err := recordText(a, s.o)
	if err != nil {
		return err
	}
	if len(s.order) == 0 {
		return s.lines.Node(json.RawMessage(text))
	}
	l := newLine(a, s.order)
	l.text = text
	s.sorted = append(s.sorted, l)
	return nil
}

func (s *jsonlSink) end(t *inventory.Tally) error {
	defer verdict(s.app, t)
	sortLines(s.sorted, s.order)
	for _, l := range s.sorted {
		if err := s.lines.Node(json.RawMessage(l.text)); err != nil {
			return err
		}
	}
	return render.FleetLine(s.lines, t)
}

// snapshotSink saves the nodes. The file appears when it is complete.
type snapshotSink struct {
	app    *app
	path   string
	file   *report.File
	writer *inventory.SnapshotWriter
}

// snapshotMode keeps facts to this user: they may hold more than was meant for all.
const snapshotMode = 0o600

func newSnapshotSink(a *app, path string, info inventory.SnapshotInfo) (*snapshotSink, error) {
	file, err := report.CreateFile(path)
	if err != nil {
		return nil, usage(fmt.Errorf("save the inventory: %w", err), "")
	}
	file.Mode = snapshotMode
	s := &snapshotSink{app: a, path: path, file: file}
	s.writer, err = inventory.NewSnapshotWriter(file, info)
	return s, err
}

func (s *snapshotSink) add(a inventory.Answer) error { return s.writer.Add(inventory.RecordOf(a)) }

func (s *snapshotSink) end(t *inventory.Tally) error {
	err := s.writer.Close(t.Silent, refusedNodes(t))
	file := s.file
	s.file = nil
	if err == nil && file.Kept() {
		err = file.Sync()
	}
	if err := file.Commit(err); err != nil {
		return err
	}
	fmt.Fprintf(s.app.io.err, "Saved %d nodes to %s.\n", t.Selected, s.path)
	return nil
}

func (s *snapshotSink) abandon() {
	if s.file != nil {
		_ = s.file.Commit(errAbandoned) // the file goes away, and that is all
		s.file = nil
	}
}

var errAbandoned = errors.New("the inventory did not end")

func refusedNodes(t *inventory.Tally) []string {
	names := make([]string, len(t.Problems))
	for i, p := range t.Problems {
		names[i] = p.Node
	}
	return names
}
