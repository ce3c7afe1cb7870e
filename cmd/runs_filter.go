package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/report"
)

// runsFilter chooses runs of a list. The zero value chooses all.
type runsFilter struct {
	user, action, state string
	since               moment
}

func (f *runsFilter) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.user, "user", "", "only runs that this `USER` began")
	flags.StringVar(&f.action, "action", "", "only runs of this `ACTION`: restart, or choria_provision#restart")
	flags.Var(&f.since, "since", "only runs that began within this time (24h), or since a `DATE` (2026-01-31, or 2026-01-31T22:00:00Z)")
	flags.StringVar(&f.state, "state", "", "only runs in this `STATE`: "+strings.Join(runStates(), ", "))
	completeWith(flags, "state", runStates()...)
}

// runStates are the words by which a list shows how a run is.
func runStates() []string {
	states := []string{"running", "waiting", "paused", "died", "damaged", "nothing sent"}
	for _, v := range []batch.Verdict{batch.Done, batch.Silent, batch.Failed, batch.Uncertain, batch.Stopped, batch.Interrupted, batch.Fault} {
		states = append(states, v.String())
	}
	return states
}

func (f *runsFilter) validate() error {
	if f.state != "" && !slices.Contains(runStates(), f.state) {
		return usage(fmt.Errorf("no run is ever %q", f.state), "use one of "+strings.Join(runStates(), ", "))
	}
	return nil
}

// keeps reports whether a list shows a run. now is when the command began.
func (f *runsFilter) keeps(l report.RunLine, now time.Time) bool {
	switch {
	case f.user != "" && l.User != f.user,
		f.action != "" && f.action != l.Action && f.action != l.Agent+"#"+l.Action,
		f.state != "" && f.state != l.Status,
		f.since.set() && l.Started.Before(f.since.at(now)):
		return false
	}
	return true
}

// moment is a flag's time: a date, or how long ago.
type moment struct {
	text string
	ago  time.Duration
	date time.Time
}

// Set implements pflag.Value.
func (m *moment) Set(text string) error {
	for _, layout := range []string{time.DateOnly, time.DateTime, "2006-01-02T15:04", time.RFC3339} {
		if date, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			*m = moment{text: text, date: date}
			return nil
		}
	}
	ago, err := parseSeconds(text)
	if err != nil {
		return errors.New("neither a duration, such as 24h, nor a date, such as 2026-01-31")
	}
	*m = moment{text: text, ago: ago}
	return nil
}

// String implements pflag.Value.
func (m *moment) String() string { return m.text }

// Type implements pflag.Value; it is what the help shows.
func (m *moment) Type() string { return "DATE" }

func (m *moment) set() bool { return m.text != "" }

func (m *moment) at(now time.Time) time.Time {
	if m.date.IsZero() {
		return now.Add(-m.ago)
	}
	return m.date
}
