package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// Settings are fleetctl's own, from its config.yaml: limits that a site or an operator puts on all runs,
// and what Choria's configuration has no key for. The zero value sets no limit.
type Settings struct {
	MaxNodes      int  `yaml:"max_nodes" json:"max_nodes"`           // refuse plans with more nodes; 0 is no limit
	RequireFilter bool `yaml:"require_filter" json:"require_filter"` // refuse runs without a filter or a list of nodes
	Confirm       bool `yaml:"confirm" json:"confirm"`               // ask before every action that changes something
	ReadOnly      bool `yaml:"read_only" json:"read_only"`           // refuse every action that changes something

	SignerCA       string `yaml:"signer_ca" json:"signer_ca"`             // CA file for request signer and login service; "" is the provider's
	InsecureSigner bool   `yaml:"insecure_signer" json:"insecure_signer"` // do not verify their certificates
}

// LoadSettings reads a settings file. Unknown and repeated keys, wrong types and a negative limit are
// errors that name the line: a guard must not be off because of a spelling. A missing file is an error
// too, which matches fs.ErrNotExist; the caller knows whether somebody asked for the file.
func LoadSettings(path string) (Settings, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	s, err := parseSettings(text)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings %q: %w", path, err)
	}
	return s, nil
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
	seen := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		if line, twice := seen[key.Value]; twice {
			return Settings{}, fmt.Errorf("line %d: %s is already set in line %d", key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := s.set(key, value); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}

func (s *Settings) set(key, value *yaml.Node) error {
	var to *bool
	switch key.Value {
	case "max_nodes":
		if value.ShortTag() != "!!int" || value.Decode(&s.MaxNodes) != nil || s.MaxNodes < 0 {
			return fmt.Errorf("line %d: max_nodes is %q: want a whole number, 0 for no limit", value.Line, value.Value)
		}
		return nil
	case "signer_ca":
		if value.ShortTag() != "!!str" || value.Decode(&s.SignerCA) != nil || s.SignerCA == "" {
			return fmt.Errorf("line %d: signer_ca is %q: want the path of a file", value.Line, value.Value)
		}
		return nil
	case "insecure_signer":
		to = &s.InsecureSigner
	case "require_filter":
		to = &s.RequireFilter
	case "confirm":
		to = &s.Confirm
	case "read_only":
		to = &s.ReadOnly
	default:
		return fmt.Errorf("line %d: unknown setting %q: there are max_nodes, require_filter, confirm, read_only, signer_ca and insecure_signer", key.Line, key.Value)
	}
	if value.Kind != yaml.ScalarNode || value.Decode(to) != nil || value.ShortTag() == "!!null" {
		return fmt.Errorf("line %d: %s is %q: want true or false", value.Line, key.Value, value.Value)
	}
	return nil
}
