package batch

import (
	"strings"
	"testing"
	"time"
)

func TestHoursThatCannotBeMeant(t *testing.T) {
	for text, why := range map[string]string{
		"01:00-05:00":                     "write them as",
		"Mon 01:00-05:00 Europe/Malta x":  "write them as",
		"Mon-Fri 01:00 Europe/Malta":      "no span",
		"01:00-25:00 UTC":                 "no span",
		"1:00-05:00 UTC":                  "no span",
		"01:60-05:00 UTC":                 "no span",
		"05:00-05:00 UTC":                 "no span",
		"24:00-05:00 UTC":                 "no span",
		"-1:00-05:00 UTC":                 "no span",
		"Mon-Fry 01:00-05:00 UTC":         "no days",
		"Mon--Fri 01:00-05:00 UTC":        "no days",
		"01:00-05:00 Local":               "no time zone",
		"01:00-05:00 Europe/Valetta":      "no time zone",
		"01:00-05:00 UTC;":                "write them as",
		"01:00-05:00 ../../etc/localtime": "no time zone",
	} {
		if err := Hours(text).Validate(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
	for _, text := range []Hours{"", "00:00-24:00 UTC", "mon-fri 01:00-05:00 Europe/Malta", "Fri-Mon 22:00-04:00 UTC; Wed 12:00-12:01 America/New_York"} {
		if err := text.Validate(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// at reads a time with its zone's offset.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// The rows about summer time are of Malta in 2026: it begins on Sunday, March 29, when 02:00 becomes 03:00, and ends on
// Sunday, October 25, when 03:00 becomes 02:00.
func TestHoursOpenAndClose(t *testing.T) {
	for _, tt := range []struct {
		hours    Hours
		now      string
		open     bool
		next     string // when that changes; "" for never
		describe string
	}{
		{"", "2026-11-25T00:30:00Z", true, "", "always"},
		{"00:00-24:00 UTC", "2026-11-25T23:59:59Z", true, "", "every hour"},
		{"Mon-Fri 01:00-05:00 Europe/Malta", "2026-11-24T23:59:59Z", false, "2026-11-25T00:00:00Z", "a second before it opens"},
		{"Mon-Fri 01:00-05:00 Europe/Malta", "2026-11-25T00:00:00Z", true, "2026-11-25T04:00:00Z", "it opens"},
		{"Mon-Fri 01:00-05:00 Europe/Malta", "2026-11-25T03:59:59Z", true, "2026-11-25T04:00:00Z", "a second before it closes"},
		{"Mon-Fri 01:00-05:00 Europe/Malta", "2026-11-25T04:00:00Z", false, "2026-11-26T00:00:00Z", "it closes"},
		{"Mon-Fri 01:00-05:00 Europe/Malta", "2026-11-27T12:00:00Z", false, "2026-11-30T00:00:00Z", "over the weekend"},
		{"Fri 22:00-04:00 UTC", "2026-11-28T03:59:00Z", true, "2026-11-28T04:00:00Z", "the night after Friday"},
		{"Fri 22:00-04:00 UTC", "2026-11-27T03:59:00Z", false, "2026-11-27T22:00:00Z", "the night before Friday"},
		{"Sun 22:00-24:00 UTC; Mon 00:00-02:00 UTC", "2026-11-29T23:59:59Z", true, "2026-11-30T02:00:00Z", "two parts that meet"},
		{"Mon 23:30-00:30 Pacific/Auckland", "2026-11-23T10:45:00Z", true, "2026-11-23T11:30:00Z", "a zone a day ahead"},
		{"01:00-04:00 Europe/Malta", "2026-03-29T00:30:00Z", true, "2026-03-29T02:00:00Z", "the gap makes it shorter"},
		{"02:00-02:30 Europe/Malta", "2026-03-28T12:00:00Z", false, "2026-03-30T00:00:00Z", "within the gap: not on that day"},
		{"02:30-03:30 Europe/Malta", "2026-03-29T00:59:00Z", false, "2026-03-29T01:00:00Z", "it begins in the gap: with the first minute behind it"},
		{"Sun 02:15-02:45 Europe/Malta", "2026-03-22T02:00:00Z", false, "2026-04-05T00:15:00Z", "a week without it"},
		{"01:00-04:00 Europe/Malta", "2026-10-24T23:30:00Z", true, "2026-10-25T03:00:00Z", "the overlap makes it longer"},
		{"02:00-02:30 Europe/Malta", "2026-10-25T00:10:00Z", true, "2026-10-25T00:30:00Z", "within the overlap: the first time"},
		{"02:00-02:30 Europe/Malta", "2026-10-25T00:30:00Z", false, "2026-10-25T01:00:00Z", "and again"},
		{"02:00-02:30 Europe/Malta", "2026-10-25T01:29:00Z", true, "2026-10-25T01:30:00Z", "the second time"},
	} {
		c, err := tt.hours.parse()
		if err != nil {
			t.Fatal(err)
		}
		now := at(t, tt.now)
		if got := c.open(now); got != tt.open {
			t.Errorf("%s: %s at %s is open %t", tt.describe, tt.hours, tt.now, got)
		}
		next, ok := c.next(now, !tt.open)
		if ok != (tt.next != "") || ok && !next.Equal(at(t, tt.next)) {
			t.Errorf("%s: %s after %s changes at %s, want %s", tt.describe, tt.hours, tt.now, next.UTC(), tt.next)
		}
	}
}

func TestNextIsInTheZoneOfTheHours(t *testing.T) {
	hours := Hours("Mon-Fri 01:00-05:00 Europe/Malta")
	if got := hours.Next(at(t, "2026-11-27T12:00:00Z")); got != "Mon 2026-11-30 01:00 CET" {
		t.Errorf("got %q", got)
	}
	if got := hours.Next(at(t, "2026-11-27T02:00:00Z")); got != "" {
		t.Errorf("while it is open: %q", got)
	}
}

func TestEstimatesCountTheTimeOutsideTheHours(t *testing.T) {
	hours := Hours("Mon-Fri 01:00-05:00 UTC")
	for _, tt := range []struct {
		now           string
		work, typical time.Duration
	}{
		{"2026-11-25T02:00:00Z", 3 * time.Hour, 3 * time.Hour},
		{"2026-11-25T02:00:00Z", 4 * time.Hour, 24 * time.Hour},                         // an hour of the next night
		{"2026-11-24T20:00:00Z", time.Hour, 6 * time.Hour},                              // waits first
		{"2026-11-27T02:00:00Z", 3*time.Hour + time.Minute, 71*time.Hour + time.Minute}, // the weekend is between
		{"2026-11-25T02:00:00Z", 0, 0},
	} {
		e := Estimate{Typical: tt.work, Longest: tt.work}.Within(hours, at(t, tt.now))
		if e.Typical != tt.typical || e.Longest != e.Typical {
			t.Errorf("%s of work from %s: %+v, want %s", tt.work, tt.now, e, tt.typical)
		}
	}
	if e := (Estimate{time.Hour, 2 * time.Hour}).Within("", time.Now()); e != (Estimate{time.Hour, 2 * time.Hour}) {
		t.Errorf("without hours: %+v", e)
	}
}
