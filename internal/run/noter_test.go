package run

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/proof"
)

// Nodes that started a short time ago are named in the plan, get no request, and change no exit code; a resume keeps the
// limit.
func TestNodesThatStartedRecentlyAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.nodes["n2"].start = time.Now().Add(-10 * time.Minute)
		r := restart()
		r.Pace.NotSince = Wait{30 * time.Minute, true}
		dry := r
		dry.DryRun = true
		if _, err := w.start(t.Context(), dry); err != nil {
			t.Fatal(err)
		}
		if notes := strings.Join(one[Planned](t, w.events).Plan.Notes, "\n"); !strings.Contains(notes, "1 of 3 nodes started within 30m0s and will be left out (--not-since; each batch looks again): n2") {
			t.Errorf("the plan notes %q", notes)
		}
		res, err := w.start(t.Context(), r)
		if err != nil || res.Summary.Verdict != batch.Done || len(w.sent()) != 2 || strings.Contains(strings.Join(w.sent(), " "), "n2") {
			t.Fatalf("%v, %s, sent %q", err, res.Summary.Verdict, w.sent())
		}
		s := w.last()
		for n := range s.Progress.Results() {
			if n.Identity == "n2" && (n.State != batch.NotSent || n.Reason != "its process is younger than 30m0s") {
				t.Errorf("%+v", n)
			}
		}
		if s.Progress.Open() != 0 {
			t.Errorf("%d nodes are open", s.Progress.Open())
		}
		again, err := Request{Inputs: map[string]string{"token": "s3cret"}}.Reopen(s)
		if err != nil || again.Pace.NotSince.D != 30*time.Minute {
			t.Errorf("a resume leaves out within %v, %v", again.Pace.NotSince, err)
		}
	})
}

func TestNotSinceNeedsTheStartOfProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, set := range []func(r *Request){
			func(r *Request) { r.Proof.None = true },
			func(r *Request) { r.Proof.Verify, r.Proof.Expr = "rpcutil#ping", "ok()" },
			func(r *Request) { *r = ping() },
		} {
			w := newWorld(t, "n1")
			r := restart()
			set(&r)
			r.Pace.NotSince = Wait{time.Hour, true}
			if _, err := w.start(t.Context(), r); err == nil || !strings.Contains(err.Error(), "--not-since needs the proof") || w.dials > 0 {
				t.Errorf("%+v: %v, %d dials", r.Proof, err, w.dials)
			}
		}
	})
}

func TestAStormOfLoginsIsNoted(t *testing.T) {
	whole := func(n int) batch.Plan {
		return batch.Plan{Batches: []batch.Batch{{Nodes: make([]string, 1)}, {Nodes: make([]string, n)}}}
	}
	window := batch.Plan{Policy: batch.Policy{Rolling: true, Sizes: batch.Sizes{batch.Number(1), batch.Number(2000)}}, Pool: make([]string, 5000)}
	for _, tt := range []struct {
		name   string
		plan   batch.Plan
		action proof.Action
		splay  time.Duration
		want   string // "" is no note
	}{
		{"as many as fit", whole(1440), proof.Restart, 0, ""},
		{"one more", whole(1441), proof.Restart, 0, "1441 nodes at once come back within 9 s: more than one core of a broker can log in (about 160 a second), and brokers drop a login after 2 s: for one core, splay=11 spreads them"},
		{"a few that all act at once", whole(3), proof.Restart, time.Second, ""},
		{"too many that all act at once", whole(161), proof.Restart, time.Second, "161 nodes at once come back within 1 s"},
		{"that splay is enough", whole(1441), proof.Restart, 11 * time.Second, ""},
		{"a large one", whole(16000), proof.Restart, 0, "splay=101 spreads them"},
		{"that splay is enough, too", whole(16000), proof.Restart, 101 * time.Second, ""},
		{"too large for any splay", whole(100_000), proof.Restart, 600 * time.Second, "use batches of at most 95840"},
		{"reprovision has no splay", whole(2000), proof.Reprovision, 0, "use batches of at most 1440"},
		{"shutdown comes back never", whole(20000), proof.Shutdown, 0, ""},
		{"a window", window, proof.Restart, 0, "2000 nodes at once"},
	} {
		if got := stormNote(tt.plan, tt.action, tt.splay); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
