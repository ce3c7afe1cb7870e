package discovery

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// maxDigits is the longest run of digits that counts as a number; longer ones are plain text.
const maxDigits = 18

// Fold writes nodes as a node set, the short form that Unfold reads: numbers become ranges in brackets,
// zero padding is kept, several runs of digits give several brackets. The result depends on the set of
// names only, not on their order; no nodes give "".
func Fold(nodes []string) string {
	groups := map[string][]block{}
	var shapes []string
	for _, name := range Sort(nodes) {
		shape, b := takeApart(name)
		if _, ok := groups[shape]; !ok {
			shapes = append(shapes, shape)
		}
		groups[shape] = append(groups[shape], b)
	}
	var blocks []block
	for _, shape := range shapes {
		blocks = append(blocks, merge(groups[shape])...)
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return compareNatural(a.first, b.first) })
	texts := make([]string, len(blocks))
	for i, b := range blocks {
		texts[i] = b.String()
	}
	return strings.Join(texts, ",")
}

// block is a set of names that differ in numbers only: all combinations of the numbers of each place.
type block struct {
	first    string     // the least name, for the order
	literals []string   // the text around the numbers: one more than there are numbers
	numbers  [][]string // the digits that may stand at each place, as written
}

// takeApart splits a name at its numbers. Names of the same shape differ in numbers only.
func takeApart(name string) (shape string, b block) {
	b = block{first: name}
	start := 0
	for i := 0; i < len(name); {
		run := digitRun(name[i:])
		if run == "" {
			i++
			continue
		}
		if len(run) <= maxDigits {
			b.literals = append(b.literals, name[start:i])
			b.numbers = append(b.numbers, []string{run})
			start = i + len(run)
		}
		i += len(run)
	}
	b.literals = append(b.literals, name[start:])
	return strings.Join(b.literals, "\x00"), b
}

// merge joins blocks of one shape that differ at one place only, place by place. From which end gives
// fewer blocks depends on the names, so both are tried.
func merge(blocks []block) []block {
	places := len(blocks[0].numbers)
	forward, backward := blocks, blocks
	for i := range places {
		forward = mergeAt(forward, i)
		backward = mergeAt(backward, places-1-i)
	}
	if len(backward) < len(forward) {
		return backward
	}
	return forward
}

// mergeAt joins the blocks that are equal at every other place. They have no name in common, and neither
// have the results.
func mergeAt(blocks []block, place int) []block {
	index := make(map[string]int, len(blocks))
	var merged []block
	for _, b := range blocks {
		var key strings.Builder
		for i, digits := range b.numbers {
			if i != place {
				key.WriteString(foldNumbers(digits))
			}
			key.WriteByte('/')
		}
		at, ok := index[key.String()]
		if !ok {
			index[key.String()] = len(merged)
			b.numbers = slices.Clone(b.numbers)
			b.numbers[place] = slices.Clone(b.numbers[place])
			merged = append(merged, b)
			continue
		}
		merged[at].numbers[place] = append(merged[at].numbers[place], b.numbers[place]...)
	}
	return merged
}

func (b block) String() string {
	var s strings.Builder
	for i, digits := range b.numbers {
		s.WriteString(b.literals[i])
		s.WriteString(foldNumbers(digits))
	}
	s.WriteString(b.literals[len(b.literals)-1])
	return s.String()
}

// number is digits with their value. width is 0 for plain numbers and else the number of digits: 05 and,
// beside it, 12.
type number struct {
	text  string
	value uint64
	width int
}

// foldNumbers writes one number plain, and several in brackets, with ranges.
func foldNumbers(texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	padded := map[int]bool{} // widths that have a number with a leading zero
	for _, t := range texts {
		if isPadded(t) {
			padded[len(t)] = true
		}
	}
	numbers := make([]number, len(texts))
	for i, t := range texts {
		value, _ := strconv.ParseUint(t, 10, 64) // digits, at most maxDigits of them
		numbers[i] = number{text: t, value: value}
		if padded[len(t)] {
			numbers[i].width = len(t)
		}
	}
	slices.SortFunc(numbers, func(a, b number) int {
		return cmp.Or(cmp.Compare(a.width, b.width), cmp.Compare(a.value, b.value))
	})
	type span struct{ from, to number }
	var spans []span
	for _, n := range numbers {
		if last := len(spans) - 1; last >= 0 && spans[last].to.width == n.width && spans[last].to.value+1 == n.value {
			spans[last].to = n
			continue
		}
		spans = append(spans, span{n, n})
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.from.value, b.from.value) })
	var s strings.Builder
	for i, sp := range spans {
		s.WriteByte("[,"[min(i, 1)])
		s.WriteString(sp.from.text)
		if sp.from.text != sp.to.text {
			s.WriteString("-" + sp.to.text)
		}
	}
	s.WriteByte(']')
	return s.String()
}

// isPadded reports whether digits have a leading zero that a plain number would not have.
func isPadded(digits string) bool { return len(digits) > 1 && digits[0] == '0' }
