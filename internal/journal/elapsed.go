package journal

import (
	"slices"
	"time"
)

// Clock measures how much time has passed since something that a journal records, for waits that must not be too short: a
// machine may have been suspended, restarted, or have its clock set, and the record may come from another one.
type Clock struct {
	m       Machine
	anchors []Owner // the moments at which the file ties the wall clock to the time since the boot, in order
}

// slack is how much the two clocks may drift apart before a journal ties them again, and how far a time may lie outside
// the moments that it belongs to.
const slack = time.Second

// Since is the time that has passed for certain since a recorded time: by the clock that counts sleep, when it was written
// in this boot; by the smaller of the wall clock's difference and this boot's uptime, when it was written on this host
// before; else by the time since this command began. It is never negative.
func (c Clock) Since(t time.Time) time.Duration {
	now, up := c.m.Now(), c.m.Uptime()
	least := time.Duration(-1)
	for i, a := range c.anchors {
		if !c.covers(i, t, up) {
			continue
		}
		var d time.Duration
		switch {
		case a.Host != c.m.Host:
			d = up - c.m.Began
		case a.Boot == c.m.Boot && a.Boot != "":
			d = up - (a.Up + t.Sub(a.Since))
		default:
			d = min(now.Sub(t), up)
		}
		if least < 0 || d < least {
			least = max(d, 0)
		}
	}
	if least < 0 {
		return max(up-c.m.Began, 0) // no process of the record can have written that time
	}
	return least
}

// covers reports whether a time can have been written between an anchor and the next one.
func (c Clock) covers(i int, t time.Time, up time.Duration) bool {
	a := c.anchors[i]
	after := t.Sub(a.Since)
	if after < -slack {
		return false
	}
	thisBoot := a.Host == c.m.Host && a.Boot == c.m.Boot && a.Boot != ""
	switch {
	case i+1 == len(c.anchors):
		return !thisBoot || after <= up-a.Up+slack
	case c.anchors[i+1].Host == a.Host && c.anchors[i+1].Boot == a.Boot && a.Boot != "":
		return after <= c.anchors[i+1].Up-a.Up+slack
	}
	return true
}

// Clock judges the times of the records.
func (c *Contents) Clock() Clock { return Clock{c.m, slices.Clone(c.anchors)} }

// Clock judges the times of the records, those that this process appended too.
func (j *Journal) Clock() Clock { return Clock{j.m, slices.Clone(j.anchors)} }

// drifted reports whether the wall clock was set, or stood, since the clocks were last tied together.
func (j *Journal) drifted() bool {
	if j.m.Boot == "" || len(j.anchors) == 0 {
		return false
	}
	last := j.anchors[len(j.anchors)-1]
	d := j.m.Now().Sub(last.Since.Round(0)) - (j.m.Uptime() - last.Up)
	return d > slack || d < -slack
}
