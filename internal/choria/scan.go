package choria

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"unicode/utf8"
)

// kind is what a JSON value is. The zero kind is a key that did not occur.
type kind byte

const (
	absent kind = iota
	null
	text
	number
	boolean
	array
	object
)

// field is one wanted key of an object and, after a scan, its value.
type field struct {
	key   string
	raw   []byte // text: what stands between the quotes; otherwise the whole value
	kind  kind
	plain bool // text: ASCII without escapes, so raw is the value
}

// scanner walks one JSON document. It validates everything it passes, and
// stops at the first byte that cannot be JSON or is out of bounds.
type scanner struct {
	data   []byte
	pos    int
	weight int    // the sum of the depths of the values so far
	over   string // the bound that was passed
}

// scanObject reads data, which must be one JSON object, in a single pass and
// sets the values of the wanted fields. It agrees with encoding/json on what
// is valid, except what is nested too deep or too large. Keys match exactly, the last of repeated keys wins, and values
// share memory with data.
func scanObject(data []byte, fields []field) error {
	s := scanner{data: data}
	s.space()
	if s.pos >= len(data) || data[s.pos] != '{' {
		return fmt.Errorf("not a JSON object")
	}
	if !s.object(fields, 1) {
		return s.wrong()
	}
	s.space()
	if s.pos != len(data) {
		return s.wrong()
	}
	return nil
}

// wrong is the error of a scan that stopped.
func (s *scanner) wrong() error {
	if s.over != "" {
		return fmt.Errorf("%s at byte %d", s.over, s.pos)
	}
	return fmt.Errorf("not JSON at byte %d", s.pos)
}

// object reads an object from its opening brace on. depth counts it.
func (s *scanner) object(fields []field, depth int) bool {
	if depth > maxDepth {
		s.over = "nested too deep"
		return false
	}
	s.pos++
	s.space()
	if s.take('}') {
		return true
	}
	var key, skipped field
	next := 0
	for {
		if !s.take('"') || !s.text(&key) {
			return false
		}
		s.space()
		if !s.take(':') {
			return false
		}
		s.space()
		into := &skipped
		if i := find(fields, &key, next); i >= 0 {
			into, next = &fields[i], i+1
		}
		if !s.value(into, depth) {
			return false
		}
		s.space()
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
		s.space()
	}
}

// find returns the index of the wanted field with this key, or -1. Writers
// mostly emit keys in the order that we list them in: look at next first.
func find(fields []field, key *field, next int) int {
	if len(fields) == 0 {
		return -1
	}
	name := key.raw
	if !key.plain {
		name = unquote(nil, key.raw)
	}
	if next < len(fields) && fields[next].key == string(name) {
		return next
	}
	for i := range fields {
		if fields[i].key == string(name) {
			return i
		}
	}
	return -1
}

// array reads an array from its opening bracket on. depth counts it.
func (s *scanner) array(depth int) bool {
	if depth > maxDepth {
		s.over = "nested too deep"
		return false
	}
	s.pos++
	s.space()
	if s.take(']') {
		return true
	}
	var skipped field
	for {
		if !s.value(&skipped, depth) {
			return false
		}
		s.space()
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
		s.space()
	}
}

// value reads any value into f, except its key. depth is that of the
// container around it.
func (s *scanner) value(f *field, depth int) bool {
	if s.pos >= len(s.data) {
		return false
	}
	if s.weight += depth; s.weight > maxWeight {
		s.over = "too many values"
		return false
	}
	start := s.pos
	var ok bool
	switch c := s.data[s.pos]; c {
	case '"':
		s.pos++
		f.kind = text
		return s.text(f)
	case '{':
		f.kind, ok = object, s.object(nil, depth+1)
	case '[':
		f.kind, ok = array, s.array(depth+1)
	case 't':
		f.kind, ok = boolean, s.literal("true")
	case 'f':
		f.kind, ok = boolean, s.literal("false")
	case 'n':
		f.kind, ok = null, s.literal("null")
	default:
		f.kind, ok = number, s.number()
	}
	f.raw, f.plain = s.data[start:s.pos:s.pos], false
	return ok
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// digits passes at least one digit. A leading zero is number's concern.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

// text reads a string from behind its opening quote to behind its closing one.
func (s *scanner) text(f *field) bool {
	start := s.pos
	f.plain = true
	for {
		s.ordinary()
		if s.pos >= len(s.data) {
			return false
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			f.raw = s.data[start:s.pos:s.pos]
			s.pos++
			return true
		case c == '\\':
			f.plain = false
			if !s.escape() {
				return false
			}
		case c < ' ':
			return false
		default:
			f.plain = f.plain && c < utf8.RuneSelf
			s.pos++
		}
	}
}

const (
	everyByte = 0x0101010101010101
	highBits  = 0x8080808080808080
)

// ordinary passes bytes that mean themselves, eight at a time: it stops at a
// quote, a backslash, a control character, a byte that is not ASCII, or less
// than eight bytes before the end. A borrow can flag a byte wrongly, but only
// behind a byte that is flagged rightly, and only the first one counts.
func (s *scanner) ordinary() {
	for s.pos+8 <= len(s.data) {
		w := binary.LittleEndian.Uint64(s.data[s.pos:])
		quote := w ^ everyByte*'"'
		slash := w ^ everyByte*'\\'
		flags := (w | (w - everyByte*' ') | (quote - everyByte) | (slash - everyByte)) & highBits
		if flags != 0 {
			s.pos += bits.TrailingZeros64(flags) / 8
			return
		}
		s.pos += 8
	}
}

// escape reads an escape sequence from its backslash on.
func (s *scanner) escape() bool {
	if s.pos+1 >= len(s.data) {
		return false
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return true
	case 'u':
		if s.pos+6 > len(s.data) {
			return false
		}
		for _, c := range s.data[s.pos+2 : s.pos+6] {
			if hexDigit(c) < 0 {
				return false
			}
		}
		s.pos += 6
		return true
	}
	return false
}

func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// elements yields the elements of an array, or the values of an object, that
// the scanner accepted before. Their keys are not set.
func elements(f field) iter.Seq[field] {
	return func(yield func(field) bool) {
		if f.kind != array && f.kind != object {
			return
		}
		s := scanner{data: f.raw, pos: 1}
		for {
			s.space()
			if s.data[s.pos] == ']' || s.data[s.pos] == '}' {
				return
			}
			var e field
			if f.kind == object {
				s.pos++
				s.text(&e)
				s.space()
				s.pos++ // the colon
				s.space()
			}
			s.value(&e, 0)
			if !yield(e) {
				return
			}
			s.space()
			s.take(',')
		}
	}
}
