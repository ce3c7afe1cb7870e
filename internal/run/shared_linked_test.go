package run

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// Linked runs of which this machine has the records may have been adopted elsewhere. Their shared records have what they sent
// since; the records here do not.
func TestLinkedRunsThatWereAdoptedElsewhereCount(t *testing.T) {
	for _, adoptsRetry := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "n1", "n2", "n3")
			ops := operators(t, w, "alice", "bob")
			alice, bob := ops[0], ops[1]
			first := dying(t, alice)
			parent := alice.stored(t)
			alice.mute = true // the retry cannot send: its record is shared, and its node was not reached
			again, err := Retry(t.Context(), alice.context(), alice.again(t, parent), parent, []batch.State{batch.NotSent})
			if err != nil {
				t.Fatal(err)
			}
			alice.mute = false
			retry := alice.stored(t)
			if retry.ID != again.ID || retry.Progress.State("n3") != batch.NotSent {
				t.Fatalf("the retry %s sent: n3 is %s", retry.ID, retry.Progress.State("n3"))
			}
			<-time.After(5 * time.Minute)

			adopted, resumed := again.ID, parent
			if !adoptsRetry {
				adopted, resumed = first.ID, retry
			}
			s := dead(t, w, adopted)
			if _, err := Adopt(t.Context(), bob.context(), bob.again(t, s), s); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(w.sent(), " "), "n3") {
				t.Fatalf("the adopted run sent to %q", w.sent())
			}
			_, err = Resume(t.Context(), alice.context(), alice.again(t, resumed), resumed)
			if text := refusal(t, err); !strings.Contains(text, "run "+adopted+", which is linked to it by a retry, has sent or may have sent to 1 node of these: n3") {
				t.Errorf("adopts the retry %t: %s", adoptsRetry, text)
			}
			sentOnce(t, w)
		})
	}
}
