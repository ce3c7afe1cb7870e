package run

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/batch"
)

// asks is what reaches the driver of run r1 while and after something is done, in a moment.
func (w *world) asks(t *testing.T, do func()) []batch.Control {
	t.Helper()
	asked, stop := w.store().controls("r1", time.Now(), nil, nil)
	defer stop()
	do()
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

// ask pauses run r1 or continues it.
func (w *world) ask(t *testing.T, pause bool) (withdraw func()) {
	t.Helper()
	withdraw, err := w.store().Control("r1", batch.Control{Time: time.Now(), Pause: pause, By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	return withdraw
}

// control is the path of the one file that asks something.
func (w *world) control(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dir, "*.control"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// Pausing and continuing reach the driver in order, each once. What was asked of an earlier process and what was withdrawn
// do not, and nothing is left behind.
func TestControlReachesTheDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ask(t, true)
		<-time.After(time.Millisecond)
		got := w.asks(t, func() {
			for _, pause := range []bool{true, false, true, false} {
				w.ask(t, pause)
				<-time.After(time.Millisecond)
			}
			w.ask(t, true)()
		})
		if len(got) != 4 || !got[0].Pause || got[1].Pause || !got[2].Pause || got[3].Pause || got[0].By != "operator" {
			t.Errorf("asked %+v", got)
		}
		if list, err := os.ReadDir(w.dir); err != nil || len(list) != 0 {
			t.Errorf("left behind: %v, %v", list, err)
		}
	})
}

// In a folder that others write, a run is controlled by its own user only: a file of another user, a link, a folder and a
// second name of what was asked before ask nothing. None of them is in the way of the user, and nothing is written through
// them.
func TestOthersDoNotControlARun(t *testing.T) {
	const name = "r1.planted.control"
	line := []byte(`{"name":"` + name + `","t":"2100-01-01T00:00:00Z","pause":false,"by":"mallory"}` + "\n")
	const record = `{"pause":true}` + "\n"
	for what, plant := range map[string]func(journal, path string) error{
		"another user's": func(_, path string) error { return os.WriteFile(path, line, 0o666) },
		"a link":         func(journal, path string) error { return os.Symlink(journal, path) },
		"a second name of the record": func(journal, path string) error {
			return os.Link(journal, path)
		},
		"a folder": func(_, path string) error { return os.Mkdir(path, 0o700) },
		"a folder at a name for all": func(journal, _ string) error {
			return os.Mkdir(strings.TrimSuffix(journal, "journal")+"control", 0o700)
		},
		"a request under another name": func(_, path string) error {
			return os.WriteFile(path[:len(path)-len("planted.control")]+"x.control", line, 0o600)
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				file := filepath.Join(w.dir, "r1.journal")
				if err := errors.Join(os.WriteFile(file, []byte(record), 0o600), plant(file, filepath.Join(w.dir, name))); err != nil {
					t.Fatal(err)
				}
				if what == "another user's" {
					w.machine.UID++ // files of this test are another user's
					if got := w.asks(t, func() {}); len(got) > 0 {
						t.Errorf("asked %+v", got)
					}
					return
				}
				if got := w.asks(t, func() { w.ask(t, true) }); len(got) != 1 || !got[0].Pause || got[0].By != "operator" {
					t.Errorf("asked %+v", got)
				}
				if data, err := os.ReadFile(file); err != nil || string(data) != record {
					t.Errorf("the record holds %q, %v", data, err)
				}
			})
		})
	}
}

// What was asked once is not asked again by a file that comes back, and half a file asks nothing yet.
func TestAControlAsksOnceAndWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		got := w.asks(t, func() {
			w.ask(t, true)
			path := w.control(t)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, data := range [][]byte{whole[:len(whole)-1], whole, whole} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				<-time.After(2 * controlPace)
			}
		})
		if len(got) != 1 || !got[0].Pause {
			t.Errorf("asked %+v", got)
		}
	})
}
