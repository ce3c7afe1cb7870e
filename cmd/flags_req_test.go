package cmd

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

// requested is what req, runs resume and runs retry make of their flags.
type requested struct {
	Request  run.Request
	Output   reqOutput
	Compiled bool // the expression of --filter-replies
	StateDir string
	Workers  int
	OnEvent  string
	Name     string // of the recorded run
	States   []batch.State
	Drift    batch.Amount
}

// requestedBy is the request of the options, as `reopen` makes it; for req, `validate` has made the same.
func requestedBy(t *testing.T, o reqOptions) requested {
	t.Helper()
	if err := o.output.validate(); err != nil {
		t.Error(err)
	}
	r := requested{Output: o.output, Compiled: o.output.expr != nil, StateDir: o.record.dir, Workers: o.workers, OnEvent: o.onEvent}
	r.Output.expr = nil
	var err error
	if r.Request, err = o.value(); err != nil {
		t.Error(err)
	}
	r.Request.Typed = run.Typed{} // see TestWhatWasTypedIsKept
	return r
}

func given(d time.Duration) run.Wait { return run.Wait{D: d, Set: true} }

// row makes a row about the request.
func row(args string, set func(r *run.Request)) flagRow[requested] {
	return flagRow[requested]{args, func(o *requested) { set(&o.Request) }}
}

func stepRows() []flagRow[requested] {
	return []flagRow[requested]{
		row("--confirm-each", func(r *run.Request) { r.Pace.ConfirmEach = run.Wish{On: true, Set: true} }),
		{"--within always", func(o *requested) { o.Request.Pace.Hours.Set = true }},
		row("--not-since 24h", func(r *run.Request) { r.Pace.NotSince = given(24 * time.Hour) }),
		row("--within 22:00-04:00␣UTC --outside stop", func(r *run.Request) {
			r.Pace.Hours = run.Hours{Within: "22:00-04:00 UTC", Set: true, Outside: run.OutsideStop}
		}),
		row("--batch-sleep 5m", func(r *run.Request) { r.Pace.Sleep = given(5 * time.Minute) }),
		row("--batch-sleep 0", func(r *run.Request) { r.Pace.Sleep = given(0) }),
		row("--reply-timeout 7", func(r *run.Request) { r.Pace.ReplyTimeout = given(7 * time.Second) }),
		row("--deadline 1h", func(r *run.Request) { r.Pace.Deadline = given(time.Hour) }),
		row("--ttl 60", func(r *run.Request) { r.Pace.TTL = given(time.Minute) }),
		row("--max-failed 2", func(r *run.Request) { r.Rules.MaxFailed = batch.Number(2) }),
		row("--max-no-reply 5%", func(r *run.Request) { r.Rules.MaxNoReply = batch.Amount{Millionths: 50_000} }),
		row("--allow-expiring", func(r *run.Request) { r.Guards.AllowExpiring = true }),
		row("--max-absent 6", func(r *run.Request) { r.Rules.MaxAbsent = batch.Number(6) }),
		row("--max-failed-batch 3", func(r *run.Request) { r.Rules.MaxFailedBatch = batch.Number(3) }),
		row("--max-no-reply-batch 4%", func(r *run.Request) { r.Rules.MaxNoReplyBatch = batch.Amount{Millionths: 40_000} }),
		row("--gate true --gate false", func(r *run.Request) { r.Gates.Commands = []string{"true", "false"} }),
		row("--max-collateral 0", func(r *run.Request) { r.Gates.Collateral = run.Count{N: 0, Set: true} }),
		row("--gate-promql up", func(r *run.Request) { r.Gates.Queries = []string{"up"} }),
		row("--gate true --prometheus http://p", func(r *run.Request) { r.Gates.Commands = []string{"true"}; r.Gates.Server = "http://p" }),
		row("--gate true --gate-for 2m", func(r *run.Request) { r.Gates.Commands = []string{"true"}; r.Gates.For = given(2 * time.Minute) }),
		row("--gate true --gate-every 5", func(r *run.Request) { r.Gates.Commands = []string{"true"}; r.Gates.Every = given(5 * time.Second) }),
		row("--gate true --gate-wait 0", func(r *run.Request) { r.Gates.Commands = []string{"true"}; r.Gates.Wait = given(0) }),
		row("--gate true --gate-timeout 3", func(r *run.Request) { r.Gates.Commands = []string{"true"}; r.Gates.Timeout = given(3 * time.Second) }),
		row("--fail-fast", func(r *run.Request) { r.Rules.FailFast = true }),
		row("--detach", func(r *run.Request) { r.Detach = true }),
		row("--dry-run", func(r *run.Request) { r.DryRun = true }),
		{"--on-event tell", func(o *requested) { o.OnEvent = "tell" }},
		{"--workers 9", func(o *requested) { o.Workers = 9 }},
	}
}

