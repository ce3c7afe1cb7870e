package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

// Admit implements batch.Admitter: nodes are down from before their intent on, and the locks are asked last.
func (b *budget) Admit(ctx context.Context, nodes []string, waiting func(string)) error {
	began, pause, said := time.Now(), budgetLook, false
	for {
		err := b.account.Admit(ctx, nodes)
		if err == nil {
			break
		}
		if !lease.Passes(err) {
			return fmt.Errorf("budget: %w", err)
		}
		waited := time.Since(began)
		if waited >= b.wait {
			return fmt.Errorf("budget: no room for %s within %s: %w", plain.Count(len(nodes), "node"), b.wait, err)
		}
		if waited >= budgetSay && !said {
			said = true
			waiting(plain.Line(fmt.Sprintf("budget: no room for %s: %v", plain.Count(len(nodes), "node"), err)))
		}
		select {
		case <-time.After(min(pause, b.wait-waited)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause = min(2*pause, budgetPace)
	}
	if b.locks == nil {
		return nil
	}
	return b.locks.Admit(ctx, nodes, waiting)
}

// Dismiss implements batch.Admitter.
func (b *budget) Dismiss(nodes []string) { b.account.Leave(nodes...) }

// begin writes the ledger from the first record on: an operator who settles this run finds its nodes there.
func (b *budget) begin(ctx context.Context) {
	if b == nil {
		return
	}
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.begun = make(chan struct{})
	b.keep.Go(func() {
		select {
		case <-b.begun:
			b.account.Keep(ctx)
		case <-ctx.Done():
		}
	})
}

// observe takes off the ledger what a record shows to be up, or not sent to.
func (b *budget) observe(r batch.Record, p batch.Progress) {
	if b == nil {
		return
	}
	b.once.Do(func() { close(b.begun) })
	var nodes []string
	switch r.Kind {
	case batch.KindOutcomes:
		for _, o := range r.Outcomes {
			nodes = append(nodes, o.Node)
		}
	case batch.KindProofs, batch.KindProbed:
		for _, proof := range r.Proofs {
			nodes = append(nodes, proof.Node)
		}
	case batch.KindAbsent, batch.KindRestarted, batch.KindLeftOut, batch.KindSkipped, batch.KindWithdrawn:
		nodes = r.Nodes
	}
	if nodes = slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return b.rule.down(p, n) }); len(nodes) > 0 {
		b.account.Leave(nodes...)
	}
}

// leave writes what the run has down at its end. After a fault the record does not show all: then the ledger stays as it is.
func (c budgeting) leave(ctx context.Context, p batch.Progress, fault error) error {
	b := c.budget
	if b == nil {
		return nil
	}
	b.stop()
	b.keep.Wait()
	if fault != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), budgetTime)
	defer cancel()
	err := b.account.Close(ctx, b.rule.all(p))
	down, settle := b.account.Down(), job(c).next(c.runID()).Command("settle")
	switch {
	case err != nil:
		return c.Reporter.Report(Noted{Warning, fmt.Sprintf("the budget still counts nodes of this run, because it could not be written: %v; `%s` writes it", err, settle)})
	case len(down) > 0:
		text := "%s of this run still count as down; when they are up again: %s"
		if len(down) == 1 {
			text = "%s of this run still counts as down; when it is up again: %s"
		}
		return c.Reporter.Report(Noted{Hint, fmt.Sprintf(text, plain.Count(len(down), "node"), settle)})
	}
	return nil
}

func counts(n int) string {
	if n == 1 {
		return "counts"
	}
	return "count"
}

// admitter is what the engine asks before each batch; nil for nothing.
func (c sharing) admitter() batch.Admitter {
	switch {
	case c.budget != nil:
		return c.budget
	case c.locks != nil:
		return c.locks
	}
	return nil
}
