package journal

import (
	"fmt"
	"io/fs"
	"testing"
	"time"
)

// reader is a machine whose clocks stand where a test puts them.
func reader(host, boot string, now time.Time, up, began time.Duration) Machine {
	m := ThisMachine()
	m.Host, m.Boot, m.Began = host, boot, began
	m.Now = func() time.Time { return now }
	m.Uptime = func() time.Duration { return up }
	return m
}

func TestElapsedTimeAcrossProcesses(t *testing.T) {
	w := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // when the record began, an hour after the boot
	const h, m, s = time.Hour, time.Minute, time.Second
	anchor := func(host, boot string, after, up time.Duration) Owner {
		return Owner{Host: host, Boot: boot, Since: w.Add(after), Up: up}
	}
	here := []Owner{anchor("a", "1", 0, h)}
	for _, tc := range []struct {
		name    string
		anchors []Owner
		reader  Machine
		at      time.Duration // when it was written, after w
		want    time.Duration
	}{
		{"same boot", here, reader("a", "1", w.Add(10*m), h+10*m, h+9*m), 4 * m, 6 * m},
		{"same boot, the machine slept", here, reader("a", "1", w.Add(10*h), 11*h, 11*h-s), 4 * m, 10*h - 4*m},
		{"same boot, the wall clock was set ahead", here, reader("a", "1", w.Add(1000*h), h+10*m, h+9*m), 4 * m, 6 * m},
		{"same boot, the wall clock was set back", here, reader("a", "1", w.Add(-1000*h), h+10*m, h+9*m), 4 * m, 6 * m},
		{"same boot, at this moment", here, reader("a", "1", w, h, h), 0, 0},
		{"another boot, long ago", here, reader("a", "2", w.Add(100*h), 3*m, 2*m), 4 * m, 3 * m},
		{"another boot, the wall clock says less", here, reader("a", "2", w.Add(5*m), 3*m, 2*m), 4 * m, 1 * m},
		{"another boot, the wall clock went back", here, reader("a", "2", w.Add(-5*h), 3*m, 2*m), 4 * m, 0},
		{"another host", here, reader("b", "1", w.Add(100*h), 50*h, 50*h-7*s), 4 * m, 7 * s},
		{"an old record: no boot", []Owner{{Host: "a", Since: w}}, reader("a", "2", w.Add(100*h), 3*m, 2*m), 4 * m, 3 * m},
		{"an old record, this boot", []Owner{{Host: "a", Since: w}}, reader("a", "2", w.Add(10*m), 90*h, 2*m), 4 * m, 6 * m},
		{"two processes in one boot", []Owner{here[0], anchor("a", "1", 20*m, h+20*m)}, reader("a", "1", w.Add(h), 2*h, 2*h), 30 * m, 30 * m},
		{"the first of two processes", []Owner{here[0], anchor("a", "1", 20*m, h+20*m)}, reader("a", "1", w.Add(h), 2*h, 2*h), 10 * m, 50 * m},
		{"two boots, the later", []Owner{here[0], anchor("a", "2", 20*m, 5*m)}, reader("a", "2", w.Add(h), 45*m, 44*m), 30 * m, 30 * m},
		{"two boots, the earlier", []Owner{here[0], anchor("a", "2", 20*m, 5*m)}, reader("a", "2", w.Add(h), 45*m, 44*m), 10 * m, 45 * m},
		{"the clock was set ahead while it ran", []Owner{here[0], anchor("a", "1", 1000*h, h+5*m)}, reader("a", "1", w.Add(1000*h+5*m), h+10*m, h+9*m), 4 * m, 6 * m},
		{"after it was set ahead", []Owner{here[0], anchor("a", "1", 1000*h, h+5*m)}, reader("a", "1", w.Add(1000*h+5*m), h+10*m, h+9*m), 1000*h + 2*m, 3 * m},
		{"the clock was set back while it ran", []Owner{here[0], anchor("a", "1", -1000*h, h+5*m)}, reader("a", "1", w.Add(-1000*h+5*m), h+10*m, h+9*m), 4 * m, 6 * m},
		{"after it was set back", []Owner{here[0], anchor("a", "1", -1000*h, h+5*m)}, reader("a", "1", w.Add(-1000*h+5*m), h+10*m, h+9*m), -1000*h + 2*m, 3 * m},
		{"a time that no process can have written", here, reader("a", "1", w.Add(10*m), h+10*m, h+9*m), -5 * h, 1 * m},
		{"a time of the future", here, reader("a", "1", w.Add(10*m), h+10*m, h+9*m), 5 * h, 1 * m},
		{"nothing is known", nil, reader("a", "1", w, h, h-5*s), 0, 5 * s},
		{"carried to another host and back", []Owner{here[0], anchor("b", "9", 20*m, 5*m)}, reader("a", "1", w.Add(h), 2*h, 2*h-s), 30 * m, 1 * s},
	} {
		if got := (Clock{tc.reader, tc.anchors}).Since(w.Add(tc.at)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestAJournalTiesItsClocksAgain: when the wall clock was set, or the machine slept where clocks stand, the next group says so.
func TestAJournalTiesItsClocksAgain(t *testing.T) {
	wall, up := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Hour
	m := ThisMachine()
	m.Boot = "1"
	m.Now = func() time.Time { return wall }
	m.Uptime = func() time.Duration { return up }
	m.Changed = func(fs.FileInfo) time.Time { return time.Time{} }
	pass := func(d time.Duration) { wall, up = wall.Add(d), up+d }
	dir := t.TempDir()
	j, err := m.Create(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	var written []time.Time
	for i, set := range []time.Duration{0, 0, 10 * time.Hour, 0, -30 * time.Hour, 500 * time.Millisecond} {
		pass(10 * time.Minute)
		wall = wall.Add(set)
		written = append(written, wall)
		if err := j.Append(fmt.Appendf(nil, `{"n":%d}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	pass(10 * time.Minute)
	c, err := m.Read(dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := len(c.anchors); got != 3 {
		t.Errorf("%d moments tie the clocks, want 3: the beginning, and two settings", got)
	}
	if got := c.Owner().Since; !got.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("the owner holds it since %v", got)
	}
	n := 0
	for range c.Lines() {
		n++
	}
	if n != len(written) {
		t.Errorf("%d records, want %d", n, len(written))
	}
	for i, at := range written {
		want := time.Duration(len(written)-i) * 10 * time.Minute
		for name, clock := range map[string]Clock{"Contents": c.Clock(), "Journal": j.Clock()} {
			if got := clock.Since(at); got > want || got < want-time.Second {
				t.Errorf("%s: record %d is %v old, want %v", name, i, got, want)
			}
		}
	}
}

func TestThisMachineIsKnown(t *testing.T) {
	m := ThisMachine()
	if m.Host == "" || m.PID == 0 || m.Uptime() < m.Began || m.Now().IsZero() || m.Process(m.PID) != m.Start {
		t.Errorf("%+v", m)
	}
}

// FuzzClock: what has passed is never negative, and never more than the wall clock or the boot can account for.
func FuzzClock(f *testing.F) {
	f.Add(int64(0), int64(60), int64(30), int64(90), uint8(0))
	f.Add(int64(-5), int64(60), int64(1<<40), int64(9), uint8(7))
	f.Fuzz(func(t *testing.T, at, second, now, up int64, kind uint8) {
		const limit = 1 << 33 // seconds
		for _, v := range []int64{at, second, now, up} {
			if v > limit || v < -limit {
				return
			}
		}
		w := time.Unix(1_700_000_000, 0)
		after := func(n int64) time.Time { return w.Add(time.Duration(n) * time.Second) }
		boot := map[bool]string{true: "1", false: "2"}
		anchors := []Owner{{Host: "a", Boot: "1", Since: w, Up: time.Minute}, {Host: "a", Boot: boot[kind&1 > 0], Since: after(second), Up: 2 * time.Minute}}
		m := reader("a", boot[kind&2 > 0], after(now), time.Duration(max(up, 0))*time.Second, 0)
		if got := (Clock{m, anchors}).Since(after(at)); got < 0 || got > m.Uptime() {
			t.Errorf("%v of an uptime of %v", got, m.Uptime())
		}
	})
}