func splitRows() []flagRow[requested] {
	return []flagRow[requested]{
		row("--batch 1,10,5%", func(r *run.Request) {
			r.Policy.Sizes = batch.Sizes{batch.Number(1), batch.Number(10), batch.Amount{Millionths: 50_000}}
		}),
		row("--last-if with('leader')", func(r *run.Request) { r.Policy.LastIf = "with('leader')" }),
		row("--batch 7 --mode rolling", func(r *run.Request) {
			r.Policy.Rolling, r.Policy.Sizes = true, batch.Sizes{batch.Number(7)}
		}),
		row("--canary 3", func(r *run.Request) { r.Policy.Canary = 3 }),
		row("--canary 0", func(r *run.Request) { r.Policy.Canary = batch.CanaryOff }),
		row("--spread-by site", func(r *run.Request) { r.Policy.SpreadBy = "site" }),
		row("--max-per site=5 --max-per rack=1", func(r *run.Request) {
			r.Policy.MaxPer = []batch.MaxPer{{Fact: "site", N: 5}, {Fact: "rack", N: 1}}
		}),
	}
}

func outputRows() []flagRow[requested] {
	format := func(args string, f report.Format, set func(o *reqOutput)) flagRow[requested] {
		return flagRow[requested]{args, func(o *requested) { o.Output.kind = f; set(&o.Output) }}
	}
	output := func(args string, set func(o *reqOutput)) flagRow[requested] {
		return flagRow[requested]{args, func(o *requested) { set(&o.Output) }}
	}
	rows := []flagRow[requested]{
		format("--json", report.JSON, func(o *reqOutput) { o.json = true }),
		format("-j", report.JSON, func(o *reqOutput) { o.json = true }),
		format("--table", report.Table, func(o *reqOutput) { o.table = true }),
		format("--senders", report.Senders, func(o *reqOutput) { o.senders = true }),
		format("--senders --json", report.SendersJSON, func(o *reqOutput) { o.senders, o.json = true, true }),
		format("--json --output json", report.JSON, func(o *reqOutput) { o.json, o.output = true, "json" }),
		{"--jsonl", func(o *requested) { o.Output.kind, o.Output.jsonl, o.Request.Protocol = report.Lines, true, true }},
		{"--filter-replies ok()", func(o *requested) { o.Output.filter, o.Compiled = "ok()", true }},
		output("--verbose", func(o *reqOutput) { o.verbose = true }),
		output("-v", func(o *reqOutput) { o.verbose = true }),
		output("--sort", func(o *reqOutput) { o.sort = true }),
		output("--display failed", func(o *reqOutput) { o.display = "failed" }),
		output("--output-file f", func(o *reqOutput) { o.file = "f" }),
		output("-o f", func(o *reqOutput) { o.file = "f" }),
	}
	for _, f := range reqFormats {
		rows = append(rows, flagRow[requested]{"--output " + f.String(), func(o *requested) {
			o.Output.output, o.Output.kind, o.Request.Protocol = f.String(), f, f == report.Lines
		}})
	}
	return rows
}

func proofRows() []flagRow[requested] {
	return []flagRow[requested]{
		row("--verify none", func(r *run.Request) { r.Proof.Verify = run.VerifyNone }),
		row("--no-verify", func(r *run.Request) { r.Proof.None = true }),
		row("--verify rpcutil#daemon_stats --verify-expr ok()", func(r *run.Request) {
			r.Proof.Verify, r.Proof.Expr = "rpcutil#daemon_stats", "ok()"
		}),
		row("--verify-version 0.29.4", func(r *run.Request) { r.Proof.Version = "0.29.4" }),
		row("--verify-timeout 90", func(r *run.Request) { r.Proof.Timeout = given(90 * time.Second) }),
		row("--settle 2", func(r *run.Request) { r.Proof.Settle = given(2 * time.Second) }),
	}
}

func limitRows() []flagRow[requested] {
	return []flagRow[requested]{
		sharedRow(),
		row("--max-nodes 25", func(r *run.Request) { r.Guards.MaxNodes = run.Count{N: 25, Set: true} }),
		row("--yes", func(r *run.Request) { r.Guards.Yes = true }),
		row("-y", func(r *run.Request) { r.Guards.Yes = true }),
		row("--no-input", func(r *run.Request) { r.Guards.NoInput = true }),
		row("--insecure-token", func(r *run.Request) { r.Guards.InsecureToken = true }),
	}
}

