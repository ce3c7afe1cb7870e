package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/inventory"
)

// FleetFormats are what an inventory of a fleet can be written as.
var FleetFormats = []Format{Text, Table, JSON, Lines, CSV, Nodeset, Markdown, HTML}

// FleetOptions define what of a fleet's inventory is shown, and how.
type FleetOptions struct {
	Format      Format // unset: text, unless the inventory is only saved
	GroupBy     string
	Columns     []inventory.Column // of the table, of CSV and of pages
	Chosen      bool               // the columns were asked for by name
	Order       inventory.Order
	Facts       bool   // show the facts, in JSON and lines
	Save        string // a file for the answers of the nodes
	Diff        string // a saved file to compare with
	IgnoreFacts []string
	Info        inventory.SnapshotInfo // of what is asked now
	Out, Err    Stream
}

// FileError reports that a file that was named cannot be used.
type FileError struct {
	Err  error
	Hint string
}

// Error implements error.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns the problem.
func (e *FileError) Unwrap() error { return e.Err }

// Fleet takes the wanted nodes of an inventory one by one, and writes them in the chosen ways.
type Fleet struct {
	sinks []fleetSink
	saved *snapshotSink // nil without Save
}

// fleetSink takes the wanted nodes one by one, and the counts at the end.
type fleetSink interface {
	add(n inventory.Node) error
	end(t *inventory.Tally) error
}

// Add takes a node that answered.
func (s *Fleet) Add(n inventory.Node) error {
	for _, sink := range s.sinks {
		if err := sink.add(n); err != nil {
			return err
		}
	}
	return nil
}

// End writes what is written at the end.
func (s *Fleet) End(t *inventory.Tally) error {
	for _, sink := range s.sinks {
		if err := sink.end(t); err != nil {
			return err
		}
	}
	return nil
}

// Abandon takes an unfinished snapshot away. After End it does nothing.
func (s *Fleet) Abandon() {
	if s.saved != nil {
		s.saved.abandon()
	}
}

// NewFleet opens what the inventory is written to. The caller must call Abandon.
func NewFleet(o FleetOptions) (s *Fleet, err error) {
	s = &Fleet{}
	defer func() {
		if err != nil {
			s.Abandon()
		}
	}()
	if o.Diff != "" {
		diff, err := newDiffSink(o)
		if err != nil {
			return s, err
		}
		s.sinks = append(s.sinks, diff)
	}
	if o.Save != "" {
		if s.saved, err = newSnapshotSink(o); err != nil {
			return s, err
		}
		s.sinks = append(s.sinks, s.saved)
	}
	if o.Diff == "" && (o.Save == "" || o.Format != 0 || o.GroupBy != "") {
		shown, err := newFleetSink(o)
		if err != nil {
			return s, err
		}
		s.sinks = append(s.sinks, shown)
	}
	return s, nil
}

func newFleetSink(o FleetOptions) (fleetSink, error) {
	if o.Format == 0 || o.Format == Text {
		options := render.FleetOptions{GroupBy: o.GroupBy}
		if o.Out.Terminal {
			options.Bars = o.Out.Width
		}
		return textSink{o.Out, options}, nil
	}
	if o.Format.Paged() {
		return &pageSink{o: o}, nil
	}
	if o.GroupBy != "" {
		return groupSink{o}, nil
	}
	switch o.Format {
	case Nodeset:
		return &nodesetSink{o: o}, nil
	case JSON:
		return &jsonSink{o: o}, nil
	case Lines:
		return &jsonlSink{o: o, lines: render.NewLines(o.Out)}, nil
	}
	s := &rowSink{o: o, table: o.Format == Table}
	for _, c := range o.Columns {
		title := c.Title
		if !s.table {
			title = c.Name
		}
		s.header = append(s.header, title)
	}
	var err error
	if !s.table {
		s.csv, err = render.NewCSVStream(o.Out, s.header)
	}
	return s, err
}

// lessWanted are the titles of the columns that a narrow terminal does without, the least wanted first. Columns that were
// asked for stay.
func (o FleetOptions) lessWanted() []string {
	if o.Chosen {
		return nil
	}
	var titles []string
	for _, c := range slices.Backward(o.Columns[min(len(o.Columns), 2):]) {
		titles = append(titles, c.Title)
	}
	return titles
}

// textSink shows the counts.
type textSink struct {
	w io.Writer
	o render.FleetOptions
}

func (s textSink) add(inventory.Node) error     { return nil }
func (s textSink) end(t *inventory.Tally) error { return render.Fleet(s.w, t, s.o) }

// groupSink shows the groups in the formats of machines.
type groupSink struct {
	o FleetOptions
}

func (s groupSink) add(inventory.Node) error { return nil }

func (s groupSink) end(t *inventory.Tally) error {
	defer s.o.verdict(t)
	header, rows := render.FleetGroups(t, s.o.GroupBy)
	switch s.o.Format {
	case Table:
		return render.FitTable(s.o.Out, header, rows, s.o.Out.fit())
	case CSV:
		return render.CSVRows(s.o.Out, []string{s.o.GroupBy, "nodes", "upgradable"}, rows)
	case JSON:
		return render.FleetJSON(s.o.Out, t, nil, render.FleetOptions{GroupBy: s.o.GroupBy})
	}
	lines := render.NewLines(s.o.Out)
	for _, g := range t.Groups() {
		if err := lines.Group(g); err != nil {
			return err
		}
	}
	return render.FleetLine(lines, t)
}

