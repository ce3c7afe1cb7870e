package cmd

import (
	"context"
	"errors"
	"fmt"

	"fleetctl/internal/choria"
)

// validateReplyTo refuses what makes no sense when nobody here hears the replies.
func (o *reqOptions) validateReplyTo() error {
	if o.replyTo == "" {
		return nil
	}
	if err := choria.CheckIdentity(o.replyTo); err != nil {
		return usage(fmt.Errorf("--reply-to %q is not a subject: %w", o.replyTo, err), "it is like mcollective.reply.collector: words and dots, no wildcards")
	}
	paced := o.batch != "" || o.canary.n > 0 || o.spreadBy != "" || len(o.maxPer) > 0 || o.confirmEach
	stopped := o.failFast || !o.maxFailed.IsZero() || !o.maxNoReply.IsZero() || !o.maxFailedBatch.IsZero() || !o.maxNoReplyBatch.IsZero()
	switch {
	case paced || stopped:
		return usage(errors.New("--reply-to excludes batches and stop rules: without replies there is nothing to pace by"), "it sends one request to all nodes")
	case o.output.filter != "":
		return usage(errors.New("--reply-to excludes --filter-replies: no reply comes here"), "")
	case o.record.on || o.record.resume:
		return usage(errors.New("--reply-to excludes --journal and --resume: without replies there is nothing to record"), "")
	}
	return nil
}

// forwardable refuses to lose track of an action that changes something, unless the operator says so.
func (j *job) forwardable() error {
	if j.o.replyTo == "" || !j.changes() || j.o.record.off {
		return nil
	}
	return refuse("--no-journal says that you know: nothing is proved, recorded or counted",
		"cannot call %s#%s with --reply-to: what it does to the nodes would not be recorded", j.o.agent, j.o.action)
}

// forward sends the request and leaves the replies to whoever listens on the subject.
func (j *job) forward(ctx context.Context, nodes []string) error {
	client, err := j.network.dial(ctx)
	if err != nil {
		return err
	}
	sent, err := client.Forward(ctx, j.request(), nodes, j.o.replyTo)
	if err != nil {
		return err
	}
	j.writer.complete = true
	_, err = fmt.Fprintln(j.writer.out, sent.ID)
	return err
}
