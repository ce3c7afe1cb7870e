package choria

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds on what strangers send. Beyond them a message is malformed, except a long status message, which is cut. They are
// listed in docs/protocol.md, "Bounds", with what real fleets need.
const (
	// maxMessage is the size of a whole message on the wire, in bytes.
	maxMessage = 8 << 20
	// maxDepth is how deep objects and arrays of one document are nested, the document itself counted.
	maxDepth = 64
	// maxWeight is the sum of the depths of all values of one document: it bounds how much an indented copy grows.
	maxWeight = 1 << 20
	// maxName is the length of a request id, an agent, an action and of each text of an event, in bytes.
	maxName = 256
	// maxStatus is the length of a status message, in bytes, the mark of a cut included.
	maxStatus = 4096
)

// Times are counted from 1970 to the end of the year 9999: JSON has no word for others.
const (
	firstSecond = 0
	lastSecond  = 253402300799
)

// boundTime notes a time that is out of bounds.
func (r *reader) boundTime(f *field, t time.Time) time.Time {
	if seconds := t.Unix(); seconds < firstSecond || seconds > lastSecond {
		r.fail(f, "is not between the years 1970 and 9999")
		return time.Time{}
	}
	return t.UTC()
}

// name is text of a bounded length.
func (r *reader) name(f *field) string {
	value := r.value(f)
	if len(value) > maxName {
		r.fail(f, fmt.Sprintf("is %d bytes long, at most %d are allowed", len(value), maxName))
		return ""
	}
	return r.copy(value)
}

// cut shortens a status message, and leaves a mark with the original length.
func cut(message []byte) []byte {
	if len(message) <= maxStatus {
		return message
	}
	mark := fmt.Sprintf(" ... [cut: %d bytes]", len(message))
	end := maxStatus - len(mark)
	for end > 0 && !utf8.RuneStart(message[end]) {
		end--
	}
	return append(message[:end:end], mark...)
}

// checkSize refuses a message before any of it is read.
func (r *reader) checkSize(data []byte) {
	if r.err == nil && len(data) > maxMessage {
		r.err = fmt.Errorf("%s: is %d bytes long, at most %d are allowed", r.layer, len(data), maxMessage)
	}
}
