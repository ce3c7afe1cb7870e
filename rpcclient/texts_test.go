package rpcclient

import (
	"strconv"
	"testing"
)

func TestTextsAreThoseOfTheirIndex(t *testing.T) {
	const n = 3*textsAtOnce + 7
	for _, step := range []int{1, 2, textsAtOnce - 1, textsAtOnce, textsAtOnce + 1} {
		list := texts{n: n, append: func(piece []byte, i int) []byte { return strconv.AppendInt(append(piece, 'n'), int64(i), 10) }}
		for i := 0; i < n; i += step {
			if got, want := list.get(i), "n"+strconv.Itoa(i); got != want || list.get(i) != want {
				t.Fatalf("in steps of %d: text %d is %q", step, i, got)
			}
		}
	}
}
