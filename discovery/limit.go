package discovery

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand"
	"strconv"
	"strings"
)

// Limit chooses some of the nodes and returns them sorted; nodes itself is not changed. spec is a number
// or a percentage, "20" or "10%", and "" for all. A percentage is rounded down as in Choria, yet never
// below one node; more than there are means all; zero is an error. method is "first", or "random": the
// same seed and the same order of nodes give the same choice, which is Choria's (docs/protocol.md,
// discovery, limits).
func Limit(nodes []string, spec, method string, seed int64) ([]string, error) {
	if method != "first" && method != "random" {
		return nil, fmt.Errorf("unknown limit method %q: there are first and random", method)
	}
	if spec == "" {
		return Sort(nodes), nil
	}
	count, err := limitCount(len(nodes), spec)
	if err != nil {
		return nil, err
	}
	chosen := append([]string(nil), nodes...)
	if method == "random" {
		rand.New(rand.NewSource(seed)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	}
	return Sort(chosen[:count]), nil
}

// limitCount is how many of have nodes a limit leaves.
func limitCount(have int, spec string) (int, error) {
	digits, percent := strings.CutSuffix(spec, "%")
	if digits == "" || digitRun(digits) != digits {
		return 0, fmt.Errorf("limit %q is neither a number nor a percentage", spec)
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		n = math.MaxInt // digits only, so it is too large, and limits nothing
	}
	if n == 0 {
		return 0, fmt.Errorf("limit %q leaves no nodes", spec)
	}
	if percent {
		// In floating point, in this order, because the choria client does it so: 29% of 100 is 28.
		part := float64(have) * (float64(n) / 100)
		n = have
		if part < float64(have) {
			n = max(int(part), 1)
		}
	}
	return min(n, have), nil
}

// Exclude returns the nodes without those that specs name, in the order that they had. A spec is a name,
// a node set, or @FILE for a list as ReadNodes reads it; open opens such a file. A name that is not among
// the nodes is not an error: it is excluded already.
func Exclude(nodes, specs []string, open func(path string) (io.ReadCloser, error)) ([]string, error) {
	out := map[string]bool{}
	for _, spec := range specs {
		names, err := excluded(spec, open)
		if err != nil {
			return nil, fmt.Errorf("exclude %q: %w", spec, err)
		}
		for _, n := range names {
			out[n] = true
		}
	}
	kept := make([]string, 0, len(nodes))
	for _, n := range nodes {
		if !out[n] {
			kept = append(kept, n)
		}
	}
	return kept, nil
}

func excluded(spec string, open func(path string) (io.ReadCloser, error)) ([]string, error) {
	path, isFile := strings.CutPrefix(spec, "@")
	if !isFile {
		if strings.TrimSpace(spec) == "" {
			return nil, errors.New("the name is blank")
		}
		return Unfold(spec)
	}
	if open == nil {
		return nil, errors.New("cannot read files here")
	}
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadNodes(f, path)
}
