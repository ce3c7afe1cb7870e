// Package hook runs a command of the operator during a run: with /bin/sh -c, in its own process group, with a document on
// its stdin, within a time limit.
//
// It knows processes; it does not know runs or events. Invariants: the whole process group is killed when the time is up
// or the context ends; the command gets only the environment that the caller hands in; a small part of its output is
// kept, and none of it reaches our own streams.
package hook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Command is a line for the shell.
type Command struct {
	Text string
	// Env is its whole environment, of the form NAME=VALUE; empty is none. The caller leaves secrets out.
	Env []string
	// Scrub takes secrets out of what it wrote; nil takes none out.
	Scrub func(text string) string
	// Timeout is how long it may take; it must be positive.
	Timeout time.Duration
}

// shellCommand returns a command line for the shell, in a process group of its own (see OwnGroup). It is not started yet.
func shellCommand(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, shell, "-c", text)
	OwnGroup(cmd)
	return cmd
}

// ErrTimeout says that a command did not end in its time, and was killed.
var ErrTimeout = errors.New("did not end in time")

const (
	keptOutput = 64 << 10    // bytes of what the command writes: more than the longest line that is shown
	pipeWait   = time.Second // for a child that was left behind and keeps a stream open
)

// Run runs the command once with input on its stdin, which it need not read, and waits for its end. said is the last line
// that it wrote on either stream, without secrets and otherwise raw. The error is ErrTimeout (wrapped), the context's cause, *exec.ExitError (wrapped)
// when it ended with another code than 0, or that it could not be started.
func (c Command) Run(ctx context.Context, input []byte) (said string, err error) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var out tail
	x := shellCommand(limited, c.Text)
	x.Env, x.Stdin, x.Stdout, x.Stderr, x.WaitDelay = append([]string{}, c.Env...), bytes.NewReader(input), &out, &out, pipeWait
	err = x.Run()
	switch said = out.last(c.Scrub); {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil:
		return said, nil
	case ctx.Err() != nil:
		return said, context.Cause(ctx)
	case limited.Err() != nil:
		return said, fmt.Errorf("%w (%v)", ErrTimeout, c.Timeout)
	}
	return said, err
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

// last is the last line that is not blank. A line whose beginning is lost is not shown: it may begin within a secret.
func (t *tail) last(scrub func(string) string) string {
	text := string(t.text)
	if scrub != nil {
		text = scrub(text)
	}
	last := ""
	for {
		text = strings.TrimRight(text, " \t\r\n")
		at := strings.LastIndexByte(text, '\n')
		line := strings.TrimSpace(text[at+1:])
		switch {
		case at < 0 && t.cut:
			return cmp.Or(last, "its last line is too long to be shown")
		case !strings.HasPrefix(line, "hint: "): // what a fleetctl adds to its error
			return cmp.Or(line, last)
		case at < 0:
			return line
		}
		last, text = cmp.Or(last, line), text[:at]
	}
}
