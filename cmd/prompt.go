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
)

// asker asks the operator. It reads the terminal itself, not stdin, so that nodes can be piped in; where there is no
// terminal there is nobody to ask.
type asker struct {
	tty *os.File
	out io.Writer
}

// errNobody says that there is nobody to ask.
var errNobody = errors.New("there is no terminal to ask at")

// terminalName is where prompts are read.
const terminalName = "/dev/tty"

// asker opens the terminal; errNobody where stderr is none, or none can be opened.
func (a *app) asker() (*asker, error) {
	if !a.terminal(a.err) {
		return nil, errNobody
	}
	tty, err := os.OpenFile(terminalName, os.O_RDWR, 0)
	if err != nil {
		return nil, errNobody
	}
	return &asker{tty: tty, out: a.err}, nil
}

func (k *asker) close() { k.tty.Close() }

// line asks and waits for a line or the end of the context. An answer that comes after the end is lost.
func (k *asker) line(ctx context.Context, question string) (string, error) {
	fmt.Fprint(k.out, question)
	type answer struct {
		text string
		err  error
	}
	ch := make(chan answer, 1)
	go func() {
		text, err := bufio.NewReader(k.tty).ReadString('\n')
		ch <- answer{text, err}
	}()
	select {
	case r := <-ch:
		if r.err != nil {
			fmt.Fprintln(k.out)
			return "", nil // the end of the input answers nothing, and nothing is a no
		}
		return strings.TrimSpace(r.text), nil
	case <-ctx.Done():
		fmt.Fprintln(k.out)
		return "", context.Cause(ctx)
	}
}

// yes asks for y or n; anything but a clear yes is a no.
func (k *asker) yes(ctx context.Context, question string) (bool, error) {
	text, err := k.line(ctx, question+" [y/N] ")
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
	return hidden(ctx, k.tty, question)
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
		text, err := term.NewTerminal(tty, "").ReadPassword(question)
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
