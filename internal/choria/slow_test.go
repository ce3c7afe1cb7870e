package choria

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"

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
	return s, nil
}

func (s slow) missing(key string) bool { return s[key] == nil || string(s[key]) == "null" }

func (s slow) text(key string, err *error) (value string) {
	if !s.missing(key) && json.Unmarshal(s[key], &value) != nil {
		*err = errSlow
	}
	return value
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
