//go:build unix

package main

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/batch"
	"fleetctl/internal/lab"
	"fleetctl/internal/run"
)

// home is an operator with a machine of its own.
type home struct {
	*fleet
	config string
}

func (f *fleet) home(config string) home {
	f.t.Helper()
	return home{&fleet{t: f.t, lab: f.lab, dir: f.t.TempDir()}, filepath.Join(f.lab.Dir(), config)}
}

func (h home) does(args ...string) result { return h.run(append(args, "--config", h.config)...) }

// TestALaptopDies: the driver of a shared run is killed between the intent of its second batch and the replies. Another home
// adopts the run; a third one that tries meanwhile is refused, and so is the first one afterwards. No node gets two requests.
func TestALaptopDies(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{1, 2} {
		t.Run(fmt.Sprint("v", protocol), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, lab.Options{Nodes: 6, Protocol: protocol, Streams: true, Faults: lab.Faults{Slow: lab.Amount{N: 100, Percent: true}}})
			alice, bob, carol := f.home("client.conf"), f.home("client-bob.conf"), f.home("client.conf")
			if res := alice.does("shared", "init"); res.code != 0 {
				t.Fatalf("shared init: %+v", res)
			}
			c := alice.command(patient(t), append([]string{"req", "choria_provision", "restart", "--share", "--batch", "2", "--batch-sleep", "1", "--canary", "0", "--yes", "--np"}, f.all()...)...)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			second := f.lab.Nodes()[2].Identity
			if err := f.lab.AwaitReceived(patient(t), second, "choria_provision", "restart", 1); err != nil {
				t.Fatal(err)
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // killed
			s, err := alice.stored("state")
			if err != nil || s.Progress.State(second) != batch.Unknown {
				t.Fatalf("the record of the killed run has %s as %s, %v", second, s.Progress.State(second), err)
			}

			if res := bob.does("runs", "adopt", s.ID, "--yes"); res.code != 7 || !strings.Contains(res.stderr, "drives run "+s.ID) {
				t.Errorf("adopted while the lock lived: %+v", res)
			}
			adopt := bob.command(patient(t), "runs", "adopt", s.ID, "--yes", "--np", "--lock-wait", "2m", "--config", bob.config)
			pipe, err := adopt.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := adopt.Start(); err != nil {
				t.Fatal(err)
			}
			lines, said := bufio.NewScanner(pipe), ""
			for lines.Scan() {
				if said += lines.Text() + "\n"; strings.Contains(lines.Text(), "until no request of the driver before can act") {
					break
				}
			}
			if res := carol.does("runs", "adopt", s.ID, "--yes"); res.code != 7 || !strings.Contains(res.stderr, "drives run "+s.ID) {
				t.Errorf("the third one: %+v", res)
			}
			if res := alice.does("runs", "resume", s.ID, "--yes"); res.code != 7 {
				t.Errorf("the first one, meanwhile: %+v", res)
			}
			for lines.Scan() {
				said += lines.Text() + "\n"
			}
			if code := exitCode(t, adopt.Wait()); code != 0 {
				t.Fatalf("the adoption: exit %d\n%s", code, said)
			}
			if res := alice.does("runs", "resume", s.ID, "--yes"); res.code != 7 || !strings.Contains(res.stderr, "it was adopted by") {
				t.Errorf("the first one, afterwards: %+v", res)
			}
			taken, err := run.Store{Dir: filepath.Join(bob.dir, "state", "runs")}.Named(s.ID)
			if err != nil || count(taken, batch.Verified) != 6 || len(taken.Progress.Adopted()) != 1 {
				t.Errorf("bob's record: %v, %+v, %v", taken.Progress.Counts(), taken.Progress.Adopted(), err)
			}
			if total := f.restarts(); total != 6 {
				t.Errorf("the nodes took %d requests", total)
			}
			if res := carol.does("runs", "show", s.ID, "--shared"); res.code != 0 || !strings.Contains(res.out, "verified") {
				t.Errorf("elsewhere: %+v", res)
			}
		})
	}
}
