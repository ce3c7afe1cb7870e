package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// bins is about how many bars a histogram has.
const bins = 12

// Histogram draws how times are distributed, from zero. The longest hundredth shares the last bar, so that one late node
// does not press all others into the first one. The slice is sorted. Without times there are no bars.
func Histogram(title string, times []time.Duration) Bars {
	h := Bars{Title: title, Unit: "Seconds"}
	if len(times) == 0 {
		return h
	}
	slices.Sort(times)
	longest, most := times[len(times)-1], times[(len(times)-1)*99/100]
	h.Note = fmt.Sprintf("median %s, 95%% within %s, longest %s", seconds(within(times, 50)), seconds(within(times, 95)), seconds(longest))
	step := niceStep(most / bins)
	next := 0
	for from := time.Duration(0); next < len(times); from += step {
		label, end := bound(from)+" – "+bound(from+step), len(times)
		if from+step > most && longest >= from+step {
			label = bound(from) + " and more"
		} else {
			end, _ = slices.BinarySearch(times, from+step)
		}
		h.Items = append(h.Items, Bar{Label: label, N: end - next})
		next = end
	}
	return h
}

// within is the shortest of the sorted times that at least this share of them does not exceed.
func within(times []time.Duration, percent int) time.Duration {
	return times[(len(times)*percent+99)/100-1]
}

// niceStep is the next of 10 ms, 20 ms, 50 ms, 100 ms and so on.
func niceStep(d time.Duration) time.Duration {
	unit := 10 * time.Millisecond
	for {
		for _, step := range []time.Duration{unit, 2 * unit, 5 * unit} {
			if d <= step {
				return step
			}
		}
		unit *= 10
	}
}

func bound(d time.Duration) string { return fmt.Sprintf("%g", math.Round(d.Seconds()*100)/100) }

// seconds is a duration with a tenth of a second, below one second with a hundredth, and from ten minutes on in minutes
// or hours. The script writes it in the same way.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	const day = 24 * time.Hour
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// heatRows is how many values a heat map shows.
const heatRows = 60

// heat is how the values of two columns meet.
type heat struct {
	Key, Title string
	Heads      []string // values of the column By
	Rows       []heatRow
	More       int // values that are not shown
}

type heatRow struct {
	Name  string
	Total int
	Cells []int
	bad   int
}

// heats draws a map for each column that asks for one and has at least two values.
func (t Table) heats() []heat {
	var all []heat
	for i, c := range t.Columns {
		if by := t.at(t.By); c.Map && by >= 0 && by != i {
			if h := t.heat(i, by); len(h.Rows) > 1 {
				all = append(all, h)
			}
		}
	}
	return all
}

func (t Table) heat(column, by int) heat {
	h := heat{Key: t.Columns[column].Key, Title: t.Columns[column].Title}
	heads, rows := map[string]int{}, map[string]int{}
	for _, r := range t.Rows {
		head, name := cellText(r[by]), cellText(r[column])
		if _, ok := heads[head]; !ok {
			heads[head] = len(h.Heads)
			h.Heads = append(h.Heads, head)
		}
		at, ok := rows[name]
		if !ok {
			at = len(h.Rows)
			rows[name] = at
			h.Rows = append(h.Rows, heatRow{Name: name})
		}
		row := &h.Rows[at]
		for len(row.Cells) <= heads[head] {
			row.Cells = append(row.Cells, 0)
		}
		row.Cells[heads[head]]++
		if row.Total++; t.Tones[head] != Good {
			row.bad++
		}
	}
	for i := range h.Rows {
		h.Rows[i].Cells = append(h.Rows[i].Cells, make([]int, len(h.Heads)-len(h.Rows[i].Cells))...)
	}
	slices.SortFunc(h.Rows, func(a, b heatRow) int { // the worst first
		return cmp.Or(cmp.Compare(b.bad*a.Total, a.bad*b.Total), cmp.Compare(b.Total, a.Total), strings.Compare(a.Name, b.Name))
	})
	if h.More = max(len(h.Rows)-heatRows, 0); h.More > 0 {
		h.Rows = h.Rows[:heatRows]
	}
	return h
}

// cellText is a cell as text; empty for nil.
func cellText(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Duration:
		return seconds(v)
	}
	return fmt.Sprint(cell)
}
