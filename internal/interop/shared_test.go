//go:build unix

package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// operator is one of several, with a name and a machine of its own.
type operator struct {
	*network
	name, config string
}

func (n *network) operator(t *testing.T, name string) operator {
	t.Helper()
	return operator{n, name, n.writeOperator(t, name, name, time.Hour)}
}

func (o operator) home(t *testing.T) (dir string, extra []string) {
	t.Helper()
	return o.folder(t, "homes", o.name), []string{"FLEETCTL_CONFIG=" + o.config, "MCOLLECTIVE_CERTNAME=" + o.name + ".mcollective"}
}

// does checks the exit code of a command, and that it says something.
func (o operator) does(t *testing.T, code int, says string, args ...string) result {
	t.Helper()
	dir, extra := o.home(t)
	res := run(t, dir, environment(dir, extra...), append([]string{fleetctlBinary(t)}, args...)...)
	if res.Code != code || !strings.Contains(res.Stdout+res.Stderr, says) {
		t.Errorf("%s: fleetctl %s: exit %d, want %d and %q: %s%s", o.name, strings.Join(args, " "), res.Code, code, says, res.Stdout, res.Stderr)
	}
	return res
}

// begins starts a command, and does not wait for its end.
func (o operator) begins(t *testing.T, args ...string) *process {
	t.Helper()
	dir, extra := o.home(t)
	return startProcess(t, o.name, dir, append(append([]string{"env"}, extra...), append([]string{fleetctlBinary(t)}, args...)...)...)
}

// driven awaits the id of a shared run that is in progress.
func (o operator) driven(t *testing.T) (id string) {
	t.Helper()
	await(t, time.Minute, "a shared run is in progress", func() bool {
		var list struct {
			Runs []struct {
				ID, Status string
			}
		}
		decode(t, o.does(t, 0, "", "runs", "list", "--shared", "--json"), &list)
		for _, r := range list.Runs {
			if r.Status == "running" {
				id = r.ID
			}
		}
		return id != ""
	})
	return id
}

// code awaits the end of a process, and returns its exit code.
func (p *process) code(t *testing.T) int {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(commandLimit):
		t.Fatalf("%s still runs", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// output is what an operator's processes have printed so far.
func (p *process) output(t *testing.T) string {
	t.Helper()
	out, err := os.ReadFile(filepath.Join(p.dir, "out.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestSharedRunsOnChoriasBrokers: a run is followed and controlled from another machine, adopted there after its driver was
// killed, and a saved plan is applied by one operator only. No server restarts twice in a run.
func TestSharedRunsOnChoriasBrokers(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		n := newNetwork(t, version)
		n.streams = true
		n.startBroker(t)
		n.populate(t, 3)
		alice, bob, carol := n.operator(t, "alice"), n.operator(t, "bob"), n.operator(t, "carol")
		starts := func() (all int) {
			for _, node := range n.Nodes {
				all += n.Starts(t, node)
			}
			return all
		}
		plan := []string{"req", "choria_provision", "restart", "token=" + provisionToken, "splay=1", "--batch", "1", "--canary", "0"}
		restart := append(plan, "--batch-sleep", "5", "--share", "--yes", "--np")

		alice.does(t, 9, "no bucket FLEETCTL", append(restart, "--lock-wait", "2m")...) // the broker makes the bucket of locks late
		alice.does(t, 0, "was made", "shared", "init", "--replicas", "1")
		alice.does(t, 0, "", "req", "rpcutil", "ping", "--share", "--lock-wait", "2m", "--np")
		bob.does(t, 0, "ping", "runs", "list", "--shared")

		driver := alice.begins(t, restart...)
		id := bob.driven(t)
		watcher := carol.begins(t, "runs", "watch", id, "--shared")
		bob.does(t, 0, id, "runs", "show", id, "--shared")
		bob.does(t, 0, "is paused", "runs", "pause", id, "--shared")
		await(t, 5*time.Second, "the list has the pause", func() bool {
			return strings.Contains(bob.does(t, 0, id, "runs", "list", "--shared").Stdout, "paused")
		})
		bob.does(t, 0, "continues", "runs", "continue", id, "--shared")
		bob.does(t, 0, "asked choria=alice", "runs", "stop", id, "--shared")
		bob.does(t, 130, "", "runs", "wait", id, "--shared")
		for _, p := range []*process{driver, watcher} {
			if code := p.code(t); code != 130 {
				t.Errorf("%s: exit %d after the stop: %s", p.name, code, p.output(t))
			}
		}

		await(t, time.Minute, "all are up after the stop", func() bool {
			return len(strings.Fields(alice.does(t, 0, "", "ping", "--names", "--timeout", "3").Stdout)) == 3
		})
		before := starts()
		driver = alice.begins(t, restart...)
		id = bob.driven(t)
		await(t, time.Minute, "the second node is up again", func() bool { return starts() >= before+2 })
		if err := driver.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		bob.does(t, 7, "choria=alice", "runs", "adopt", id, "token="+provisionToken, "--yes")
		adoption := bob.begins(t, "runs", "adopt", id, "token="+provisionToken, "--yes", "--np", "--lock-wait", "2m")
		await(t, 2*time.Minute, "bob drives the run", func() bool {
			adoption.mustRun(t)
			return strings.Contains(carol.does(t, 0, "", "runs", "list", "--shared").Stdout, "choria=bob")
		})
		carol.does(t, 7, "choria=bob", "runs", "adopt", id, "token="+provisionToken, "--yes")
		alice.does(t, 7, "choria=bob", "runs", "resume", id, "token="+provisionToken, "--yes")
		if code := adoption.code(t); code != 0 {
			t.Errorf("the adoption: exit %d: %s", code, adoption.output(t))
		}
		alice.does(t, 7, "it was adopted by", "runs", "resume", id, "token="+provisionToken, "--yes")
		carol.does(t, 0, "3 verified", "runs", "show", id, "--shared")
		if got := starts() - before; got != 3 {
			t.Errorf("3 servers have started %d times in the adopted run", got)
		}

		file := n.path("restart.plan")
		alice.does(t, 0, "", append(plan, "--batch-sleep", "0", "--save-plan", file)...)
		alice.does(t, 0, "3 verified", "apply", file, "token="+provisionToken, "--np")
		bob.does(t, 7, "it was applied already", "apply", file, "token="+provisionToken, "--np")
		if got := starts() - before; got != 6 {
			t.Errorf("3 servers have started %d times in the adopted run and the plan", got)
		}
	})
}
