package run

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/saved"
	"fleetctl/internal/secret"
)

// Handover is a run that has passed its guards and its questions in one process, for another process to drive: exactly
// these nodes, in these batches, with these inputs. It survives JSON. It holds the secrets of the run: it may only go
// through memory and pipes.
type Handover struct {
	ID      string // of the run
	Request Request
	Timeout Wait // of the proof, as Settle: a Proof keeps them out of JSON
	Settle  Wait

	Stored   bool              // the request is about a recorded run: a resume, or a retry
	Plain    map[string]string // the inputs
	Secret   map[string]string // the secret inputs, as they are
	Data     json.RawMessage   // all of them, as the request has them
	Command  []string          // what was typed, without secrets
	Began    time.Time         // when the command began
	Resume   bool              // the run of ID is resumed; what follows is of a new run
	Adopt    bool              // with Resume: it is adopted
	Plan     batch.Plan
	Found    []string // the nodes of the discovery
	Excluded []discovery.Exclusion
	// Parent is the run that a retry repeats, and ParentSize the length of its record: it must not have grown.
	Parent     string
	ParentSize int64
	// Known are the facts that the plan asked the nodes for, by node, for the record.
	Known map[string]map[string]string
	// Saved is the plan that is applied, with the number of its approvals that counted; nil for none.
	Saved    *saved.File
	Approved int
}

// handing is a call on its way to another process.
type handing struct{ *call }

// over hands a run to another process, after its guards have passed here. resume is the id of a run that is resumed; ""
// for a new run.
func (c handing) over(ctx context.Context, resume string, plan batch.Plan, parent string) error {
	h := Handover{
		ID: resume, Request: c.req, Timeout: c.req.Proof.Timeout, Settle: c.req.Proof.Settle, Stored: c.req.stored, Plain: c.inputs.plain, Secret: map[string]string{},
		Data: c.data, Command: c.command, Began: c.start, Resume: resume != "", Adopt: c.adopting != nil, Plan: plan, Found: c.passed.found, Excluded: c.passed.excluded, Parent: parent,
		ParentSize: c.parentSize, Known: c.known, Saved: c.req.plan, Approved: c.req.approved,
	}
	switch {
	case h.Resume:
	case h.Saved != nil:
		h.ID = h.Saved.Plan.ID
	default:
		h.ID = c.runID()
	}
	for name, value := range c.inputs.secret {
		h.Secret[name] = value.Reveal()
	}
	h.Request.Detach, h.Request.Record.Resume, h.Request.Record.On = false, false, true
	if h.Request.Guards.ExpectFile == secret.Stdin { // it was read and judged here
		h.Request.Guards.ExpectFile = ""
	}
	if c.locks != nil { // the process that drives it takes them anew: a lock has one holder
		if err := sharing(c).giveBack(ctx); err != nil {
			return err
		}
	}
	return c.Detach(ctx, h)
}

// Drive runs what another process handed over. It passes the same guards again, as they are now; only the questions are not
// asked again. c.Ready is called when nothing but the record is missing.
func Drive(ctx context.Context, c Context, h Handover) (Result, error) {
	r := h.Request
	r.Proof.Timeout, r.Proof.Settle, r.Guards.Yes = h.Timeout, h.Settle, true
	r.stored, r.handed, r.plan, r.approved = h.Stored, &h, h.Saved, h.Approved
	checked, err := prepare(ctx, c, r)
	if err != nil {
		return Result{}, err
	}
	j := job{checked}
	defer sharing(j).unlock(ctx)
	j.start = h.Began
	if err := errors.Join(j.announce(), j.canSend()); err != nil {
		return Result{}, err
	}
	if _, err := c.Fleet.Dial(ctx); err != nil {
		return Result{}, err
	}
	if h.Adopt {
		return adoption(j).handed(ctx, h.ID)
	}
	if h.Resume {
		return j.resume(ctx, h.ID)
	}
	j.known = h.Known
	whole := guardInput{plan: h.Plan, nodes: h.Plan.Nodes(), found: h.Found, excluded: h.Excluded}
	if h.Parent != "" {
		parent, err := c.Store.Read(h.Parent)
		if err != nil {
			return Result{}, err
		}
		whole.stored, whole.retry, j.parent = &parent, true, parent.ID
	}
	if err := sharing(j).clear(ctx, whole); err != nil {
		return Result{}, err
	}
	if h.Parent != "" {
		unlock, err := j.checkpoint().lockLinks(ctx, whole)
		if err != nil {
			return Result{}, err
		}
		defer unlock.Close()
		j.planned = unlock
		if err := handing(j).unchanged(h.Parent, h.ParentSize); err != nil {
			return Result{}, err
		}
	}
	return j.begin(ctx, h.Plan, h.Parent)
}

// unchanged refuses a retry of a run that another process has resumed since its record was read. It takes over the record's
// clock.
func (c handing) unchanged(parent string, size int64) error {
	now, err := c.Store.Read(parent)
	if err != nil {
		return err
	}
	if now.Live || now.size != size {
		return resumedMeanwhile("retry", now.Next())
	}
	if c.req.handed != nil {
		c.clocks = append(c.clocks, now.clock)
	}
	return nil
}

// inputs are those that the other process checked.
func (h *Handover) inputs(scrub *secret.Scrubber) inputs {
	in := inputs{plain: maps.Clone(h.Plain), secret: map[string]secret.Value{}}
	for name, text := range h.Secret {
		in.secret[name] = secret.New(text)
		scrub.Add(in.secret[name])
	}
	return in
}

// validateDetach refuses what a process without a terminal cannot do, or what could not be found again.
func (r Request) validateDetach() error {
	switch {
	case !r.Detach:
	case r.Record.Off:
		return usage(errors.New("--detach excludes --no-journal: a background run is watched, paused and stopped through its record"), "")
	case r.ReplyTo != "":
		return usage(errors.New("--detach excludes --reply-to: such a request waits for nothing"), "")
	case r.Pace.ConfirmEach.On && !r.Guards.Yes:
		return usage(errors.New("--detach excludes --confirm-each: a background run has no terminal to ask at"), "use stop rules, such as --max-failed 1")
	}
	return nil
}
