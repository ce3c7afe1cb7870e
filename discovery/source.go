package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fleetctl/internal/filter"
)

// Source finds the nodes of a query. The nodes of the result are sorted naturally, unique, and names that can
// be addressed. Nothing is sent to a node, except by the broadcast. An error is a *SourceError or wraps one
// when it is about the source. A Source is not safe for concurrent use.
type Source interface {
	Discover(ctx context.Context, q Query) (Result, error)
}

// The methods of discovery, by the names that Method and Choose return.
const (
	MethodBroadcast = "broadcast"
	MethodPuppetDB  = "puppetdb"
	methodFlatfile  = "flatfile"
	methodInventory = "inventory"
	methodExternal  = "external"
)

var methodNames = map[string]string{
	"": MethodBroadcast, "mc": MethodBroadcast, "broadcast": MethodBroadcast,
	"choria": MethodPuppetDB, "puppetdb": MethodPuppetDB,
	"file": methodFlatfile, "flatfile": methodFlatfile,
	"inventory": methodInventory, "external": methodExternal,
}

// MethodNames are all names of the methods of discovery, sorted.
func MethodNames() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(methodNames)), func(name string) bool { return name == "" })
}

// Method returns the canonical name of a discovery method. mc, choria and file are other names of broadcast,
// puppetdb and flatfile; "" is broadcast.
func Method(name string) (string, error) {
	if m, ok := methodNames[name]; ok {
		return m, nil
	}
	return "", &SourceError{Source: "discovery", Kind: Misuse, Err: fmt.Errorf("unknown discovery method %q", name),
		Hint: "use broadcast (mc), choria (puppetdb), flatfile (file), inventory or external"}
}

// optionKeys are the --do keys that a method knows. external passes all of them to its program.
var optionKeys = map[string][]string{
	MethodBroadcast: nil,
	MethodPuppetDB:  nil,
	methodFlatfile:  {"file", "filter", "format"},
	methodInventory: {"file", "novalidate"},
}

// parseOptions reads --do options: KEY=VALUE, or KEY:VALUE as in Choria, split at the first of either. Blank
// keys and keys that are given twice are errors.
func parseOptions(texts []string) (map[string]string, error) {
	options := map[string]string{}
	for _, text := range texts {
		at := strings.IndexAny(text, "=:")
		if at < 0 || strings.TrimSpace(text[:at]) == "" {
			return nil, misuse("discovery", "write --do KEY=VALUE", "discovery option %q is not KEY=VALUE", text)
		}
		key := strings.TrimSpace(text[:at])
		if _, twice := options[key]; twice {
			return nil, misuse("discovery", "give it once", "discovery option %q is given twice", key)
		}
		options[key] = strings.TrimSpace(text[at+1:])
	}
	return options, nil
}

// Request holds what the command line and the configuration say about the source of nodes.
type Request struct {
	Method        string        // --dm; "" when it was not given
	NodesFile     string        // --nodes; "" when it was not given
	Options       []string      // --do
	Filter        filter.Filter // what was typed, without the agent that will be called
	DefaultMethod string        // default_discovery_method
	Defaults      []string      // default_discovery_options, which count only when Options is empty
}

// Choice is a method and its options.
type Choice struct {
	Method  string // canonical
	Options map[string]string
	Note    string // a note for the operator, when another method was asked for; mostly ""
}

// Choose selects the method (docs/protocol.md, discovery, method selection). --nodes comes first. A compound filter
// replaces PuppetDB and external programs by a broadcast, because the servers must evaluate it. Then --dm, then the
// configuration. Unlike choria, fleetctl never reads nodes from stdin unless asked to. A filter or a --do option
// that the method does not support is an error; unsupported options in the configuration are ignored.
func Choose(r Request) (Choice, error) {
	method, err := Method(r.Method)
	if err == nil && r.Method == "" && r.NodesFile == "" {
		method, err = Method(r.DefaultMethod)
	}
	if err != nil {
		return Choice{}, err
	}
	c := Choice{Method: method}
	switch {
	case r.NodesFile != "":
		c.Method = methodFlatfile
	case len(r.Filter.Compound) > 0 && (method == MethodPuppetDB || method == methodExternal):
		c.Method = MethodBroadcast
		c.Note = fmt.Sprintf("-S is judged by the servers: nodes come from a broadcast, not from %s", method)
	}
	if err := suits(c.Method, r.Filter); err != nil {
		return Choice{}, err
	}
	if c.Options, err = chooseOptions(c.Method, r); err != nil {
		return Choice{}, err
	}
	return c, nil
}

func chooseOptions(method string, r Request) (map[string]string, error) {
	known, limited := optionKeys[method]
	if len(r.Options) == 0 {
		if limited && len(known) == 0 {
			return map[string]string{}, nil
		}
		options, err := parseOptions(r.Defaults)
		if err != nil {
			return nil, fmt.Errorf("default_discovery_options: %w", err)
		}
		if r.NodesFile != "" {
			return map[string]string{}, nil // they describe another file
		}
		maps.DeleteFunc(options, func(key, _ string) bool { return limited && !slices.Contains(known, key) })
		return options, nil
	}
	options, err := parseOptions(r.Options)
	if err != nil {
		return nil, err
	}
	return options, checkOptions(method, options)
}

