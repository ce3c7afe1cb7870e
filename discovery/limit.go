package discovery

import (
	"fmt"
	"math"
	"math/rand"
	random "math/rand/v2" // the other one is Choria's generator, which makes the same choice of the same seed
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

// DrawSeed draws a seed for Limit: above 0, as Choria's are, and short enough to be typed again. The caller shows
// and records it, since nothing else can choose the same nodes again.
func DrawSeed() int64 { return 1 + random.Int64N(math.MaxInt32) }
