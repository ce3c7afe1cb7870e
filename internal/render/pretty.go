package render

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// indentStep is the indentation of one level in pretty JSON.
const indentStep = "  "

// prettyJSON lays JSON out with sorted keys, every line after prefix. An array of plain values (arrays of them too)
// stays on one line when it fits into width columns, counted with the prefix; width 0 puts every element on its own
// line. Numbers and strings keep their spelling. Text that is not JSON comes back as it is. There is no final newline.
func prettyJSON(data []byte, prefix string, width int) []byte {
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return append([]byte(prefix), data...)
	}
	p := printer{src: compact.Bytes(), prefix: prefix, width: width}
	p.out = append(p.out, prefix...)
	p.value(0, len(prefix))
	return p.out
}

// printer reads compact, valid JSON from src.
type printer struct {
	src    []byte
	pos    int
	out    []byte
	prefix string
	width  int
}

// value prints the value at pos; column is where it begins on its line.
func (p *printer) value(depth, column int) {
	switch p.src[p.pos] {
	case '{':
		p.object(depth)
	case '[':
		p.array(depth, column)
	default:
		start := p.pos
		p.pos = p.skip(p.pos)
		p.out = append(p.out, p.src[start:p.pos]...)
	}
}

// newline begins a line and returns the column that upstream counts there.
func (p *printer) newline(depth int) int {
	p.out = append(p.out, '\n')
	start := len(p.out)
	p.out = append(p.out, p.prefix...)
	for range depth {
		p.out = append(p.out, indentStep...)
	}
	return len(p.out) - start + 1
}

func (p *printer) object(depth int) {
	type member struct {
		name     string
		key      []byte
		from, to int
	}
	var members []member
	end := p.pos + 1
	for p.src[end] != '}' {
		from := end
		end = p.skip(from)
		key := p.src[from:end]
		m := member{key: key, from: end + 1}
		_ = json.Unmarshal(key, &m.name) // valid by construction
		end = p.skip(m.from)
		m.to = end
		members = append(members, m)
		if p.src[end] == ',' {
			end++
		}
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	p.out = append(p.out, '{')
	for i, m := range members {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		column := p.newline(depth+1) + len(m.key) + 2
		p.out = append(p.out, m.key...)
		p.out = append(p.out, ": "...)
		p.pos = m.from
		p.value(depth+1, column)
	}
	if len(members) > 0 {
		p.newline(depth)
	}
	p.out = append(p.out, '}')
	p.pos = end + 1
}

func (p *printer) array(depth, column int) {
	end := p.skip(p.pos)
	if line, ok := oneLineArray(p.src[p.pos:end]); ok && p.width > 0 && p.width-column > 3 && len(line) <= p.width-column {
		p.out = append(p.out, line...)
		p.pos = end
		return
	}
	p.out = append(p.out, '[')
	p.pos++
	first := true
	for p.src[p.pos] != ']' {
		if !first {
			p.out = append(p.out, ',')
			p.pos++
		}
		column := p.newline(depth + 1)
		if !first {
			column-- // upstream counts the line break only before members and first elements
		}
		first = false
		p.value(depth+1, column)
	}
	if !first {
		p.newline(depth)
	}
	p.out = append(p.out, ']')
	p.pos++
}

// skip returns the position after the value at i.
func (p *printer) skip(i int) int {
	for depth := 0; ; {
		switch p.src[i] {
		case '"':
			for i++; p.src[i] != '"'; i++ {
				if p.src[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 {
				for i < len(p.src) && !bytes.ContainsRune([]byte(",:]}"), rune(p.src[i])) {
					i++
				}
				return i
			}
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

// oneLineArray puts a space after the commas of a compact array; an array that holds an object never goes on one line.
func oneLineArray(src []byte) ([]byte, bool) {
	out := make([]byte, 0, len(src)+8)
	quoted := false
	for i := 0; i < len(src); i++ {
		c := src[i]
		out = append(out, c)
		switch {
		case quoted && c == '\\':
			i++
			out = append(out, src[i])
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			return nil, false
		case c == ',':
			out = append(out, ' ')
		}
	}
	return out, true
}
