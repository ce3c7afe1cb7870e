package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/rpcclient"
)

// validateReplyTo refuses options that need replies, when the replies go to another subject.
func (r Request) validateReplyTo() error {
	if r.ReplyTo == "" {
		return nil
	}
	if err := choria.CheckIdentity(r.ReplyTo); err != nil {
		return usage(fmt.Errorf("--reply-to %q is not a subject: %w", r.ReplyTo, err), "it is like mcollective.reply.collector: words and dots, no wildcards")
	}
	switch {
	case r.pacesOrStops():
		return usage(errors.New("--reply-to excludes batches and stop rules: without replies there is nothing to pace by"), "it sends one request to all nodes")
	case r.Record.On || r.Record.Resume:
		return usage(errors.New("--reply-to excludes --journal and --resume: without replies there is nothing to record"), "")
	}
	return nil
}

// forwardable refuses --reply-to for an action that changes something, unless --no-journal is given.
func forwardable(c *call) error {
	if c.req.ReplyTo == "" || !c.changes() || c.req.Record.Off {
		return nil
	}
	return refuse("confirm with --no-journal: nothing is proved, recorded or counted",
		"cannot call %s#%s with --reply-to: what it does to the nodes would not be recorded", c.req.Agent, c.req.Action)
}

// forward sends the request; the replies go to whatever listens on the subject.
func (c job) forward(ctx context.Context, nodes []string) error {
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return err
	}
	sent, err := client.Forward(ctx, c.message(), nodes, c.req.ReplyTo)
	if err != nil {
		return err
	}
	return c.Reporter.Report(Forwarded{Request: sent.ID})
}

// askService asks a service agent: no node is discovered, the first reply ends it.
func (c job) askService(ctx context.Context, parsed filter.Filter) (Result, error) {
	if t := c.req.Targets; !parsed.Empty() || t.NodesFile != "" || t.Limit != "" {
		return Result{}, usage(fmt.Errorf("%s is a service: one of its servers answers, whichever", c.req.Agent), "drop the filter")
	}
	one := guardInput{plan: batch.Plan{Batches: []batch.Batch{}, Notes: []string{"one server of the service " + c.req.Agent + " is asked, whichever"}}, nodes: 1}
	if c.req.DryRun {
		return Result{}, c.rehearse(ctx, one)
	}
	if err := c.checkpoint().pass(ctx, one); err != nil {
		return Result{}, err
	}
	if c.req.ReplyTo != "" {
		return Result{}, c.forward(ctx, nil)
	}
	client, err := c.fleet.Dial(ctx)
	if err != nil {
		return Result{}, err
	}
	wait, cancel := context.WithTimeout(ctx, c.pace().ReplyTimeout)
	defer cancel()
	start := time.Now()
	reply, err := client.Service(wait, c.message())
	if errors.Is(err, rpcclient.ErrNoReply) {
		if cause := context.Cause(ctx); cause != nil {
			return Result{}, cause
		}
		return Result{}, &NoServiceError{Err: err, Hint: "does a server on this network offer the service?"}
	}
	if err != nil {
		return Result{}, err
	}
	answered := Answered{Reply: reply, Start: start}
	return answered.Result(), c.Reporter.Report(answered)
}
