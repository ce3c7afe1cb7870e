package run

import (
	"context"
	"log/slog"

	"fleetctl/batch"
)

// log is the logger of this run; without one, records are discarded.
func (c *call) log() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// logGuard notes what a guard decided.
func (c checkpoint) logGuard(ctx context.Context, name string, err error) {
	switch log := c.log(); {
	case !log.Enabled(ctx, slog.LevelDebug):
	case err != nil:
		log.DebugContext(ctx, "guard", "guard", name, "verdict", "refused", "error", err)
	default:
		log.DebugContext(ctx, "guard", "guard", name, "verdict", "passed")
	}
}

// stateLog logs every record of the engine, and the states of its nodes. nil logs nothing.
type stateLog struct {
	log      *slog.Logger
	progress batch.Progress
}

// stateLog is nil where nothing is logged.
func (c job) stateLog(ctx context.Context, from batch.Progress) *stateLog {
	log := c.log()
	if !log.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	return &stateLog{log.With("run", from.Header().Run), from}
}

func (l *stateLog) record(r batch.Record) {
	if l == nil {
		return
	}
	args := []any{"kind", string(r.Kind)}
	for _, a := range []struct {
		key, value string
	}{{"request", r.Request}, {"reason", r.Reason}, {"by", r.By}} {
		if a.value != "" {
			args = append(args, a.key, a.value)
		}
	}
	if r.Batch > 0 {
		args = append(args, "batch", r.Batch)
	}
	for _, s := range batch.States() {
		if n := l.progress.Counts().Of(s); n > 0 {
			args = append(args, s.String(), n)
		}
	}
	l.log.Debug("record", args...)
	l.nodes(r)
}

// nodes logs the nodes whose state a record changes.
func (l *stateLog) nodes(r batch.Record) {
	for _, o := range r.Outcomes {
		l.node(o.Node, o.Batch, l.progress.State(o.Node))
	}
	for _, p := range r.Proofs {
		l.node(p.Node, r.Batch, l.progress.State(p.Node))
	}
	changed := batch.State(0) // of all nodes of the batch that are in it now
	switch r.Kind {
	case batch.KindIntent:
		changed = batch.Sending
	case batch.KindReplies:
		changed = batch.NoReply
	case batch.KindRunEnd, batch.KindResumed:
		for n := range l.progress.Results() {
			if n.State != batch.Verified && n.State != batch.Refused {
				l.node(n.Identity, n.Batch, n.State)
			}
		}
		return
	default:
		for _, name := range r.Nodes {
			l.node(name, r.Batch, l.progress.State(name))
		}
		return
	}
	for name, state := range l.progress.InBatch(r.Batch) {
		if state == changed {
			l.node(name, r.Batch, state)
		}
	}
}

func (l *stateLog) node(name string, number int, state batch.State) {
	l.log.Debug("state", "node", name, "batch", number, "state", state.String())
}
