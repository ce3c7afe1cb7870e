// Package ddl knows agent documents: which actions an agent has, what they
// take, what they return, and how replies are aggregated.
//
// It resolves documents (embedded, on disk, from the network's registry), turns
// typed key=value inputs into the JSON that is sent, and aggregates
// replies. It does not send anything, and knows neither terminals nor flags.
//
// Invariants: a resolved Document is shared and never changed; an error never
// quotes the value of a secret input; what Check returns is valid JSON
// for the action.
package ddl

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fleetctl/internal/secret"
)

// Document describes one agent (docs/protocol.md, DDL document). It is shared
// between callers: read only.
type Document struct {
	Metadata Metadata
	Actions  []Action
	// Origin reports where the document came from: "embedded", the path of a
	// file, or "registry".
	Origin string
}

// originEmbedded and originRegistry are the origins that are not a path.
const (
	originEmbedded = "embedded"
	originRegistry = "registry"
)

// Metadata is a document's description of its agent. Timeout is how long an action
// may take on a node; it is never zero.
type Metadata struct {
	Name        string
	Description string
	Author      string
	License     string
	Version     string
	URL         string
	Timeout     time.Duration
	Service     bool
	Provider    string
}

// Action is one action of an agent. Display is "ok", "failed" or "always": the
// replies that are shown when nothing else is asked for.
type Action struct {
	Name        string
	Description string
	Display     string
	Inputs      map[string]Input
	Outputs     map[string]Output
	Aggregates  []Aggregate
}

// Input is one input of an action. Default is nil when there is none. MaxLength
// counts bytes, and 0 means that neither length nor Validation is checked.
type Input struct {
	Name        string
	Prompt      string
	Description string
	Type        string
	Optional    bool
	Default     any
	Validation  string
	MaxLength   int
	List        []string
}

// Output is one output of an action. DisplayAs is its label, Default what to
// assume when a reply leaves it out, or nil.
type Output struct {
	Name        string
	Description string
	DisplayAs   string
	Type        string
	Default     any
}

// Aggregate sums up one output over all replies. Format is blank or a format
// for the text form; Labels replace values, by their text.
type Aggregate struct {
	Function string
	Output   string
	Format   string
	Labels   map[string]string
}

// Secret reports whether the input's value must never be shown: its name says
// so, by the rule of internal/secret.
func (i Input) Secret() bool { return secret.Name(i.Name) }

// Action finds an action by name. The Action is the document's: read only.
func (d *Document) Action(name string) (*Action, bool) {
	for i := range d.Actions {
		if d.Actions[i].Name == name {
			return &d.Actions[i], true
		}
	}
	return nil, false
}

