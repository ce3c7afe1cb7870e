package run

import (
	"strings"
	"testing"
	"testing/synctest"

	"fleetctl/batch"
)

// A secret is needed to send, not to look: a run that has nothing left to send is shown, or proved, without it.
func TestAResumeNeedsSecretsOnlyToSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		s := interrupted(t, w)
		c, r := w.again(t, Request{}, s)
		r.Inputs = nil
		_, err := Resume(t.Context(), c, r, s)
		if err == nil || !strings.Contains(err.Error(), `input "token" is required`) || w.last().Progress.Open() != 1 {
			t.Errorf("with a node to send to: %v", err)
		}
		c, r = w.again(t, Request{}, s)
		if _, err := Resume(t.Context(), c, r, s); err != nil {
			t.Fatal(err)
		}
		c, r = w.again(t, Request{}, w.last())
		r.Inputs = nil
		res, err := Resume(t.Context(), c, r, w.last())
		if err != nil || res.Summary.Verdict != batch.Done || len(w.sent()) != 2 {
			t.Errorf("with nothing to send: %v, %v", res.Summary.Verdict, err)
		}
		if _, err := Retry(t.Context(), c, r, w.last(), []batch.State{batch.Verified}); err == nil || !strings.Contains(err.Error(), `input "token" is required`) {
			t.Errorf("a retry: %v", err)
		}
	})
}