func expectRows() []flagRow[requested] {
	return []flagRow[requested]{
		row("--expect 0", func(r *run.Request) { r.Guards.Expect = run.Count{N: 0, Set: true} }),
		row("--expect 12", func(r *run.Request) { r.Guards.Expect = run.Count{N: 12, Set: true} }),
		row("--expect-file f", func(r *run.Request) { r.Guards.ExpectFile = "f" }),
	}
}

func trustRow() flagRow[requested] {
	return row("--trust-record", func(r *run.Request) { r.Record.Trust = true })
}

func dirRow() flagRow[requested] {
	return flagRow[requested]{"--state-dir d", func(o *requested) { o.StateDir = "d" }}
}

func reqFlags(t *testing.T) flagTable[requested] {
	targets := func(o *requested) *fleet.Targets { return &o.Request.Targets }
	return flagTable[requested]{
		command: "req", words: "choria_provision restart token=x",
		build: func(a *app, see func(requested)) *cobra.Command {
			return newReq(a, func(_ context.Context, _ *app, o reqOptions) error {
				r := requestedBy(t, o)
				r.Request = o.request // what is done is what was validated
				r.Request.Typed = run.Typed{}
				see(r)
				return nil
			})
		},
		plain: requested{
			Request: run.Request{Agent: "choria_provision", Action: "restart", Inputs: map[string]string{"token": "x"}, Proof: run.Proof{Verify: "auto"}},
			Output:  reqOutput{formatFlags: formatFlags{kind: report.Text}}, Workers: 3,
		},
		rows: slices.Concat(filterRows(targets), sourceRows(targets), limitOfNodesRows(targets), splitRows(), stepRows(), outputRows(), limitRows(),
			expectRows(), proofRows(), []flagRow[requested]{
				dirRow(), trustRow(),
				row("--discovery-timeout 4", func(r *run.Request) { r.Targets.Timeout = 4 * time.Second }),
				row("--verify-expr ok()", func(r *run.Request) { r.Proof.Expr = "ok()" }),
				row("--no-journal", func(r *run.Request) { r.Record.Off = true }),
				row("--journal", func(r *run.Request) { r.Record.On = true }),
				row("--save-plan f.plan", func(r *run.Request) { r.Save.File = "f.plan" }),
				row("--save-plan f.plan --plan-expires 2h", func(r *run.Request) { r.Save = run.Saving{File: "f.plan", Life: given(2 * time.Hour)} }),
				row("--resume", func(r *run.Request) { r.Record.Resume = true }),
				row("--reply-to site.replies", func(r *run.Request) { r.ReplyTo = "site.replies" }),
				row("-r site.replies", func(r *run.Request) { r.ReplyTo = "site.replies" }),
			}),
	}
}

func applyFlags(t *testing.T) flagTable[requested] {
	return flagTable[requested]{
		command: "apply", words: "f token=x",
		build: func(a *app, see func(requested)) *cobra.Command {
			return newApply(a, func(_ context.Context, _ *app, o applyOptions) error {
				r := requestedBy(t, o.req)
				r.Name, r.Drift = o.file, o.drift.Amount
				see(r)
				return nil
			})
		},
		plain: requested{Request: run.Request{Inputs: map[string]string{"token": "x"}}, Name: "f", Output: reqOutput{formatFlags: formatFlags{kind: report.Text}}},
		rows: slices.Concat(outputRows(), limitRows(), []flagRow[requested]{
			dirRow(), row("--dry-run", func(r *run.Request) { r.DryRun = true }),
			row("--detach", func(r *run.Request) { r.Detach = true }),
			{"--on-event x", func(r *requested) { r.OnEvent = "x" }},
			row("--allow-expiring", func(r *run.Request) { r.Guards.AllowExpiring = true }),
			{"--accept-drift 5", func(r *requested) { r.Drift = batch.Number(5) }},
		}),
	}
}

// storedPlain is what is made of a recorded run without flags: the rest is the record's.
func storedPlain() requested {
	return requested{
		Request: run.Request{Inputs: map[string]string{"token": "x"}, Proof: run.Proof{Verify: "auto"}}, Name: "last",
		Output: reqOutput{formatFlags: formatFlags{kind: report.Text}}, Workers: 3,
	}
}

// sharedRow is what operators share.
func sharedRow() flagRow[requested] {
	return flagRow[requested]{"--lock web --lock db --lock-wait 90 --max-down 5 --max-down rack=1 --budget-wait 1h --share --share-timeout 2m", func(o *requested) {
		o.Request.Shared = run.Shared{
			Locks: []string{"web", "db"}, Wait: run.Wait{D: 90 * time.Second, Set: true},
			MaxDown: lease.Limits{lease.All: 5, "rack": 1}, BudgetWait: run.Wait{D: time.Hour, Set: true},
			Mirror: true, Timeout: run.Wait{D: 2 * time.Minute, Set: true},
		}
	}}
}