// ActionNames are the names of all actions, sorted.
func (d *Document) ActionNames() []string {
	var names []string
	for _, a := range d.Actions {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names
}

// inputNames are the names of all inputs, sorted.
func (a *Action) inputNames() []string { return slices.Sorted(maps.Keys(a.Inputs)) }

// readOnly lists the actions that are known to change nothing. An action that
// is not here may change something.
var readOnly = map[string][]string{
	"aaa_signer":      {"sign"},
	"choria_registry": {"ddl", "names"},
	"choria_util":     {"info", "machine_state", "machine_states"},
	"executor":        {"list", "status"},
	"rpcutil": {"agent_inventory", "collective_info", "daemon_stats", "get_config_item", "get_data",
		"get_fact", "get_facts", "inventory", "ping"},
	"scout": {"checks"},
}

// ReadOnly reports whether an action is known to change nothing on a node.
func (d *Document) ReadOnly(action string) bool {
	return slices.Contains(readOnly[d.Metadata.Name], action)
}

const (
	// defaultTimeout is what clients assume when a document gives none.
	defaultTimeout = 10 * time.Second
	// maxTimeout catches documents whose timeout is plainly not in seconds.
	maxTimeout = 24 * time.Hour
)

// wireDocument is the JSON of a document.
type wireDocument struct {
	Metadata *struct {
		Name        string  `json:"name"`
		Description string  `json:"description"`
		Author      string  `json:"author"`
		License     string  `json:"license"`
		Version     string  `json:"version"`
		URL         string  `json:"url"`
		Timeout     float64 `json:"timeout"`
		Service     bool    `json:"service"`
		Provider    string  `json:"provider"`
	} `json:"metadata"`
	Actions []wireAction `json:"actions"`
}

type wireAction struct {
	Name        string `json:"action"`
	Description string `json:"description"`
	Display     string `json:"display"`
	Input       map[string]struct {
		Prompt      string   `json:"prompt"`
		Description string   `json:"description"`
		Type        string   `json:"type"`
		Optional    bool     `json:"optional"`
		Default     any      `json:"default"`
		Validation  string   `json:"validation"`
		MaxLength   int      `json:"maxlength"`
		List        []string `json:"list"`
	} `json:"input"`
	Output map[string]struct {
		Description string `json:"description"`
		DisplayAs   string `json:"display_as"`
		Type        string `json:"type"`
		Default     any    `json:"default"`
	} `json:"output"`
	Aggregate []struct {
		Function string          `json:"function"`
		Args     json.RawMessage `json:"args"`
	} `json:"aggregate"`
}

// parse reads a document. Keys that it does not know are skipped; a document
// without a name, or an action without one, is an error.
func parse(data []byte) (*Document, error) {
	var w wireDocument
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("read agent document: %w", err)
	}
	if w.Metadata == nil || w.Metadata.Name == "" {
		return nil, errors.New("read agent document: metadata.name is missing")
	}
	m := w.Metadata
	timeout := defaultTimeout
	if m.Timeout > 0 {
		if m.Timeout > maxTimeout.Seconds() {
			return nil, fmt.Errorf("read agent document %q: timeout of %g seconds is longer than a day", m.Name, m.Timeout)
		}
		timeout = max(time.Duration(m.Timeout*float64(time.Second)), time.Nanosecond)
	}
	d := &Document{Metadata: Metadata{Name: m.Name, Description: m.Description, Author: m.Author,
		License: m.License, Version: m.Version, URL: m.URL, Timeout: timeout, Service: m.Service, Provider: m.Provider}}
	for _, wa := range w.Actions {
		if wa.Name == "" {
			return nil, fmt.Errorf("read agent document %q: an action has no name", m.Name)
		}
		d.Actions = append(d.Actions, wa.action())
	}
	return d, nil
}

func (w wireAction) action() Action {
	a := Action{Name: w.Name, Description: w.Description, Display: w.Display,
		Inputs: make(map[string]Input, len(w.Input)), Outputs: make(map[string]Output, len(w.Output))}
	if a.Display == "" {
		a.Display = "failed"
	}
	for name, in := range w.Input {
		a.Inputs[name] = Input{Name: name, Prompt: in.Prompt, Description: in.Description, Type: in.Type,
			Optional: in.Optional, Default: in.Default, Validation: in.Validation, MaxLength: in.MaxLength, List: in.List}
	}
	for name, out := range w.Output {
		a.Outputs[name] = Output{Name: name, Description: out.Description, DisplayAs: out.DisplayAs, Type: out.Type, Default: out.Default}
	}
	for _, agg := range w.Aggregate {
		if parsed, ok := parseAggregate(agg.Function, agg.Args); ok {
			a.Aggregates = append(a.Aggregates, parsed)
		}
	}
	return a
}

// parseAggregate reads the arguments of an aggregate: the output's name, and
// perhaps an object of options. Summaries are a courtesy, so one that cannot be
// read is left out rather than an error.
func parseAggregate(function string, args json.RawMessage) (Aggregate, bool) {
	var list []any
	if json.Unmarshal(args, &list) != nil || len(list) == 0 {
		return Aggregate{}, false
	}
	output, ok := list[0].(string)
	if !ok {
		return Aggregate{}, false
	}
	a := Aggregate{Function: function, Output: output}
	if len(list) != 2 {
		return a, true
	}
	options, _ := list[1].(map[string]any)
	for key, value := range options {
		if key == "format" {
			a.Format, _ = value.(string)
			continue
		}
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[key] = fmt.Sprint(value)
	}
	return a, true
}
