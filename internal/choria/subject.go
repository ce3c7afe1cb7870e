package choria

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// BroadcastSubject is where every node of a collective that has the agent
// listens (docs/protocol.md, subjects).
func BroadcastSubject(collective, agent string) string {
	return collective + ".broadcast.agent." + agent
}

// NodeSubject is where one node listens; the identity keeps its dots
// (docs/protocol.md, subjects).
func NodeSubject(collective, identity string) string {
	return collective + ".node." + identity
}

// ServiceSubject is where the nodes that offer a service agent listen, as one
// queue group: one of them answers (docs/protocol.md, subjects).
func ServiceSubject(collective, agent string) string {
	return collective + ".broadcast.service." + agent
}

// CallerHash is how a caller id becomes the token that brokers let the caller
// subscribe to (docs/protocol.md, subjects). It names, it protects nothing. The
// zero value is MD5, which every broker outside FIPS mode knows. Brokers in FIPS
// mode know SHA256 alone, those of version 0.30 and later outside it both.
type CallerHash uint8

// The hashes.
const (
	MD5 CallerHash = iota
	SHA256
)

// String returns the name; it works for every value.
func (h CallerHash) String() string {
	switch h {
	case MD5:
		return "MD5"
	case SHA256:
		return "SHA-256"
	}
	return fmt.Sprintf("hash(%d)", uint8(h))
}

// Of is the lower-case hex hash of a full caller id, such as
// "choria=admin.mcollective".
func (h CallerHash) Of(caller string) string {
	if h == SHA256 {
		sum := sha256.Sum256([]byte(caller))
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum([]byte(caller))
	return hex.EncodeToString(sum[:])
}

// ReplyPrefix is <collective>.reply.<hash of the caller>. Replies go to
// subjects one token below it; brokers allow no other shape (docs/protocol.md,
// broker rights).
func ReplyPrefix(collective, caller string, h CallerHash) string {
	return collective + ".reply." + h.Of(caller)
}

// FederationSubject is where the brokers of a federation take requests from
// clients (docs/protocol.md, federation).
func FederationSubject(federation string) string {
	return "choria.federation." + federation + ".federation"
}

// LifecycleSubject is where a component publishes lifecycle events of one type
// (docs/protocol.md, lifecycle events).
func LifecycleSubject(eventType, component string) string {
	return "choria.lifecycle.event." + eventType + "." + component
}

// LifecycleSubjects matches the subjects of all lifecycle events.
func LifecycleSubjects() string {
	return "choria.lifecycle.event.>"
}

// NewRequestID returns a fresh request id: for V1 a random UUID without its
// dashes (32 characters), for V2 a KSUID of the time t (27 characters), which
// sorts by t in whole seconds. An unset version has no ids: "".
// (docs/protocol.md, ids)
func NewRequestID(v Version, t time.Time) string {
	switch v {
	case V1:
		var id [16]byte
		rand.Read(id[:]) // never returns an error
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		return hex.EncodeToString(id[:])
	case V2:
		var id [20]byte
		binary.BigEndian.PutUint32(id[:4], uint32(t.Unix()-ksuidEpoch))
		rand.Read(id[4:])
		return ksuidText(id)
	default:
		return ""
	}
}

// ksuidEpoch is where KSUIDs begin to count seconds: 2014-05-13.
const ksuidEpoch = 1400000000

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ksuidText writes 160 bits as 27 digits of base 62, highest first.
func ksuidText(id [20]byte) string {
	var parts [5]uint32
	for i := range parts {
		parts[i] = binary.BigEndian.Uint32(id[4*i:])
	}
	var digits [27]byte
	for i := len(digits) - 1; i >= 0; i-- {
		var rest uint64
		for p, part := range parts {
			rest = rest<<32 | uint64(part)
			parts[p] = uint32(rest / 62)
			rest %= 62
		}
		digits[i] = base62[rest]
	}
	return string(digits[:])
}

// CheckIdentity reports whether a name can be the identity of a node: usable in a
// subject as it stands, dots included, and on an operator's screen. It is
// never blank, has no empty token, no white space, wildcard or control
// character, and is UTF-8.
func CheckIdentity(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("identity is blank")
	case !utf8.ValidString(name):
		return fmt.Errorf("identity %q is not UTF-8", name)
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, "."), strings.Contains(name, ".."):
		return fmt.Errorf("identity %q has an empty part between dots", name)
	}
	for _, c := range name {
		switch {
		case c == '*' || c == '>':
			return fmt.Errorf("identity %q contains the wildcard %q", name, c)
		case unicode.IsSpace(c):
			return fmt.Errorf("identity %q contains white space", name)
		case !unicode.IsGraphic(c):
			return fmt.Errorf("identity %q contains an invisible character", name)
		}
	}
	return nil
}
