package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Head is what the key of a run shows.
type Head struct {
	Version    int            `json:"v"`
	Run        string         `json:"run"`
	Parent     string         `json:"parent,omitempty"`
	Plan       string         `json:"plan,omitempty"` // the digest of the saved plan that the run applies
	Caller     string         `json:"caller"`         // of the process that drives it, as the host
	Host       string         `json:"host,omitempty"`
	User       string         `json:"user,omitempty"`
	Agent      string         `json:"agent"`
	Action     string         `json:"action"`
	Collective string         `json:"collective,omitempty"`
	Nodes      int            `json:"nodes"`
	States     map[string]int `json:"states,omitempty"`
	Status     string         `json:"status"`
	Open       int            `json:"open"`
	Began      time.Time      `json:"began"`
	Ended      time.Time      `json:"ended,omitzero"`
	Segments   int            `json:"segments"`
	Bytes      int64          `json:"bytes"`  // of the record
	Digest     string         `json:"digest"` // of the record, SHA-256
	Nonce      string         `json:"nonce"`  // of the process that drives it
}

// Applied is the status of a plan that was applied without a mirror.
const Applied = "applied"

// Mirrored reports that the record is there, too: the head of a plan that was applied without a mirror is alone. Segments does
// not show it: the first ones are there before the head counts them.
func (h Head) Mirrored() bool { return h.Status != Applied }

// Who describes the driver of a run for people.
func (h Head) Who() string { return Holder{Caller: h.Caller, Host: h.Host}.String() }

// ClaimedError reports that a run of this id is there already.
type ClaimedError struct{ Head Head }

// Error implements error.
func (e *ClaimedError) Error() string {
	return fmt.Sprintf("run %s is there already, of %s", e.Head.Run, e.Head.Who())
}

// SilentError reports that the mirror did not answer; this passes, or becomes a LostMirrorError.
type SilentError struct {
	For time.Duration
	Err error // of the last try; may be nil
}

// Error implements error.
func (e *SilentError) Error() string {
	text := fmt.Sprintf("the shared record: the broker has not answered for %s", e.For.Round(time.Second))
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

// Unwrap returns what the last try met.
func (e *SilentError) Unwrap() error { return e.Err }

// LostMirrorError reports that this process does not drive the run any more.
type LostMirrorError struct {
	Head    Head // of the process that does; Run "" where it is not known
	Deleted bool
}

// Error implements error.
func (e *LostMirrorError) Error() string {
	switch {
	case e.Deleted:
		return "the shared record of this run was deleted"
	case e.Head.Run == "":
		return "another process writes the shared record of this run"
	}
	return fmt.Sprintf("this run was adopted by %s", e.Head.Who())
}

// errNoMirror ends a run whose mirror was silent too long.
type errNoMirror struct{ *SilentError }

// Unconfirmed reports whether an error of a Lock or a Mirror is that the broker is silent, which may pass by itself.
func Unconfirmed(err error) bool {
	if _, over := errors.AsType[errNoMirror](err); over {
		return false
	}
	if _, stale := errors.AsType[*StaleError](err); stale {
		return true
	}
	_, silent := errors.AsType[*SilentError](err)
	return silent
}

func decodeHead(value []byte) Head {
	var h Head
	if json.Unmarshal(value, &h) != nil {
		return Head{}
	}
	return h
}

// HeadKey is the key of a run's head.
func HeadKey(run string) string { return headStart + run }

// Claim makes the head of a new run: one process in the world does. The error is a *ClaimedError where there is one, or of
// the Store.
func Claim(ctx context.Context, store Store, head Head, o MirrorOptions) (*Mirror, error) {
	m := newMirror(store, head, o)
	value, err := json.Marshal(m.head)
	if err != nil {
		return nil, err
	}
	var revision uint64
	for range maxTakes {
		at, err := store.Put(ctx, HeadKey(head.Run), value, revision)
		if err == nil {
			m.kept, m.revision = true, at
			return m, nil
		}
		if !errors.Is(err, ErrConflict) && settled(err) {
			return nil, err
		}
		entry, gerr := store.Get(ctx, HeadKey(head.Run))
		switch {
		case errors.Is(gerr, ErrNoKey):
			revision = 0
		case gerr != nil:
			return nil, gerr
		case entry.Deleted && entry.Released:
			revision = entry.Revision
		default:
			there := decodeHead(entry.Value)
			if there.Nonce != m.head.Nonce {
				return nil, &ClaimedError{there}
			}
			m.kept, m.revision = true, entry.Revision
			return m, nil
		}
	}
	return nil, fmt.Errorf("run %s: %w", head.Run, ErrConflict)
}

// Abandon takes back the claim of a run that did not begin.
func (m *Mirror) Abandon(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return m.store.Delete(ctx, HeadKey(m.head.Run), m.revision)
}

// Continue takes over a run whose record was read to its end: what this process adds stands behind it. The head changes
// hands with the first segment.
func Continue(store Store, head Head, end *Reader, o MirrorOptions) *Mirror {
	m := newMirror(store, head, o)
	m.sum = end.sum
	m.head.Segments, m.head.Bytes, m.head.Digest = end.n, end.to, end.digest()
	return m
}
