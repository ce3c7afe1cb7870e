package run

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
)

// A run is paused and continued through a file beside its record, to which any process of its user appends: a signal
// could not say who asked, and does not exist on every system. The driver reads what is appended while it runs. In a folder
// that several users write, a file of another user asks nothing, and a link is not followed.

// controlSuffix follows the id in the file's name.
const controlSuffix = ".control"

// controlPace is how often the driver looks at the file.
const controlPace = 250 * time.Millisecond

// controlLine is one line of the file.
type controlLine struct {
	Time  time.Time `json:"t"`
	Pause bool      `json:"pause"`
	By    string    `json:"by"`
}

func (s Store) controlFile(id string) string { return filepath.Join(s.Dir, id+controlSuffix) }

// Control asks the process that drives a run to pause or to continue. It does not wait for that.
func (s Store) Control(id string, c batch.Control) error {
	line, err := json.Marshal(controlLine{Time: c.Time.UTC(), Pause: c.Pause, By: c.By})
	if err != nil {
		return err
	}
	f, err := s.openControl(id, os.O_CREATE|os.O_APPEND|os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("ask run %s: %w", id, err)
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// openControl opens the file, which must be a plain one of this user.
func (s Store) openControl(id string, flag int) (*os.File, error) {
	path := s.controlFile(id)
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	opened, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(path); err == nil && (!os.SameFile(opened, there) || !opened.Mode().IsRegular() || !s.machine().Owns(opened)) {
			err = fmt.Errorf("%s: %w", path, journal.ErrForeign)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// controls delivers what is asked of a run from now on, and what other sources ask, until stop is called, which takes the
// file away.
func (s Store) controls(id string, other <-chan batch.Control) (asked <-chan batch.Control, stop func()) {
	out := make(chan batch.Control)
	path := s.controlFile(id)
	_ = os.Remove(path) // what was asked of an earlier process is over
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		ticker := time.NewTicker(controlPace)
		defer ticker.Stop()
		var read int64
		for {
			var asked []batch.Control
			select {
			case <-done:
				return
			case c := <-other:
				asked = append(asked, c)
			case <-ticker.C:
				asked, read = s.readControls(id, read)
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
		_ = os.Remove(path)
	}
}

// readControls reads the whole lines behind an offset. A file that is not there or is not ours, or a line that is none, asks
// nothing.
func (s Store) readControls(id string, from int64) (asked []batch.Control, to int64) {
	f, err := s.openControl(id, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0
	}
	if err != nil {
		return nil, from
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, from
	}
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return asked, from // the rest of a line comes later
		}
		from += int64(len(line))
		var c controlLine
		if json.Unmarshal(line, &c) == nil {
			asked = append(asked, batch.Control{Time: c.Time, Pause: c.Pause, By: c.By})
		}
	}
}
