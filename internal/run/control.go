package run

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
)

// A run is paused and continued through files beside its record, one for each request, which any process of its user makes: a
// signal could not name the user who asked, and does not exist on every system. The driver takes them while it runs. In a folder that
// several users write, names that cannot be guessed keep others from being in the way. A file of another user and a link ask
// nothing, and a file asks once, under the name that it was made with.

// controlSuffix ends the name of such a file: <id>.<random>.control.
const controlSuffix = ".control"

// controlPace is how often the driver looks for files.
const controlPace = 250 * time.Millisecond

// controlSize bounds what is read of one file, in bytes.
const controlSize = 4 << 10

// controlLine is what a file holds, with a newline at the end.
type controlLine struct {
	Name  string    `json:"name"` // the file's
	Time  time.Time `json:"t"`
	Pause bool      `json:"pause"`
	By    string    `json:"by"`
}

// Control asks the process that drives a run to pause or to continue. It does not wait for that. The function that it
// returns takes back what was not followed yet.
func (s Store) Control(id string, c batch.Control) (withdraw func(), err error) {
	name := id + "." + strings.ToLower(rand.Text()) + controlSuffix
	line, err := json.Marshal(controlLine{Name: name, Time: c.Time.UTC(), Pause: c.Pause, By: c.By})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ask run %s: %w", id, err)
	}
	withdraw = func() { _ = os.Remove(path) } // the driver may have taken it
	if _, err = f.Write(append(line, '\n')); err != nil {
		withdraw()
	}
	return withdraw, errors.Join(err, f.Close())
}

// controls delivers what is asked of a run since a time, and what other sources ask, until stop is called. What is older was
// asked of an earlier process, and is over.
func (s Store) controls(id string, since time.Time, other, elsewhere <-chan batch.Control) (asked <-chan batch.Control, stop func()) {
	out := make(chan batch.Control)
	taken := map[string]bool{}
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		ticker := time.NewTicker(controlPace)
		defer ticker.Stop()
		for {
			var asked []batch.Control
			select {
			case <-done:
				return
			case c := <-other:
				asked = append(asked, c)
			case c := <-elsewhere:
				asked = append(asked, c)
			case <-ticker.C:
				asked = s.takeControls(id, since, taken)
			}
			for _, c := range asked {
				select {
				case out <- c:
				case <-done:
					return
				}
			}
		}
	})
	return out, func() {
		close(done)
		wait.Wait()
		s.takeControls(id, since, taken)
	}
}

// takeControls reads what is asked of a run, the oldest first, and takes it away. What is not ours, or not whole, asks
// nothing and stays.
func (s Store) takeControls(id string, since time.Time, taken map[string]bool) []batch.Control {
	list, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil
	}
	var asked []batch.Control
	for _, entry := range list {
		name := entry.Name()
		if !strings.HasPrefix(name, id+".") || !strings.HasSuffix(name, controlSuffix) || taken[name] {
			continue
		}
		c, ok := s.readControl(name)
		if !ok {
			continue
		}
		taken[name] = true
		_ = os.Remove(filepath.Join(s.Dir, name)) // one that stays is not read again
		if !c.Time.Before(since) {
			asked = append(asked, c)
		}
	}
	slices.SortStableFunc(asked, func(a, b batch.Control) int { return a.Time.Compare(b.Time) })
	return asked
}

// readControl reads one file.
func (s Store) readControl(name string) (batch.Control, bool) {
	path := filepath.Join(s.Dir, name)
	there, err := os.Lstat(path)
	if err != nil || !there.Mode().IsRegular() || !s.machine().Owns(there) {
		return batch.Control{}, false
	}
	f, err := os.Open(path)
	if err != nil {
		return batch.Control{}, false
	}
	defer f.Close()
	if opened, err := f.Stat(); err != nil || !os.SameFile(opened, there) {
		return batch.Control{}, false
	}
	data, err := io.ReadAll(io.LimitReader(f, controlSize))
	line, whole := bytes.CutSuffix(data, []byte("\n"))
	var c controlLine
	if err != nil || !whole || json.Unmarshal(line, &c) != nil || c.Name != name {
		return batch.Control{}, false
	}
	return batch.Control{Time: c.Time, Pause: c.Pause, By: c.By}, true
}
