package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/bus"
)

// Requester asks the broker. *bus.Conn is one.
type Requester interface {
	Request(ctx context.Context, subject string, header map[string]string, data []byte) (bus.Answer, error)
}

// Store is a bucket of keys. Errors are those below, or what the connection met; after the latter a write may have landed.
type Store interface {
	// Status returns what the bucket is, and the broker's time.
	Status(ctx context.Context) (Status, error)
	// Get reads a key from the bucket's leader. A marker in place of a deleted value is an entry, too.
	Get(ctx context.Context, key string) (Entry, error)
	// Put writes a key if its entry is still the one of a revision, 0 for none, and returns the new revision.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete puts a marker of ours in place of the value of a revision.
	Delete(ctx context.Context, key string, revision uint64) error
	// Keys lists the keys with a beginning, markers included, sorted.
	Keys(ctx context.Context, prefix string) ([]string, error)
}

// Status is what a bucket is.
type Status struct {
	TTL      time.Duration // of every value; 0: they stay
	Replicas int
	Now      time.Time // by the broker's clock
}

// Entry is a value of a key, or the marker of its deletion.
type Entry struct {
	Value    []byte
	Revision uint64
	Written  time.Time // by the broker's clock
	Deleted  bool
	Released bool // deleted by a holder of ours that gave the key back
}

// The errors of a Store.
var (
	ErrNoStreams = errors.New("the brokers have no streams")
	ErrNoBucket  = errors.New("the bucket does not exist")
	ErrNoKey     = errors.New("the key does not exist")
	ErrConflict  = errors.New("the key has another revision")
)

// DeniedError reports a permission that our token lacks. Nothing was written.
type DeniedError struct {
	Permission string
	Err        error
}

// Error implements error.
func (e *DeniedError) Error() string {
	return "the broker does not allow it: the token needs the permission " + e.Permission
}

// Unwrap returns the broker's words.
func (e *DeniedError) Unwrap() error { return e.Err }

// The buckets.
const (
	Elections = "CHORIA_LEADER_ELECTION" // the brokers' own, which they make themselves
	Shared    = "FLEETCTL"
)

// The permissions of protocol v2 that buckets need (docs/shared.md).
const (
	useStreams  = "streams_user"
	useElection = "streams_user or election_user"
)

const (
	releasedHeader = "Fleetctl-Released"
	expectedHeader = "Nats-Expected-Last-Subject-Sequence"
	operation      = "KV-Operation"
	askTimeout     = 5 * time.Second // one question, when the caller sets no shorter limit
)

// Bucket is a bucket of the brokers. It is safe for concurrent use.
type Bucket struct {
	conn Requester
	name string
}

// Open names a bucket; it asks nothing.
func Open(conn Requester, name string) *Bucket { return &Bucket{conn: conn, name: name} }

func (b *Bucket) stream() string            { return "KV_" + b.name }
func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// apiError is what JetStream answers in place of a result.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// apiErrors are the answers that mean something to us, by their error code. A replicated bucket refuses a compare-and-set
// with another code than a single one; every caller reads the key again after any refusal, and judges by its nonce.
var apiErrors = map[int]error{
	10037: ErrNoKey, 10058: errExists, 10059: ErrNoBucket, 10039: ErrNoStreams, 10076: ErrNoStreams, 10071: ErrConflict, 10164: ErrConflict,
}

// noPlace is the code of an answer whose text says what the brokers lack.
const noPlace = 10005

func (e *apiError) err() error {
	if err, ok := apiErrors[e.ErrCode]; ok {
		return err
	}
	if e.ErrCode == noPlace {
		return fmt.Errorf("%w: %s", ErrNoPeers, e.Description)
	}
	return fmt.Errorf("the broker answers: %s (%d)", e.Description, e.ErrCode)
}

