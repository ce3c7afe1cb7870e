package choria

import (
	"encoding/json"
	"slices"
	"strings"
)

// Member is one member of a JSON object: its name, and its value as it stands there.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Members reads an object. They are sorted by name, and of repeated names the last one counts, as in encoding/json. It
// reports false for what is no object, or beyond the bounds of a reply. The values share memory with data.
func Members(data []byte) ([]Member, bool) {
	if scanObject(data, nil) != nil {
		return nil, false
	}
	members := make([]Member, 0, 8)
	s := scanner{data: data}
	s.space()
	s.pos++ // the brace
	for s.space(); s.data[s.pos] != '}'; s.space() {
		var key, value field
		s.pos++ // the quote
		s.text(&key)
		s.space()
		s.pos++ // the colon
		s.space()
		start := s.pos
		s.value(&value, 0)
		name := key.raw
		if !key.plain {
			name = unquote(nil, key.raw)
		}
		members = append(members, Member{string(name), data[start:s.pos:s.pos]})
		s.space()
		s.take(',')
	}
	slices.SortStableFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	last := members[:0]
	for i, m := range members {
		if i+1 == len(members) || members[i+1].Name != m.Name {
			last = append(last, m)
		}
	}
	return last, true
}

// Text is the value of a JSON string, false for another value.
func Text(raw json.RawMessage) (string, bool) {
	s := scanner{data: raw}
	var f field
	if !s.take('"') || !s.text(&f) || s.pos != len(raw) {
		return "", false
	}
	if f.plain {
		return string(f.raw), true
	}
	return string(unquote(nil, f.raw)), true
}
