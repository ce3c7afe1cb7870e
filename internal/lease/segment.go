package lease

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

// segmentMeta is the first line of a segment; the rest is a part of the record, packed by gzip.
type segmentMeta struct {
	Version int             `json:"v"`
	Run     string          `json:"run"`
	Number  int             `json:"n"`
	From    int64           `json:"from"` // of the record, in bytes
	To      int64           `json:"to"`
	Digest  string          `json:"digest"` // SHA-256 of the record up to To
	Signed  json.RawMessage `json:"signed,omitempty"`
}

// signedText is what the driver of a run signs: the whole record up to the end of a segment.
func (s segmentMeta) signedText() []byte {
	return fmt.Appendf(nil, "%s%s:%d:%d:%s", signMark, s.Run, s.Number, s.To, s.Digest)
}

// segment is one on its way to the bucket.
type segment struct {
	n     int
	size  int // of the record's part
	meta  segmentMeta
	value []byte
}

func segmentKey(run string, n int) string { return HeadKey(run) + ".j." + strconv.Itoa(n) }

// pack makes the segment that follows a head, of as much of the pending bytes as fits. before is the sum of what precedes it.
func pack(head Head, pending []byte, before hash.Hash, sign func([]byte) (json.RawMessage, error)) (*segment, error) {
	raw := wholeLines(pending, rawMax)
	packed, err := zipped(raw)
	for err == nil && len(packed) > packedMax && bytes.Count(raw, []byte{'\n'}) > 1 {
		raw = wholeLines(raw, len(raw)/2)
		packed, err = zipped(raw)
	}
	if err == nil && len(packed) > lineMax {
		err = fmt.Errorf("a line of the record is too large to be shared: %d bytes", len(raw))
	}
	if err != nil {
		return nil, err
	}
	sum, err := cloneSum(before)
	if err != nil {
		return nil, err
	}
	_, _ = sum.Write(raw) // never an error
	s := &segment{n: head.Segments + 1, size: len(raw)}
	s.meta = segmentMeta{
		Version: 1, Run: head.Run, Number: s.n, From: head.Bytes, To: head.Bytes + int64(len(raw)), Digest: hex.EncodeToString(sum.Sum(nil)),
	}
	if sign != nil {
		if s.meta.Signed, err = sign(s.meta.signedText()); err != nil {
			return nil, fmt.Errorf("sign the shared record: %w", err)
		}
	}
	first, err := json.Marshal(s.meta)
	if err != nil {
		return nil, err
	}
	s.value = append(append(first, '\n'), packed...)
	return s, nil
}

// wholeLines is the beginning of lines that fits into a size; one line at least.
func wholeLines(lines []byte, size int) []byte {
	if len(lines) <= size {
		return lines
	}
	if end := bytes.LastIndexByte(lines[:size], '\n'); end >= 0 {
		return lines[:end+1]
	}
	return lines[:bytes.IndexByte(lines, '\n')+1]
}

