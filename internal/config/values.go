package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/internal/plain"
	"fleetctl/internal/secret"
)

// assign sets a key from a file's text, or from the variable that replaces it. Bad values have the effect
// that they have in Choria, and are warned about; one that holds a control character is refused.
func (l *loader) assign(key string, f *field, text, origin string) {
	if f.env != "" {
		if v, ok := l.env.Getenv(f.env); ok {
			text, origin = v, "environment "+f.env
		}
	}
	if plain.Text(text) != text {
		if l.refused == nil {
			l.refused = fmt.Errorf("cannot use %s (%s): %s holds a control character", key, origin, quote(key, text))
		}
		return
	}
	problem, kept := l.store(f, text)
	if problem == nil {
		l.record(key, f, text, origin)
		if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
			l.warn("%s: %s: %s is not one of %s; it is used anyway, as Choria does", origin, key, quote(key, text), strings.Join(f.enum, ", "))
		}
		return
	}
	if !kept {
		l.record(key, f, text, origin)
	}
	used, _ := l.c.Get(key)
	l.warn("%s: %s: %s %v; %s is used", origin, key, quote(key, text), problem, quote(key, used))
}

// store parses text into the field's place. kept means that the old value stays.
func (l *loader) store(f *field, text string) (problem error, kept bool) {
	switch to := f.to.(type) {
	case *secret.Value:
		*to = secret.New(text)
	case *string:
		return l.storeText(f, to, text), false
	case *bool:
		v, ok := parseBool(text)
		*to = v
		if !ok {
			return errors.New("is neither yes nor no"), false
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return errors.New("is not a whole number"), true
		}
		*to = n
	case *time.Duration:
		d, err := parseTime(f.kind, text)
		if err != nil {
			return err, true
		}
		*to = d
	case *[]string:
		return storeList(f, to, text), false
	default:
		panic(fmt.Sprintf("config: no way to set a %T", f.to))
	}
	return nil, false
}

func (l *loader) storeText(f *field, to *string, text string) error {
	*to = text
	if f.kind != kindPath {
		return nil
	}
	trimmed := strings.TrimSpace(text)
	if !strings.HasPrefix(trimmed, "~") {
		*to = trimmed
		return nil
	}
	if l.env.Home == "" {
		return errors.New("needs HOME, which is not set")
	}
	*to = l.env.Home + trimmed[1:]
	return nil
}

// storeList splits text. Choria keeps empty elements; they could only name a blank host, collective or
// pattern, so they are dropped here.
func storeList(f *field, to *[]string, text string) error {
	parts := []string{text}
	switch f.kind {
	case kindComma:
		parts, *to = strings.Split(text, ","), []string{}
	case kindPaths:
		parts = strings.Split(text, string(os.PathListSeparator))
	}
	blank := false
	for _, p := range parts {
		p = strings.TrimSpace(p)
		if p == "" {
			blank = true
			continue
		}
		*to = append(*to, p)
	}
	if blank {
		return errors.New("has an empty element, which is left out")
	}
	return nil
}

// record keeps the text in force and its origin for Get and Origin.
func (l *loader) record(key string, f *field, text, origin string) {
	switch to := f.to.(type) {
	case *bool:
		text = strconv.FormatBool(*to)
	case *[]string:
		separator := ","
		if f.kind == kindLines {
			separator = "\n"
		}
		text = strings.Join(*to, separator)
		if old := l.c.values[key].origin; f.kind != kindComma && old != "" {
			origin = old + ", " + origin
		}
	case *string:
		text = *to
	}
	shown := display(key, text)
	if f.kind == kindPath {
		shown = text // the path of a key is no secret
	}
	l.c.values[key] = setting{text: shown, origin: origin}
}

// parseBool reads Choria's words for yes and no; anything else is no, with ok false.
func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "yes", "true", "y", "t":
		return true, true
	case "0", "no", "false", "n", "f":
		return false, true
	}
	return false, false
}

func parseTime(k kind, text string) (time.Duration, error) {
	if k == kindDuration && !digits(text) {
		return parseDuration(text)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errors.New("is not a whole number of seconds")
	}
	if n > math.MaxInt64/int(time.Second) || n < math.MinInt64/int(time.Second) {
		return 0, errors.New("is too many seconds")
	}
	return time.Duration(n) * time.Second, nil
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// parseDuration reads a Go duration, or a number with one of the units w, d, M and y.
func parseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	bad := errors.New("is not a duration (like 30, 30s, 5m or 1d)")
	var hours float64
	switch text[len(text)-1] {
	case 'w', 'W':
		hours = 7 * 24
	case 'd', 'D':
		hours = 24
	case 'M':
		hours = 30 * 24
	case 'y', 'Y':
		hours = 365 * 24
	case 's', 'm', 'h':
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, bad
		}
		return d, nil
	default:
		return 0, bad
	}
	n, err := strconv.ParseFloat(text[:len(text)-1], 32)
	total := n * hours
	if err != nil || !(math.Abs(total) < math.MaxInt64/float64(time.Hour)) {
		return 0, bad
	}
	return time.Duration(total) * time.Hour, nil
}

const quoteLimit = 80

// quote shows a value in a message: shortened, and without secrets.
func quote(key, text string) string {
	text = display(key, text)
	if r := []rune(text); len(r) > quoteLimit {
		text = string(r[:quoteLimit]) + "..."
	}
	return strconv.Quote(text)
}
