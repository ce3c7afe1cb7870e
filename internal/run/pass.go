package run

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"fleetctl/internal/fleet"
)

// pass runs every guard that applies. Nothing is sent before it succeeds. A refusal is a *GuardError that names its
// guard.
func (c checkpoint) pass(ctx context.Context, p guardInput) error {
	for _, g := range guards() {
		if err := c.judge(ctx, g, p); err != nil {
			return err
		}
	}
	c.passed = p
	if c.Ready != nil {
		return c.Ready()
	}
	return nil
}

// judge asks one guard.
func (c checkpoint) judge(ctx context.Context, g guard, p guardInput) error {
	if g.check == nil || !g.applies(c) {
		return nil
	}
	err := named(g.name, g.check(ctx, c, p))
	c.logGuard(ctx, g.name, err)
	return err
}

// named gives a refusal the name of its guard. Other errors are what the guard met on its way.
func named(guard string, err error) error {
	if e, ok := errors.AsType[*GuardError](err); ok {
		e.Guard = guard
		return e
	}
	if _, ok := errors.AsType[*fleet.FilterRequiredError](err); ok {
		return &GuardError{Guard: guard, Err: err}
	}
	return err
}

// rehearse reports the plan of a dry run, and every guard that would hold it back; consent is not asked for. The error is a
// *GuardError that names them all.
func (c job) rehearse(ctx context.Context, p guardInput) error {
	proposal := c.checkpoint().proposal(p.plan)
	var refused []*GuardError
	var met error // an error inside a guard: it made no decision
	for _, g := range guards() {
		if g.consent {
			continue
		}
		err := c.checkpoint().judge(ctx, g, p)
		if e, ok := errors.AsType[*GuardError](err); ok {
			refused = append(refused, e)
			proposal.Refusals = append(proposal.Refusals, Refusal{e.Guard, e.Error()})
		} else if err != nil && met == nil {
			met = err
		}
	}
	if err := c.Reporter.Report(Planned{proposal}); err != nil {
		return err
	}
	if len(refused) == 0 {
		return met
	}
	texts := make([]string, len(refused))
	for i, e := range refused {
		texts[i] = fmt.Sprintf("guard %s would refuse: %s", e.Guard, e.Error())
	}
	return &GuardError{Guard: refused[0].Guard, Err: errors.New(strings.Join(texts, "; ")), Hint: refused[0].Hint}
}
