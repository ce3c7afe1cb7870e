package rpcclient

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/choria"
)

// Each copy of a direct request has a NATS reply subject of its own, below the session's prefix:
// <request id>-<index>-<random>. Only the broker's notice that the copy had no subscriber counts there (docs/protocol.md,
// subjects). The random part is 64 fresh bits for each node: every node of a batch knows the request id, and none can
// forge the notice of another.

// absenceGrace is how long a notice may come after the broker has taken the request. It sends the notice before it
// confirms the flush: only our own reading of it can take time.
const absenceGrace = 250 * time.Millisecond

// newTokens makes the random parts of n reply subjects.
func newTokens(n int) []uint64 {
	raw := make([]byte, 8*n)
	rand.Read(raw) // never returns an error
	tokens := make([]uint64, n)
	for i := range tokens {
		tokens[i] = binary.BigEndian.Uint64(raw[8*i:])
	}
	return tokens
}

// absentSubjects are where the broker reports that the copy for a node had no subscriber, in the order of the nodes.
func (p *pending) absentSubjects(prefix, id string) *texts {
	prefix += id + "-"
	return &texts{n: len(p.tokens), append: func(text []byte, i int) []byte {
		var token [8]byte
		binary.BigEndian.PutUint64(token[:], p.tokens[i])
		text = append(strconv.AppendInt(append(text, prefix...), int64(i), 10), '-')
		return hex.AppendEncode(text, token[:])
	}}
}

// address splits the last token of a subject: into the request and, for a notice of absence, the rest, else "".
func (s *Session) address(subject string) (id, notice string) {
	last, ok := strings.CutPrefix(subject, s.prefix)
	if !ok {
		return "", ""
	}
	id, notice, _ = strings.Cut(last, "-")
	return id, notice
}

// absentNode is the node that a notice is about; false when the notice is forged. The caller holds the session's lock.
func (p *pending) absentNode(notice string) (string, bool) {
	index, token, _ := strings.Cut(notice, "-")
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(p.tokens) {
		return "", false
	}
	if token != fmt.Sprintf("%016x", p.tokens[i]) {
		return "", false
	}
	return p.nodes[i], true
}

// ReportsAbsence reports whether the broker reports a request to a node that is not connected. It publishes an empty message
// to one random node name, once a client and collective. False means that only a timeout shows absence: in federations, for
// brokers without headers, and where a stream or a wiretap listens to the nodes' subjects. An error is the connection's,
// and leaves the question open.
func (c *Client) ReportsAbsence(ctx context.Context, collective string) (bool, error) {
	if len(c.federations) > 0 {
		return false, nil
	}
	c.mu.Lock()
	reports, known := c.reports[collective]
	c.mu.Unlock()
	if known {
		return reports, nil
	}
	reports, err := c.probeAbsence(ctx, collective)
	if err != nil {
		return false, fmt.Errorf("ask the broker whether it reports absent nodes: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports[collective] = reports
	return reports, nil
}

func (c *Client) probeAbsence(ctx context.Context, collective string) (bool, error) {
	s, err := c.Open(ctx, collective)
	if err != nil {
		return false, err
	}
	defer s.Close()
	before := c.link()
	node := "absent-" + strings.ToLower(rand.Text())
	id := c.NewID()
	p := newPending("", []string{node}, true)
	s.register(id, p)
	if err := c.conn.Publish(choria.NodeSubject(collective, node), p.absentSubjects(s.prefix, id).get(0), nil); err != nil {
		return false, err
	}
	if err := c.conn.Flush(ctx); err != nil {
		return false, err
	}
	over := time.NewTimer(absenceGrace)
	defer over.Stop()
	select {
	case r := <-s.out:
		return r.Absent, nil
	case <-over.C:
		return false, c.intact(before)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
