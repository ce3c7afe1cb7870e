package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/hook"
	"fleetctl/internal/secret"
)

// DefaultTimeout is how long a look at one gate may take.
const DefaultTimeout = 30 * time.Second

// Command is a gate that runs a command line of the operator's by the shell.
type Command struct {
	Text string
	// Env is its environment, of the form NAME=VALUE, as Environment makes it. Those of the moment are added.
	Env     []string
	Timeout time.Duration // of one look; must be positive
	Scrub   Scrub
	// Pinned are the scripts that it must still name, with their content. nil: they are not looked at.
	Pinned *Pins
}

// Environment is environ, of the form NAME=VALUE, as a command may have it: without variables that are secret by their
// names or hold what scrub takes out, and with the run's configuration.
func Environment(environ []string, config string, scrub Scrub) []string {
	var kept []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !secret.Name(name) && (scrub == nil || scrub(value) == value) {
			kept = append(kept, entry)
		}
	}
	return append(kept, "FLEETCTL_CONFIG="+config)
}

const (
	keptOutput = 64 << 10    // bytes of what a command writes: more than the longest line that is shown
	pipeWait   = time.Second // for a child that was left behind and keeps a stream open
)

// Name is the command line, as it may be shown.
func (c Command) Name() string { return c.Scrub.words(c.Text) }

// Look runs the command once, with the moment on its stdin, which it need not read, and waits for its end. The error is
// the context's cause: the command was killed, and there is no verdict.
func (c Command) Look(ctx context.Context, m Moment) (Look, error) {
	look := Look{Gate: c.Name(), Verdict: Inconclusive}
	if why := c.Pinned.changed(c.Text); why != "" {
		look.Verdict, look.Reason = Failed, c.Scrub.words(why)
		return look, nil
	}
	document, err := m.document()
	if err != nil {
		return look, err
	}
	began := time.Now()
	out, err := c.run(ctx, document, m.variables())
	look.Took = time.Since(began)
	if ctx.Err() != nil {
		return look, context.Cause(ctx)
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case errors.Is(err, errTime):
		look.Reason = fmt.Sprintf("no answer within %s", c.Timeout)
	case err != nil && !ended:
		look.Reason = c.Scrub.words("cannot be run: " + err.Error())
	default:
		code := 0
		if ended {
			code = exit.ExitCode()
		}
		look.Verdict, look.Reason, look.Value = c.answer(code, out)
	}
	return look, nil
}

// answer words the end of the command.
func (c Command) answer(code int, out *tail) (v Verdict, reason, value string) {
	v, means := judge(code)
	if code >= 0 {
		value = strconv.Itoa(code)
	}
	reason = c.Scrub.lastLine(out)
	if reason != "" || v == Passed {
		return v, reason, value
	}
	if value != "" {
		reason = "exit code " + value
	}
	if means != "" {
		reason = strings.TrimPrefix(reason+", "+means, ", ")
	}
	return v, reason, value
}

// errTime says that the time of a look is up.
var errTime = errors.New("time is up")

// run runs the shell, in a process group of its own. What it writes on either stream is kept in its order.
func (c Command) run(ctx context.Context, document []byte, variables []string) (*tail, error) {
	limited, cancel := context.WithTimeoutCause(ctx, c.Timeout, errTime)
	defer cancel()
	out := new(tail)
	x := hook.Shell(limited, c.Text)
	x.Env = append(append([]string{}, c.Env...), variables...)
	x.Stdin, x.Stdout, x.Stderr, x.WaitDelay = bytes.NewReader(document), out, out, pipeWait
	err := x.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil:
		return out, nil // it passed; a child that it left behind keeps a stream open
	case limited.Err() != nil:
		return out, context.Cause(limited)
	}
	return out, err
}

// tail keeps the end of what is written to it.
type tail struct {
	text []byte
	cut  bool // something was written before text
}

// Write never fails, so that the command is not disturbed.
func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if extra := len(t.text) - keptOutput; extra > 0 {
		t.text, t.cut = append(t.text[:0], t.text[extra:]...), true
	}
	return len(p), nil
}

// lastLine is the last line that is not blank. A line whose beginning is lost is not shown: it may begin within a secret.
func (s Scrub) lastLine(t *tail) string {
	text := string(t.text)
	if s != nil {
		text = s(text)
	}
	text = strings.TrimRight(text, " \t\r\n")
	at := strings.LastIndexByte(text, '\n')
	if at < 0 && t.cut {
		return "its last line is too long to be shown"
	}
	return s.words(text[at+1:])
}
