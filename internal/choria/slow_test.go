package choria

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// sameBytes takes nil for empty, and compares bytes as a whole: one by one
// takes seconds where documents are large.
var sameBytes = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.FilterValues(func(a, b []byte) bool { return len(a)+len(b) > 0 }, cmp.Comparer(bytes.Equal)),
}

// slow is an object read by encoding/json: what the scanner must agree with.
type slow map[string]json.RawMessage

var errSlow = errors.New("encoding/json refuses it")

func slowly(data []byte) (slow, error) {
	var s slow
	if err := json.Unmarshal(data, &s); err != nil || s == nil {
		return nil, errSlow // the text null is no object either
	}
	if !bounded(data) {
		return nil, errSlow
	}
	return s, nil
}

// bounded walks the tokens of a document and sums up the depths of its values.
func bounded(data []byte) bool {
	type level struct{ object, key bool } // key: what comes next is a key
	var levels []level
	weight := 0
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		token, err := d.Token()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].object {
			levels[n-1].key = !levels[n-1].key
			if !levels[n-1].key {
				continue // it was the key
			}
		}
		weight += len(levels)
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{object: true, key: true})
		case json.Delim('['):
			levels = append(levels, level{})
		}
		if len(levels) > maxDepth || weight > maxWeight {
			return false
		}
	}
}

func (s slow) missing(key string) bool { return s[key] == nil || string(s[key]) == "null" }

func (s slow) text(key string, err *error) (value string) {
	if !s.missing(key) && json.Unmarshal(s[key], &value) != nil {
		*err = errSlow
	}
	return value
}

// name is text within the bound of names.
func (s slow) name(key string, err *error) string {
	value := s.text(key, err)
	if len(value) > 256 {
		*err = errSlow
	}
	return value
}

// bounded time: from 1970 to the last second of 9999.
func slowTime(t time.Time, err *error) time.Time {
	if t.Before(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)) || !t.Before(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		*err = errSlow
	}
	return t.UTC()
}

func (s slow) base64(key string, err *error) []byte {
	value, failed := base64.StdEncoding.DecodeString(s.text(key, err))
	if failed != nil {
		*err = errSlow
	}
	return value
}

func (s slow) integer(key string, err *error) (value int64) {
	if !s.missing(key) && json.Unmarshal(s[key], &value) != nil {
		*err = errSlow
	}
	return value
}

func (s slow) inside(key string, err *error) slow {
	if s.missing(key) {
		return nil
	}
	inner, failed := slowly(s[key])
	if failed != nil {
		*err = failed
	}
	return inner
}
