package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Stdin as the text of a secret means that stdin holds it.
const Stdin = "-"

// Source defines where the text of a secret may come from. The zero value reads files only.
type Source struct {
	In     io.Reader                        // for "-"
	Getenv func(name string) (string, bool) // for "env:NAME"
	// Ask reads a line from a terminal without an echo; it is used in place of In where In is a terminal. nil: In is
	// read as it is.
	Ask func(ctx context.Context, question string) (string, error)
}

// ReadError reports that a secret cannot be read from the given place.
type ReadError struct {
	Name string // of the input
	Err  error
}

// Error implements error. It quotes no secret.
func (e *ReadError) Error() string { return fmt.Sprintf("input %q: %v", e.Name, e.Err) }

// Hint says what to write in the place of an example such as @FILE; blank for other problems.
func (e *ReadError) Hint() string {
	missing, ok := errors.AsType[*missingError](e.Err)
	switch {
	case !ok:
		return ""
	case missing.path == "":
		return "is a variable unset? Write " + e.Name + "=@FILE with the name of a file that holds only the secret"
	}
	return "write the name of a file that holds only the secret after the @"
}

// Unwrap returns the problem.
func (e *ReadError) Unwrap() error { return e.Err }

// Read returns the secret that text stands for: @FILE, - for stdin, env:NAME; @@ begins a literal @, and anything else
// is the secret itself. literal reports that it was typed as it is, so that a caller can warn of process lists. name is
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
		line, err := Line(ctx, text[1:])
		return New(line), false, err
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
	if s.In == nil {
		return Value{}, errors.New("stdin: there is none")
	}
	line, err := oneLine(s.In)
	if err != nil {
		return Value{}, fmt.Errorf("stdin: %w", err)
	}
	return New(line), nil
}
