package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
	"fleetctl/internal/saved"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// errorCodes are the exit code and the hint of every error type of the program.
var errorCodes = []struct {
	err  error
	code int
	hint string
}{
	{usage(errX, "h"), 2, "h"}, {&fleet.UsageError{Err: errX, Hint: "h"}, 2, "h"},
	{&report.FormatError{Name: "x", Offered: []report.Format{report.Text, report.CSV}}, 2, "use one of text, csv"},
	{&report.FileError{Err: errX, Hint: "h"}, 2, "h"},
	{&ddl.InputError{Hint: "h"}, 2, "h"}, {&ddl.UnknownAgentError{Known: []string{"a", "b"}}, 2, "documents are available for a, b; documents of other agents are read from libdir"},
	{&filter.SurpriseError{}, 2, ""}, {&secret.ReadError{Err: errX}, 2, ""},
	{&config.UnknownSiteError{Name: "amz", Known: []string{"ams"}}, 2, "did you mean ams? there are ams"},
	{&config.NotFoundError{}, 2, "name a Choria client configuration with --config or FLEETCTL_CONFIG; `fleetctl lab` makes a practice fleet with one"},
	{&discovery.SourceError{Kind: discovery.Misuse, Err: errX, Hint: "h"}, 2, "h"},
	{&discovery.SourceError{Kind: discovery.Fault, Err: errX}, 1, ""},
	{&discovery.SourceError{Kind: discovery.Unreachable, Err: errX}, 9, ""},
	{&inventory.RefusedError{}, 3, ""},
	{inventory.ErrNoReply, 4, "is the name right (case counts), is the server up, and is this caller allowed?"},
	{&run.NoServiceError{Err: errX, Hint: "h"}, 4, "h"},
	{&run.GuardError{Err: errX, Hint: "h"}, 7, "h"}, {refuse("h", "no"), 7, "h"}, {&saved.RefusedError{Problem: "x", Hint: "h"}, 7, "h"},
	{&run.SharedError{Err: errX, Hint: "h"}, 9, "h"},
	// internal/run turns these into a refused guard, a SharedError or a pause: bare ones are faults of ours.
	{&lease.HeldError{Name: "x"}, 1, ""}, {&lease.StaleError{Name: "x"}, 1, ""}, {&lease.ShortError{}, 1, ""}, {&lease.DeniedError{Permission: "x", Err: errX}, 1, ""},
	{&lease.ClaimedError{}, 1, ""}, {&lease.SilentError{}, 1, ""}, {&lease.LostMirrorError{}, 1, ""},
	{usage(errX, "h"), 2, "h"}, {usage(fmt.Errorf("write a plan: %w", syscall.ENOSPC), "h"), 1, "h"}, // a full disk is no wrong usage
	{&fleet.FilterRequiredError{File: "f"}, 7, "name the nodes with a filter (-I /./ is one) or --nodes"},
	{&fleet.NoNodesError{Hint: "h"}, 8, "h"}, {noNodes("h"), 8, "h"},
	{&bus.Problem{What: "x", Hint: "h"}, 9, "h"}, {&security.CredentialError{Problem: "x", Hint: "h"}, 9, "h"}, {&security.RemoteError{Hint: "h"}, 9, "h"},
	{signalError{syscall.SIGTERM}, 143, ""},
	{errX, 1, ""}, {&run.RecordError{Err: errX, Hint: "h"}, 1, "h"}, {&journal.CorruptError{}, 1, ""}, {&batch.RecordError{Err: errX}, 1, ""},
	{&batch.NotSentError{Err: errX}, 1, ""}, {&rpcclient.SendError{Err: errX}, 1, ""}, {&inventory.PayloadError{}, 1, ""},
}

var errX = errors.New("x")

func TestEveryErrorHasItsExitCodeAndHint(t *testing.T) {
	for _, tt := range errorCodes {
		for _, err := range []error{tt.err, fmt.Errorf("on the way: %w", tt.err), errors.Join(tt.err, errors.New("and the record was not closed"))} {
			code, say, hint := classify(t.Context(), err)
			if code != tt.code || hint != tt.hint || say == "" {
				t.Errorf("%T: got code %d, line %q, hint %q; want %d and %q", tt.err, code, say, hint, tt.code, tt.hint)
			}
		}
	}
	if code, say, _ := classify(t.Context(), nil); code != exitOK || say != "" {
		t.Errorf("no error: %d, %q", code, say)
	}
	if code, say, hint := classify(t.Context(), ended(exitStopped)); code != exitStopped || say+hint != "" {
		t.Errorf("a verdict that was printed: %d, %q, %q", code, say, hint)
	}
	if err := ended(exitOK); err != nil {
		t.Errorf("a good end is the error %v", err)
	}
}

