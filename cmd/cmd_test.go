package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/bus"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/run"
	"fleetctl/internal/security"
)

func TestDurationsAreSecondsUnlessTheySayOtherwise(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{text: "30", want: 30 * time.Second}, {text: "0", want: 0}, {text: "1.5", want: 1500 * time.Millisecond},
		{text: "30s", want: 30 * time.Second}, {text: "5m", want: 5 * time.Minute}, {text: "250ms", want: 250 * time.Millisecond},
		{text: "", bad: true}, {text: "-1", bad: true}, {text: "-5s", bad: true}, {text: "soon", bad: true}, {text: "5 m", bad: true},
		{text: "NaN", bad: true}, {text: "Inf", bad: true}, {text: "1e300", bad: true},
	}
	for _, tt := range tests {
		var s seconds
		err := s.Set(tt.text)
		if (err != nil) != tt.bad || !tt.bad && (s.d != tt.want || !s.set) {
			t.Errorf("%q: got %v, %v, want %v", tt.text, s.d, err, tt.want)
		}
	}
}

func TestArgumentsSplitAtTheFirstSign(t *testing.T) {
	var o reqOptions
	if err := o.arguments([]string{"a", "b", "x=1", "y:2", "z=a=b:c", "e="}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"x": "1", "y": "2", "z": "a=b:c", "e": ""}
	if len(o.inputs) != len(want) {
		t.Errorf("got %v", o.inputs)
	}
	for k, v := range want {
		if o.inputs[k] != v {
			t.Errorf("%s: got %q, want %q", k, o.inputs[k], v)
		}
	}
	for _, args := range [][]string{{}, {"a"}, {"a", "b", "c"}, {"a", "b", "=c"}, {"a", "b", "x=1", "x=2"}} {
		if err := new(reqOptions).arguments(args); exitOf(err) != exitUsage {
			t.Errorf("%q: got %v, want wrong usage", args, err)
		}
	}
}

func TestAnInputThatIsNotKeyValueIsNotQuoted(t *testing.T) {
	err := new(reqOptions).arguments([]string{"choria_provision", "restart", "s3cret-without-a-key"})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v: a token typed without its key must not be shown", err)
	}
}

func exitOf(err error) int {
	code, _, _ := classify(context.Background(), err)
	return code
}

func TestEveryErrorHasItsExitCode(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk full"), 1},
		{usage(errors.New("x"), ""), 2},
		{&ddl.InputError{}, 2}, {&ddl.UnknownAgentError{}, 2}, {&filter.SurpriseError{}, 2}, {&config.NotFoundError{}, 2},
		{&discovery.SourceError{Kind: discovery.Misuse, Err: errors.New("x")}, 2},
		{refuse("", "no"), 7}, {noNodes(""), 8},
		{&bus.Problem{}, 9}, {&security.CredentialError{}, 9}, {fmt.Errorf("wrapped: %w", &bus.Problem{}), 9},
		{&discovery.SourceError{Kind: discovery.Unreachable, Err: errors.New("x")}, 9},
		{ended(3), 3},
	}
	for _, tt := range tests {
		if got := exitOf(tt.err); got != tt.want {
			t.Errorf("%T %v: exit code %d, want %d", tt.err, tt.err, got, tt.want)
		}
	}
	for s, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(signalError{s})
		if got, _, _ := classify(ctx, errors.New("interrupted somewhere")); got != want {
			t.Errorf("%v: exit code %d, want %d", s, got, want)
		}
	}
}

func TestEveryVerdictHasAnExitCode(t *testing.T) {
	seen := map[int]batch.Verdict{}
	for v := batch.Fault; v <= batch.Done; v++ {
		code := resultCode(run.Result{Summary: batch.Summary{Verdict: v}})
		if other, twice := seen[code]; twice {
			t.Errorf("%v and %v share exit code %d", v, other, code)
		}
		seen[code] = v
	}
	for s, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		if got := resultCode(run.Result{Summary: batch.Summary{Verdict: batch.Interrupted}, Signal: signalError{s}}); got != want {
			t.Errorf("%v: exit code %d, want %d", s, got, want)
		}
	}
	if got := resultCode(run.Result{}); got != exitOK {
		t.Errorf("a dry run ends with %d", got)
	}
}

func TestHelpNeverDials(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"req", "--help"}, {"inventory", "--help"}, {"runs", "--help"}, {"lab", "--help"}, {"version"}} {
		var out, stderr bytes.Buffer
		a := &app{io: streams{strings.NewReader(""), &out, &stderr}, env: environment{func(string) (string, bool) { return "", false }}}
		if code := a.execute(t.Context(), args); code != 0 || out.Len() == 0 || stderr.Len() > 0 {
			t.Errorf("%q: exit %d, %d bytes on stdout, stderr %q", args, code, out.Len(), stderr.String())
		}
	}
}
