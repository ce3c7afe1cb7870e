package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"fleetctl/internal/lab"
)

// peerVariable makes a process of this test binary a broker: a lab.Peer in JSON.
const peerVariable = "FLEETCTL_TEST_PEER"

// runPeer is a broker until stdin ends: it does not outlive the test.
func runPeer(text string) int {
	var p lab.Peer
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that counts
		cancel()
	}()
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = lab.RunPeer(ctx, p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// peers are the brokers of a cluster that run in processes of their own.
type peers struct {
	t  *testing.T
	mu sync.Mutex // guards what follows
	at map[int]lab.Peer
	up map[int]*exec.Cmd
}

func newPeers(t *testing.T) *peers {
	return &peers{t: t, at: map[int]lab.Peer{}, up: map[int]*exec.Cmd{}}
}

// end kills all, before the lab removes their folders.
func (p *peers) end() {
	for i := range p.at {
		p.kill(i)
	}
}

func (p *peers) start(peer lab.Peer) error {
	text, err := json.Marshal(peer)
	if err != nil {
		return err
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), peerVariable+"="+string(text))
	c.Stderr = os.Stderr
	if _, err := c.StdinPipe(); err != nil { // it stays open while this process lives
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[peer.Number], p.up[peer.Number] = peer, c
	return c.Start()
}

// kill kills a broker, as kill -9 does.
func (p *peers) kill(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.up[i]; c != nil && c.Process != nil {
		_ = c.Process.Kill() // it has ended already
		_ = c.Wait()         // and so it reports
	}
	delete(p.up, i)
}

func (p *peers) restart(i int) {
	p.t.Helper()
	if err := p.start(p.at[i]); err != nil {
		p.t.Fatal(err)
	}
}

// TestASharedBudgetOutlivesKilledLeaders: of a cluster of three processes, with streams on disk, those that lead the streams
// of budgets and records, and of locks, are killed in turn, in the middle of a run that holds a lock, has limits and is
// shared. Each node is restarted once, and never two of a rack, or more than 20, at once.
func TestASharedBudgetOutlivesKilledLeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes most of a minute")
	}
	t.Parallel()
	brokers := newPeers(t)
	total := large(200)
	p := newPractice(t, lab.Options{Nodes: total, Streams: true, Brokers: 3, StartPeer: brokers.start, Hasty: true, KeepLog: true})
	t.Cleanup(brokers.end)
	if r := p.run("shared init"); r.code != 0 {
		t.Fatalf("shared init: exit %d, %s", r.code, r.err)
	}
	ended := make(chan result, 1)
	go func() {
		ended <- p.run("req choria_provision restart token=s3cret --lock web --share --max-down 20 --max-down rack=1 --canary 0 --batch-sleep 0 --yes --json" + p.all())
	}()
	for i, stream := range []string{"KV_FLEETCTL", "KV_CHORIA_LEADER_ELECTION"} {
		if err := awaitRestarts(p, ended, total/10+total*9/20*i); err != nil {
			t.Fatal(err)
		}
		leader, err := p.lab.Leader(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		brokers.kill(leader)
		t.Logf("broker %d led %s, and was killed", leader, stream)
		if err := awaitRestarts(p, ended, total*3/10+total*9/20*i); err != nil {
			t.Fatal(err)
		}
		brokers.restart(leader)
	}
	if got := <-ended; got.code != 0 || !strings.Contains(got.out, fmt.Sprintf(`"verified": %d`, total)) {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	p.keptBudget(20)
}
