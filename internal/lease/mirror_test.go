package lease

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sharedStore is a bucket whose values stay.
func sharedStore() *fakeStore {
	s := newFakeStore()
	s.ttl = 0
	return s
}

var aHead = Head{Run: "r1", Caller: "up=alice", Host: "op1", Agent: "choria_provision", Action: "restart"}

// claimed is the mirror of a new run, which is kept until the test ends.
func claimed(t *testing.T, s Store, o MirrorOptions) *Mirror {
	t.Helper()
	m, err := Claim(t.Context(), s, aHead, o)
	if err != nil {
		t.Fatal(err)
	}
	kept(t, m)
	return m
}

// confirmed adds lines to a shared record and waits until it has them.
func confirmed(t *testing.T, m *Mirror, lines ...string) {
	t.Helper()
	for _, line := range lines {
		m.Add([]byte(line))
	}
	if err := m.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func kept(t testing.TB, m *Mirror) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Keep(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// whole reads the record of r1.
func whole(t *testing.T, s Store) (*Reader, string) {
	t.Helper()
	r, text := NewReader(s, "r1"), ""
	for {
		part, err := r.Next(t.Context())
		if errors.Is(err, ErrNoKey) {
			return r, text
		}
		if err != nil {
			t.Fatal(err)
		}
		text += string(part.Data)
	}
}

// bubble runs a test in virtual time; what it starts ends with it.
func bubble(t *testing.T, do func(t *testing.T)) {
	synctest.Test(t, do)
}

func TestAMirrorHasWhatWasAwaited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		confirmed(t, m, "one\n", "two\n")
		if _, text := whole(t, s); text != "one\ntwo\n" {
			t.Errorf("shared is %q", text)
		}
		m.Add([]byte("three\n")) // nothing waits for it
		pass(t, 2*time.Second)
		if _, text := whole(t, s); text != "one\ntwo\nthree\n" {
			t.Errorf("2s later %q", text)
		}
		found, err := FindRun(t.Context(), s, "r1")
		if err != nil || found.Head.Segments != 0 || !found.Head.Mirrored() {
			t.Errorf("before its first renewal the head is %+v, %v", found, err)
		}
		m.Describe(func(h *Head) { h.Status = "paused" })
		pass(t, time.Millisecond)
		if found, err := FindRun(t.Context(), s, "r1"); err != nil || found.Head.Status != "paused" {
			t.Errorf("with another status the head is %+v, %v", found, err)
		}
		pass(t, beatEvery)
		found, err = FindRun(t.Context(), s, "r1")
		if err != nil || found.Age > beatEvery || found.Head.Bytes != 14 || found.Head.Caller != "up=alice" {
			t.Errorf("the head is %+v, %v", found, err)
		}
	})
}

func TestARunIsClaimedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		s.deaf = true // the answer is lost, and the write is not
		m, err := Claim(t.Context(), s, aHead, MirrorOptions{})
		if err != nil {
			t.Fatal("a claim without an answer:", err)
		}
		s.deaf = false
		_, err = Claim(t.Context(), s, aHead, MirrorOptions{})
		if e, ok := errors.AsType[*ClaimedError](err); !ok || e.Head.Caller != "up=alice" {
			t.Errorf("a second claim: %v", err)
		}
		if err := m.Abandon(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := Claim(t.Context(), s, aHead, MirrorOptions{}); err != nil {
			t.Errorf("after the first claim was taken back: %v", err)
		}
	})
}

