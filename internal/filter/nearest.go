package filter

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest finds the known name that was most likely meant, or "" when none is
// near enough to propose.
func Nearest(name string, known []string) string {
	if near := NearestFew(name, known, 1); len(near) > 0 {
		return near[0]
	}
	return ""
}

// NearestFew finds up to limit known names that may have been meant, the nearest first and each once; equally
// near ones are in the order of known. A longer name may differ in more letters; case does not count.
func NearestFew(name string, known []string, limit int) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	name = strings.ToLower(name)
	farthest := max(len(name)/3, 1)
	seen := map[string]bool{}
	for _, k := range known {
		// Names whose lengths differ by more than farthest are farther apart: most of a fleet is passed over cheaply.
		if name == "" || seen[k] || max(len(k)-len(name), len(name)-len(k)) > farthest {
			continue
		}
		seen[k] = true
		if d := distance(name, strings.ToLower(k)); d <= farthest {
			near = append(near, candidate{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var names []string
	for _, c := range near[:min(len(near), limit)] {
		names = append(names, c.name)
	}
	return names
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbors that make b of a.
func distance(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return len(a) + len(b) // too long to be worth the work: far apart
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(next[j-1]+1, row[j]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
