package cmd

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"syscall"

	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// The exit codes, the only table of them (docs/exit-codes.md).
const (
	exitOK       = 0
	exitFault    = 1
	exitUsage    = 2
	exitRefused  = 3
	exitNoReply  = 4
	exitStopped  = 5
	exitUnknown  = 6
	exitGuard    = 7
	exitNoNodes  = 8
	exitNetwork  = 9
	exitInt      = 130
	exitTerm     = 143
	exitCanceled = exitInt
)

// sourceCodes are the exit codes of what can go wrong with a source of nodes.
var sourceCodes = map[discovery.Kind]int{
	discovery.Fault: exitFault, discovery.Misuse: exitUsage, discovery.Unreachable: exitNetwork,
}

// exitError carries a code, and a hint where the operator can do something about it. Quiet ones have been said.
type exitError struct {
	code  int
	err   error
	hint  string
	quiet bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(err error, hint string) error { return &exitError{code: exitUsage, err: err, hint: hint} }

// ended is how a command whose verdict was printed ends with a code.
func ended(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code, err: errors.New("ended"), quiet: true}
}

var errNoNodes = errors.New("no node matched")

func noNodes(hint string) error { return &exitError{code: exitNoNodes, err: errNoNodes, hint: hint} }

// classify turns what a command returned into the exit code, the line to say and the hint.
func classify(ctx context.Context, err error) (code int, say, hint string) {
	if err == nil {
		return exitOK, "", ""
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.quiet {
			return e.code, "", ""
		}
		return e.code, err.Error(), e.hint
	}
	if s, ok := errors.AsType[signalError](cmp.Or(context.Cause(ctx), err)); ok {
		return signalCode(s.signal), "ended by a signal: " + s.Error(), ""
	}
	if p, ok := errors.AsType[*bus.Problem](err); ok {
		return exitNetwork, err.Error(), p.Hint
	}
	if errors.Is(err, rpcclient.ErrLost) {
		return exitNetwork, err.Error(), "check the broker and the way to it, and type the command again"
	}
	if c, ok := errors.AsType[*security.CredentialError](err); ok {
		return exitNetwork, err.Error(), c.Hint
	}
	if r, ok := errors.AsType[*security.RemoteError](err); ok {
		return exitNetwork, err.Error() + ": nothing was sent", r.Hint
	}
	if s, ok := errors.AsType[*discovery.SourceError](err); ok {
		return sourceCodes[s.Kind], err.Error(), s.Mend
	}
	if i, ok := errors.AsType[*ddl.InputError](err); ok {
		return exitUsage, err.Error(), i.Hint
	}
	if u, ok := errors.AsType[*ddl.UnknownAgentError](err); ok {
		return exitUsage, err.Error(), "there are documents for " + strings.Join(u.Known, ", ") + "; those of other agents are looked for in libdir"
	}
	if _, ok := errors.AsType[*filter.SurpriseError](err); ok {
		return exitUsage, err.Error(), ""
	}
	if _, ok := errors.AsType[*config.NotFoundError](err); ok {
		return exitUsage, err.Error(), "name a Choria client configuration with --config or FLEETCTL_CONFIG; `fleetctl lab` makes a practice fleet with one"
	}
	return exitFault, err.Error(), ""
}

func signalCode(s syscall.Signal) int {
	if s == syscall.SIGTERM {
		return exitTerm
	}
	return exitInt
}
