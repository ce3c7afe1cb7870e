package discovery

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// nameColumns are the headers that fleetctl itself writes over the names: in the CSV of a request, and of an inventory.
var nameColumns = []string{"Sender", "node"}

// csv reads the names out of comma-separated values, where the list is that; ok is false where it is not. Values
// without a column of names are refused: their cells would read as node sets.
func (l *nodeList) csv() (ok bool, err error) {
	lines := l.listLines()
	if len(lines) == 0 {
		return false, nil
	}
	if header, err := csv.NewReader(strings.NewReader(lines[0])).Read(); err == nil {
		if column := slices.IndexFunc(header, isNameColumn); column >= 0 {
			return true, l.column(column)
		}
	}
	if looksTabular(lines) {
		return true, fmt.Errorf("it looks like CSV without a column of names: the header of that column has to be %s, or write one name on a line",
			strings.Join(nameColumns, " or "))
	}
	return false, nil
}

func isNameColumn(header string) bool { return slices.Contains(nameColumns, strings.TrimSpace(header)) }

// listLines are the lines that hold anything, without comments.
func (l *nodeList) listLines() []string {
	var lines []string
	for line := range strings.Lines(string(l.content)) {
		if line = strings.TrimSpace(withoutComment(line)); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// looksTabular is true for several lines of equally many values, and no node set with brackets among them.
func looksTabular(lines []string) bool {
	commas := strings.Count(lines[0], ",")
	if len(lines) < 2 || commas == 0 {
		return false
	}
	return !slices.ContainsFunc(lines, func(line string) bool {
		return strings.Count(line, ",") != commas || strings.ContainsAny(line, "[]")
	})
}

// column reads the names in one column, below its header.
func (l *nodeList) column(column int) error {
	rows := csv.NewReader(strings.NewReader(string(l.content)))
	rows.ReuseRecord, rows.Comment = true, '#'
	for below := false; ; {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("it looks like CSV: %w", err)
		case !below:
			below = isNameColumn(row[column])
			continue
		}
		line, _ := rows.FieldPos(column)
		if err := l.name(strings.TrimSpace(row[column]), fmt.Sprintf("line %d", line)); err != nil {
			return err
		}
	}
}
