package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ReadNodes reads a list of nodes, telling its form by its content: text with a node set on each line
// (comments after '#' and blank lines are passed over), a JSON array or a YAML list of names or node sets,
// or the JSON document of an earlier request, of which all nodes are taken whatever became of them. The
// result is sorted and unique, and may be empty. name is for errors, which name the line.
func ReadNodes(r io.Reader, name string) ([]string, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read nodes %q: %w", name, err)
	}
	nodes, err := parseNodes(content, maxUnfold)
	if err != nil {
		return nil, fmt.Errorf("read nodes %q: %w", name, err)
	}
	return nodes, nil
}

// parseNodes reads a list that stands for at most limit names.
func parseNodes(content []byte, limit int) ([]string, error) {
	l := nodeList{content: bytes.TrimPrefix(content, []byte("\ufeff")), limit: limit}
	if err := l.read(); err != nil {
		return nil, err
	}
	return Sort(l.names), nil
}

type nodeList struct {
	content []byte
	limit   int
	names   []string
}

func (l *nodeList) read() error {
	trimmed := bytes.TrimSpace(l.content)
	switch {
	case string(trimmed) == "null": // how Choria writes an empty list
		return nil
	case bytes.HasPrefix(trimmed, []byte("{")):
		return l.document()
	case bytes.HasPrefix(trimmed, []byte("[")) && !startsWithRange(trimmed):
		return l.array()
	case looksLikeYAML(l.content):
		return l.yaml()
	}
	return l.text()
}

// startsWithRange tells [01-12].example, a node set, from the start of a JSON array.
func startsWithRange(content []byte) bool {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	p := setParser{text: withoutComment(string(line))}
	_, err := p.patterns()
	return err == nil && !json.Valid(content)
}

// add takes a node set found at a place of the list.
func (l *nodeList) add(set, place string) error {
	names, err := unfold(set, l.limit-len(l.names))
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	l.names = append(l.names, names...)
	return nil
}

// name takes a single name, which is not a node set.
func (l *nodeList) name(name, place string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	l.names = append(l.names, name)
	return nil
}

func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

func (l *nodeList) text() error {
	number := 0
	for line := range strings.Lines(string(l.content)) {
		number++
		if err := l.add(strings.TrimSpace(withoutComment(line)), fmt.Sprintf("line %d", number)); err != nil {
			return err
		}
	}
	return nil
}

func (l *nodeList) array() error {
	d := json.NewDecoder(bytes.NewReader(l.content))
	if _, err := d.Token(); err != nil {
		return l.jsonError(err)
	}
	for d.More() {
		var element any
		if err := d.Decode(&element); err != nil {
			return l.jsonError(err)
		}
		place := fmt.Sprintf("line %d", l.line(d.InputOffset()))
		set, ok := element.(string)
		if !ok {
			return fmt.Errorf("%s: an array of names holds %s", place, jsonKind(element))
		}
		if strings.TrimSpace(set) == "" {
			return fmt.Errorf("%s: a name is blank", place)
		}
		if err := l.add(set, place); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return l.jsonError(err)
	}
	return l.jsonEnd(d)
}

func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a truth value"
	case float64:
		return "a number"
	case []any:
		return "an array"
	}
	return "an object"
}

// document reads the JSON document of a request: ours has every planned node under run, Choria's has the
// senders of the replies.
func (l *nodeList) document() error {
	var doc struct {
		Run *struct {
			Nodes []struct {
				Identity string `json:"identity"`
			} `json:"nodes"`
		} `json:"run"`
		Replies json.RawMessage `json:"replies"`
	}
	d := json.NewDecoder(bytes.NewReader(l.content))
	if err := d.Decode(&doc); err != nil {
		return l.jsonError(err)
	}
	if err := l.jsonEnd(d); err != nil {
		return err
	}
	if doc.Run != nil && doc.Run.Nodes != nil {
		for i, n := range doc.Run.Nodes {
			if err := l.name(n.Identity, fmt.Sprintf("run.nodes[%d]", i)); err != nil {
				return err
			}
		}
		return nil
	}
	if doc.Replies == nil {
		return errors.New("a JSON object without run.nodes and without replies is not the result of a request")
	}
	var replies []struct {
		Sender string `json:"sender"`
	}
	if err := json.Unmarshal(doc.Replies, &replies); err != nil {
		return fmt.Errorf("replies: %w", err)
	}
	for i, r := range replies {
		if err := l.name(r.Sender, fmt.Sprintf("replies[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// jsonEnd refuses anything after the first value.
func (l *nodeList) jsonEnd(d *json.Decoder) error {
	end := d.InputOffset()
	rest := bytes.TrimLeft(l.content[end:], " \t\r\n")
	if len(rest) == 0 {
		return nil
	}
	return fmt.Errorf("line %d: more after the end of the JSON value (a result has to be made with --json, not with --jsonl)", l.line(int64(len(l.content)-len(rest))))
}

func (l *nodeList) jsonError(err error) error {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("line %d: %w", l.line(s.Offset), err)
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("line %d: %w", l.line(t.Offset), err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("line %d: the JSON text ends too early", l.line(int64(len(bytes.TrimSpace(l.content)))))
	}
	return err
}

// line is the number of the line at a byte offset, from 1.
func (l *nodeList) line(offset int64) int {
	offset = min(max(offset, 0), int64(len(l.content)))
	return bytes.Count(l.content[:offset], []byte("\n")) + 1
}

// looksLikeYAML is true for a list in block style, and for a document that says that it is YAML.
func looksLikeYAML(content []byte) bool {
	for line := range bytes.Lines(content) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		return string(line) == "-" || bytes.HasPrefix(line, []byte("- ")) || bytes.HasPrefix(line, []byte("---"))
	}
	return false
}

func (l *nodeList) yaml() error {
	d := yaml.NewDecoder(bytes.NewReader(l.content))
	var doc yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil
	}
	if top.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: not a YAML list of names", top.Line)
	}
	for _, element := range top.Content {
		place := fmt.Sprintf("line %d", element.Line)
		if element.Kind != yaml.ScalarNode {
			return fmt.Errorf("%s: a YAML list of names holds something else", place)
		}
		if element.ShortTag() == "!!null" || strings.TrimSpace(element.Value) == "" {
			return fmt.Errorf("%s: a name is blank", place)
		}
		if err := l.add(element.Value, place); err != nil {
			return err
		}
	}
	return nil
}