// checkOptions refuses options that the method does not know.
func checkOptions(method string, options map[string]string) error {
	known, limited := optionKeys[method]
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !limited || slices.Contains(known, key) {
			continue
		}
		hint := "it has " + strings.Join(known, ", ")
		if len(known) == 0 {
			hint = "it takes no --do options"
		}
		return misuse(method, hint, "discovery method %s does not know the option %q", method, key)
	}
	return nil
}

// suits refuses filters that the method would read as something else, or not at all.
func suits(method string, f filter.Filter) error {
	if method == methodFlatfile && !f.Empty() {
		return misuse(method, "drop the filter, or the file", "cannot filter the nodes of a file: they are taken as they are")
	}
	for _, id := range f.Identities {
		switch {
		case method == methodExternal: // the program's own affair
		case strings.HasPrefix(id, "pql:") && method != MethodPuppetDB:
			return misuse(method, "add --dm choria", "cannot use -I %q: a PQL query needs PuppetDB, and discovery is by %s", id, method)
		case strings.HasPrefix(id, "group:") && method != methodInventory:
			return misuse(method, "add --dm inventory", "cannot use -I %q: groups are in inventory files, and discovery is by %s", id, method)
		}
	}
	return nil
}

// Settings is all that the sources need to know of the world. A method reads its own part only.
type Settings struct {
	Options map[string]string // Choice.Options

	Dial func(context.Context) (Broadcaster, error) // broadcast: called when the network is first needed

	PuppetDB PuppetDBServer // puppetdb

	NodesFile string    // flatfile: --nodes; "-" reads Stdin
	Stdin     io.Reader // flatfile; nil refuses "-"

	InventoryFile string // inventory: plugin.choria.discovery.inventory.source

	Command     string   // external: plugin.choria.discovery.external.command
	Path        string   // external: PATH, for the program and to find it
	Federations []string // external: handed to the program

	Home string // what ~/ stands for in file names; "" leaves them alone
}

// Open makes the source of a method, under any of its names. No file is opened and no request is sent yet.
func Open(method string, s Settings) (Source, error) {
	method, err := Method(method)
	if err != nil {
		return nil, err
	}
	if err := checkOptions(method, s.Options); err != nil {
		return nil, err
	}
	switch method {
	case MethodPuppetDB:
		return newPuppetDB(s.PuppetDB), nil
	case methodFlatfile:
		return newFlatfile(s)
	case methodInventory:
		return newInventory(s)
	case methodExternal:
		return newExternal(s)
	}
	if s.Dial == nil {
		return nil, errors.New("open broadcast discovery: no way to the network was given")
	}
	return broadcastSource(s.Dial), nil
}

// broadcastSource is the source that asks the servers themselves.
type broadcastSource func(context.Context) (Broadcaster, error)

// Discover is Broadcast; exact names need no connection.
func (dial broadcastSource) Discover(ctx context.Context, q Query) (Result, error) {
	if err := suits(MethodBroadcast, q.Filter); err != nil {
		return Result{}, err
	}
	if _, exact := q.Filter.ExactIdentities(); exact {
		return Broadcast(ctx, nil, q)
	}
	b, err := dial(ctx)
	if err != nil {
		return Result{}, err
	}
	return Broadcast(ctx, b, q)
}

// Kind is the cause of a SourceError: a fault, wrong usage, or the network.
type Kind int

// The kinds of SourceErrors. The zero value is Fault.
const (
	Fault       Kind = iota // something broke: a program that fails, a reply that makes no sense
	Misuse                  // options, filters, files or configuration that cannot be used
	Unreachable             // no connection, or access refused
)

// String is the kind in one word.
func (k Kind) String() string {
	switch k {
	case Misuse:
		return "misuse"
	case Unreachable:
		return "unreachable"
	}
	return "fault"
}

// SourceError is why a source named no nodes. Nothing was sent to any node.
type SourceError struct {
	Source string // the method, or "discovery" for all of them
	Kind   Kind
	Hint   string // what the operator can do, for a line of its own; may be ""
	Err    error
}

// Error is what went wrong, without the hint.
func (e *SourceError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *SourceError) Unwrap() error { return e.Err }

func misuse(source, hint, format string, args ...any) error {
	return &SourceError{Source: source, Kind: Misuse, Hint: hint, Err: fmt.Errorf(format, args...)}
}

func fault(source, hint, format string, args ...any) error {
	return &SourceError{Source: source, Kind: Fault, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// exactNames answers a filter of names only, as every method that uses the network does.
func exactNames(f filter.Filter) (Result, bool, error) {
	names, exact := f.ExactIdentities()
	if !exact {
		return Result{}, false, nil
	}
	for _, n := range names {
		if err := checkName(n); err != nil {
			return Result{}, true, misuse("discovery", "", "%w", err)
		}
	}
	return Result{Nodes: Sort(names), Method: "identities"}, true, nil
}

// result makes the result of a source that was asked at start.
func result(method string, nodes []string, start time.Time) Result {
	return Result{Nodes: Sort(nodes), Method: method, Took: time.Since(start)}
}

// expandHome replaces a leading ~/.
func expandHome(path, home string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
		return filepath.Join(home, rest)
	}
	return path
}

// shorten makes foreign text fit for one line of an error: no control characters, no more than limit characters.
func shorten(text string, limit int) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	runes := []rune(text)
	if len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return text
}