// TestASecondDriverOfARecordIsLost: whichever of two drivers writes first, the other one has lost the run.
func TestASecondDriverOfARecordIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		old := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		confirmed(t, old, "plan\n")
		end, _ := whole(t, s)
		bob := aHead
		bob.Caller = "up=bob"
		next := Continue(s, bob, end, MirrorOptions{Timeout: time.Minute})
		next.Add([]byte("adopted\n"))
		if err := next.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		old.Add([]byte("intent\n"))
		err := old.Await(t.Context())
		if _, lost := errors.AsType[*LostMirrorError](err); !lost || Unconfirmed(err) {
			t.Errorf("the first driver awaits: %v", err)
		}
		if err := old.May(); err == nil || Unconfirmed(err) {
			t.Errorf("the first driver may: %v", err)
		}
		if _, text := whole(t, s); text != "plan\nadopted\n" {
			t.Errorf("shared is %q", text)
		}
		late := Continue(s, bob, NewReader(s, "r1"), MirrorOptions{Timeout: time.Minute}) // it read before the others wrote
		late.Add([]byte("adopted, too\n"))
		if _, lost := errors.AsType[*LostMirrorError](late.Open(t.Context())); !lost {
			t.Error("a driver that is late took the run over")
		}
	})
}

// An adopter shows in the head: the driver before is lost at its next renewal, without writing.
func TestAnIdleDriverNoticesAnAdoption(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		old := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		confirmed(t, old, "plan\n")
		end, _ := whole(t, s)
		bob := aHead
		bob.Caller, bob.Host = "up=bob", "op2"
		next := Continue(s, bob, end, MirrorOptions{Timeout: time.Minute})
		next.Add([]byte("adopted\n"))
		if err := next.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(t, beatEvery+time.Second)
		if err := old.May(); err == nil || err.Error() != "this run was adopted by up=bob on op2" {
			t.Errorf("the first driver may: %v", err)
		}
	})
}

func TestASilentMirrorHoldsTheRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		s.set(func(s *fakeStore) { s.away = true })
		m.Add([]byte("intent\n"))
		began := time.Now()
		if err := m.Await(t.Context()); !Unconfirmed(err) || time.Since(began) > awaitMax {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := m.May(); !Unconfirmed(err) {
			t.Errorf("it may: %v", err)
		}
		s.set(func(s *fakeStore) { s.away = false })
		pass(t, 2*pushAgain)
		if err := m.May(); err != nil {
			t.Errorf("with the broker back: %v", err)
		}
		s.set(func(s *fakeStore) { s.away = true })
		m.Add([]byte("outcome\n"))
		pass(t, time.Minute+5*time.Second)
		if err := m.May(); err == nil || Unconfirmed(err) || !strings.Contains(err.Error(), "has not answered for 1m") {
			t.Errorf("after a minute: %v", err)
		}
		s.set(func(s *fakeStore) { s.away = false })
		pass(t, 2*pushAgain)
		if _, text := whole(t, s); text != "intent\noutcome\n" {
			t.Errorf("shared in the end: %q", text)
		}
		if m.May() == nil {
			t.Error("a run that had to stop may go on")
		}
	})
}

// A write whose answer was lost is not written again, and is not taken for another driver's.
func TestASegmentIsWrittenOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		s.set(func(s *fakeStore) { s.deaf = true })
		m.Add([]byte("intent\n"))
		if err := m.Await(t.Context()); err != nil {
			t.Errorf("the answer was lost: %v", err)
		}
		if _, text := whole(t, s); text != "intent\n" {
			t.Errorf("shared is %q", text)
		}
	})
}

