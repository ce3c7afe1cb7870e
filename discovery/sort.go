package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
)

// Sort returns the names in natural order (web2 before web10), each once and without blank ones. The
// argument is not changed.
func Sort(nodes []string) []string {
	sorted := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return strings.TrimSpace(n) == "" })
	slices.SortFunc(sorted, compareNatural)
	return slices.Compact(sorted)
}

// compareNatural orders names with their runs of digits taken as numbers. It is a total order: names
// that differ only in padding are ordered by their bytes.
func compareNatural(a, b string) int {
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if isDigit(a[i]) && isDigit(b[j]) {
			x, y := digitRun(a[i:]), digitRun(b[j:])
			if c := compareDigits(x, y); c != 0 {
				return c
			}
			i, j = i+len(x), j+len(y)
			continue
		}
		if a[i] != b[j] {
			return cmp.Compare(a[i], b[j])
		}
		i, j = i+1, j+1
	}
	if c := cmp.Compare(len(a)-i, len(b)-j); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func compareDigits(x, y string) int {
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// digitRun is the run of digits at the start of s.
func digitRun(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}

// maxName is the longest name of a host (RFC 1035, with room).
const maxName = 255

// checkName refuses what cannot be a node's name in a list from outside.
func checkName(name string) error {
	if err := choria.CheckIdentity(name); err != nil {
		return err
	}
	if len(name) > maxName {
		return fmt.Errorf("identity %q... has more than %d characters", name[:32], maxName)
	}
	if fault := filter.NameFault(name); fault != "" {
		return fmt.Errorf("identity %q: %s", name, fault)
	}
	return nil
}

var errTooMany = errors.New("more nodes than a node set may have (1,000,000)")
