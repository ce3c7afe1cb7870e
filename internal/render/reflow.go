package render

import "strings"

// leastReflow is the narrowest text worth breaking into.
const leastReflow = 24

// Reflow breaks text that was written for a wide terminal into lines of at most width columns. Paragraphs begin at the
// left edge. Indented lines are entries: what stands behind a gap of two blanks stays in its column, lines indented to
// that column continue it, also below a name too long for a gap. Other indented lines without a gap are commands, and
// stay as they are.
func Reflow(text string, width int) string {
	lines := strings.Split(text, "\n")
	wide := false
	for _, l := range lines {
		wide = wide || len(l) > width
	}
	if !wide {
		return text
	}
	var out []string
	last := 0 // the column of the entry before
	for i := 0; i < len(lines); {
		block, column := lines[i], entryColumn(lines[i])
		i++
		switch {
		case column > 0:
			last = column
		case column < 0 && last > 0 && goesOn(block, last):
			column = last
		}
		for i < len(lines) && block != "" && column >= 0 && goesOn(lines[i], column) {
			block += " " + strings.TrimSpace(lines[i])
			i++
		}
		out = append(out, breakLine(block, column, width)...)
	}
	return strings.Join(out, "\n")
}

// entryColumn is where the lines that continue this one begin; below zero no line may.
func entryColumn(line string) int {
	body := strings.TrimLeft(line, " ")
	indent := len(line) - len(body)
	if indent == 0 {
		return 0
	}
	gap := strings.Index(body, "  ")
	if gap < 0 {
		return -1
	}
	return len(line) - len(strings.TrimLeft(body[gap:], " "))
}

func goesOn(line string, column int) bool {
	body := strings.TrimLeft(line, " ")
	return body != "" && len(line)-len(body) == column && (column == 0 || !strings.Contains(body, "  "))
}

func breakLine(line string, column, width int) []string {
	if column < 0 || width-column < leastReflow {
		return []string{line}
	}
	var out []string
	for len(line) > width {
		at := strings.LastIndexByte(line[:width+1], ' ')
		if at <= column {
			break // one long word
		}
		out = append(out, strings.TrimRight(line[:at], " "))
		line = strings.Repeat(" ", column) + strings.TrimLeft(line[at:], " ")
	}
	return append(out, line)
}
