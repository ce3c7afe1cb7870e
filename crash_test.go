package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/lab"
	"fleetctl/internal/run"
)

// fleet is a lab in this process, with the real program as its client in others.
type fleet struct {
	t   *testing.T
	lab *lab.Lab
	dir string // the client's home
}

func newFleet(t *testing.T, o lab.Options) *fleet {
	t.Helper()
	o.KeepLog = true
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fleet{t: t, lab: l, dir: t.TempDir()}
}

// all names every node: a search may miss one on a busy machine, and takes two seconds elsewhere.
func (f *fleet) all() []string {
	var args []string
	for _, n := range f.lab.Nodes() {
		args = append(args, "-I", n.Identity)
	}
	return args
}

// patience is how long a test waits for a program or a node: what hangs is killed, and fails with what it has said.
const patience = 2 * time.Minute

// patient is the test's context, with an end to its patience.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// command is fleetctl with this fleet's configuration: the test binary is fleetctl when it is called so.
func (f *fleet) command(ctx context.Context, args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	c := exec.CommandContext(ctx, self)
	c.Args = append([]string{"fleetctl", "--connect-timeout", "30s"}, args...) // a busy machine starves the broker for seconds
	c.Dir = f.dir
	c.Env = append(os.Environ(), "FLEETCTL_CONFIG="+f.lab.ConfigFile(), "FLEETCTL_TOKEN=s3cret", "HOME="+f.dir, "USER=operator",
		"XDG_CONFIG_HOME="+f.dir, "XDG_STATE_HOME="+f.dir, "FLEETCTL_STATE_DIR="+filepath.Join(f.dir, "state"))
	return c
}

// result is what a finished program left.
type result struct {
	code        int
	out, stderr string
}

func (f *fleet) run(args ...string) result {
	var out, stderr bytes.Buffer
	c := f.command(patient(f.t), args...)
	c.Stdout, c.Stderr = &out, &stderr
	return result{exitCode(f.t, c.Run()), out.String(), stderr.String()}
}

// begun is a run of two batches that has sent the first.
type begun struct {
	*exec.Cmd
	stderr io.Closer
	lines  *bufio.Scanner
}

// begin starts fleetctl and returns when it says that the first of two batches is on its way.
func (f *fleet) begin(args ...string) begun {
	f.t.Helper()
	c := f.command(patient(f.t), args...)
	pipe, err := c.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	b := begun{c, pipe, bufio.NewScanner(pipe)}
	for b.lines.Scan() && !strings.Contains(b.lines.Text(), "batch 1/2") {
	}
	return b
}

