package run

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

func TestWhatAnotherProcessAsksReachesTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Store{Dir: t.TempDir()}
		if err := s.Control("r1", batch.Control{Pause: true, By: "earlier"}); err != nil {
			t.Fatal(err)
		}
		typed := make(chan batch.Control, 1)
		asked, stop := s.controls("r1", typed)
		select {
		case c := <-asked:
			t.Errorf("the run is asked for what an earlier process was asked: %+v", c)
		case <-time.After(time.Second):
		}
		for _, c := range []batch.Control{{Pause: true, By: "ann"}, {By: "bob"}} {
			if err := s.Control("r1", c); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []batch.Control{{Pause: true, By: "ann"}, {By: "bob"}} {
			if got := <-asked; got.Pause != want.Pause || got.By != want.By {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		typed <- batch.Control{Pause: true, By: "key"}
		if got := <-asked; got.By != "key" {
			t.Errorf("got %+v, want what was typed", got)
		}
		stop()
		if _, err := os.Stat(s.controlFile("r1")); !os.IsNotExist(err) {
			t.Errorf("the file is left behind: %v", err)
		}
	})
}

func TestHalfALineAsksNothingYet(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	path := s.controlFile("r1")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"pause\":true,\"by\":\"ann\"}\nnonsense\n{\"pause\":fal")
	asked, at := readControls(path, 0)
	if len(asked) != 1 || !asked[0].Pause || asked[0].By != "ann" {
		t.Errorf("asked %+v", asked)
	}
	write("{\"pause\":true,\"by\":\"ann\"}\nnonsense\n{\"pause\":false,\"by\":\"bob\"}\n")
	if asked, _ = readControls(path, at); len(asked) != 1 || asked[0].Pause || asked[0].By != "bob" {
		t.Errorf("then %+v", asked)
	}
}
