package run

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// A dry run asks for no secret, and judges anyway where it would go: it ends as the command would.
func TestADryRunJudgesSecretsThatItDoesNotRead(t *testing.T) {
	for _, p := range sendingPaths {
		if !p.stored {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "n1", "n2")
				if p.shared {
					w.share()
				}
				s := interrupted(t, w)
				<-time.After(2 * time.Minute) // its locks expire
				dry := func() error {
					c := w.context()
					r, err := Request{DryRun: true}.Reopen(s)
					if err != nil {
						t.Fatal(err)
					}
					_, err = p.send(t.Context(), c, r, s)
					return err
				}
				if err := dry(); err != nil {
					t.Errorf("over TLS: %v", err)
				}
				w.open = true
				e, ok := errors.AsType[*GuardError](dry())
				if !ok || e.Guard != secretsGuard {
					t.Errorf("without TLS: %+v", e)
				}
				if got := w.sent(); len(got) != 1 {
					t.Errorf("sent %q", got)
				}
			})
		})
	}
}
