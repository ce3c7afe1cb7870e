package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"fleetctl/internal/plain"
)

// Prometheus is where queries of gates are asked: an address alone, or with how to get in.
type Prometheus struct {
	URL       string `json:"url,omitempty"`
	TokenFile string `json:"token_file,omitempty"` // holds a bearer token
	CA        string `json:"ca,omitempty"`         // a file in PEM; "" is the system's
	Cert      string `json:"cert,omitempty"`       // of TLS, with its key
	Key       string `json:"key,omitempty"`
	Insecure  bool   `json:"insecure,omitempty"` // secrets without TLS, and no verification of its certificate
}

// parsePrometheus reads an address, or a map.
func parsePrometheus(value *yaml.Node) (p Prometheus, err error) {
	text := func(to *string, v *yaml.Node, name string) error {
		if v.ShortTag() != "!!str" || v.Value == "" || plain.Line(v.Value) != v.Value {
			return fmt.Errorf("line %d: %s of prometheus: want text", v.Line, name)
		}
		*to = v.Value
		return nil
	}
	if value.Kind == yaml.ScalarNode {
		return p, text(&p.URL, value, "url")
	}
	fields := map[string]*string{"url": &p.URL, "token_file": &p.TokenFile, "ca": &p.CA, "cert": &p.Cert, "key": &p.Key}
	err = eachKey(value, "prometheus", func(key, value *yaml.Node) error {
		if to := fields[key.Value]; to != nil {
			return text(to, value, key.Value)
		}
		if key.Value != "insecure" {
			return unknownKey(key, " of prometheus", []string{"url", "token_file", "ca", "cert", "key", "insecure"})
		}
		if want := yesOrNo(&p.Insecure, value); want != "" {
			return fmt.Errorf("line %d: insecure of prometheus is %q: want %s", value.Line, value.Value, want)
		}
		return nil
	})
	if err == nil && p.URL == "" {
		err = fmt.Errorf("line %d: prometheus has no url", value.Line)
	}
	return p, err
}
