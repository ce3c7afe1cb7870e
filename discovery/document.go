package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a JSON or YAML file as a tree of maps with texts for keys, slices, texts, truth values and numbers.
type document struct {
	content []byte
	tree    any
	isYAML  bool
}

// readDocument reads a file of the format json or yaml; "" means that the content decides. Errors name the line.
func readDocument(content []byte, format string) (*document, error) {
	d := &document{content: content}
	trimmed := bytes.TrimSpace(d.content)
	d.isYAML = format == "yaml" || format == "" && !bytes.HasPrefix(trimmed, []byte("{")) && !bytes.HasPrefix(trimmed, []byte("["))
	if d.isYAML {
		return d, d.readYAML()
	}
	l := nodeList{content: d.content}
	decoder := json.NewDecoder(bytes.NewReader(d.content))
	decoder.UseNumber()
	if err := decoder.Decode(&d.tree); err != nil {
		return nil, l.jsonError(err)
	}
	if err := l.jsonEnd(decoder); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *document) readYAML() error {
	decoder := yaml.NewDecoder(bytes.NewReader(d.content))
	var top yaml.Node
	if err := decoder.Decode(&top); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	textDates(&top)
	var tree any
	if err := top.Decode(&tree); err != nil {
		return err
	}
	var err error
	d.tree, err = textKeys(tree, "")
	return err
}

// textDates makes dates the texts that they are in JSON.
func textDates(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, child := range n.Content {
		textDates(child)
	}
}

// textKeys turns YAML's maps into JSON's, whose keys are texts.
func textKeys(v any, place string) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key], err = textKeys(value, place+"."+key); err != nil {
				return nil, err
			}
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			text := fmt.Sprint(key)
			if _, twice := m[text]; twice {
				return nil, fmt.Errorf("%s: the key %q is there twice", strings.TrimPrefix(place, "."), text)
			}
			if m[text], err = textKeys(value, place+"."+text); err != nil {
				return nil, err
			}
		}
		return m, nil
	case []any:
		for i, value := range v {
			if v[i], err = textKeys(value, fmt.Sprintf("%s[%d]", place, i)); err != nil {
				return nil, err
			}
		}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, fmt.Errorf("%s: %v is no number in JSON", strings.TrimPrefix(place, "."), v)
		}
	}
	return v, nil
}

// json is the document as JSON.
func (d *document) json() ([]byte, error) {
	if !d.isYAML {
		return d.content, nil
	}
	return plainJSON(d.tree)
}

// plainJSON encodes without making < > and & unreadable: paths may look for them.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// line finds the line of a place, for an error; 0 when it is unknown. Steps are keys and indexes; the last
// ones may lead to nothing, then it is the line of what lacks them.
func (d *document) line(steps []any) int {
	var top yaml.Node
	if yaml.Unmarshal(d.content, &top) != nil || len(top.Content) == 0 {
		return 0
	}
	n := top.Content[0]
	for _, step := range steps {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := child(n, step)
		if next == nil {
			break
		}
		n = next
	}
	return n.Line
}

func child(n *yaml.Node, step any) *yaml.Node {
	switch step := step.(type) {
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step]
		}
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i+1]
			}
		}
	}
	return nil
}
