package proof

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/rpcclient"
)

// baseline is how a node was just before its request.
type baseline struct {
	start int64         // of its process, the node's clock, unix seconds
	clock time.Time     // the node's, when it answered
	asked time.Time     // ours, before the question left; zero in records of earlier versions
	took  time.Duration // until the answer was in
}

// text is the start in seconds; clock, asked and took in milliseconds.
func (b baseline) text() string {
	out := strconv.AppendInt(make([]byte, 0, 48), b.start, 10)
	// Rounded up: a round trip that looks shorter than it was would claim too much precision.
	for _, n := range [...]int64{b.clock.UnixMilli(), b.asked.UnixMilli(), (b.took + 2*time.Millisecond).Milliseconds()} {
		out = strconv.AppendInt(append(out, ' '), n, 10)
	}
	return string(out)
}

// parseBaseline reads what text wrote, and the bare start time that earlier versions wrote.
func parseBaseline(text string) (b baseline, ok bool) {
	var numbers [4]int64 // start, clock, asked, took
	n := 0
	for word := range strings.FieldsSeq(text) {
		number, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n == len(numbers) {
			return baseline{}, false
		}
		numbers[n] = number
		n++
	}
	b.start = numbers[0]
	switch clock, asked, took := numbers[1], numbers[2], numbers[3]; {
	case n == 4 && clock > 0 && asked > 0 && took >= 0:
		b.clock, b.asked, b.took = time.UnixMilli(clock), time.UnixMilli(asked), time.Duration(took)*time.Millisecond
	case n != 1:
		return baseline{}, false
	}
	return b, b.start > 0
}

// age is the age of the node's process by the node's clock; 0 when it is unknown, for example after that clock was set back.
func (b baseline) age() time.Duration {
	age := b.clock.Sub(time.Unix(b.start, 0))
	if age < -time.Second {
		return 0
	}
	return max(age, 1)
}

// askError reports in the operator's words that nodes could not be asked. The cause is for programs.
type askError struct {
	reason string
	err    error
}

func (e *askError) Error() string { return e.reason }
func (e *askError) Unwrap() error { return e.err }

const absentPause = 2 * time.Second

// Baseline asks every node for its start time. Silent nodes, and nodes that refuse, have no entry. A node that
// the broker does not know is absent; for 30 s after our connection was lost and is back, such nodes are asked again
// every 2 s first: servers come back to a restarted broker later than we do. On an error it returns what it learned
// before, and no node is absent that could not be asked again. For an Expression it asks only
// when Options.Tokens is set.
func (v *Verifier) Baseline(ctx context.Context, nodes []string) (map[string]batch.Baseline, error) {
	out := make(map[string]batch.Baseline, len(nodes))
	if v.o.Action == Expression && !v.o.Tokens {
		return out, nil
	}
	if v.o.Tokens {
		defer v.tokens(nodes, out)
	}
	for ask := nodes; ; {
		absent := map[string]bool{}
		err := v.survey(ctx, ask, func(r rpcclient.Reply, asked time.Time) bool {
			if r.Absent {
				absent[r.Node] = true
				return true
			}
			delete(absent, r.Node)
			if v.o.Tokens { // it answered, whatever the answer is
				out[r.Node] = batch.Baseline{}
			}
			if start, ok := startTime(r); ok && v.o.Action != Expression && !r.Time.IsZero() {
				b := baseline{start: start, clock: r.Time, asked: asked, took: r.Received.Sub(asked)}
				out[r.Node] = batch.Baseline{Text: b.text(), Age: b.age()}
			}
			return true
		})
		if err != nil {
			return out, &askError{v.unaskedReason(), err}
		}
		left := v.linkSettles()
		switch {
		case len(absent) == 0 || ctx.Err() != nil:
			return out, nil
		case left <= 0:
			for node := range absent {
				out[node] = batch.Baseline{Absent: true}
			}
			return out, nil
		}
		pause(ctx, min(left, absentPause))
		ask = slices.Sorted(maps.Keys(absent))
	}
}

// tokens fills in when the nodes' tokens end. A rejected reply counts only as a warning: the token has
// ended, which is why the node looks silent.
func (v *Verifier) tokens(nodes []string, out map[string]batch.Baseline) {
	now := time.Now()
	for _, node := range nodes {
		b, answered := out[node]
		t, seen := v.o.Client.Token(node)
		if !seen || b.Absent || !t.Believed && t.Ends.After(now) {
			continue
		}
		b.TokenEnds, b.Silent = t.Ends, !answered
		out[node] = b
	}
}

// linkSettles is how long servers may still take to come back after our connection was lost and is back.
func (v *Verifier) linkSettles() time.Duration {
	at, down := v.o.Client.Reconnected()
	switch {
	case down:
		return linkSettle
	case at.IsZero():
		return 0
	}
	return linkSettle - batch.Shortest(at, time.Now())
}

// unaskedReason reports why nodes could not be asked.
func (v *Verifier) unaskedReason() string {
	if v.linkSettles() > 0 {
		return lostReason
	}
	return unsentReason
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
