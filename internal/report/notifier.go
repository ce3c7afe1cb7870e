package report

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/hook"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// NotifierOptions define the command that gets the events of a run, and which events.
type NotifierOptions struct {
	Command string // for the shell; "" is none
	// Changing leaves out runs of actions that change nothing.
	Changing bool
	// Env is the command's environment, without variables that are secret by their names.
	Env []string
	// Scrub takes secrets out of a text.
	Scrub func(string) string
	// Code is the exit code that a result comes to.
	Code func(run.Result) int
}

const (
	notifyTimeout = 30 * time.Second // for one command; then it is killed
	lastTimeout   = 5 * time.Second  // for what is left when the run has ended; the second half is for the end alone
	maxNotices    = 100              // that wait for a slow command; later ones are dropped
	maxText       = 900              // characters of a notice's text: a line of a mail has 998 bytes, an alert 1024 characters
)

// Notice is the document that the command reads (docs/schemas/event.schema.json).
type Notice struct {
	SchemaVersion int          `json:"schema_version"`
	Event         string       `json:"event"` // NoticeBegin and so on
	Time          time.Time    `json:"time"`
	Run           string       `json:"run"`
	Agent         string       `json:"agent"`
	Action        string       `json:"action"`
	Collective    string       `json:"collective"`
	Caller        string       `json:"caller"`
	Nodes         int          `json:"nodes"`
	States        batch.Counts `json:"states"`
	Reason        string       `json:"reason,omitempty"`
	Stop          *batch.Stop  `json:"stop,omitempty"`
	Verdict       string       `json:"verdict,omitempty"`   // of end
	ExitCode      *int         `json:"exit_code,omitempty"` // of end
	Text          string       `json:"text"`                // all of it in one line, for people
}

// The events of a Notice.
const (
	noticeBegin    = "begin"
	noticePause    = "pause"
	noticeContinue = "continue"
	noticeStop     = "stop"
	noticeEnd      = "end"
)

// Notifier is a Reporter that passes every event on to another Reporter, and runs a command of the operator for the
// important ones. The command never delays the run: it runs in its own goroutine, one event after another. A failure of the
// command becomes a warning of the other Reporter, at the next event or at the end.
type Notifier struct {
	o           NotifierOptions
	next        run.Reporter
	off         bool   // the command gets no events of this run
	notice      Notice // fields that all events of the run share; Run is "" until the run begins
	held        hold   // why the run is paused now
	gate        string // what the gates said last, where they did not pass
	dropped     int    // events that did not fit into the queue
	queue       chan Notice
	done        chan struct{}           // closed when the queue is done with
	last        time.Duration           // lastTimeout, except in tests
	missed      int                     // events for which the command was not run; read when done is closed
	cancelEarly context.CancelCauseFunc // ends the command for every event except end
	kill        context.CancelCauseFunc
	links       time.Time    // since when losses of the connection are of this run
	lost        batch.Record // of a loss from before, whose end was not reported; its Kind is "" when there is none

	busy sync.Mutex // held while the command runs

	mu       sync.Mutex // guards warnings
	warnings []string
}

// NewNotifier returns a notifier. The caller must call Close. The end of ctx does not end the command.
func NewNotifier(ctx context.Context, next run.Reporter, o NotifierOptions) *Notifier {
	n := &Notifier{o: o, next: next, off: o.Command == "", queue: make(chan Notice, maxNotices), done: make(chan struct{}), last: lastTimeout}
	ctx, n.kill = context.WithCancelCause(context.WithoutCancel(ctx))
	early, cancel := context.WithCancelCause(ctx)
	n.cancelEarly = cancel
	go func() {
		defer close(n.done)
		for notice := range n.queue {
			if notice.Event == noticeEnd {
				n.tell(ctx, notice)
			} else {
				n.tell(early, notice)
			}
		}
	}()
	return n
}

// errTooLate ends a command that the end of the run does not wait for.
var errTooLate = errors.New("the run has ended, and it has not")

// Close waits until the command has handled the remaining events, 5 s at most, and reports its failures.
func (n *Notifier) Close() error {
	close(n.queue)
	defer time.AfterFunc(n.last/2, func() { n.cancelEarly(errTooLate) }).Stop()
	defer time.AfterFunc(n.last, func() { n.kill(errTooLate) }).Stop()
	<-n.done
	n.kill(nil)
	if left := n.dropped + n.missed; left > 0 {
		n.warn(fmt.Sprintf("the command of --on-event is too slow: it missed %d of this run's events", left))
	}
	return n.reportWarnings()
}

// errKilled ends a command whose run is killed.
var errKilled = errors.New("fleetctl was killed")

