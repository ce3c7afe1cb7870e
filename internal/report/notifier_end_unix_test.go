//go:build unix

package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// A loss of the connection from before the run began is no pause of it, unless it lasts.
func TestALossFromBeforeTheRunIsNoPause(t *testing.T) {
	began := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	for _, back := range []bool{true, false} {
		file := filepath.Join(t.TempDir(), "events")
		s := newListened(t, "cat >> '"+file+"'", nil)
		s.report(run.Prepared{Changes: true}, run.Began{Progress: s.from, Links: began})
		s.record(batch.Record{Kind: batch.KindPlan, Time: began})
		s.record(batch.Record{Kind: batch.KindLink, Time: began.Add(-time.Minute), Reason: "lost"})
		if back {
			s.record(batch.Record{Kind: batch.KindLink, Time: began.Add(-time.Second), Up: true, Reason: "back"})
		}
		s.record(batch.Record{Kind: batch.KindBaseline, Time: began})
		s.record(batch.Record{Kind: batch.KindLink, Time: began.Add(time.Second), Up: true, Reason: "back"})
		s.end(batch.Done, "")
		var got []string
		for _, n := range notices(t, file) {
			got = append(got, n.Event)
		}
		want := []string{noticeBegin, noticePause, noticeContinue, noticeEnd}
		if back {
			want = []string{noticeBegin, noticeEnd}
		}
		if !slices.Equal(got, want) {
			t.Errorf("back before the run %t: %q, want %q", back, got, want)
		}
	}
}

// A command of one run may start another: its variables are those of its own run.
func TestTheVariablesOfAnEventAreNotInherited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "codes")
	s := newListened(t, `echo "$FLEETCTL_EVENT ${FLEETCTL_EXIT_CODE-none}" >> '`+file+"'", func(o *NotifierOptions) {
		o.Env = append(o.Env, "FLEETCTL_EXIT_CODE=0", "FLEETCTL_EVENT=end")
	})
	s.begin()
	s.end(batch.Done, "")
	if got, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(got), "begin none\nend 4") {
		t.Errorf("%q, %v", got, err)
	}
}

// The command does not outlive a run that is killed by a second signal.
func TestAKilledRunEndsItsCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	s := newListened(t, "echo $$ > '"+file+".new'; mv '"+file+".new' '"+file+"'; sleep 600 & wait", nil)
	s.begin()
	for _, err := os.Stat(file); err != nil; _, err = os.Stat(file) {
		if t.Context().Err() != nil {
			t.Fatal("the command did not begin")
		}
	}
	s.notifier.Kill()
	s.end(batch.Interrupted, "")
	if w := s.heard.warnings(); len(w) == 0 || !strings.Contains(w[0], errKilled.Error()) {
		t.Errorf("warnings %q", w)
	}
}
