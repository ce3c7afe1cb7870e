package ddl

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fleetctl/internal/filter"
)

// inputValues are the inputs of one request, with the types that the document
// declares.
type inputValues map[string]any

// InputError refuses an input before anything is sent. Problem never quotes
// the value of a secret. Hint is blank, or what to do.
type InputError struct {
	Agent   string
	Action  string
	Input   string
	Problem string
	Hint    string
}

// Error names the action, the input and the problem; the hint is not part of it.
func (e *InputError) Error() string {
	return fmt.Sprintf("cannot call %s#%s: input %q %s", e.Agent, e.Action, e.Input, e.Problem)
}

// Check turns typed inputs into the JSON object that is sent, or
// refuses the first that is wrong with an *InputError (docs/protocol.md, CLI
// conversion and validation). In addition to the document: a blank default
// does not satisfy a required input, and choria_provision#restart takes whole
// seconds from 0 to 600 as its splay.
//
// A key is looked up as typed, then in lower case. Inputs that were not given
// and have a default are sent with that default.
func (a *Action) Check(agent string, raw map[string]string) (json.RawMessage, error) {
	values, err := a.convert(agent, raw)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode inputs of %s#%s: %w", agent, a.Name, err)
	}
	return data, nil
}

func (a *Action) convert(agent string, raw map[string]string) (inputValues, error) {
	refuse := func(input, problem, hint string) error {
		return &InputError{Agent: agent, Action: a.Name, Input: input, Problem: problem, Hint: hint}
	}
	values := inputValues{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		input, ok := a.lookup(key)
		if !ok {
			return nil, refuse(key, "is unknown", a.unknownHint(key))
		}
		if _, twice := values[input.Name]; twice {
			return nil, refuse(input.Name, "is given twice", "")
		}
		value, problem := input.convert(raw[key])
		if problem == "" {
			problem = refine(agent, a.Name, input, value)
		}
		if problem != "" {
			hint := input.Description
			if raw[key] == "" {
				hint = "is a variable unset? " + requiredHint(input)
			}
			return nil, refuse(input.Name, problem, hint)
		}
		values[input.Name] = value
	}
	for _, name := range a.inputNames() {
		input := a.Inputs[name]
		if _, given := values[name]; given {
			continue
		}
		if !input.Optional && isBlank(input.Default) {
			return nil, refuse(name, "is required", requiredHint(input))
		}
		if input.Default != nil {
			values[name] = input.Default
		}
	}
	return values, nil
}

func (a *Action) lookup(key string) (Input, bool) {
	if input, ok := a.Inputs[key]; ok {
		return input, true
	}
	input, ok := a.Inputs[strings.ToLower(key)]
	return input, ok
}

func (a *Action) unknownHint(key string) string {
	names := a.inputNames()
	if len(names) == 0 {
		return a.Name + " takes no inputs"
	}
	hint := "inputs of " + a.Name + ": " + strings.Join(names, ", ")
	if near := filter.Nearest(key, names); near != "" {
		return fmt.Sprintf("did you mean %q? %s", near, hint)
	}
	return hint
}

func requiredHint(i Input) string {
	if i.Secret() {
		return fmt.Sprintf("give %[1]s=@FILE, %[1]s=- or %[1]s=env:NAME, or %[1]s=VALUE", i.Name)
	}
	return "give " + i.Name + "=VALUE"
}

// isBlank reports whether a default is blank, so that a required input
// still has to be given.
func isBlank(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

const maxSplay = 600

// refine holds what we know of an input beyond its document. A negative splay
// crashes every server that receives it, a fractional one is refused by them.
func refine(agent, action string, i Input, value any) (problem string) {
	if agent != "choria_provision" || action != "restart" || i.Name != "splay" {
		return ""
	}
	if seconds, ok := value.(float64); !ok || seconds != math.Trunc(seconds) || seconds < 0 || seconds > maxSplay {
		return fmt.Sprintf("must be whole seconds from 0 to %d, not %v", maxSplay, value)
	}
	return ""
}

// convert gives text the declared type and checks it. The problem is a phrase
// that follows the input's name, blank when there is none.
func (i Input) convert(text string) (value any, problem string) {
	if !utf8.ValidString(text) {
		// Encoding would replace the bytes, and send something else.
		return nil, "is not UTF-8 text"
	}
	switch strings.ToLower(i.Type) {
	case "integer":
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, i.wrongType("an integer", text)
		}
		return int64(n), ""
	case "float", "number":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, i.wrongType("a number", text)
		}
		return f, ""
	case "boolean":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, i.wrongType("a boolean (true or false)", text)
		}
		return b, ""
	case "string":
		return text, i.checkString(text)
	case "list":
		return text, i.checkList(text)
	case "hash":
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil || m == nil {
			return nil, "must be a JSON object"
		}
		return m, ""
	case "array":
		var l []any
		if err := json.Unmarshal([]byte(text), &l); err != nil || l == nil {
			return nil, "must be a JSON array"
		}
		return l, ""
	}
	return nil, fmt.Sprintf("has the type %q, which is unknown", i.Type)
}

func (i Input) wrongType(want, text string) string {
	if i.Secret() || len(text) > 100 {
		return "must be " + want
	}
	return fmt.Sprintf("must be %s, not %q", want, text)
}

func (i Input) checkList(text string) (problem string) {
	switch {
	case len(i.List) == 0:
		return "cannot be given: the agent's document lists no values for it"
	case !slices.Contains(i.List, text):
		return "must be one of " + strings.Join(i.List, ", ")
	}
	return ""
}

// shellUnsafe are the texts that the validator shellsafe forbids.
var shellUnsafe = []string{"`", "$", ";", "|", "&&", ">", "<"}

// checkString checks length and pattern. Without a length nothing is checked at
// all, as upstream.
func (i Input) checkString(text string) (problem string) {
	if i.MaxLength == 0 {
		return ""
	}
	if len(text) > i.MaxLength {
		return fmt.Sprintf("is %d bytes long, %d are allowed", len(text), i.MaxLength)
	}
	switch i.Validation {
	case "":
		return ""
	case "shellsafe":
		for _, bad := range shellUnsafe {
			if strings.Contains(text, bad) {
				return fmt.Sprintf("may not contain %q", bad)
			}
		}
		return ""
	case "ipv4address":
		return i.checkAddress(text, "an IPv4 address", netip.Addr.Is4)
	case "ipv6address":
		return i.checkAddress(text, "an IPv6 address", netip.Addr.Is6)
	case "ipaddress":
		return i.checkAddress(text, "an IP address", netip.Addr.IsValid)
	}
	if c := i.Validation[0]; c >= 'a' && c <= 'z' {
		// A named validator that we do not know: upstream warns and continues.
		return ""
	}
	re, err := regexp.Compile(i.Validation)
	switch {
	case err != nil:
		return fmt.Sprintf("cannot be checked: the pattern %q of the agent's document does not compile", i.Validation)
	case re.MatchString(text):
		return ""
	case text == "":
		return "may not be blank"
	default:
		return fmt.Sprintf("does not match the pattern %q", i.Validation)
	}
}

// checkAddress treats an IPv4 address in IPv6 notation as IPv4, and knows no
// zones, as upstream.
func (i Input) checkAddress(text, want string, ok func(netip.Addr) bool) (problem string) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || !ok(addr.Unmap()) {
		return i.wrongType(want, text)
	}
	return ""
}