// ask sends one question and decodes the answer. permission is what a refusal lacks.
func (b *Bucket) ask(ctx context.Context, subject string, header map[string]string, question any, answer any, permission string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var data []byte
	switch q := question.(type) {
	case nil:
	case []byte:
		data = q
	default:
		var err error
		if data, err = json.Marshal(q); err != nil {
			return fmt.Errorf("ask bucket %s: %w", b.name, err)
		}
	}
	reply, err := b.conn.Request(ctx, subject, header, data)
	if p, ok := errors.AsType[*bus.Problem](err); ok && p.Denied {
		return &DeniedError{Permission: permission, Err: err}
	}
	if errors.Is(err, bus.ErrNoResponders) {
		if strings.HasPrefix(subject, "$KV.") {
			return ErrNoBucket
		}
		return ErrNoStreams
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.name, err)
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &failed); err != nil {
		return fmt.Errorf("bucket %s: the broker's answer cannot be read: %w", b.name, err)
	}
	if failed.Error != nil {
		return failed.Error.err()
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("bucket %s: the broker's answer cannot be read: %w", b.name, err)
	}
	return nil
}

// use is the permission to use this bucket.
func (b *Bucket) use() string {
	if b.name == Elections {
		return useElection
	}
	return useStreams
}

// info is the part of STREAM.INFO that matters here.
type info struct {
	Time   time.Time `json:"ts"`
	Total  int       `json:"total"`
	Config struct {
		MaxAge   time.Duration `json:"max_age"`
		Replicas int           `json:"num_replicas"`
	} `json:"config"`
	State struct {
		Subjects map[string]uint64 `json:"subjects"`
	} `json:"state"`
}

// Status implements Store.
func (b *Bucket) Status(ctx context.Context) (Status, error) {
	var i info
	if err := b.ask(ctx, "$JS.API.STREAM.INFO."+b.stream(), nil, nil, &i, b.use()); err != nil {
		return Status{}, err
	}
	return Status{TTL: i.Config.MaxAge, Replicas: i.Config.Replicas, Now: i.Time}, nil
}

// Get implements Store.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	var answer struct {
		Message struct {
			Seq  uint64    `json:"seq"`
			Data []byte    `json:"data"`
			Hdrs []byte    `json:"hdrs"`
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	err := b.ask(ctx, "$JS.API.STREAM.MSG.GET."+b.stream(), nil, map[string]string{"last_by_subj": b.subject(key)}, &answer, useStreams)
	if err != nil {
		return Entry{}, err
	}
	m := answer.Message
	e := Entry{Value: m.Data, Revision: m.Seq, Written: m.Time}
	header := headers(m.Hdrs)
	switch header.Get(operation) {
	case "DEL", "PURGE":
		e.Deleted, e.Released = true, header.Get(releasedHeader) != ""
	}
	return e, nil
}

// headers reads the headers of a stored message: a first line with the protocol's version, then one a line.
func headers(raw []byte) textproto.MIMEHeader {
	header := textproto.MIMEHeader{}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return header
}

// Put implements Store.
func (b *Bucket) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return b.publish(ctx, key, map[string]string{expectedHeader: strconv.FormatUint(revision, 10)}, value)
}

// Delete implements Store.
func (b *Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	_, err := b.publish(ctx, key, map[string]string{
		expectedHeader: strconv.FormatUint(revision, 10), operation: "DEL", releasedHeader: "true",
	}, nil)
	return err
}

func (b *Bucket) publish(ctx context.Context, key string, header map[string]string, value []byte) (uint64, error) {
	var ack struct {
		Seq uint64 `json:"seq"`
	}
	if value == nil {
		value = []byte{}
	}
	err := b.ask(ctx, b.subject(key), header, value, &ack, b.use())
	return ack.Seq, err
}

// maxPages bounds how many pages of keys are read: 100,000 keys stand on one.
const maxPages = 50

// Keys implements Store.
func (b *Bucket) Keys(ctx context.Context, prefix string) ([]string, error) {
	start := b.subject("")
	seen := map[string]struct{}{}
	for range maxPages {
		var i info
		question := map[string]any{"subjects_filter": start + ">", "offset": len(seen)}
		if err := b.ask(ctx, "$JS.API.STREAM.INFO."+b.stream(), nil, question, &i, useStreams); err != nil {
			return nil, err
		}
		for subject := range i.State.Subjects {
			seen[strings.TrimPrefix(subject, start)] = struct{}{}
		}
		if len(i.State.Subjects) == 0 || len(seen) >= i.Total {
			break
		}
	}
	var keys []string
	for key := range seen {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}
