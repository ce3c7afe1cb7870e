package choria

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Member is one key of an object, and its value as it stands there.
type Member struct {
	Key   []byte
	Value json.RawMessage
}

// Members appends the members of data, which must be one JSON object, in their order; repeated keys stay. It agrees with
// scanObject on what is valid, and shares memory with data.
func Members(list []Member, data []byte) ([]Member, error) {
	s := scanner{data: data}
	s.space()
	if !s.take('{') {
		return list, fmt.Errorf("not a JSON object")
	}
	s.space()
	for more := !s.take('}'); more; {
		var key, value field
		if !s.take('"') || !s.text(&key) {
			return list, s.wrong()
		}
		if !key.plain {
			key.raw = unquote(nil, key.raw)
		}
		if s.space(); !s.take(':') {
			return list, s.wrong()
		}
		s.space()
		start := s.pos
		if !s.value(&value, 1) {
			return list, s.wrong()
		}
		list = append(list, Member{key.raw, data[start:s.pos:s.pos]})
		s.space()
		if more = s.take(','); !more && !s.take('}') {
			return list, s.wrong()
		}
		s.space()
	}
	if s.space(); s.pos != len(data) {
		return list, s.wrong()
	}
	return list, nil
}

// SortedMembers are the members of an object sorted by key; of repeated keys the last one counts, as in encoding/json.
// It reports false for what is no object, or beyond the bounds of a reply. They share memory with data.
func SortedMembers(data []byte) ([]Member, bool) {
	members, err := Members(make([]Member, 0, 8), data)
	if err != nil {
		return nil, false
	}
	slices.SortStableFunc(members, func(a, b Member) int { return bytes.Compare(a.Key, b.Key) })
	last := members[:0]
	for i, m := range members {
		if i+1 == len(members) || !bytes.Equal(members[i+1].Key, m.Key) {
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
