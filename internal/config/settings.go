package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"fleetctl/internal/plain"
)

// Settings are fleetctl's own, from its config.yaml: limits that a site or an operator puts on all runs,
// and what Choria's configuration has no key for. The zero value sets no limit.
type Settings struct {
	MaxNodes      int  `yaml:"max_nodes" json:"max_nodes"`           // refuse plans with more nodes; 0 is no limit
	RequireFilter bool `yaml:"require_filter" json:"require_filter"` // refuse runs without a filter or a list of nodes
	Confirm       bool `yaml:"confirm" json:"confirm"`               // ask before every action that changes something
	ReadOnly      bool `yaml:"read_only" json:"read_only"`           // refuse every action that changes something

	Locks []string `yaml:"lock" json:"locks,omitempty"` // that every run holds which changes something; callers must not change it

	Share   bool     `yaml:"share" json:"share,omitempty"`       // the record of every run that changes something is shared
	MaxDown []string `yaml:"max_down" json:"max_down,omitempty"` // N or FACT=N: how many nodes may be down at once; callers must not change it

	SignerCA       string `yaml:"signer_ca" json:"signer_ca"`             // CA file for request signer and login service; "" is the provider's
	InsecureSigner bool   `yaml:"insecure_signer" json:"insecure_signer"` // do not verify their certificates

	OnEvent string `yaml:"on_event" json:"on_event"` // a command that hears of every run that changes something

	Prometheus Prometheus `yaml:"prometheus" json:"prometheus,omitzero"` // where queries of gates are asked

	Approvals []Approval `yaml:"approvals" json:"approvals,omitempty"` // what needs approvals of other operators

	Collectives map[string]Limits `yaml:"collectives" json:"collectives,omitempty"` // by name; callers must not change it

	Sites map[string]Site `yaml:"sites" json:"sites,omitempty"` // by name; callers must not change it
	Site  string          `yaml:"-" json:"site,omitempty"`      // the one that At has applied; "" for none
}

// IsZero reports whether no setting is given.
func (s Settings) IsZero() bool { return reflect.ValueOf(s).IsZero() }

// lockName reports whether a text is the name of a lock of the brokers' streams.
func lockName(text string) bool {
	return text != "" && len(text) <= 64 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// downLimit reports whether a text is a limit of nodes that are down: N, or FACT=N.
func downLimit(text string) bool {
	fact, count, ok := strings.Cut(text, "=")
	if !ok {
		fact, count = "-", text
	}
	n, err := strconv.Atoi(count)
	return err == nil && n > 0 && fact != "" && strings.IndexFunc(fact, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}

// settingKey is one key of the settings file. set gets the value's node, and returns what it wants instead of a wrong value.
// parse is for a key with keys of its own, and words its errors itself.
type settingKey struct {
	name  string
	set   func(s *Settings, value *yaml.Node) (want string)
	parse func(s *Settings, value *yaml.Node) error
}

// limitKeys are the limits, which a site and a collective can have of their own.
var limitKeys = []settingKey{
	{name: "max_nodes", set: func(s *Settings, v *yaml.Node) string {
		if v.ShortTag() != "!!int" || v.Decode(&s.MaxNodes) != nil || s.MaxNodes < 0 {
			return "a whole number, 0 for no limit"
		}
		return ""
	}},
	{name: "require_filter", set: func(s *Settings, v *yaml.Node) string { return yesOrNo(&s.RequireFilter, v) }},
	{name: "confirm", set: func(s *Settings, v *yaml.Node) string { return yesOrNo(&s.Confirm, v) }},
	{name: "read_only", set: func(s *Settings, v *yaml.Node) string { return yesOrNo(&s.ReadOnly, v) }},
	{name: "lock", set: func(s *Settings, v *yaml.Node) string {
		s.Locks = []string{v.Value}
		if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!str" || !lockName(v.Value) {
			return "the name of a lock: 1 to 64 letters, digits, _ and -"
		}
		return ""
	}},
	{name: "max_down", set: func(s *Settings, v *yaml.Node) string {
		s.MaxDown = []string{v.Value}
		if v.Kind == yaml.SequenceNode {
			s.MaxDown = nil
			for _, item := range v.Content {
				if item.Kind != yaml.ScalarNode {
					return "a number of nodes, FACT=N, or a list of them"
				}
				s.MaxDown = append(s.MaxDown, item.Value)
			}
		} else if v.Kind != yaml.ScalarNode {
			return "a number of nodes, FACT=N, or a list of them"
		}
		if len(s.MaxDown) == 0 || slices.ContainsFunc(s.MaxDown, func(text string) bool { return !downLimit(text) }) {
			return "a number of nodes, FACT=N, or a list of them"
		}
		return ""
	}},
	{name: "share", set: func(s *Settings, v *yaml.Node) string { return yesOrNo(&s.Share, v) }},
}

// settingKeys is the table of all keys; docs/configuration.md lists the same.
var settingKeys = append(slices.Clone(limitKeys), []settingKey{
	{name: "signer_ca", set: func(s *Settings, v *yaml.Node) string {
		if v.ShortTag() != "!!str" || v.Decode(&s.SignerCA) != nil || s.SignerCA == "" || plain.Line(s.SignerCA) != s.SignerCA {
			return "the path of a file"
		}
		return ""
	}},
	{name: "insecure_signer", set: func(s *Settings, v *yaml.Node) string { return yesOrNo(&s.InsecureSigner, v) }},
	{name: "on_event", set: func(s *Settings, v *yaml.Node) string {
		if v.ShortTag() != "!!str" || v.Decode(&s.OnEvent) != nil || strings.TrimSpace(s.OnEvent) == "" || plain.Text(s.OnEvent) != s.OnEvent {
			return "a command for the shell"
		}
		return ""
	}},
	{name: "prometheus", parse: func(s *Settings, v *yaml.Node) (err error) {
		s.Prometheus, err = parsePrometheus(v)
		return err
	}},
	{name: "approvals", parse: func(s *Settings, v *yaml.Node) (err error) {
		s.Approvals, err = parseApprovals(v)
		return err
	}},
	{name: "collectives", parse: func(s *Settings, v *yaml.Node) (err error) {
		s.Collectives, err = parseCollectives(v)
		return err
	}},
	{name: "sites", parse: func(s *Settings, v *yaml.Node) (err error) {
		s.Sites, err = parseSites(v)
		return err
	}},
}...)

func yesOrNo(to *bool, value *yaml.Node) (want string) {
	if value.Kind != yaml.ScalarNode || value.Decode(to) != nil || value.ShortTag() == "!!null" {
		return "true or false"
	}
	return ""
}

// maxSettings is the size of a settings file in bytes: beyond it, it is something else.
const maxSettings = 1 << 20

// LoadSettings reads a settings file, which must be a regular one of at most 1 MiB. Unknown and repeated keys, wrong types
// and a negative limit are errors that name the line: a guard must not be off because of a spelling. A missing file is an
// error too, which matches fs.ErrNotExist; the caller knows whether the file was asked for.
func LoadSettings(path string) (Settings, error) {
	text, err := readSettings(path)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	s, err := parseSettings(text)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings %q: %w", path, err)
	}
	s.anchorSites(path)
	return s, nil
}

