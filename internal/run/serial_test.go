package run

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// The question between batches is put beside the engine, which goes on recording: a Reporter need not know of that.
func TestEventsAreReportedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		w.asker.away, w.asker.answers = nil, []string{"y", "d", "y"}
		keys := make(chan batch.Control)
		var inside atomic.Int32
		w.events.hook = func(e Event) {
			if inside.Add(1) > 1 {
				t.Errorf("%T is reported beside another event", e)
			}
			defer inside.Add(-1)
			if _, asking := e.(Asking); asking {
				go func() {
					keys <- batch.Control{Pause: true, By: "operator"}
					<-time.After(time.Second)
					keys <- batch.Control{By: "operator"}
				}()
			}
			for range 20000 { // time stands still while an event is reported
				runtime.Gosched()
			}
		}
		r := restart()
		r.Policy.Sizes, r.Pace.ConfirmEach = batch.Sizes{batch.Number(1)}, Wish{true, true}
		c := w.context()
		c.Outlive = func(Next) <-chan batch.Control { return keys }
		if res, err := Start(t.Context(), c, r); err != nil || res.Summary.States.Of(batch.Verified) != 2 {
			t.Errorf("%v, %v", states(res.Summary), err)
		}
		paused := 0
		for _, name := range w.events.names() {
			if name == string(batch.KindPaused) {
				paused++
			}
		}
		if paused == 0 {
			t.Error("nothing was recorded while the operator was asked")
		}
	})
}