// rest is what it says from there to its end.
func (b begun) rest() string {
	var text strings.Builder
	for b.lines.Scan() {
		text.WriteString(b.lines.Text() + "\n")
	}
	return text.String()
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// restarts demands that no node took more than one request to restart: one that it dropped, because it was too old when it
// arrived, may be sent again.
func (f *fleet) restarts() (total int) {
	f.t.Helper()
	for _, n := range f.lab.Nodes() {
		got, log := f.taken(n.Identity)
		if got > 1 {
			f.t.Errorf("node %s took %d requests:\n%s", n.Identity, got, log)
		}
		total += got
	}
	return total
}

// taken is how many requests to restart a node got and did not drop, and what it did.
func (f *fleet) taken(node string) (n int, log string) {
	for _, e := range f.lab.Log(node) {
		if e.Agent != "choria_provision" || e.Action != "restart" {
			continue
		}
		log += "  " + e.String() + "\n"
		switch {
		case e.Deed == lab.Received:
			n++
		case e.Deed == lab.Dropped && e.Text != "no answer": // a node that is about to act answers nothing
			n--
		}
	}
	return n, log
}

// stored is the newest run of a folder of records, read as `runs show` reads it.
func (f *fleet) stored(dir string) (run.Stored, error) {
	return run.Store{Dir: filepath.Join(f.dir, dir, "runs")}.Named("last")
}

// show is the newest run of this fleet.
func (f *fleet) show() run.Stored {
	f.t.Helper()
	s, err := f.stored("state")
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// count is how many nodes of a run are in a state.
func count(s run.Stored, state batch.State) int { return s.Progress.Counts().Of(state) }

// TestKilledRunsAreResumedWithoutSendingTwice kills twenty runs at random moments, each over nodes of its own, in batches
// or in a window, and resumes them: no node gets two requests, and no node is missing.
func TestKilledRunsAreResumedWithoutSendingTwice(t *testing.T) {
	notRaced(t)
	t.Parallel()
	const runs, each = 20, 6
	f := newFleet(t, lab.Options{Nodes: runs * each, Protocol: 2})
	nodes := f.lab.Nodes()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var wait sync.WaitGroup
	for i := range runs {
		after := time.Duration(rng.Int64N(int64(7 * time.Second)))
		var names []string
		for _, n := range nodes[i*each : (i+1)*each] {
			names = append(names, n.Identity)
		}
		mode := []string{"barrier", "rolling"}[i%2]
		wait.Go(func() { f.killAndResume(fmt.Sprintf("state-%d", i), mode, names, after) })
	}
	wait.Wait()
	if total := f.restarts(); total > runs*each {
		t.Errorf("%d requests for %d nodes", total, runs*each)
	} else {
		t.Logf("%d of %d nodes got their request", total, runs*each)
	}
}

func (f *fleet) killAndResume(state, mode string, names []string, after time.Duration) {
	dir := []string{"--state-dir", filepath.Join(f.dir, state)}
	args := append([]string{"req", "choria_provision", "restart", "splay=1", "--mode", mode, "--batch", "3", "--batch-sleep", "0", "--ttl", "2s", "--np"}, dir...)
	for _, n := range names {
		args = append(args, "-I", n)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), after) // CommandContext kills with SIGKILL
	defer cancel()
	_ = f.command(ctx, args...).Run()
	if _, err := f.stored(state); err != nil {
		return // killed before the record began: nothing was sent, which the count of requests shows
	}
	r := f.run(append([]string{"runs", "resume", "last"}, dir...)...)
	s, err := f.stored(state)
	if err != nil {
		f.t.Errorf("killed after %v: %v", after, err)
		return
	}
	if total := s.Progress.Counts().Total(); total != len(names) {
		f.t.Errorf("killed after %v: %d of %d nodes are in the record", after, total, len(names))
	}
	if open := count(s, batch.Planned) + count(s, batch.Sending) + count(s, batch.NotSent); open > 0 {
		f.t.Errorf("killed after %v: resume left %d nodes open (exit %d): %v\n%s", after, open, r.code, s.Progress.Counts(), r.stderr)
	}
	for n := range s.Progress.Results() {
		got, log := f.taken(n.Identity)
		if (n.State == batch.Verified || n.State == batch.Accepted) && got != 1 {
			f.t.Errorf("killed after %v: node %s is %s with %d requests:\n%s", after, n.Identity, n.State, got, log)
		}
	}
}

// TestARunBelongsToOneProcess lets a run be watched and stopped from outside, and taken over only when its process is gone.
func TestARunBelongsToOneProcess(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 6})
	c := f.begin(append([]string{"req", "choria_provision", "restart", "splay=1", "--canary", "0", "--batch", "3", "--batch-sleep", "300"}, f.all()...)...)
	for _, name := range nodesSentTo(f) {
		if err := f.lab.AwaitReceived(patient(t), name, "choria_provision", "restart", 1); err != nil {
			t.Fatal(err)
		}
	}
	if r := f.run("runs", "resume", "last"); r.code != 7 || !strings.Contains(r.stderr, "is doing it") {
		t.Errorf("resume of a live run: exit %d, %s", r.code, r.stderr)
	}
	if s := f.show(); !s.Live {
		t.Error("the run is not shown as live")
	}
	if r := f.run("runs", "stop", "last"); r.code != 0 {
		t.Errorf("stop: exit %d, %s", r.code, r.stderr)
	}
	rest := c.rest()
	if code := exitCode(t, c.Wait()); code != 130 || !strings.Contains(rest, "runs resume") {
		t.Errorf("the stopped run: exit %d, said %q", code, rest)
	}
	if s := f.show(); count(s, batch.NotSent) != 3 {
		t.Errorf("after the stop: %v, want 3 nodes not sent to", s.Progress.Counts())
	}
	if r := f.run("runs", "resume", "last", "--batch-sleep", "0"); r.code != 0 {
		t.Errorf("resume: exit %d, %s", r.code, r.stderr)
	}
	if got := f.restarts(); got != 6 {
		t.Errorf("%d requests for 6 nodes", got)
	}
	if r := f.run("runs", "resume", "last"); r.code != 0 || !strings.Contains(r.stderr, "nothing is left to resume") {
		t.Errorf("resume of a finished run: exit %d, %s", r.code, r.stderr)
	}
}

