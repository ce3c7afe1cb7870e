package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"fleetctl/discovery"
	"fleetctl/rpcclient"
)

// Table writes rows in the rounded box of `choria req --table`, with an empty line after it as upstream has it. title
// may be empty. Cells may have several lines.
func Table(w io.Writer, title string, header []string, rows [][]string) error {
	t := table.NewWriter()
	style := table.StyleRounded
	style.Format.Header = text.FormatDefault
	style.Title.Align = text.AlignCenter
	t.SetStyle(style)
	t.AppendHeader(cells(header))
	widths := make([]int, len(header))
	measure(widths, header)
	for _, row := range rows {
		t.AppendRow(cells(row))
		measure(widths, row)
	}
	configs := make([]table.ColumnConfig, len(header))
	for i := range configs {
		configs[i] = table.ColumnConfig{Number: i + 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft}
	}
	if title = oneLine(title); title != "" && len(header) > 0 {
		t.SetTitle(title)
		inner := 3 * (len(header) - 1)
		for _, n := range widths {
			inner += n
		}
		if lack := utf8.RuneCountInString(title) - inner; lack > 0 { // the last column grows to the title's width
			configs[len(configs)-1].WidthMin = widths[len(widths)-1] + lack
		}
	}
	t.SetColumnConfigs(configs)
	out := t.Render()
	if len(rows) == 0 { // upstream rules the header off even above nothing
		out = ruleOff(out)
	}
	_, err := io.WriteString(w, out+"\n\n")
	return err
}

// tableWidth is how many columns Table takes.
func tableWidth(header []string, rows [][]string) int {
	widths := make([]int, len(header))
	measure(widths, header)
	for _, row := range rows {
		measure(widths, row)
	}
	total := 1
	for _, n := range widths {
		total += n + 3 // a blank on either side, and the border
	}
	return total
}

// leastCell is how narrow a column becomes at most before another one is cut too.
const leastCell = 8

// FitTable is Table for a terminal of so many columns: first the columns of drop are left out, by their titles and in that
// order, then the widest cells are cut. A width of 0 is any.
func FitTable(w io.Writer, header []string, rows [][]string, width int, drop ...string) error {
	for _, title := range drop {
		if width <= 0 || tableWidth(header, rows) <= width {
			break
		}
		at := slices.Index(header, title)
		if at < 0 {
			continue
		}
		header = slices.Delete(slices.Clone(header), at, at+1)
		less := make([][]string, len(rows))
		for i, row := range rows {
			less[i] = slices.Delete(slices.Clone(row), at, min(at+1, len(row)))
		}
		rows = less
	}
	if width > 0 && tableWidth(header, rows) > width {
		header, rows = cutCells(header, rows, width)
	}
	return Table(w, "", header, rows)
}

// cutCells shortens the widest columns, one after another, until the table fits or every column is as narrow as it may be.
// The first column names what a row is about: it is shortened last.
func cutCells(header []string, rows [][]string, width int) (cutHeader []string, cutRows [][]string) {
	widths := make([]int, len(header))
	measure(widths, header)
	for _, row := range rows {
		measure(widths, row)
	}
	total := 1 + 3*len(widths)
	for _, n := range widths {
		total += n
	}
	for ; total > width; total-- {
		widest := 0
		for i, n := range widths[1:] {
			if n > leastCell && (widest == 0 || n > widths[widest]) {
				widest = i + 1
			}
		}
		if widths[widest] <= leastCell {
			break
		}
		widths[widest]--
	}
	shorten := func(row []string) []string {
		out := make([]string, len(row))
		for i, cell := range row {
			out[i] = cut(oneLine(cell), widths[i])
		}
		return out
	}
	cutRows = make([][]string, len(rows))
	for i, row := range rows {
		cutRows[i] = shorten(row)
	}
	return shorten(header), cutRows
}

// ruleOff puts the rule below a header before the bottom border, of the same shape.
func ruleOff(box string) string {
	lines := strings.Split(box, "\n")
	bottom := lines[len(lines)-1]
	rule := strings.NewReplacer("╰", "├", "┴", "┼", "╯", "┤").Replace(bottom)
	if len(lines) > 1 && lines[len(lines)-2] == rule {
		return box
	}
	return strings.Join(append(lines[:len(lines)-1], rule, bottom), "\n")
}

