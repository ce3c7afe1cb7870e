package secret

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Stdin as the text of a secret means that stdin holds it.
const Stdin = "-"

// maxBytes is what is read from a file or from stdin at most: a secret is short, a wrong file may be anything.
const maxBytes = 1 << 20

// Source says where the text of a secret may come from. The zero value reads files only.
type Source struct {
	In     io.Reader                        // for "-"
	Getenv func(name string) (string, bool) // for "env:NAME"
	// Ask reads a line from a terminal without an echo; it is used in place of In where In is a terminal. nil: In is
	// read as it is.
	Ask func(ctx context.Context, question string) (string, error)
}

// ReadError says that a secret cannot be read where it was said to be.
type ReadError struct {
	Name string // of the input
	Err  error
}

// Error implements error. It quotes no secret.
func (e *ReadError) Error() string { return fmt.Sprintf("input %q: %v", e.Name, e.Err) }

// Unwrap returns the problem.
func (e *ReadError) Unwrap() error { return e.Err }

// Read returns the secret that text stands for: @FILE, - for stdin, env:NAME; @@ begins a literal @, and anything else
// is the secret itself. literal tells that it was typed as it is, so that a caller can warn of process lists. name is
// for errors and questions. Errors are *ReadError.
func (s Source) Read(ctx context.Context, name, text string) (value Value, literal bool, err error) {
	value, literal, err = s.read(ctx, name, text)
	if err != nil {
		return Value{}, false, &ReadError{name, err}
	}
	return value, literal, nil
}

func (s Source) read(ctx context.Context, name, text string) (value Value, literal bool, err error) {
	variable, isVariable := strings.CutPrefix(text, "env:")
	switch {
	case text == Stdin:
		value, err = s.stdin(ctx, name)
		return value, false, err
	case strings.HasPrefix(text, "@@"):
		return New(text[1:]), true, nil
	case strings.HasPrefix(text, "@"):
		value, err = file(text[1:])
		return value, false, err
	case isVariable:
		set, ok := "", false
		if s.Getenv != nil {
			set, ok = s.Getenv(variable)
		}
		if !ok || set == "" {
			return Value{}, false, fmt.Errorf("the variable %s is not set", variable)
		}
		return New(set), false, nil
	}
	return New(text), true, nil
}

func file(path string) (Value, error) {
	f, err := os.Open(path)
	if err != nil {
		return Value{}, err
	}
	defer f.Close()
	line, err := readLine(f)
	if err != nil {
		return Value{}, fmt.Errorf("%s: %w", path, err)
	}
	return New(line), nil
}

func (s Source) stdin(ctx context.Context, name string) (Value, error) {
	if s.Ask != nil {
		line, err := s.Ask(ctx, name+": ")
		if err == nil && line == "" {
			err = errors.New("nothing was typed")
		}
		if err != nil {
			return Value{}, err
		}
		return New(line), nil
	}
	line, err := readLine(s.In)
	if err != nil {
		return Value{}, fmt.Errorf("stdin: %w", err)
	}
	return New(line), nil
}

// readLine reads one line, which must be all there is.
func readLine(r io.Reader) (string, error) {
	if r == nil {
		return "", errors.New("there is none")
	}
	data, err := io.ReadAll(bufio.NewReader(io.LimitReader(r, maxBytes)))
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(data), "\r\n")
	switch {
	case line == "":
		return "", errors.New("it is empty")
	case strings.ContainsAny(line, "\r\n"):
		return "", errors.New("it has more than one line")
	}
	return line, nil
}
