package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"fleetctl/internal/filter"
)

// flatfileSource takes the nodes from a file with a list of nodes (docs/protocol.md, discovery, flatfile).
type flatfileSource struct {
	path   string
	stdin  io.Reader
	format string // one of fileFormats' values
	filter string // gjson path; "" for none
}

// fileFormats are the values of the option format; "" is by content.
var fileFormats = map[string]string{
	"": "", "text": "text", "txt": "text", "json": "json", "yaml": "yaml", "yml": "yaml",
	"choriarpc": "results", "results": "results", "rpc": "results", "response": "results",
}

// newFlatfile makes the source. It reads Options (file, format, filter), NodesFile, Stdin and Home of the
// settings. The file is opened by Discover.
func newFlatfile(s Settings) (*flatfileSource, error) {
	if err := checkOptions(methodFlatfile, s.Options); err != nil {
		return nil, err
	}
	f := &flatfileSource{path: s.NodesFile, stdin: s.Stdin, filter: s.Options["filter"]}
	if file, given := s.Options["file"]; given {
		if f.path != "" {
			return nil, misuse(methodFlatfile, "give one of them", "--nodes and --do file= both name a list of nodes")
		}
		f.path = file
	}
	format, known := fileFormats[s.Options["format"]]
	_, filtered := s.Options["filter"]
	switch {
	case f.path == "":
		return nil, misuse(methodFlatfile, "add --nodes FILE or --do file=FILE", "discovery method flatfile needs a file")
	case f.path == "-" && f.stdin == nil:
		return nil, misuse(methodFlatfile, "name a file", "cannot read nodes from stdin here")
	case !known:
		return nil, misuse(methodFlatfile, "use text, json, yaml or results", "unknown format %q of a list of nodes", s.Options["format"])
	case filtered && f.filter == "":
		return nil, misuse(methodFlatfile, "write --do filter=PATH, such as nodes.#.name", "the filter of the list of nodes is blank")
	case filtered && (format == "text" || format == "results"):
		return nil, misuse(methodFlatfile, "drop the filter, or use format json or yaml", "a filter is for JSON and YAML, not for format %s", format)
	}
	f.format, f.path = format, expandHome(f.path, s.Home)
	return f, nil
}

// Discover reads the list. A node filter in the query is refused: the nodes of a file are taken as they are.
func (f *flatfileSource) Discover(ctx context.Context, q Query) (Result, error) {
	if err := suits(methodFlatfile, q.Filter); err != nil {
		return Result{}, err
	}
	start := time.Now()
	content, name, err := readSource(ctx, methodFlatfile, f.path, f.stdin)
	if err != nil {
		return Result{}, err
	}
	names, err := f.parse(content)
	if err != nil {
		return Result{}, misuse(methodFlatfile, "", "read nodes %q: %w", name, err)
	}
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("read nodes %q: %w", name, context.Cause(ctx))
	}
	return result(methodFlatfile, names, start), nil
}

func (f *flatfileSource) parse(content []byte) ([]string, error) {
	l := nodeList{content: content, limit: maxUnfold}
	if f.filter != "" {
		return f.pick(&l)
	}
	trimmed := bytes.TrimSpace(l.content)
	var err error
	switch f.format {
	case "text":
		err = l.text()
	case "yaml":
		err = l.yaml()
	case "json":
		if err = startsWith(trimmed, '[', "format json is an array of names; give a filter= to look into anything else"); err == nil {
			err = l.array()
		}
	case "results":
		if err = startsWith(trimmed, '{', "format results is the JSON document of an earlier request"); err == nil {
			err = l.document()
		}
	default:
		err = l.read()
	}
	return l.names, err
}

func startsWith(content []byte, c byte, otherwise string) error {
	if len(content) == 0 || content[0] != c {
		return errors.New(otherwise)
	}
	return nil
}

// pick takes the names at the filter's path.
func (f *flatfileSource) pick(l *nodeList) ([]string, error) {
	d, err := readDocument(l.content, f.format)
	if err != nil {
		return nil, err
	}
	document, err := d.json()
	if err != nil {
		return nil, err
	}
	texts, odd, ok := filter.TextsAt(document, f.filter)
	if !ok {
		return nil, fmt.Errorf("filter %q does not lead to an array", f.filter)
	}
	if odd != "" { // upstream drops it silently, and with it the nodes that it stands for
		return nil, fmt.Errorf("filter %q leads to an array of more than names: %s; a path such as nodes.#.name leads into objects, one that ends with |@flatten into arrays", f.filter, odd)
	}
	for i, text := range texts {
		if err := l.name(text, fmt.Sprintf("filter %q: name %d", f.filter, i+1)); err != nil {
			return nil, err
		}
	}
	return l.names, nil
}
