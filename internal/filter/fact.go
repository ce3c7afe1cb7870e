package filter

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// operators finds the comparison operators of a fact filter. The order of the
// alternatives matters: the leftmost alternative that fits wins.
var operators = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`<=|>=|=>|=<|<|>|!=|=~|==|=`) })

// operatorSpelling maps the spellings that have another canonical form.
var operatorSpelling = map[string]string{"=": "==", "=<": "<=", "=>": ">="}

// ParseFact reads one fact filter with the grammar that servers and their
// clients share, and refuses nothing that they accept (docs/protocol.md, fact
// expression grammar): the right-most operator splits, both sides are trimmed
// and must not be empty, and a value between slashes is a regex match whatever
// the operator was.
func ParseFact(text string) (Fact, error) {
	name, op, value, err := splitFact(text)
	if err != nil {
		return Fact{}, err
	}
	if canonical, ok := operatorSpelling[op]; ok {
		op = canonical
	}
	if isRegex(value) {
		op = "=~"
	}
	return Fact{Name: name, Operator: op, Value: value}, nil
}

// splitFact cuts a fact filter at its right-most operator, as typed.
func splitFact(text string) (name, op, value string, err error) {
	found := operators().FindAllStringIndex(text, -1)
	if len(found) == 0 {
		return "", "", "", fmt.Errorf("fact filter %q has no operator: write FACT=VALUE, such as role=web", text)
	}
	last := found[len(found)-1]
	name = strings.TrimSpace(text[:last[0]])
	op = text[last[0]:last[1]]
	value = strings.TrimSpace(text[last[1]:])
	switch {
	case name == "":
		return "", "", "", fmt.Errorf("fact filter %q has no fact before the operator", text)
	case value == "":
		return "", "", "", fmt.Errorf("fact filter %q has no value after the operator (is a variable unset?)", text)
	case strings.ContainsAny(name[:1], "=<>"), strings.ContainsAny(value[len(value)-1:], "=<>"):
		return "", "", "", fmt.Errorf("fact filter %q begins or ends with an operator", text)
	}
	return name, op, value, nil
}

// matchFact compares one fact of a node, given as JSON, as a server does
// (docs/protocol.md, fact evaluation). An error is a comparison that cannot be
// made; it fails every fact filter of the request.
func matchFact(f Fact, facts []byte, regexes *regexCache) (bool, error) {
	fact := gjson.GetBytes(facts, f.Name)
	if !fact.Exists() {
		return false, nil
	}
	switch f.Operator {
	case "==", "!=":
		return equalFact(fact, f)
	case "=~":
		return regexFact(fact, f.Value, regexes)
	case "<", "<=", ">", ">=":
		return orderFact(fact, f)
	}
	return false, fmt.Errorf("unknown operator %q", f.Operator)
}

// equalFact is == and !=. A false fact ignores the negation: servers answer
// "!= false" with true for it.
func equalFact(fact gjson.Result, f Fact) (bool, error) {
	negate := f.Operator == "!="
	switch fact.Type {
	case gjson.String:
		return strings.EqualFold(fact.String(), f.Value) != negate, nil
	case gjson.Number:
		if !strings.Contains(f.Value, ".") {
			return (strconv.Itoa(int(fact.Int())) == f.Value) != negate, nil
		}
		v, err := strconv.ParseFloat(f.Value, 64)
		if err != nil {
			return false, fmt.Errorf("compare number with %q: %w", f.Value, err)
		}
		return (fact.Float() == v) != negate, nil
	case gjson.True:
		if negate {
			return !truthy(strings.ToLower(f.Value)), nil
		}
		return truthy(f.Value), nil
	case gjson.False:
		if negate {
			return !truthy(strings.ToLower(f.Value)), nil
		}
		return !truthy(f.Value), nil
	}
	return false, nil
}

func regexFact(fact gjson.Result, value string, regexes *regexCache) (bool, error) {
	var text string
	switch fact.Type {
	case gjson.String:
		text = fact.String()
	case gjson.Number:
		if strings.Contains(value, ".") {
			text = fmt.Sprintf("%.4f", fact.Float())
		} else {
			text = strconv.Itoa(int(fact.Int()))
		}
	case gjson.True:
		return truthy(strings.ToLower(value)), nil
	case gjson.False:
		return !truthy(strings.ToLower(value)), nil
	default:
		return false, nil
	}
	re, err := regexes.compile(factPattern(value))
	if err != nil {
		return false, err
	}
	return re.MatchString(text), nil
}

// factPattern is the RE2 text that servers make of a fact's regex value: every
// slash at the ends goes, case never matters.
func factPattern(value string) string {
	return "(?i)" + strings.TrimRight(strings.TrimLeft(value, "/"), "/")
}

// orderFact is < <= > >=. With a decimal value ">" means ">=", as on servers.
func orderFact(fact gjson.Result, f Fact) (bool, error) {
	switch fact.Type {
	case gjson.String:
		return ordered(f.Operator, strings.Compare(strings.ToLower(fact.String()), strings.ToLower(f.Value))), nil
	case gjson.Number:
		if !strings.Contains(f.Value, ".") {
			v, err := strconv.Atoi(f.Value)
			if err != nil {
				return false, fmt.Errorf("compare number with %q: %w", f.Value, err)
			}
			n := int(fact.Int())
			switch {
			case n < v:
				return ordered(f.Operator, -1), nil
			case n > v:
				return ordered(f.Operator, 1), nil
			}
			return ordered(f.Operator, 0), nil
		}
		v, err := strconv.ParseFloat(f.Value, 64)
		if err != nil {
			return false, fmt.Errorf("compare number with %q: %w", f.Value, err)
		}
		n := fact.Float()
		switch f.Operator {
		case "<":
			return n < v, nil
		case "<=":
			return n <= v, nil
		}
		return n >= v, nil
	}
	return false, fmt.Errorf("cannot order a %s fact", fact.Type)
}

func ordered(op string, cmp int) bool {
	switch op {
	case "<":
		return cmp < 0
	case "<=":
		return cmp <= 0
	case ">":
		return cmp > 0
	}
	return cmp >= 0
}

func truthy(value string) bool {
	b, err := strconv.ParseBool(value)
	return err == nil && b
}
