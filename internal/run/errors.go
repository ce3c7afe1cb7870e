package run

import (
	"fmt"

	"fleetctl/internal/fleet"
)

// GuardError is the refusal of a guard, a lock or the operator at a prompt. Nothing was sent.
type GuardError struct {
	Guard string // its name in the table of guards; "" for any other refusal
	Err   error
	Hint  string // what to do, on a line of its own; may be empty
}

// Error implements error.
func (e *GuardError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *GuardError) Unwrap() error { return e.Err }

func refuse(hint, format string, args ...any) error {
	return &GuardError{Err: fmt.Errorf(format, args...), Hint: hint}
}

// RecordError reports that a run cannot be recorded. Nothing was sent.
type RecordError struct {
	Err  error
	Hint string
}

// Error implements error.
func (e *RecordError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RecordError) Unwrap() error { return e.Err }

// NoServiceError reports that no server of a service replied.
type NoServiceError struct {
	Err  error
	Hint string
}

// Error implements error.
func (e *NoServiceError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *NoServiceError) Unwrap() error { return e.Err }

func usage(err error, hint string) error { return &fleet.UsageError{Err: err, Hint: hint} }