// TestARunOutlivesItsReaders closes the reader of stderr, then that of stdout: the run goes on to its end, its record is whole, and
// a lost result says so.
func TestARunOutlivesItsReaders(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 4})
	c := f.begin(append([]string{"req", "choria_provision", "restart", "splay=1", "--canary", "0", "--batch", "2", "--batch-sleep", "0"}, f.all()...)...)
	if err := c.stderr.Close(); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, c.Wait()); code != 0 {
		t.Errorf("without a reader of stderr: exit %d", code)
	}
	if s := f.show(); count(s, batch.Verified) != 4 {
		t.Errorf("without a reader of stderr: %v, want 4 verified", s.Progress.Counts())
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	for _, format := range []string{"text", "json", "jsonl"} {
		var stderr strings.Builder
		c := f.command(patient(t), append([]string{"req", "rpcutil", "ping", "--journal", "--output", format}, f.all()...)...)
		c.Stdout, c.Stderr = write, &stderr
		code := exitCode(t, c.Run())
		said := stderr.String()
		if code != 1 || !strings.Contains(said, "broken pipe") || !strings.Contains(said, "Done: 4 accepted") || !strings.Contains(said, "run "+f.show().ID) {
			t.Errorf("%s without a reader of stdout: exit %d, %s", format, code, said)
		}
		if strings.Count(said, "write the result: ") != 1 || !strings.Contains(said, "fleetctl runs report "+f.show().ID+"\n") {
			t.Errorf("%s without a reader of stdout: %s", format, said)
		}
	}
	for _, words := range []string{"runs list", "discover --discovery-timeout 1 -I /./"} { // they only read
		var stderr strings.Builder
		c := f.command(patient(t), strings.Fields(words)...)
		c.Stdout, c.Stderr = write, &stderr
		if err := c.Run(); err == nil || c.ProcessState.String() != "signal: broken pipe" || strings.Contains(stderr.String(), "write") {
			t.Errorf("%s without a reader of stdout: %v, %s", words, err, stderr.String())
		}
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		r := f.run(append([]string{"req", "choria_provision", "restart", "token=wrong", "-o", "/dev/full"}, f.all()...)...)
		if r.code != 1 || !strings.Contains(r.stderr, "no space") || !strings.Contains(r.stderr, "4 refused") {
			t.Errorf("a result on a full disk: exit %d, %s", r.code, r.stderr)
		}
	}
}

// TestAnInterruptSaysWhatIsWaitedFor: without a message, the wait for silent nodes looks as if Ctrl-C did nothing.
func TestAnInterruptSaysWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 2, Faults: lab.Faults{Silent: lab.Amount{N: 2}}})
	c := f.begin(append([]string{"req", "choria_provision", "restart", "splay=1", "--canary", "0", "--batch", "1", "--reply-timeout", "2"}, f.all()...)...)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest := c.rest()
	if code := exitCode(t, c.Wait()); code != 130 || !strings.Contains(rest, "replies that are waited for: 1") {
		t.Errorf("exit %d, said %q", code, rest)
	}
}

// nodesSentTo are the first batch's: the first three in natural order.
func nodesSentTo(f *fleet) []string {
	var names []string
	for _, n := range f.lab.Nodes() {
		names = append(names, n.Identity)
	}
	return discovery.Sort(names)[:3]
}

// TestRetryReachesExactlyTheRightNodes retries the nodes that were silent or refused, and no others.
func TestRetryReachesExactlyTheRightNodes(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 20, Protocol: 2, Faults: lab.Faults{Silent: lab.Amount{N: 2}, Refuse: lab.Amount{N: 3}}})
	r := f.run(append([]string{"req", "choria_provision", "restart", "splay=1", "--canary", "0", "--reply-timeout", "4", "--ttl", "4s", "--json"}, f.all()...)...)
	if r.code != 3 {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	r = f.run("runs", "retry", "last", "--failed", "--dry-run", "--json")
	if got := strings.Count(r.out, ".example.net"); r.code != 0 || got != 3 {
		t.Errorf("retry --failed: exit %d, plans %d nodes, want the 3 that refused: %s", r.code, got, r.stderr)
	}
	r = f.run("runs", "retry", "last", "--no-reply", "--reply-timeout", "4", "--ttl", "4s")
	if r.code != 4 || !strings.Contains(r.out, "2 no-reply of 2 nodes") {
		t.Errorf("retry --no-reply: exit %d, %s%s", r.code, r.out, r.stderr)
	}
	for _, n := range f.lab.Nodes() {
		want := 1
		if n.Fault == lab.Silent {
			want = 2 // proved untouched after the first request's time was over
		}
		if got := f.lab.Received(n.Identity, "choria_provision", "restart"); got != want {
			t.Errorf("node %s (%s) got %d requests, want %d", n.Identity, n.Fault, got, want)
		}
	}
}