// TestNoErrorTypeIsLeftOut reads the program for types that end in Error: each has a row in errorCodes.
func TestNoErrorTypeIsLeftOut(t *testing.T) {
	known := map[string]bool{}
	for _, tt := range errorCodes {
		known[strings.TrimPrefix(fmt.Sprintf("%T", tt.err), "*")] = true
	}
	declared := regexp.MustCompile(`(?m)^type ([A-Z]\w*Error) struct`)
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllStringSubmatch(string(source), -1) {
			found++
			if name := filepath.Base(filepath.Dir(path)) + "." + m[1]; !known[name] {
				t.Errorf("%s has no exit code in errorCodes", name)
			}
		}
		return err
	})
	if err != nil || found < 10 {
		t.Errorf("found %d error types, %v", found, err)
	}
}

// A decision of ours outranks the signal, and the signal outranks what the network makes of the end.
func TestSignalsEndWithTheirOwnCode(t *testing.T) {
	for s, want := range map[syscall.Signal]int{syscall.SIGINT: exitInt, syscall.SIGTERM: exitTerm} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(signalError{s})
		for _, err := range []error{errX, context.Canceled, &bus.Problem{}, signalError{s}} {
			if got, say, _ := classify(ctx, err); got != want || !strings.Contains(say, s.String()) {
				t.Errorf("%v, %T: exit code %d, %q, want %d", s, err, got, say, want)
			}
		}
		if got, _, _ := classify(ctx, refuse("", "no")); got != exitGuard {
			t.Errorf("%v at a refusal: exit code %d", s, got)
		}
		if got := resultCode(run.Result{Summary: batch.Summary{Verdict: batch.Interrupted}, Signal: signalError{s}}); got != want {
			t.Errorf("%v of a run: exit code %d, want %d", s, got, want)
		}
		// A run that ended for another reason keeps that reason's code.
		if got := resultCode(run.Result{Summary: batch.Summary{Verdict: batch.Failed}, Signal: signalError{s}}); got != exitRefused {
			t.Errorf("%v of a failed run: exit code %d", s, got)
		}
	}
}

func TestEveryVerdictHasItsExitCode(t *testing.T) {
	want := map[batch.Verdict]int{
		0: exitOK, batch.Fault: exitFault, batch.Interrupted: exitInt, batch.Stopped: exitStopped, batch.Uncertain: exitUnknown,
		batch.Failed: exitRefused, batch.Silent: exitNoReply, batch.Done: exitOK,
	}
	last := batch.Verdict(0)
	for v := batch.Verdict(0); v.String() != batch.Verdict(255).String() && v < 100; v++ {
		code, ok := want[v]
		if !ok {
			if strings.HasPrefix(v.String(), "verdict(") {
				break
			}
			t.Errorf("verdict %s is not in the table", v)
		}
		if got := resultCode(run.Result{Summary: batch.Summary{Verdict: v}}); got != code {
			t.Errorf("%s: exit code %d, want %d", v, got, code)
		}
		if got := storedCode(batch.Summary{Verdict: v}); got != code {
			t.Errorf("%s of a record: exit code %d, want %d", v, got, code)
		}
		last = v
	}
	if last != batch.Done {
		t.Errorf("the walk ended at %s", last)
	}
	if got := verdictCode(200); got != exitFault {
		t.Errorf("an unknown verdict: exit code %d", got)
	}
}

func TestASignerThatLetsNothingOutIsAFaultOfTheNetwork(t *testing.T) {
	unsent := batch.Summary{Nodes: 2, Verdict: batch.Stopped, States: batch.CountsOf(map[batch.State]int{batch.NotSent: 2})}
	some := batch.Summary{Nodes: 2, Verdict: batch.Stopped, States: batch.CountsOf(map[batch.State]int{batch.NotSent: 1, batch.Accepted: 1})}
	if got := resultCode(run.Result{Summary: unsent, Unsigned: errX}); got != exitNetwork {
		t.Errorf("nothing was sent: exit code %d", got)
	}
	if got := resultCode(run.Result{Summary: some, Unsigned: errX}); got != exitStopped {
		t.Errorf("some were sent to: exit code %d", got)
	}
}

func TestHelpNeverDials(t *testing.T) {
	for _, args := range []string{"", "--help", "req --help", "inventory --help", "runs", "runs --help", "jwt", "lab --help", "version", "version --json"} {
		if code, out, errs := runApp(t, nil, strings.Fields(args)...); code != 0 || out == "" || errs != "" {
			t.Errorf("%q: exit %d, %d bytes on stdout, stderr %q", args, code, len(out), errs)
		}
	}
}
