package render

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// histogram: replies are counted in brackets of this width, made coarser when there would be more than maxBrackets.
const (
	bracket     = 50 * time.Millisecond
	maxBrackets = 40
)

// Pings is a finished ping.
type Pings struct {
	// Times are the round trips.
	Times []time.Duration
	// Overhead is the time from the start until the request was published.
	Overhead time.Duration
}

// PingOptions are the operator's wishes for the end of a ping.
type PingOptions struct {
	// Silent reports that no line per node was printed, so that no empty lines are needed before the statistics.
	Silent bool
	// Graph adds a histogram of the round trips.
	Graph bool
	// Width is the terminal's; zero is 80.
	Width int
}

// Ping writes the line of one answer.
func Ping(w io.Writer, node string, took time.Duration) error {
	_, err := fmt.Fprintf(w, "%-40s time=%d ms\n", oneLine(node), took.Milliseconds())
	return err
}

// PingStatistics writes the end of a ping as `choria ping` does: only its heading when no node answered.
func PingStatistics(w io.Writer, p Pings, o PingOptions) error {
	buf := bufio.NewWriter(w)
	if !o.Silent {
		fmt.Fprint(buf, "\n\n")
	}
	fmt.Fprintln(buf, "---- ping statistics ----")
	if len(p.Times) > 0 {
		var sum time.Duration
		for _, t := range p.Times {
			sum += t
		}
		ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
		fmt.Fprintf(buf, "%d replies max: %s min: %s avg: %s overhead: %s\n", len(p.Times), ms(slices.Max(p.Times)),
			ms(slices.Min(p.Times)), ms(sum/time.Duration(len(p.Times))), ms(p.Overhead))
		if o.Graph {
			fmt.Fprintln(buf)
			histogram(buf, p.Times, o.Width)
			fmt.Fprintln(buf)
		}
	}
	return buf.Flush()
}

// histogram draws how many replies came in each bracket of time.
func histogram(w io.Writer, times []time.Duration, width int) {
	step := bracket
	for slices.Max(times)/step >= maxBrackets {
		step += bracket
	}
	counts := make([]int, slices.Max(times)/step+1)
	for _, t := range times {
		counts[max(t, 0)/step]++
	}
	if width <= 0 {
		width = 80
	}
	most := slices.Max(counts)
	digits := len(fmt.Sprint(most))
	room := max(width-20-digits, 10)
	for i, n := range counts {
		from := time.Duration(i) * step
		bar := strings.Repeat("█", (n*room+most-1)/most)
		line := fmt.Sprintf("%6d-%-6s %*d %s", from.Milliseconds(), fmt.Sprint((from+step).Milliseconds(), " ms"), digits, n, bar)
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintf(w, "\n      Responses per %dms\n", step.Milliseconds())
}
