package lease

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Limits are how many nodes may be down at once: under All in all, under the name of a fact with each value of it.
type Limits map[string]int

// All is the limit of nodes in all.
const All = "*"

// ParseLimits reads limits as they are typed: N, or FACT=N. Of two for the same the smaller one holds. none allows 0, for no
// limit; then the later one holds.
func ParseLimits(texts []string, none bool) (Limits, error) {
	limits := Limits{}
	for _, text := range texts {
		what, count := All, text
		if at := strings.LastIndex(text, "="); at >= 0 {
			what, count = strings.TrimSpace(text[:at]), text[at+1:]
		}
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 0 || n == 0 && !none || what == "" || strings.ContainsFunc(what, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%q is not a number of nodes that may be down, as in 5 or rack=1", text)
		}
		if earlier, ok := limits[what]; ok && !none {
			n = min(n, earlier)
		}
		limits[what] = n
	}
	return limits, nil
}

// Facts are the facts that have a limit, sorted.
func (l Limits) Facts() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(l)), func(what string) bool { return what == All })
}

// String describes the limits for people.
func (l Limits) String() string {
	var texts []string
	if n, ok := l[All]; ok {
		texts = append(texts, strconv.Itoa(n))
	}
	for _, fact := range l.Facts() {
		texts = append(texts, fmt.Sprintf("%d per %s", l[fact], fact))
	}
	return strings.Join(texts, ", ")
}

// And are the limits of both: the smaller wins.
func (l Limits) And(other Limits) Limits {
	both := maps.Clone(l)
	if both == nil {
		both = Limits{}
	}
	for what, n := range other {
		if mine, ok := both[what]; !ok || n < mine {
			both[what] = n
		}
	}
	return both
}
