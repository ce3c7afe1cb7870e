package ddl

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	plotHeight = 15 // lines between the lowest and the highest value
	plotWidth  = 60 // columns
)

// plot draws values from left to right, scaled to the size of a chart, with
// the scale on the left. No values give no plot.
func plot(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	points := resample(values, plotWidth)
	low, high := slices.Min(values), slices.Max(values)
	row := func(v float64) int {
		if high == low {
			return 0
		}
		// Halved first: the span of two huge values may overflow.
		return int(math.Round((v/2 - low/2) / (high/2 - low/2) * plotHeight))
	}
	lines := plotHeight + 1
	if high == low {
		lines = 1
	}
	grid := make([][]rune, lines)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", len(points)))
	}
	for x := range points {
		y := row(points[x])
		if x == 0 {
			grid[y][x] = '─'
			continue
		}
		step(grid, x, row(points[x-1]), y)
	}
	return render(grid, low, high)
}

// step draws column x of the line, which comes in at one row and leaves at
// another. Row 0 is the lowest.
func step(grid [][]rune, x, from, to int) {
	switch {
	case from == to:
		grid[to][x] = '─'
		return
	case from < to:
		grid[from][x], grid[to][x] = '╯', '╭'
	default:
		grid[from][x], grid[to][x] = '╮', '╰'
	}
	for y := min(from, to) + 1; y < max(from, to); y++ {
		grid[y][x] = '│'
	}
}

// render puts the scale beside the grid, the highest row first.
func render(grid [][]rune, low, high float64) string {
	labels := make([]string, len(grid))
	width := 0
	for y := range grid {
		v := low
		if len(grid) > 1 {
			share := float64(y) / float64(len(grid)-1)
			v = low*(1-share) + high*share
		}
		labels[y] = fmt.Sprintf("%.2f", v)
		if math.Abs(v) >= 1e9 {
			labels[y] = fmt.Sprintf("%.3g", v)
		}
		width = max(width, len(labels[y]))
	}
	var b strings.Builder
	for y := len(grid) - 1; y >= 0; y-- {
		line := fmt.Sprintf(" %*s ┤%s", width, labels[y], string(grid[y]))
		b.WriteString(strings.TrimRight(line, " "))
		if y > 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// resample stretches or squeezes values to n points, with straight lines
// between them.
func resample(values []float64, n int) []float64 {
	points := make([]float64, n)
	for i := range points {
		at := float64(i) * float64(len(values)-1) / float64(n-1)
		left := int(at)
		right := min(left+1, len(values)-1)
		share := at - float64(left)
		points[i] = values[left]*(1-share) + values[right]*share
	}
	return points
}