func resumeFlags(t *testing.T) flagTable[requested] {
	return flagTable[requested]{
		command: "runs resume", words: "last token=x",
		build: func(a *app, see func(requested)) *cobra.Command {
			return newRunsResume(a, func(_ context.Context, _ *app, o reqOptions, name string) error {
				r := requestedBy(t, o)
				r.Name = name
				see(r)
				return nil
			})
		},
		plain: storedPlain(),
		rows:  slices.Concat(stepRows(), outputRows(), limitRows(), proofRows(), []flagRow[requested]{dirRow(), trustRow()}),
	}
}

func adoptFlags(t *testing.T) flagTable[requested] {
	ft := resumeFlags(t)
	ft.command = "runs adopt"
	ft.build = func(a *app, see func(requested)) *cobra.Command {
		return newRunsAdopt(a, func(_ context.Context, _ *app, o reqOptions, name string) error {
			r := requestedBy(t, o)
			r.Name = name
			see(r)
			return nil
		})
	}
	return ft
}

func retryFlags(t *testing.T) flagTable[requested] {
	plain := storedPlain()
	plain.States = []batch.State{batch.NotSent}
	states := func(args string, states ...batch.State) flagRow[requested] {
		return flagRow[requested]{args, func(o *requested) { o.States = states }}
	}
	return flagTable[requested]{
		command: "runs retry", words: "last token=x --not-sent",
		build: func(a *app, see func(requested)) *cobra.Command {
			return newRunsRetry(a, func(_ context.Context, _ *app, o reqOptions, name string, which []batch.State) error {
				r := requestedBy(t, o)
				r.Name, r.States = name, which
				see(r)
				return nil
			})
		},
		plain: plain,
		rows: slices.Concat(splitRows(), stepRows(), outputRows(), limitRows(), expectRows(), proofRows(), []flagRow[requested]{
			dirRow(), trustRow(),
			states("--failed", batch.Refused, batch.Unverified, batch.NotSent),
			states("--absent", batch.Absent, batch.NotSent),
			states("--no-reply", batch.NoReply, batch.NotSent),
			states("--unknown", batch.NotSent, batch.Unknown),
		}),
	}
}

// The record gets the command as it was typed: the inputs, which may be secret, are added to it by others.
func TestWhatWasTypedIsKept(t *testing.T) {
	typed := func(o reqOptions) run.Typed {
		r, err := o.value()
		if err != nil {
			t.Error(err)
		}
		return r.Typed
	}
	req := flagTable[run.Typed]{command: "req", words: "rpcutil ping a=b", build: func(a *app, see func(run.Typed)) *cobra.Command {
		return newReq(a, func(_ context.Context, _ *app, o reqOptions) error { see(typed(o)); return nil })
	}}
	retry := flagTable[run.Typed]{command: "runs retry", words: "last a=b", build: func(a *app, see func(run.Typed)) *cobra.Command {
		return newRunsRetry(a, func(_ context.Context, _ *app, o reqOptions, _ string, _ []batch.State) error {
			see(typed(o))
			return nil
		})
	}}
	for _, tt := range []struct {
		table flagTable[run.Typed]
		flags string
		want  run.Typed
	}{
		{req, "", run.Typed{Words: []string{"req", "rpcutil", "ping"}}},
		{req, "-I x,y --batch 5 -F c=d -F e=f --canary 0 -y --no-journal=false --config f", run.Typed{
			Words: []string{"req", "rpcutil", "ping"},
			Flags: []string{"--batch", "5", "--canary", "0", "--config", "f", "--no-journal=false", "-F", "c=d", "-F", "e=f", "-I", "x,y", "-y"},
		}},
		{req, "--on-event tell --ttl 60", run.Typed{Words: []string{"req", "rpcutil", "ping"}, Flags: []string{"--ttl", "1m0s"}}}, // it may hold a secret
		{retry, "--failed --ttl 60", run.Typed{Words: []string{"runs", "retry", "last"}, Flags: []string{"--failed", "--ttl", "1m0s"}}},
	} {
		if got, _ := tt.table.seen(t, setFlags{}, tt.flags); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s %s: got %q, want %q", tt.table.command, tt.flags, got, tt.want)
		}
	}
}

func checkRequestFlags(t *testing.T, set setFlags) {
	req := reqFlags(t)
	req.check(t, set)
	req.checkFederations(t, set)
	resumeFlags(t).check(t, set)
	adoptFlags(t).check(t, set)
	applyFlags(t).check(t, set)
	retryFlags(t).check(t, set)
}
