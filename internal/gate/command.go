package gate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/hook"
)

// DefaultTimeout is how long a look at one gate may take.
const DefaultTimeout = 30 * time.Second

// Command is a gate that runs a command line of the operator's by the shell.
type Command struct {
	Text string
	// Env is its environment, of the form NAME=VALUE, without variables that are secret by their names. Those that hold what
	// Scrub takes out are left out, and those of the moment are added.
	Env     []string
	Timeout time.Duration // of one look; must be positive
	Scrub   Scrub
	// Pinned are the scripts that it must still name, with their content. nil: they are not looked at.
	Pinned *Pins
}

// Look runs the command once, with the moment on its stdin, which it need not read, and waits for its end. The error is
// the context's cause: the command was killed, and there is no verdict.
func (c Command) Look(ctx context.Context, m batch.Moment) (batch.GateLook, error) {
	look := batch.GateLook{Gate: c.Scrub.words(c.Text), Verdict: batch.GateInconclusive}
	if why := c.Pinned.changed(c.Text); why != "" {
		look.Verdict, look.Reason = batch.GateFailed, c.Scrub.words(why)
		return look, nil
	}
	input, err := document(m)
	if err != nil {
		return look, err
	}
	env := slices.DeleteFunc(slices.Clone(c.Env), func(entry string) bool { return c.Scrub != nil && c.Scrub(entry) != entry })
	began := time.Now()
	wrote, err := hook.Command{Text: c.Text, Env: append(env, variables(m)...), Timeout: c.Timeout, Scrub: c.Scrub}.Run(ctx, input)
	look.Took = time.Since(began)
	if ctx.Err() != nil {
		return look, context.Cause(ctx)
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case errors.Is(err, hook.ErrTimeout):
		look.Reason = fmt.Sprintf("no answer within %s", c.Timeout)
	case err != nil && !ended:
		look.Reason = c.Scrub.words("cannot be run: " + err.Error())
	default:
		code := 0
		if ended {
			code = exit.ExitCode()
		}
		look.Verdict, look.Reason, look.Value = c.answer(code, wrote)
	}
	return look, nil
}

// answer words the end of the command.
func (c Command) answer(code int, wrote string) (v batch.GateVerdict, reason, value string) {
	v, means := judge(code)
	if code >= 0 {
		value = strconv.Itoa(code)
	}
	reason = c.Scrub.words(wrote)
	if reason != "" || v == batch.GatePassed {
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