// Kill ends the command at once, with its children, and starts no other. It is for a process that is about to die.
func (n *Notifier) Kill() {
	n.kill(errKilled)
	n.busy.Lock()
	defer n.busy.Unlock()
}

// Report implements run.Reporter.
func (n *Notifier) Report(e run.Event) error {
	err := n.next.Report(e)
	n.observe(e)
	return cmp.Or(err, n.reportWarnings())
}

func (n *Notifier) observe(e run.Event) {
	switch e := e.(type) {
	case run.Prepared:
		n.off = n.off || n.o.Changing && !e.Changes
	case run.Began:
		n.begin(e)
	case run.Recorded:
		n.notice.States = e.Progress.Counts()
		n.recorded(e.Record)
	case run.Asking:
		if !e.Details && n.held&holdQuestion == 0 {
			n.notice.States = e.Step.Counts
			n.hold(holdQuestion, time.Now(), fmt.Sprintf("asks the operator whether to send batch %d", e.Step.Next))
		}
	case run.Forwarded, run.Answered:
		if !n.off && !n.o.Changing {
			n.warn("the command of --on-event does not run: it is for runs, and a request to a service or with --reply-to is none")
		}
	case run.Finished:
		n.finished(e.Result)
	}
}

// begin notes which run this is.
func (n *Notifier) begin(e run.Began) {
	n.links = e.Links
	header := e.Progress.Header()
	var meta run.Meta
	if err := json.Unmarshal(header.Meta, &meta); err != nil && !n.off {
		n.warn(fmt.Sprintf("the command of --on-event gets no action and no caller: %v", err))
	}
	n.notice = Notice{
		SchemaVersion: render.SchemaVersion, Run: header.Run, Agent: meta.Agent, Action: meta.Action, Collective: meta.Collective, Caller: meta.Caller,
		Nodes: e.Progress.Counts().Total(),
	}
}

// hold is a set of what keeps a run from sending anything new for now.
type hold uint8

const (
	holdOperator hold = 1 << iota // an operator paused it
	holdGate                      // a gate is inconclusive
	holdShared                    // it waits for what operators share
	holdLink                      // there is no connection
	holdQuestion                  // the operator is asked between batches
	holdHours                     // it is outside of the hours in which batches begin
)

// hold sends the event that the run pauses. A run that has met a stop rule sends nothing new in any case: then there is nothing to
// report, and no continuation later.
func (n *Notifier) hold(why hold, at time.Time, reason string) {
	if n.notice.Stop == nil {
		n.held |= why
		n.send(noticePause, at, reason)
	}
}

// release sends the event that the run continues, once nothing holds it any more.
func (n *Notifier) release(why hold, at time.Time, reason string) {
	before := n.held
	if n.held &^= why; before != 0 && n.held == 0 {
		n.send(noticeContinue, at, reason)
	}
}

// recorded reports the records that matter.
func (n *Notifier) recorded(r batch.Record) {
	if r.Kind == batch.KindLink && r.Time.Before(n.links) { // from before the run began: it counts only while it lasts
		if n.lost = r; r.Up {
			n.lost = batch.Record{}
		}
		return
	}
	if begins := r.Kind == batch.KindPlan || r.Kind == batch.KindResumed; n.lost.Kind != "" && !begins {
		if r.Kind != batch.KindLink {
			n.hold(holdLink, n.lost.Time, n.lost.Reason)
		}
		n.lost = batch.Record{}
	}
	switch r.Kind {
	case batch.KindGate:
		n.gate = r.Gate.Reason
	case batch.KindPlan:
		n.send(noticeBegin, r.Time, "")
	case batch.KindResumed:
		n.send(noticeBegin, r.Time, "resumed")
	case batch.KindPaused:
		why := holdOf(r)
		if why == holdOperator { // in the place of the run's own waits
			n.held &^= holdGate | holdShared
		}
		n.hold(why, r.Time, n.why(r))
	case batch.KindContinued:
		n.release(holdOf(r), r.Time, pausedBy(r))
	case batch.KindLink:
		if r.Up {
			n.release(holdLink, r.Time, r.Reason)
		} else {
			n.hold(holdLink, r.Time, r.Reason)
		}
	case batch.KindHours:
		if r.Until.IsZero() {
			n.release(holdHours, r.Time, r.Reason)
		} else {
			n.hold(holdHours, r.Time, r.Reason)
		}
	case batch.KindIntent:
		n.release(holdQuestion, r.Time, fmt.Sprintf("batch %d was confirmed", r.Batch))
	case batch.KindStopped:
		stop := *r.Stop
		stop.Reason = plain.Line(n.o.Scrub(stop.Reason))
		n.notice.Stop, n.held = &stop, 0
		n.send(noticeStop, r.Time, stop.Reason)
	}
}

