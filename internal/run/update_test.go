package run

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/fleet"
)

func releaseUpdate() Request {
	return Request{Agent: "choria_provision", Action: "release_update",
		Inputs: map[string]string{"token": "s3cret", "version": "0.30.2", "repository": "https://example.net/choria"}}
}

// updated makes a node start again with a version after a while.
func (w *world) updated(after time.Duration, node, version string) {
	time.AfterFunc(after, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.nodes[node].start, w.nodes[node].runs = time.Now(), version
	})
}

// A node whose reply was dropped is waited for, and its batch goes on as soon as it is proved; one that stays silent and
// as it was holds its batch for the time for proof.
func TestUpdatesAreProvedWithoutAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4", "n5")
		w.nodes["n1"].data = `{"message":"Restarting Choria Server after 2s"}`
		w.updated(3*time.Second, "n1", "0.30.2")
		w.nodes["n2"].silent = true
		w.updated(45*time.Second, "n2", "0.30.2")
		w.nodes["n3"].code, w.nodes["n3"].says = 1, "Could not obtain provisioning lock"
		w.nodes["n4"].silent = true
		w.updated(80*time.Second, "n4", "0.29.9") // not what was asked for
		w.nodes["n5"].silent = true
		r := releaseUpdate()
		r.Policy.Sizes = batch.Sizes{batch.Number(3)}
		begin := time.Now()
		res, err := w.start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		want := map[batch.State]int{batch.Verified: 2, batch.Refused: 1, batch.NoReply: 2}
		if got := states(res.Summary); !maps.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
		first, second := res.Summary.Batches[0], res.Summary.Batches[1]
		if took := first.Ended.Sub(begin); took < 45*time.Second || took > 52*time.Second {
			t.Errorf("batch 1 ended after %v, want as soon as n2 was proved", took)
		}
		if took := second.Ended.Sub(second.Sent); took < 5*time.Minute || took > 5*time.Minute+10*time.Second {
			t.Errorf("batch 2 took %v, want the whole time for proof", took)
		}
		for _, sent := range w.sent() {
			if strings.Count(strings.Join(w.sent(), "\n"), strings.Fields(sent)[0]+" ") != 1 {
				t.Errorf("sent %q", w.sent())
			}
		}
		if pace := w.last().Progress.Pace(); !pace.Watch || pace.ReplyTimeout != 5*time.Minute {
			t.Errorf("pace %+v", pace)
		}
	})
}

func TestAnUpdateToWhatIsNoVersionNeedsAnotherProof(t *testing.T) {
	for _, tt := range []struct {
		proof Proof
		ok    bool
	}{{Proof{}, false}, {Proof{Version: "0.30.2"}, true}, {Proof{None: true}, true}, {Proof{Expr: "ok()"}, true}} {
		w := newWorld(t, "n1")
		r := releaseUpdate()
		r.Inputs["version"], r.DryRun, r.Proof = "latest", true, tt.proof
		_, err := prepare(t.Context(), w.context(), r)
		if wrong, ok := err.(*fleet.UsageError); (err == nil) != tt.ok || !tt.ok && (!ok || !strings.Contains(wrong.Error(), `"latest"`)) {
			t.Errorf("%+v: %v", tt.proof, err)
		}
	}
}

// A retry looks at the silent ones: one that was updated is proved. One that still runs the process from before may download
// without an end: it gets no second request.
func TestARetryOfAnUpdateProvesWhatWasSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.nodes["n1"].silent, w.nodes["n2"].silent = true, true
		r := releaseUpdate()
		r.Proof.Timeout, r.Rules.MaxNoReply = Wait{30 * time.Second, true}, batch.Number(9)
		if res, err := w.start(t.Context(), r); err != nil || res.Summary.States.Of(batch.NoReply) != 2 {
			t.Fatalf("%v, %v", states(res.Summary), err)
		}
		w.nodes["n1"].start, w.nodes["n1"].runs = time.Now(), "0.30.2"
		again, err := Request{Inputs: map[string]string{"token": "s3cret"}}.Reopen(w.last())
		if err != nil {
			t.Fatal(err)
		}
		res, err := Retry(t.Context(), w.context(), again, w.last(), []batch.State{batch.NoReply})
		if err != nil || res.Summary.States.Of(batch.Verified) != 1 || res.Summary.States.Of(batch.Unknown) != 1 {
			t.Errorf("%v, %v: %v", states(res.Summary), err, result(t, w.last().Progress, "n2"))
		}
		if sent := strings.Join(w.sent(), "\n"); strings.Count(sent, "n1 ") != 1 || strings.Count(sent, "n2 ") != 1 {
			t.Errorf("sent\n%s", sent)
		}
	})
}
