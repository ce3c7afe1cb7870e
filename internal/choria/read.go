package choria

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// reader takes values out of one layer of a message and keeps the first
// complaint: after it, everything reads as zero.
type reader struct {
	layer string
	err   error
	// own: the document is ours, and its texts may be decoded where they stand.
	own bool
	// known are texts that are returned in place of a copy of an equal one.
	known []string
	// scratch, when it is not nil, takes what would be decoded into fresh memory.
	scratch []byte
}

// fail notes a problem with a field of the layer.
func (r *reader) fail(f *field, problem string) {
	r.failWith(f, fmt.Errorf("%s", problem))
}

func (r *reader) failWith(f *field, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s: %w", r.layer, f.key, err)
	}
}

// scan reads a whole document.
func (r *reader) scan(data []byte, fields []field) {
	if r.err != nil {
		return
	}
	if err := scanObject(data, fields); err != nil {
		r.err = fmt.Errorf("%s: %w", r.layer, err)
	}
}

// within reads the object in a field of the document; absent or null reads as
// an object without keys.
func (r *reader) within(f *field, fields []field) {
	switch f.kind {
	case absent, null:
	case object:
		r.scan(f.raw, fields)
	default:
		r.fail(f, "is not an object")
	}
}

// protocol checks that the protocol of a document is the wanted one.
func (r *reader) protocol(f *field, want string) {
	if r.err == nil && r.text(f) != want {
		r.failWith(f, ErrUnknownProtocol)
	}
}

// must complains when a key is absent or null.
func (r *reader) must(f *field) {
	switch f.kind {
	case absent:
		r.fail(f, "is missing")
	case null:
		r.fail(f, "is null")
	}
}

// value returns the text of a string in bytes that may be shared with the
// document. Absent and null are empty.
func (r *reader) value(f *field) []byte {
	switch {
	case r.err != nil || f.kind == absent || f.kind == null:
		return nil
	case f.kind != text:
		r.fail(f, "is not a string")
		return nil
	case f.plain:
		return f.raw
	}
	return unquote(r.room(f.raw), f.raw)
}

// room is where a text may be decoded that does not get longer by it, but where it is not UTF-8.
func (r *reader) room(raw []byte) []byte {
	switch {
	case r.own && utf8.Valid(raw):
		return raw[:0]
	case r.scratch != nil && cap(r.scratch)-len(r.scratch) >= len(raw) && utf8.Valid(raw):
		at := len(r.scratch)
		r.scratch = r.scratch[:at+len(raw)]
		return r.scratch[at : at : at+len(raw)]
	}
	return make([]byte, 0, len(raw))
}

func (r *reader) text(f *field) string { return r.copy(r.value(f)) }

// copy is text that lives on its own.
func (r *reader) copy(value []byte) string {
	for _, k := range r.known {
		if k == string(value) {
			return k
		}
	}
	return string(value)
}

// needText is text that must be there and must not be empty.
func (r *reader) needText(f *field) string {
	r.must(f)
	value := r.text(f)
	if value == "" {
		r.fail(f, "is empty")
	}
	return value
}

// base64 returns what a string of standard base64 stands for, in fresh memory.
// Newlines in it are tolerated, as real receivers do. Absent and null are nil.
func (r *reader) base64(f *field) []byte {
	encoded := r.value(f)
	if encoded == nil {
		return nil
	}
	// Decoding goes from left to right and never writes behind what it has read: it may overwrite what it reads.
	size := base64.StdEncoding.DecodedLen(len(encoded))
	decoded := r.room(encoded)
	if cap(decoded) < size {
		decoded = make([]byte, 0, size)
	}
	decoded = decoded[:size]
	n, err := base64.StdEncoding.Decode(decoded, encoded)
	if err != nil {
		r.fail(f, "is not base64")
		return nil
	}
	return decoded[:n:n]
}

// needBase64 is base64 that must be there and must not be empty.
func (r *reader) needBase64(f *field) []byte {
	r.must(f)
	decoded := r.base64(f)
	if len(decoded) == 0 {
		r.fail(f, "is empty")
	}
	return decoded
}

// integer returns a whole number. Absent and null are zero.
func (r *reader) integer(f *field) int64 {
	if r.err != nil || f.kind == absent || f.kind == null {
		return 0
	}
	if f.kind == number {
		if n, err := strconv.ParseInt(string(f.raw), 10, 64); err == nil {
			return n
		}
	}
	r.fail(f, "is not a whole number of 64 bits")
	return 0
}
