package batch

import (
	"fmt"
	"strconv"
	"strings"
)

// Amount is a number of nodes, or a share of a set: "20" or "5%". The zero value
// means not given. It is comparable, and its text form is used in JSON.
type Amount struct {
	Count      int // nodes, when the amount is a number
	Millionths int // of the set, when it is a share: 50000 is 5%
}

// percent is one per cent in millionths.
const percent = 10_000

// Number returns the amount that is a number of nodes.
func Number(n int) Amount { return Amount{Count: n} }

// IsZero reports whether the amount was not given.
func (a Amount) IsZero() bool { return a == Amount{} }

// Of returns the amount as a number of nodes of a set: shares round up, and the
// result is never below 1 nor above the set. It is 0 for an empty set or an
// amount that was not given.
func (a Amount) Of(set int) int {
	if set <= 0 || a.IsZero() {
		return 0
	}
	n := int64(a.Count)
	if a.Millionths > 0 {
		n = (int64(set)*int64(a.Millionths) + 100*percent - 1) / (100 * percent)
	}
	return int(min(max(n, 1), int64(set)))
}

// limit is Of without the upper clamp for numbers: a limit of 20 on 10 nodes
// can never be reached.
func (a Amount) limit(set int) int {
	if a.Millionths > 0 {
		return a.Of(set)
	}
	return a.Count
}

// Validate refuses negative amounts, shares above 100% and a mix of both.
func (a Amount) Validate() error {
	switch {
	case a.Count < 0, a.Millionths < 0:
		return fmt.Errorf("cannot use %s: below zero", a)
	case a.Millionths > 100*percent:
		return fmt.Errorf("cannot use %s: above 100%%", a)
	case a.Count > 0 && a.Millionths > 0:
		return fmt.Errorf("cannot use an amount that is both a number and a share")
	}
	return nil
}

// String returns the amount as ParseAmount reads it, "" when it was not given.
func (a Amount) String() string {
	switch {
	case a.Millionths != 0:
		whole, rest := a.Millionths/percent, a.Millionths%percent
		if rest == 0 {
			return strconv.Itoa(whole) + "%"
		}
		return strings.TrimRight(fmt.Sprintf("%d.%04d", whole, rest), "0") + "%"
	case a.Count != 0:
		return strconv.Itoa(a.Count)
	}
	return ""
}

// MarshalText returns the text form.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the text form; empty text is the amount not given.
func (a *Amount) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Amount{}
		return nil
	}
	got, err := ParseAmount(string(text))
	if err == nil {
		*a = got
	}
	return err
}

// ParseAmount reads "20", "5%" or "0.5%" (four decimals at most). Zero is
// refused: a share of an empty set has no meaning, and neither has a limit of 0.
func ParseAmount(text string) (Amount, error) {
	s := strings.TrimSpace(text)
	share, isShare := strings.CutSuffix(s, "%")
	if !isShare {
		n, err := parseDigits(s)
		if err != nil || n == 0 {
			return Amount{}, fmt.Errorf("cannot use %q: want a number of nodes above 0, or a percentage such as 5%%", text)
		}
		return Amount{Count: n}, nil
	}
	whole, frac, dotted := strings.Cut(share, ".")
	w, err := parseDigits(whole)
	if err != nil || w > 100 || (dotted && (frac == "" || len(frac) > 4)) {
		return Amount{}, badShare(text)
	}
	f := 0
	if dotted {
		if f, err = parseDigits(frac + strings.Repeat("0", 4-len(frac))); err != nil {
			return Amount{}, badShare(text)
		}
	}
	a := Amount{Millionths: w*percent + f}
	if a.Millionths == 0 || a.Millionths > 100*percent {
		return Amount{}, badShare(text)
	}
	return a, nil
}

func badShare(text string) error {
	return fmt.Errorf("cannot use %q: want a percentage above 0%% and at most 100%%", text)
}

// parseDigits is strconv.Atoi without signs.
func parseDigits(s string) (int, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" || len(s) > 9 {
		return 0, fmt.Errorf("want digits, got %q", s)
	}
	return strconv.Atoi(s)
}

// Sizes reports how large the batches are, in order; the last repeats. Empty means
// one batch of everything. Shares are of the whole set.
type Sizes []Amount

// ParseSizes reads "100", "5%" or "1,10,5%,25%". "" and "0" mean one batch of
// everything, as in `choria req`.
func ParseSizes(text string) (Sizes, error) {
	if t := strings.TrimSpace(text); t == "" || t == "0" {
		return nil, nil
	}
	var sizes Sizes
	for part := range strings.SplitSeq(text, ",") {
		a, err := ParseAmount(part)
		if err != nil {
			return nil, fmt.Errorf("batch sizes %q: %w", text, err)
		}
		sizes = append(sizes, a)
	}
	return sizes, nil
}

// At returns the size of batch i (from 0) of a set.
func (s Sizes) At(i, set int) int {
	if len(s) == 0 {
		return set
	}
	return s[min(i, len(s)-1)].Of(set)
}

// String returns the sizes as ParseSizes reads them.
func (s Sizes) String() string {
	parts := make([]string, len(s))
	for i, a := range s {
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}

// MarshalText returns the text form.
func (s Sizes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form.
func (s *Sizes) UnmarshalText(text []byte) error {
	got, err := ParseSizes(string(text))
	if err == nil {
		*s = got
	}
	return err
}
