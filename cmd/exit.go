package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
	"fleetctl/internal/saved"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// The exit codes (docs/exit-codes.md). This file alone turns errors and verdicts into them.
const (
	exitOK      = 0
	exitFault   = 1
	exitUsage   = 2
	exitRefused = 3
	exitNoReply = 4
	exitStopped = 5
	exitUnknown = 6
	exitGuard   = 7
	exitNoNodes = 8
	exitNetwork = 9
	exitHangup  = 129
	exitInt     = 130
	exitTerm    = 143
)

// verdictCodes are the exit codes of the verdicts. The zero verdict means that there is none to give: after a dry run, or
// when the replies go to another subject.
var verdictCodes = map[batch.Verdict]int{
	0: exitOK, batch.Fault: exitFault, batch.Interrupted: exitInt, batch.Stopped: exitStopped, batch.Uncertain: exitUnknown,
	batch.Failed: exitRefused, batch.Silent: exitNoReply, batch.Done: exitOK,
}

// verdictCode is the exit code of a verdict. A record does not hold which signal interrupted its run.
func verdictCode(v batch.Verdict) int {
	if code, ok := verdictCodes[v]; ok {
		return code
	}
	return exitFault
}

// resultCode is the exit code of a run's result.
func resultCode(r run.Result) int {
	if s, ok := errors.AsType[signalError](r.Signal); ok && r.Summary.Verdict == batch.Interrupted {
		return signalCode(s.signal)
	}
	if r.NothingSent() {
		return exitNetwork // the request signer did not sign
	}
	return verdictCode(r.Summary.Verdict)
}

// sourceCodes are the exit codes of the errors of a source of nodes.
var sourceCodes = map[discovery.Kind]int{
	discovery.Fault: exitFault, discovery.Misuse: exitUsage, discovery.Unreachable: exitNetwork,
}

// exitError carries an exit code, and a hint when the operator can act on it. A quiet one is already reported.
type exitError struct {
	code  int
	err   error
	hint  string
	quiet bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(err error, hint string) error { return &exitError{code: exitUsage, err: err, hint: hint} }

// refuse is a refusal to go ahead. Nothing was sent.
func refuse(hint, format string, args ...any) error {
	return &run.GuardError{Err: fmt.Errorf(format, args...), Hint: hint}
}

// ended ends a command with a code when its result is already printed.
func ended(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code, err: errors.New("ended"), quiet: true}
}

func noNodes(hint string) error { return &fleet.NoNodesError{Hint: hint} }

// classify turns what a command returned into the exit code, the line to print and the hint.
func classify(ctx context.Context, err error) (code int, say, hint string) {
	if err == nil {
		return exitOK, "", ""
	}
	if e, ok := errors.AsType[*exitError](err); ok && e.quiet {
		return e.code, "", ""
	}
	if code, hint, ok := refusalCode(err); ok {
		if code == exitUsage && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO)) {
			code = exitFault // of the machine: the same command would work on another disk
		}
		return code, err.Error(), hint
	}
	if s, ok := errors.AsType[signalError](cmp.Or(context.Cause(ctx), err)); ok {
		if _, ok := errors.AsType[signalError](err); ok && err.Error() != s.Error() {
			return signalCode(s.signal), err.Error(), "" // it says what the signal ended, and what it did not
		}
		return signalCode(s.signal), "ended by a signal: " + s.Error(), ""
	}
	if code, hint, ok := failureCode(err); ok {
		return code, err.Error(), hint
	}
	if r, ok := errors.AsType[*security.RemoteError](err); ok {
		return exitNetwork, err.Error() + ": nothing was sent", r.Hint
	}
	return exitFault, err.Error(), ""
}

// refusalCode returns the exit code and hint of an error by which a command, a run or the configuration refuses to
// start.
func refusalCode(err error) (code int, hint string, ok bool) {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code, e.hint, true
	}
	if e, ok := errors.AsType[*fleet.UsageError](err); ok {
		return exitUsage, e.Hint, true
	}
	if e, ok := errors.AsType[*report.FormatError](err); ok {
		return exitUsage, strings.TrimLeft(didYouMean(e.Name, strings.Split(report.FormatNames(e.Offered), ", "))+" use one of "+report.FormatNames(e.Offered), " "), true
	}
	if e, ok := errors.AsType[*report.FileError](err); ok {
		return exitUsage, e.Hint, true
	}
	if e, ok := errors.AsType[*fleet.NoNodesError](err); ok {
		return exitNoNodes, e.Hint, true
	}
	if _, ok := errors.AsType[*fleet.FilterRequiredError](err); ok {
		return exitGuard, "name the nodes with a filter (-I /./ is one) or --nodes", true
	}
	if e, ok := errors.AsType[*run.GuardError](err); ok {
		return exitGuard, e.Hint, true
	}
	if e, ok := errors.AsType[*saved.RefusedError](err); ok {
		return exitGuard, e.Hint, true
	}
	if e, ok := errors.AsType[*run.SharedError](err); ok {
		return exitNetwork, e.Hint, true
	}
	if e, ok := errors.AsType[*run.RecordError](err); ok {
		return exitFault, e.Hint, true
	}
	if e, ok := errors.AsType[*run.NoServiceError](err); ok {
		return exitNoReply, e.Hint, true
	}
	return 0, "", false
}

// failureCode returns the exit code and hint of an error of the network, of files or of arguments.
func failureCode(err error) (code int, hint string, ok bool) {
	if p, ok := errors.AsType[*bus.Problem](err); ok {
		return exitNetwork, p.Hint, true
	}
	if errors.Is(err, rpcclient.ErrLost) {
		return exitNetwork, "check the broker and the network, then run the command again", true
	}
	if c, ok := errors.AsType[*security.CredentialError](err); ok {
		return exitNetwork, c.Hint, true
	}
	if s, ok := errors.AsType[*discovery.SourceError](err); ok {
		return sourceCodes[s.Kind], s.Hint, true
	}
	if s, ok := errors.AsType[*secret.ReadError](err); ok {
		return exitUsage, s.Hint(), true
	}
	if i, ok := errors.AsType[*ddl.InputError](err); ok {
		return exitUsage, i.Hint, true
	}
	if u, ok := errors.AsType[*ddl.UnknownAgentError](err); ok {
		return exitUsage, "documents are available for " + strings.Join(u.Known, ", ") + "; documents of other agents are read from libdir", true
	}
	if _, ok := errors.AsType[*filter.SurpriseError](err); ok {
		return exitUsage, "", true
	}
	if s, ok := errors.AsType[*config.UnknownSiteError](err); ok {
		return exitUsage, s.Hint(), true
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		hint := "name a Choria client configuration with --config or FLEETCTL_CONFIG"
		if withLab {
			hint += "; `fleetctl lab` makes a practice fleet with one"
		}
		return exitUsage, hint, true
	}
	if errors.Is(err, inventory.ErrAbsent) {
		return exitNoReply, "is the name right (case counts), is the server up, and is it in this collective (-T)?", true
	}
	if errors.Is(err, inventory.ErrNoReply) {
		return exitNoReply, "is the name right (case counts), is the server up, and is this caller allowed?", true
	}
	if _, ok := errors.AsType[*inventory.RefusedError](err); ok {
		return exitRefused, "", true
	}
	return 0, "", false
}

func signalCode(s syscall.Signal) int {
	switch s {
	case syscall.SIGTERM:
		return exitTerm
	case syscall.SIGHUP:
		return exitHangup
	}
	return exitInt
}
