package run

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
)

// asks is what reaches the driver of run r1 from its control file, in a moment.
func (w *world) asks(t *testing.T, write func(path string)) []batch.Control {
	t.Helper()
	asked, stop := w.store().controls("r1", nil)
	defer stop()
	write(filepath.Join(w.dir, "r1.control"))
	var got []batch.Control
	over := time.After(4 * controlPace)
	for {
		select {
		case c := <-asked:
			got = append(got, c)
		case <-over:
			return got
		}
	}
}

// Pausing and continuing reach the driver in order, each once; what was asked of an earlier process does not.
func TestControlReachesTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ask := func(pause bool) {
			if err := w.store().Control("r1", batch.Control{Time: time.Now(), Pause: pause, By: "operator"}); err != nil {
				t.Error(err)
			}
		}
		ask(true)
		got := w.asks(t, func(string) { ask(true); ask(false) })
		if len(got) != 2 || !got[0].Pause || got[1].Pause || got[0].By != "operator" {
			t.Errorf("asked %+v", got)
		}
		if list, err := os.ReadDir(w.dir); err != nil || len(list) != 0 {
			t.Errorf("left behind: %v, %v", list, err)
		}
	})
}

// In a folder that others write, a run is controlled by its own user only: another user's file, a link to a file, and a
// folder ask nothing, and nothing is written through a link.
func TestOthersDoNotControlARun(t *testing.T) {
	const line = `{"t":"2026-01-01T00:00:00Z","pause":false,"by":"mallory"}` + "\n"
	for name, plant := range map[string]func(t *testing.T, w *world, path string){
		"another user's": func(t *testing.T, w *world, path string) {
			w.machine.UID++ // files of this test are another user's
			if err := os.WriteFile(path, []byte(line), 0o666); err != nil {
				t.Error(err)
			}
		},
		"a link": func(t *testing.T, w *world, path string) {
			target := filepath.Join(w.dir, "r1.journal")
			if err := errors.Join(os.WriteFile(target, []byte(line), 0o600), os.Symlink(target, path)); err != nil {
				t.Error(err)
			}
		},
		"a folder": func(t *testing.T, _ *world, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if got := w.asks(t, func(path string) { plant(t, w, path) }); len(got) > 0 {
					t.Errorf("asked %+v", got)
				}
				path := filepath.Join(w.dir, "r1.control")
				if _, err := os.Lstat(path); err != nil {
					plant(t, w, path) // the driver has taken it away
				}
				err := w.store().Control("r1", batch.Control{Pause: true})
				if err == nil {
					t.Error("it was written")
				}
				if name == "another user's" && !errors.Is(err, journal.ErrForeign) {
					t.Errorf("got %v", err)
				}
				if data, err := os.ReadFile(filepath.Join(w.dir, "r1.journal")); err == nil && string(data) != line {
					t.Errorf("written through the link: %q", data)
				}
			})
		})
	}
}

func TestHalfALineAsksNothingYet(t *testing.T) {
	w := newWorld(t)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.dir, "r1.control"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{\"pause\":true,\"by\":\"ann\"}\nnonsense\n{\"pause\":fal")
	asked, at := w.store().readControls("r1", 0)
	if len(asked) != 1 || !asked[0].Pause || asked[0].By != "ann" {
		t.Errorf("asked %+v", asked)
	}
	write("{\"pause\":true,\"by\":\"ann\"}\nnonsense\n{\"pause\":false,\"by\":\"bob\"}\n")
	if asked, _ = w.store().readControls("r1", at); len(asked) != 1 || asked[0].Pause || asked[0].By != "bob" {
		t.Errorf("then %+v", asked)
	}
}
