package discovery

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxUnfold is the most names that a node set, or a file of them, may stand for.
const maxUnfold = 1_000_000

// unfoldSorted returns the names of a node set, sorted naturally and unique. A set is names separated by commas;
// in brackets stand numbers and ranges, separated by commas: web[01-12,20].ams,db3,r[1-2]n[1-9]. A lower
// bound with leading zeros pads the whole range. An empty set has no names. Errors name the position of
// the fault, counted from 1. Sets of more than 1,000,000 names are refused.
func unfoldSorted(set string) ([]string, error) {
	names, err := unfold(set, maxUnfold)
	if err != nil {
		return nil, err
	}
	return Sort(names), nil
}

// unfold returns the names as they stand, at most limit of them.
func unfold(set string, limit int) ([]string, error) {
	if strings.TrimSpace(set) == "" {
		return nil, nil
	}
	p := setParser{text: set}
	patterns, err := p.patterns()
	if err != nil {
		return nil, err
	}
	total := 0
	for _, pat := range patterns {
		count := pat.count(limit)
		if total += count; count > limit || total > limit {
			return nil, p.fail(pat.at, "%v", errTooMany)
		}
		if err := checkName(pat.sample()); err != nil {
			return nil, p.fail(pat.at, "%v", err)
		}
	}
	names := make([]string, 0, total)
	for _, pat := range patterns {
		names = pat.expand(names, "", 0)
	}
	return names, nil
}

// pattern is one element of a node set.
type pattern struct {
	at       int         // offset of its first byte
	literals []string    // the text before each bracket, and after the last
	brackets [][]numbers // what each bracket holds
}

// numbers is a range, both ends included; width is its zero padding.
type numbers struct {
	from, to uint64
	width    int
}

// count is how many names the pattern stands for; anything above limit is too many, however much.
func (p pattern) count(limit int) int {
	total := 1
	for _, b := range p.brackets {
		sum := uint64(0)
		for _, r := range b {
			size := r.to - r.from + 1
			if sum += size; size > uint64(limit) || sum > uint64(limit) {
				return limit + 1
			}
		}
		if total *= int(sum); total > limit {
			return limit + 1
		}
	}
	return total
}

// sample is the longest name of the pattern. All names are as valid as this one, since they differ in digits only.
func (p pattern) sample() string {
	var s strings.Builder
	for i, b := range p.brackets {
		s.WriteString(p.literals[i])
		longest := ""
		for _, r := range b {
			if t := r.text(r.to); len(t) > len(longest) {
				longest = t
			}
		}
		s.WriteString(longest)
	}
	s.WriteString(p.literals[len(p.literals)-1])
	return s.String()
}

func (p pattern) expand(names []string, prefix string, i int) []string {
	prefix += p.literals[i]
	if i == len(p.brackets) {
		return append(names, prefix)
	}
	for _, r := range p.brackets[i] {
		for n := r.from; n <= r.to; n++ {
			names = p.expand(names, prefix+r.text(n), i+1)
		}
	}
	return names
}

func (r numbers) text(n uint64) string {
	s := strconv.FormatUint(n, 10)
	if len(s) < r.width {
		return strings.Repeat("0", r.width-len(s)) + s
	}
	return s
}

type setParser struct {
	text string
	at   int
}

func (p *setParser) fail(at int, format string, args ...any) error {
	position := utf8.RuneCountInString(p.text[:at]) + 1
	return fmt.Errorf("node set: position %d: %s", position, fmt.Sprintf(format, args...))
}

func (p *setParser) patterns() ([]pattern, error) {
	var all []pattern
	for {
		pat, err := p.pattern()
		if err != nil {
			return nil, err
		}
		all = append(all, pat)
		if p.at == len(p.text) {
			return all, nil
		}
		p.at++ // the comma
	}
}

// pattern reads up to a comma outside brackets, or the end.
func (p *setParser) pattern() (pattern, error) {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
	pat := pattern{at: p.at}
	for {
		end := strings.IndexAny(p.text[p.at:], "[],")
		if end < 0 {
			end = len(p.text) - p.at
		}
		literal := p.text[p.at : p.at+end]
		p.at += end
		if p.at < len(p.text) && p.text[p.at] == '[' {
			pat.literals = append(pat.literals, literal)
			bracket, err := p.bracket()
			if err != nil {
				return pat, err
			}
			pat.brackets = append(pat.brackets, bracket)
			continue
		}
		if p.at < len(p.text) && p.text[p.at] == ']' {
			return pat, p.fail(p.at, "']' without '['")
		}
		pat.literals = append(pat.literals, strings.TrimRight(literal, " "))
		if len(pat.brackets) == 0 && pat.literals[0] == "" {
			return pat, p.fail(pat.at, "a name is missing")
		}
		return pat, nil
	}
}

// bracket reads from '[' to ']'.
func (p *setParser) bracket() ([]numbers, error) {
	open := p.at
	end := strings.IndexByte(p.text[open:], ']')
	if end < 0 {
		return nil, p.fail(open, "'[' without ']'")
	}
	p.at++
	var all []numbers
	for part := range strings.SplitSeq(p.text[p.at:open+end], ",") {
		r, err := p.numbers(part)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
		p.at += len(part) + 1 // and its comma, or the bracket
	}
	return all, nil
}

func (p *setParser) numbers(part string) (numbers, error) {
	low, high, isRange := strings.Cut(part, "-")
	if !isRange {
		high = low
	}
	from, err := p.number(low, p.at)
	if err != nil {
		return numbers{}, err
	}
	to, err := p.number(high, p.at+len(part)-len(high))
	if err != nil {
		return numbers{}, err
	}
	switch {
	case from > to:
		return numbers{}, p.fail(p.at, "the range %s runs backwards", part)
	case isPadded(high) && len(high) != len(low), isPadded(low) && len(high) < len(low):
		return numbers{}, p.fail(p.at, "the ends of the range %s are not padded alike", part)
	}
	r := numbers{from: from, to: to}
	if isPadded(low) {
		r.width = len(low)
	}
	return r, nil
}

func (p *setParser) number(text string, at int) (uint64, error) {
	if text == "" {
		return 0, p.fail(at, "a number is missing")
	}
	if digitRun(text) != text || len(text) > maxDigits {
		return 0, p.fail(at, "%q is not a number", text)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, p.fail(at, "%q is not a number", text)
	}
	return n, nil
}