// holdOf is what a record of a pause, or of its end, is about.
func holdOf(r batch.Record) hold {
	switch r.Pauser() {
	case batch.ByGate:
		return holdGate
	case batch.ByShared:
		return holdShared
	}
	return holdOperator
}

// why is the reason of a pause: of one by a gate, what that said.
func (n *Notifier) why(r batch.Record) string {
	if r.Pauser() == batch.ByGate && n.gate != "" {
		return n.gate
	}
	return pausedBy(r)
}

func (n *Notifier) finished(r run.Result) {
	n.notice.Verdict, n.notice.ExitCode = r.Summary.Verdict.String(), new(n.o.Code(r))
	n.notice.States, n.notice.Text = r.Summary.States, render.Verdict(r.Summary)
	n.send(noticeEnd, cmp.Or(r.Summary.Ended, time.Now()), cmp.Or(r.Summary.Reason, r.Summary.Stop.Reason))
}

// send queues an event of the run that has begun. It never waits.
func (n *Notifier) send(event string, at time.Time, reason string) {
	if n.off || n.notice.Run == "" {
		return
	}
	out := n.notice
	out.Event, out.Time, out.Reason = event, at.UTC(), plain.Line(n.o.Scrub(reason))
	out.Text = cut(plain.Line(n.o.Scrub(out.line())), maxText)
	for {
		select {
		case n.queue <- out:
			return
		default:
		}
		if event != noticeEnd { // which takes the place of another
			n.dropped++
			return
		}
		select {
		case <-n.queue:
			n.dropped++
		default:
		}
	}
}

// noticeWords are the texts of the events.
var noticeWords = map[string]string{
	noticeBegin: "begins", noticePause: "pauses", noticeContinue: "continues", noticeStop: "stops", noticeEnd: "has ended",
}

// line is the whole notice in one line.
func (n Notice) line() string {
	nodes := "nodes"
	if n.Nodes == 1 {
		nodes = "node"
	}
	text := fmt.Sprintf("%s#%s of %d %s %s", n.Agent, n.Action, n.Nodes, nodes, noticeWords[n.Event])
	if detail := cmp.Or(n.Text, n.Reason); detail != "" {
		text += ": " + detail
	}
	return text + " (run " + n.Run + ")"
}

// cut shortens a text to a number of characters.
func cut(text string, characters int) string {
	at := 0
	for i := range text {
		if at++; at > characters {
			return text[:i] + "..."
		}
	}
	return text
}

// noticeVariables are set for the command, and never inherited.
var noticeVariables = []string{"FLEETCTL_EVENT", "FLEETCTL_RUN", "FLEETCTL_TEXT", "FLEETCTL_EXIT_CODE"}

// tell runs the command for one event.
func (n *Notifier) tell(ctx context.Context, notice Notice) {
	n.busy.Lock()
	defer n.busy.Unlock()
	if ctx.Err() != nil {
		n.missed++
		return
	}
	document, err := json.Marshal(notice)
	if err != nil {
		n.warn(fmt.Sprintf("the command of --on-event did not get the event %s: %v", notice.Event, err))
		return
	}
	// A secret may be in a variable of any name: token=env:NAME. A command of another run may have started this one.
	env := slices.DeleteFunc(slices.Clone(n.o.Env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(noticeVariables, name) || n.o.Scrub(entry) != entry
	})
	env = append(env, "FLEETCTL_EVENT="+notice.Event, "FLEETCTL_RUN="+notice.Run, "FLEETCTL_TEXT="+notice.Text)
	if notice.ExitCode != nil {
		env = append(env, "FLEETCTL_EXIT_CODE="+strconv.Itoa(*notice.ExitCode))
	}
	said, err := hook.Command{Text: n.o.Command, Env: env, Scrub: n.o.Scrub, Timeout: notifyTimeout}.Run(ctx, append(document, '\n'))
	if err == nil {
		return
	}
	text := fmt.Sprintf("the command of --on-event failed at the event %s: %v", notice.Event, err)
	if said != "" {
		text += ": " + said
	}
	n.warn(plain.Line(n.o.Scrub(strings.ToValidUTF8(text, "\uFFFD"))))
}

func (n *Notifier) warn(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.warnings = append(n.warnings, text)
}

// reportWarnings hands over what went wrong, in the goroutine of the run.
func (n *Notifier) reportWarnings() error {
	n.mu.Lock()
	list := n.warnings
	n.warnings = nil
	n.mu.Unlock()
	for _, text := range list {
		if err := n.next.Report(run.Noted{Level: run.Warning, Text: text}); err != nil {
			return err
		}
	}
	return nil
}
