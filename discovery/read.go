package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// ReadNodesFile reads a list of nodes from a file, or from stdin for "-" where that is not nil, telling its form by
// its content: text with a node set on each line (comments after '#' and blank lines are passed over, a name may
// stand between double quotes), a JSON array or a YAML list of names or node sets, fleetctl's own CSV, or the JSON
// document of an earlier request, of which the senders of the replies are taken whatever became of them. A file of
// another kind is refused, never read as names. The result is sorted and unique, and may be empty. An error about
// the file is a *SourceError of kind Misuse that names it and mostly the line; a file that never ends, and cannot be
// interrupted, ends with ctx.
func ReadNodesFile(ctx context.Context, path string, stdin io.Reader) ([]string, error) {
	content, name, err := readSource(ctx, methodFlatfile, path, stdin)
	if err != nil {
		return nil, err
	}
	nodes, err := parseNodes(content, maxUnfold)
	if err != nil {
		return nil, misuse(methodFlatfile, "", "read nodes %q: %w", name, err)
	}
	return nodes, nil
}

// parseNodes reads a list that stands for at most limit names.
func parseNodes(content []byte, limit int) ([]string, error) {
	l := nodeList{content: content, limit: limit}
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

// startsWithRange distinguishes [01-12].example, a node set, from the start of a JSON array. Text that is both, such as [1,3], is
// the node set that Fold makes of names without letters.
func startsWithRange(content []byte) bool {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	p := setParser{text: withoutComment(string(line))}
	_, err := p.patterns()
	return err == nil
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
	if len(l.names) >= l.limit {
		return fmt.Errorf("%s: %w", place, errTooMany)
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
	if ok, err := l.csv(); ok {
		return err
	}
	number := 0
	for line := range strings.Lines(string(l.content)) {
		number++
		set := strings.TrimSpace(withoutComment(line))
		if strings.HasPrefix(set, `"`) { // as jq writes names
			var quoted string
			if err := json.Unmarshal([]byte(set), &quoted); err != nil {
				return fmt.Errorf("line %d: %s is neither a name nor a JSON string of its own", number, shorten(set, 100))
			}
			if err := l.name(quoted, fmt.Sprintf("line %d", number)); err != nil {
				return err
			}
			continue
		}
		if isPlainName(set) && len(l.names) < l.limit { // most lines of long lists
			l.names = append(l.names, set)
			continue
		}
		if err := l.add(set, fmt.Sprintf("line %d", number)); err != nil {
			return l.otherKind(set, err)
		}
	}
	return nil
}

// isPlainName reports whether a text is one name, without anything that a node set could have.
func isPlainName(set string) bool {
	for i := range len(set) {
		c := set[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return checkName(set) == nil
}

// otherKind adds to the error of a line of text what the file looks like.
func (l *nodeList) otherKind(line string, err error) error {
	kind := ""
	switch {
	case strings.HasSuffix(line, ":"), strings.Contains(line, ": "):
		kind = looksLikeMapping
	case iniHeader().MatchString(line):
		kind = looksLikeINI
	case strings.HasPrefix(line, "<"):
		kind = "it looks like XML or HTML: write one name on a line"
	case strings.ContainsAny(line, "|\u2502\u2503"):
		kind = "it looks like a table: use --output csv, nodeset or json for what is to be read again"
	case strings.ContainsAny(line, "\t;"):
		kind = "it looks like values that tabs or semicolons separate: write one name on a line, or CSV with commas and a header"
	case strings.ContainsAny(line, "{}"):
		kind = "braces are a shell's: write a node set such as web[01-02]"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, kind)
}

// pathHint leads into documents of any shape.
const pathHint = "--do filter=PATH where PATH leads to an array of names, such as all.hosts.@keys"

// iniHeader is the head of a section: [web], [web:children].
var iniHeader = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\[[A-Za-z_][A-Za-z0-9_.:-]*\]$`) })

const looksLikeINI = "it looks like an INI file, such as an Ansible inventory: write one name on a line, or use the output of `ansible-inventory --list`, with " + pathHint

const looksLikeMapping = "it looks like a YAML mapping, such as an Ansible inventory: add " + pathHint

func (l *nodeList) array() error {
	d := json.NewDecoder(bytes.NewReader(l.content))
	if _, err := d.Token(); err != nil {
		return l.jsonError(err)
	}
	if header, more, _ := strings.Cut(string(bytes.TrimSpace(l.content)), "\n"); more != "" && iniHeader().MatchString(strings.TrimSpace(header)) {
		return fmt.Errorf("line %d: %s", l.line(int64(bytes.IndexByte(l.content, '['))), looksLikeINI)
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

// document reads the JSON document of a request, ours or Choria's: the senders of its replies are the nodes, as
// upstream has it, and no replies are no nodes. Planned nodes whose reply was filtered out, or never came, are not meant.
func (l *nodeList) document() error {
	var doc struct {
		Replies json.RawMessage `json:"replies"`
	}
	d := json.NewDecoder(bytes.NewReader(l.content))
	if err := d.Decode(&doc); err != nil {
		return l.jsonError(err)
	}
	if err := l.jsonEnd(d); err != nil {
		return err
	}
	if doc.Replies == nil {
		return errors.New("a JSON object without replies is not the result of a request: for another document add " + pathHint)
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

// looksLikeYAML is true for a list in block style, and for a document with a YAML header.
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
		return fmt.Errorf("line %d: not a YAML list of names; %s", top.Line, looksLikeMapping)
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
