package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/term"

	"fleetctl/internal/plain"
	"fleetctl/internal/report"
	"fleetctl/internal/secret"
)

// tokenVariable gives the provisioning token to choria_provision, and to nothing else.
const tokenVariable = "FLEETCTL_TOKEN"

// asker asks the operator. It reads the terminal itself, not stdin, so that nodes can be piped in; when stderr is not a
// terminal, or no terminal can be opened, no question can be asked.
type asker struct {
	out   io.Writer
	reach bool                    // stderr is a terminal
	keys  *keys                   // that read the same terminal between questions; nil for none
	hold  func() (release func()) // keeps what is redrawn off the terminal
}

// errNoTerminal means that no question can be asked.
var errNoTerminal = errors.New("there is no terminal to ask at")

// terminalName is where prompts are read.
const terminalName = "/dev/tty"

func newAsker(a *app) *asker {
	return &asker{out: a.io.err, reach: isTerminal(a.io.err), hold: func() func() { return a.screen.Load().Hold() }}
}

// open opens the terminal, or returns errNoTerminal.
func (k *asker) open() (*os.File, error) {
	if !k.reach {
		return nil, errNoTerminal
	}
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	return tty, nil
}

// Reachable is nil where there is a terminal to ask at.
func (k *asker) Reachable() error {
	tty, err := k.open()
	if err != nil {
		return err
	}
	return tty.Close()
}

// Line asks and waits for a line or the end of the context. An answer that comes after the end is lost.
func (k *asker) Line(ctx context.Context, question string) (string, error) {
	tty, err := k.open()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	defer k.keys.hold()()
	defer k.hold()()
	forgetTyped(tty)
	k.question(question)
	type answer struct {
		text string
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(tty).ReadString('\n')
		ch <- answer{text, err}
	}()
	select {
	case r := <-ch:
		if r.err != nil {
			fmt.Fprintln(k.out)
			return "", nil // the end of the input means no
		}
		return strings.TrimSpace(r.text), nil
	case <-ctx.Done():
		fmt.Fprintln(k.out)
		return "", context.Cause(ctx)
	}
}

// question prints the question.
func (k *asker) question(text string) { fmt.Fprint(k.out, plain.Text(text)) }

// Yes asks for y or n. Only y and yes mean yes.
func (k *asker) Yes(ctx context.Context, question string) (bool, error) {
	text, err := k.Line(ctx, question+" [y/N] ")
	if err != nil {
		return false, err
	}
	switch strings.ToLower(text) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// secret asks without an echo. Leaving at the question is an interrupt.
func (k *asker) secret(ctx context.Context, question string) (string, error) {
	tty, err := k.open()
	if err != nil {
		return "", err
	}
	defer tty.Close()
	return hidden(ctx, tty, question)
}

// hidden asks at a terminal without an echo: that is off before the question shows, since a paste may be waiting. The
// terminal is as before when it returns. Ctrl-C and Ctrl-D are a signalError.
func hidden(ctx context.Context, tty *os.File, question string) (string, error) {
	fd := int(tty.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("ask without an echo: %w", err)
	}
	defer func() { _ = term.Restore(fd, before) }() // it was a terminal a moment ago
	type answer struct {
		text string
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		text, err := term.NewTerminal(tty, "").ReadPassword(plain.Line(question))
		ch <- answer{text, err}
	}()
	select {
	case r := <-ch:
		if errors.Is(r.err, io.EOF) {
			fmt.Fprint(tty, "\r\n")
			return "", signalError{syscall.SIGINT}
		}
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// secretSource is where secrets are read.
func secretSource(a *app) secret.Source {
	s := secret.Source{In: a.io.in, Getenv: a.env.getenv}
	if f, ok := a.io.in.(*os.File); ok && isTerminal(f) {
		s.Ask = func(ctx context.Context, question string) (string, error) { return hidden(ctx, f, question) }
	}
	return s
}

// readSecret reads a secret that is no agent's input, and hints where it stands on the command line.
func readSecret(ctx context.Context, a *app, name, text string) (secret.Value, error) {
	value, literal, err := secretSource(a).Read(ctx, name, text)
	if literal && !value.Empty() {
		a.say("hint: %s", report.SecretHint(name))
	}
	return value, err
}