func cells(row []string) table.Row {
	out := make(table.Row, len(row))
	for i, c := range row {
		out[i] = strings.ReplaceAll(clean(c), "\t", "    ")
	}
	return out
}

func measure(widths []int, row []string) {
	for i, c := range row {
		if i < len(widths) {
			widths[i] = max(widths[i], text.LongestLineLen(clean(c)))
		}
	}
}

// outputTable is the header and the rows of the successful replies: the sender, then every output by name.
func outputTable(r Result, outputs map[string]Output, cell func(json.RawMessage) string) (header []string, rows [][]string) {
	names := slices.Sorted(maps.Keys(outputs))
	header = []string{"Sender"}
	for _, name := range names {
		header = append(header, outputLabel(name, outputs[name]))
	}
	for _, reply := range r.Replies {
		if !reply.OK() {
			continue
		}
		var data map[string]json.RawMessage
		_ = json.Unmarshal(reply.Data, &data) // odd data is an empty row, as upstream has it
		row := []string{reply.Node}
		for _, name := range names {
			row = append(row, cell(data[name]))
		}
		rows = append(rows, row)
	}
	return header, rows
}

func outputLabel(name string, o Output) string {
	if o.DisplayAs != "" {
		return o.DisplayAs
	}
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToTitle(r)) + name[size:]
}

// OutputTable writes the successful replies as `choria req --table` does: the sender, then every output of the document
// by name. Arrays and objects are pretty JSON inside their cell.
func OutputTable(w io.Writer, r Result, outputs map[string]Output) error {
	header, rows := outputTable(r, outputs, func(raw json.RawMessage) string { return valueText(raw, "", prettyWidth) })
	return Table(w, "", header, rows)
}

// CSV writes the successful replies as comma-separated values, with the columns of OutputTable. Arrays and objects are
// compact JSON.
func CSV(w io.Writer, r Result, outputs map[string]Output) error {
	header, rows := outputTable(r, outputs, compactText)
	return CSVRows(w, header, rows)
}

// CSVRows writes a header and rows as comma-separated values, whose cells are harmless text.
func CSVRows(w io.Writer, header []string, rows [][]string) error {
	c := csv.NewWriter(w)
	if err := c.Write(harmless(header)); err != nil {
		return err
	}
	for _, row := range rows {
		if err := c.Write(harmless(row)); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func harmless(row []string) []string {
	out := make([]string, len(row))
	for i, cell := range row {
		out[i] = clean(cell)
	}
	return out
}

func compactText(raw json.RawMessage) string {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		var b bytes.Buffer
		if json.Compact(&b, raw) == nil {
			return b.String()
		}
	}
	return valueText(raw, "", 0)
}

// Senders writes the name of every node that replied with status OK, one a line.
func Senders(w io.Writer, replies []*rpcclient.Reply) error { return Nodes(w, senders(replies)) }

// SendersJSON writes the same names as a JSON array, null when there are none, as upstream does.
func SendersJSON(w io.Writer, replies []*rpcclient.Reply) error {
	return IndentedJSON(w, senders(replies))
}

func senders(replies []*rpcclient.Reply) []string {
	var names []string
	for _, r := range replies {
		if r.OK() {
			names = append(names, r.Node)
		}
	}
	return names
}

// Nodes writes names, one a line, as `choria discover` does.
func Nodes(w io.Writer, nodes []string) error {
	var b bytes.Buffer
	for _, n := range nodes {
		b.WriteString(oneLine(n))
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Nodeset writes names folded into one node set, which --nodes and -I read; nothing at all for no names.
func Nodeset(w io.Writer, nodes []string) error {
	if len(nodes) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, oneLine(discovery.Fold(nodes)))
	return err
}

// NodesJSON writes names as the bare JSON array of `choria discover --json`; [] when there are none.
func NodesJSON(w io.Writer, nodes []string) error { return IndentedJSON(w, notNil(nodes)) }

// NodeSet writes names as one folded node set; nothing when there are none.
func NodeSet(w io.Writer, nodes []string) error {
	if len(nodes) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, oneLine(discovery.Fold(nodes)))
	return err
}
