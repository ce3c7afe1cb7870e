package choria

import (
	"encoding/json"
	"fmt"
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