// readSettings looks before it opens: a pipe would wait for a writer, a device never ends.
func readSettings(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSettings {
		return nil, fmt.Errorf("%q is larger than %d bytes", path, maxSettings)
	}
	return text, nil
}

func parseSettings(text []byte) (Settings, error) {
	var s Settings
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) { // nothing but comments
			return s, nil
		}
		return s, fmt.Errorf("not valid YAML: %v", err)
	}
	switch err := decoder.Decode(new(yaml.Node)); {
	case err == nil:
		return s, errors.New("more than one YAML document")
	case !errors.Is(err, io.EOF):
		return s, fmt.Errorf("after the first document: %v", err)
	}
	if len(doc.Content) == 0 {
		return s, nil
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return s, nil
	}
	if top.Kind != yaml.MappingNode {
		return s, fmt.Errorf("line %d: expected key: value", top.Line)
	}
	if err := eachKey(top, "", s.set); err != nil {
		return Settings{}, err
	}
	return s, nil
}

func (s *Settings) set(key, value *yaml.Node) error {
	names := make([]string, len(settingKeys))
	for i, k := range settingKeys {
		if names[i] = k.name; k.name == key.Value {
			return k.apply(s, value)
		}
	}
	return unknownKey(key, "", names)
}

// apply sets the key's field, or says in which line what is wanted.
func (k settingKey) apply(s *Settings, value *yaml.Node) error {
	if k.parse != nil {
		return k.parse(s, value)
	}
	if want := k.set(s, value); want != "" {
		return fmt.Errorf("line %d: %s is %q: want %s", value.Line, k.name, value.Value, want)
	}
	return nil
}

// unknownKey names what was likely meant.
func unknownKey(key *yaml.Node, where string, names []string) error {
	hint := "there are " + strings.Join(names, ", ")
	if near := nearest(key.Value, names); near != "" {
		hint = fmt.Sprintf("did you mean %s? ", near) + hint
	}
	return fmt.Errorf("line %d: unknown setting %s%s: %s", key.Line, quote("", key.Value), where, hint)
}

// nearest is the name that was most likely meant: the one that takes the fewest letters to change, insert or delete, and
// no more than a third of them; "" when there is none.
func nearest(name string, known []string) string {
	best, least := "", len(name)/3+1
	for _, k := range known {
		if d := changes(name, k); len(name) < 100 && d < least {
			best, least = k, d
		}
	}
	return best
}

// changes counts the letters to change, insert or delete that make b of a.
func changes(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := min(row[j+1], row[j]) + 1
			if a[i] == b[j] {
				next = min(next, diagonal)
			} else {
				next = min(next, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