// verdict is printed on stderr when stdout has a machine format.
func (o FleetOptions) verdict(t *inventory.Tally) { fmt.Fprintln(o.Err, render.FleetVerdict(t)) }

// nodesetSink shows the names alone, to be piped into --nodes -.
type nodesetSink struct {
	o     FleetOptions
	names []string
}

func (s *nodesetSink) add(n inventory.Node) error {
	s.names = append(s.names, n.Identity)
	return nil
}

func (s *nodesetSink) end(t *inventory.Tally) error {
	s.o.verdict(t)
	return render.NodeSet(s.o.Out, s.names)
}

// rowSink shows a row for each node: CSV as they come unless they are sorted, a table at the end.
type rowSink struct {
	o      FleetOptions
	header []string
	table  bool
	csv    render.CSVStream
	lines  []inventory.Line
}

func (s *rowSink) add(n inventory.Node) error {
	l := s.o.Order.Line(n)
	for _, c := range s.o.Columns {
		l.Cells = append(l.Cells, c.Text(n))
	}
	if !s.table && len(s.o.Order) == 0 {
		return s.csv.Row(l.Cells)
	}
	s.lines = append(s.lines, l)
	return nil
}

func (s *rowSink) end(t *inventory.Tally) error {
	defer s.o.verdict(t)
	s.o.Order.Sort(s.lines)
	var rows [][]string
	for _, l := range s.lines {
		if !s.table {
			if err := s.csv.Row(l.Cells); err != nil {
				return err
			}
		}
		rows = append(rows, l.Cells)
	}
	if s.table {
		return render.FitTable(s.o.Out, s.header, rows, s.o.Out.fit(), s.o.lessWanted()...)
	}
	return s.csv.Close()
}

// jsonSink shows one document.
type jsonSink struct {
	o     FleetOptions
	lines []inventory.Line
}

// recordText is the record of a node as JSON. Facts that were needed for something else are left out.
func recordText(n inventory.Node, o FleetOptions) ([]byte, error) {
	if !o.Facts {
		n.Facts = nil
	}
	return n.Record()
}

func (s *jsonSink) add(n inventory.Node) (err error) {
	l := s.o.Order.Line(n)
	l.Text, err = recordText(n, s.o)
	s.lines = append(s.lines, l)
	return err
}

func (s *jsonSink) end(t *inventory.Tally) error {
	defer s.o.verdict(t)
	s.o.Order.Sort(s.lines)
	nodes := make([]json.RawMessage, len(s.lines))
	for i, l := range s.lines {
		nodes[i] = l.Text
	}
	return render.FleetJSON(s.o.Out, t, nodes, render.FleetOptions{})
}

// jsonlSink shows a line for each node as it comes, unless they are sorted.
type jsonlSink struct {
	o      FleetOptions
	lines  render.Lines
	sorted []inventory.Line
}

func (s *jsonlSink) add(n inventory.Node) error {
	text, err := recordText(n, s.o)
	if err != nil {
		return err
	}
	if len(s.o.Order) == 0 {
		return s.lines.Node(json.RawMessage(text))
	}
	l := s.o.Order.Line(n)
	l.Text = text
	s.sorted = append(s.sorted, l)
	return nil
}

func (s *jsonlSink) end(t *inventory.Tally) error {
	defer s.o.verdict(t)
	s.o.Order.Sort(s.sorted)
	for _, l := range s.sorted {
		if err := s.lines.Node(json.RawMessage(l.Text)); err != nil {
			return err
		}
	}
	return render.FleetLine(s.lines, t)
}

// snapshotSink saves the nodes. The file appears when it is complete.
type snapshotSink struct {
	o      FleetOptions
	file   *File
	writer *inventory.SnapshotWriter
}

// snapshotMode keeps facts to this user: they may hold more than was meant for all.
const snapshotMode = 0o600

func newSnapshotSink(o FleetOptions) (*snapshotSink, error) {
	file, err := CreateFile(o.Save)
	if err != nil {
		return nil, &FileError{Err: fmt.Errorf("save the inventory: %w", err)}
	}
	file.Mode = snapshotMode
	s := &snapshotSink{o: o, file: file}
	s.writer, err = inventory.NewSnapshotWriter(file, o.Info)
	return s, err
}

func (s *snapshotSink) add(n inventory.Node) error { return s.writer.Add(n) }

func (s *snapshotSink) end(t *inventory.Tally) error {
	err := s.writer.Close(t.Silent, refusedNodes(t))
	file := s.file
	s.file = nil
	if err == nil && file.kept() {
		err = file.Sync()
	}
	if err := file.Commit(err); err != nil {
		return err
	}
	fmt.Fprintf(s.o.Err, "Saved %d nodes to %s.\n", t.Selected, plain.Line(s.o.Save))
	return nil
}

func (s *snapshotSink) abandon() {
	if s.file != nil {
		_ = s.file.Commit(errAbandoned) // the file is removed
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
