package batch

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a record is read with the same zones everywhere
)

// Hours are the hours of a week in which batches may begin, as text: days, a span and a time zone, such as
// "Mon-Fri 01:00-05:00 Europe/Malta" or "Sat,Sun 00:00-24:00 UTC"; without days every day; several parts with a semicolon.
// A span that ends before it begins ends on the next day. The empty text is always.
//
// They are the hours that a clock on the wall shows there: a span is shorter by what the beginning of summer time leaves
// out, and what its end repeats counts twice.
type Hours string

// Validate refuses text that is not of that form.
func (h Hours) Validate() error {
	_, err := h.parse()
	return err
}

// span is one part of Hours, in minutes of a day.
type span struct {
	days     [7]bool // by weekday, Sunday first; of its beginning
	from, to int     // to may be at most from: then it ends on the next day
	zone     *time.Location
}

// calendar is Hours, parsed. No span means always.
type calendar []span

const minutesOfDay = 24 * 60

func (h Hours) parse() (calendar, error) {
	if h == "" {
		return nil, nil
	}
	var c calendar
	for part := range strings.SplitSeq(string(h), ";") {
		s, err := parseSpan(strings.Fields(part))
		if err != nil {
			return nil, fmt.Errorf("hours %q: %w", strings.TrimSpace(part), err)
		}
		c = append(c, s)
	}
	if _, ok := c.next(time.Now(), true); !ok { // a span that no day has
		return nil, fmt.Errorf("hours %q: they never come", h)
	}
	return c, nil
}

func parseSpan(words []string) (s span, err error) {
	if len(words) == 2 {
		words = append([]string{"Sun-Sat"}, words...)
	}
	if len(words) != 3 {
		return s, fmt.Errorf("write them as [DAYS] HH:MM-HH:MM ZONE, such as Mon-Fri 01:00-05:00 Europe/Malta")
	}
	for days := range strings.SplitSeq(words[0], ",") {
		first, last, isRange := strings.Cut(days, "-")
		if !isRange {
			last = first
		}
		from, ok := weekday(first)
		to, fine := weekday(last)
		if !ok || !fine {
			return s, fmt.Errorf("%q are no days: use Mon, Tue, Wed, Thu, Fri, Sat, Sun", days)
		}
		for d := from; ; d = (d + 1) % 7 {
			s.days[d] = true
			if d == to {
				break
			}
		}
	}
	from, to, _ := strings.Cut(words[1], "-")
	var ok, fine bool
	s.from, ok = minute(from)
	s.to, fine = minute(to)
	if !ok || !fine || s.from == minutesOfDay || s.from == s.to {
		return s, fmt.Errorf("%q is no span of a day, such as 22:00-04:00", words[1])
	}
	if s.zone, err = time.LoadLocation(words[2]); err != nil || words[2] == time.Local.String() {
		return s, fmt.Errorf("%q is no time zone, such as UTC or Europe/Malta", words[2])
	}
	return s, nil
}

func weekday(text string) (time.Weekday, bool) {
	for d := range time.Weekday(7) {
		if strings.EqualFold(d.String()[:3], text) {
			return d, true
		}
	}
	return 0, false
}

// minute reads HH:MM, up to 24:00.
func minute(text string) (int, bool) {
	hours, minutes, ok := strings.Cut(text, ":")
	h, err := strconv.ParseUint(hours, 10, 8)
	m, merr := strconv.ParseUint(minutes, 10, 8)
	of := int(h)*60 + int(m)
	return of, ok && err == nil && merr == nil && len(hours) == 2 && len(minutes) == 2 && m < 60 && of <= minutesOfDay
}

// open reports whether a batch may begin at t.
func (c calendar) open(t time.Time) bool {
	for _, s := range c {
		local := t.In(s.zone)
		now, day := local.Hour()*60+local.Minute(), local.Weekday()
		switch {
		case s.from < s.to && s.days[day] && now >= s.from && now < s.to:
			return true
		case s.from > s.to && (s.days[day] && now >= s.from || s.days[(day+6)%7] && now < s.to):
			return true
		}
	}
	return len(c) == 0
}

// farthest is how far ahead next looks: hours that one week has, the next one may lack when summer time begins.
const farthest = 15 * 24 * time.Hour

// next is the first full minute after t at which the hours are open, or closed. It has no monotonic reading: clocks may be
// set meanwhile. ok is false when there is none.
func (c calendar) next(t time.Time, open bool) (at time.Time, ok bool) {
	at = t.Round(0).Truncate(time.Minute)
	for end := at.Add(farthest); at.Before(end); {
		if at = at.Add(time.Minute); c.open(at) == open {
			return at, true
		}
	}
	return time.Time{}, false
}

// words is a time for people, in the zone of the hours.
func (c calendar) words(t time.Time) string {
	return t.In(c[0].zone).Format("Mon 2006-01-02 15:04 MST")
}

// Next describes when the next batch may begin, for people: "" for now.
func (h Hours) Next(now time.Time) string {
	c, err := h.parse()
	if err != nil || c.open(now) {
		return ""
	}
	at, ok := c.next(now, true)
	if !ok {
		return ""
	}
	return c.words(at)
}

// Within is the estimate of a run that begins now and works only within the hours: the time outside of them is part of it.
func (e Estimate) Within(h Hours, now time.Time) Estimate {
	c, err := h.parse()
	if err != nil || len(c) == 0 {
		return e
	}
	return Estimate{c.spend(now, e.Typical), c.spend(now, e.Longest)}
}

// spend is how long it takes until so much time of the hours has passed.
func (c calendar) spend(now time.Time, work time.Duration) time.Duration {
	at := now
	for work > 0 {
		if !c.open(at) {
			next, ok := c.next(at, true)
			if !ok {
				break
			}
			at = next
		}
		end, ok := c.next(at, false)
		if !ok || end.Sub(at) >= work {
			return at.Add(work).Sub(now)
		}
		work -= end.Sub(at)
		at = end
	}
	return at.Sub(now)
}