func TestAReaderFindsWhatDoesNotContinue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		for _, line := range []string{"one\n", "two\n"} {
			confirmed(t, m, line)
		}
		first, second := s.keys[segmentKey("r1", 1)], s.keys[segmentKey("r1", 2)]
		for name, value := range map[string][]byte{
			"the first again": first.Value, "no line": []byte("x"), "not packed": []byte("{}\nx"), "empty": nil,
			"another digest": []byte(strings.Replace(string(second.Value), `"digest":"`, `"digest":"0`, 1)),
			"another run":    []byte(strings.Replace(string(second.Value), `"run":"r1"`, `"run":"r2"`, 1)),
			"newer":          []byte(strings.Replace(string(second.Value), `{"v":1`, `{"v":2`, 1)),
		} {
			s.keys[segmentKey("r1", 2)] = Entry{Value: value, Revision: second.Revision}
			r := NewReader(s, "r1")
			if _, err := r.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Next(t.Context()); err == nil || errors.Is(err, ErrNoKey) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Lines are never cut: a record that was shared so far ends with a whole line.
func TestSegmentsAreWholeLines(t *testing.T) {
	for _, tt := range []struct {
		lines string
		size  int
		want  string
	}{{"a\nb\n", 10, "a\nb\n"}, {"a\nb\n", 3, "a\n"}, {"a\nb\n", 2, "a\n"}, {"long\nb\n", 2, "long\n"}, {"long\n", 2, "long\n"}} {
		if got := string(wholeLines([]byte(tt.lines), tt.size)); got != tt.want {
			t.Errorf("%q in %d: %q, want %q", tt.lines, tt.size, got, tt.want)
		}
	}
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		line := strings.Repeat("x", 1000) + "\n"
		confirmed(t, m, strings.Repeat(line, 3*rawMax/len(line)))
		if r, text := whole(t, s); r.n < 3 || strings.Count(text, line) != 3*rawMax/len(line) {
			t.Errorf("%d segments, %d bytes", r.n, len(text))
		}
	})
}

func TestWhatIsAskedArrivesOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		old := Ask{Stop: true, By: "up=carol"}
		if err := old.Send(t.Context(), s, "r1"); err != nil {
			t.Fatal(err)
		}
		var got []string
		m := Continue(s, aHead, NewReader(s, "r1"), MirrorOptions{Timeout: time.Minute, Asked: func(a Ask) {
			text, _ := json.Marshal(map[string]any{"stop": a.Stop, "pause": a.Pause, "by": a.By}) // of valid values
			got = append(got, string(text))
		}})
		m.Add([]byte("own\n"))
		if err := m.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept(t, m)
		pass(t, 3*askEvery)
		for _, a := range []Ask{{Pause: true, By: "up=bob"}, {By: "up=bob"}, {Stop: true, By: "up=bob"}} {
			if err := a.Send(t.Context(), s, "r1"); err != nil {
				t.Fatal(err)
			}
			pass(t, 3*askEvery)
		}
		want := `{"by":"up=bob","pause":true,"stop":false} {"by":"up=bob","pause":false,"stop":false} {"by":"up=bob","pause":false,"stop":true}`
		if strings.Join(got, " ") != want {
			t.Errorf("asked %q", got)
		}
	})
}

func TestASegmentThatCannotBeSignedHoldsTheRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute, Sign: func([]byte) (json.RawMessage, error) { return nil, errors.New("the token has expired") }})
		m.Add([]byte("intent\n"))
		if err := m.Await(t.Context()); !Unconfirmed(err) || !strings.Contains(err.Error(), "the token has expired") {
			t.Errorf("awaited: %v", err)
		}
		if _, text := whole(t, s); text != "" {
			t.Errorf("shared is %q", text)
		}
		pass(t, time.Minute)
		if err := m.May(); err == nil || Unconfirmed(err) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestRunsAreFoundAndForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := sharedStore()
		m := claimed(t, s, MirrorOptions{Timeout: time.Minute})
		confirmed(t, m, "plan\n")
		other := aHead
		other.Run = "r10"
		if _, err := Claim(t.Context(), s, other, MirrorOptions{}); err != nil {
			t.Fatal(err)
		}
		ids := func() (out []string) {
			all, err := FindRuns(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				out = append(out, f.Head.Run)
			}
			return out
		}
		if got := ids(); len(got) != 2 || got[0] != "r1" || got[1] != "r10" {
			t.Errorf("found %q", got)
		}
		if err := DeleteRun(t.Context(), s, "r1"); err != nil {
			t.Fatal(err)
		}
		if got := ids(); len(got) != 1 || got[0] != "r10" {
			t.Errorf("found %q after r1 was forgotten", got)
		}
		if _, err := NewReader(s, "r1").Next(t.Context()); err == nil {
			t.Error("a segment of r1 is left")
		}
		pass(t, beatEvery+time.Second)
		if err := m.May(); err == nil || !strings.Contains(err.Error(), "was deleted") {
			t.Errorf("its driver may: %v", err)
		}
	})
}