func zipped(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

func cloneSum(h hash.Hash) (hash.Hash, error) {
	if c, ok := h.(hash.Cloner); ok {
		return c.Clone()
	}
	return nil, errors.New("the sum cannot be copied")
}

// Segment is a part of a run's record as it was read.
type Segment struct {
	Data    []byte
	Text    []byte          // that its driver signed
	Signed  json.RawMessage // nil: not signed
	Written time.Time       // by the broker's clock
}

// Reader reads the record of a run, each segment once.
type Reader struct {
	store Store
	run   string
	n     int
	to    int64
	sum   hash.Hash
}

// NewReader begins at the beginning of a record.
func NewReader(store Store, run string) *Reader {
	return &Reader{store: store, run: run, sum: sha256.New()}
}

// Skip puts the reader behind the part of a record that was not read from the bucket, and reports whether the bucket's
// segment n has exactly this part.
func (r *Reader) Skip(n int, part []byte, digest string) bool {
	r.n, r.to, r.sum = n, int64(len(part)), sha256.New()
	_, _ = r.sum.Write(part)              // never an error
	return n == 0 || r.digest() == digest // a head has no digest before it counts a segment
}

func (r *Reader) digest() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// Bytes is the length of what was read.
func (r *Reader) Bytes() int64 { return r.to }

// ErrDamaged reports that a shared record cannot be read to its end.
var ErrDamaged = errors.New("brokers lost a part of it, or two processes wrote it")

// Next reads the next segment. ErrNoKey: there is none yet. ErrDamaged: nothing behind it can be read, either.
func (r *Reader) Next(ctx context.Context) (Segment, error) {
	n := r.n + 1
	entry, err := r.store.Get(ctx, segmentKey(r.run, n))
	if err != nil {
		return Segment{}, err
	}
	damaged := func(why string) error {
		return fmt.Errorf("the shared record of run %s: segment %d %s: %w", r.run, n, why, ErrDamaged)
	}
	first, packed, ok := bytes.Cut(entry.Value, []byte{'\n'})
	var meta segmentMeta
	if entry.Deleted || !ok || json.Unmarshal(first, &meta) != nil {
		return Segment{}, damaged("cannot be read")
	}
	if meta.Version != 1 {
		return Segment{}, fmt.Errorf("the shared record of run %s: segment %d was written by a newer fleetctl", r.run, n)
	}
	data, err := unzipped(packed)
	if err != nil {
		return Segment{}, damaged("cannot be unpacked: " + err.Error())
	}
	_, _ = r.sum.Write(data) // never an error
	if meta.Run != r.run || meta.Number != n || meta.From != r.to || meta.To != r.to+int64(len(data)) || meta.Digest != r.digest() {
		return Segment{}, damaged("does not continue the one before it")
	}
	r.n, r.to = n, meta.To
	return Segment{Data: data, Text: meta.signedText(), Signed: meta.Signed, Written: entry.Written}, nil
}

func unzipped(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, unzippedMax+1))
	if err == nil && len(data) > unzippedMax {
		err = errors.New("it is too large")
	}
	return data, err
}

// Found is a run that a bucket knows.
type Found struct {
	Head    Head
	Written time.Time     // by the broker's clock
	Age     time.Duration // since its driver renewed it
}

var errDamagedHead = errors.New("its head is damaged, or of a newer fleetctl")

// FindRun reads the head of a run. ErrNoKey where there is none.
func FindRun(ctx context.Context, store Store, run string) (Found, error) {
	status, err := store.Status(ctx)
	if err != nil {
		return Found{}, err
	}
	entry, err := store.Get(ctx, HeadKey(run))
	switch {
	case err != nil:
		return Found{}, err
	case entry.Deleted:
		return Found{}, ErrNoKey
	}
	h := decodeHead(entry.Value)
	if h.Run != run || h.Version != 1 {
		return Found{}, fmt.Errorf("the shared record of run %s cannot be read: %w", run, errDamagedHead)
	}
	return Found{Head: h, Written: entry.Written, Age: max(status.Now.Sub(entry.Written), 0)}, nil
}

// FindRuns lists the runs of a bucket, sorted by id. A head that cannot be read is left out.
func FindRuns(ctx context.Context, store Store) ([]Found, error) {
	keys, err := store.Keys(ctx, headStart)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, key := range keys {
		run, ok := strings.CutPrefix(key, headStart)
		if !ok || strings.Contains(run, ".") {
			continue
		}
		found, err := FindRun(ctx, store, run)
		if errors.Is(err, ErrNoKey) || errors.Is(err, errDamagedHead) {
			continue // deleted meanwhile, or damaged
		}
		if err != nil {
			return nil, err
		}
		out = append(out, found)
	}
	return out, nil
}

// DeleteRun deletes the shared record of a run.
func DeleteRun(ctx context.Context, store Store, run string) error {
	keys, err := store.Keys(ctx, HeadKey(run))
	if err != nil {
		return err
	}
	head := HeadKey(run)
	for i := len(keys) - 1; i >= 0; i-- { // the head sorts first, and goes last
		if keys[i] != head && !strings.HasPrefix(keys[i], head+".") {
			continue
		}
		entry, err := store.Get(ctx, keys[i])
		if errors.Is(err, ErrNoKey) || err == nil && entry.Deleted {
			continue
		}
		if err != nil {
			return err
		}
		if err := store.Delete(ctx, keys[i], entry.Revision); err != nil {
			return err
		}
	}
	return nil
}
