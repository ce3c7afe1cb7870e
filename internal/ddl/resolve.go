package ddl

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"fleetctl/internal/atomicfile"
	"fleetctl/internal/filter"
)

//go:embed documents/*.json
var documents embed.FS

// embedded holds one lazy parser a document: starting up costs nothing.
var embedded = sync.OnceValue(func() map[string]func() (*Document, error) {
	parsers := map[string]func() (*Document, error){}
	entries, err := documents.ReadDir("documents")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".json")
		parsers[name] = sync.OnceValues(func() (*Document, error) {
			data, err := documents.ReadFile("documents/" + name + ".json")
			if err != nil {
				return nil, err
			}
			return named(data, name, originEmbedded)
		})
	}
	return parsers
})

// Embedded are the names of the documents that are built in, sorted.
func Embedded() []string {
	var names []string
	for name := range embedded() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Resolver finds documents: embedded ones first, then on disk, then the site's
// registry (docs/protocol.md, DDL resolution). The zero value knows the
// embedded ones. Safe for concurrent use.
type Resolver struct {
	// Dirs are the library directories, in order. In each, the folders
	// choria/agent and mcollective/agent are searched, and the last file with
	// the agent's name wins.
	Dirs []string
	// CacheDir keeps what the registry gave, without expiry. Blank: no cache.
	CacheDir string
	// Fetch asks the registry for an agent's JSON document; nil: no registry.
	Fetch func(ctx context.Context, agent string) ([]byte, error)
}

// UnknownAgentError reports that no document was found for an agent. Known are the
// names of the agents for which there is one without asking the network, sorted.
type UnknownAgentError struct {
	Agent string
	Known []string
	Err   error // why the registry gave none, or nil
}

// Error names the agent, and the known one that is nearest.
func (e *UnknownAgentError) Error() string {
	s := fmt.Sprintf("no document (DDL) found for agent %q", e.Agent)
	if near := filter.Nearest(e.Agent, e.Known); near != "" {
		s += fmt.Sprintf(", did you mean %q?", near)
	}
	if e.Err != nil {
		s += fmt.Sprintf(" (the registry: %v)", e.Err)
	}
	return s
}

// Unwrap is why the registry gave no document.
func (e *UnknownAgentError) Unwrap() error { return e.Err }

// Resolve finds the document of an agent, or an *UnknownAgentError. The
// document may be shared: read only.
func (r Resolver) Resolve(ctx context.Context, agent string) (*Document, error) {
	if agent == "" || agent == "." || strings.ContainsAny(agent, "/\\\x00") || !filepath.IsLocal(agent) {
		return nil, &UnknownAgentError{Agent: agent, Known: r.Known()}
	}
	if parse, ok := embedded()[agent]; ok {
		return parse()
	}
	if path := r.find(agent); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read agent document: %w", err)
		}
		return named(data, agent, path)
	}
	if r.CacheDir != "" {
		path := r.cachePath(agent)
		data, err := os.ReadFile(path)
		if err == nil {
			d, err := named(data, agent, path)
			if err == nil || r.Fetch == nil {
				return d, err
			}
			// A damaged file must not hide the agent forever: ask again.
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read cached agent document: %w", err)
		}
	}
	return r.fetch(ctx, agent)
}

func (r Resolver) fetch(ctx context.Context, agent string) (*Document, error) {
	if r.Fetch == nil {
		return nil, &UnknownAgentError{Agent: agent, Known: r.Known()}
	}
	data, err := r.Fetch(ctx, agent)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("fetch document of agent %q: %w", agent, context.Cause(ctx))
	}
	if err != nil {
		return nil, &UnknownAgentError{Agent: agent, Known: r.Known(), Err: err}
	}
	d, err := named(data, agent, originRegistry)
	if err != nil {
		return nil, err
	}
	if r.CacheDir != "" {
		if err := store(r.cachePath(agent), data); err != nil {
			return nil, fmt.Errorf("cache document of agent %q: %w", agent, err)
		}
	}
	return d, nil
}

// named parses a document and insists that it is the agent's: inputs checked
// against another agent's document would be no check.
func named(data []byte, agent, origin string) (*Document, error) {
	d, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", origin, err)
	}
	if d.Metadata.Name != agent {
		return nil, fmt.Errorf("%s: document of agent %q describes %q", origin, agent, d.Metadata.Name)
	}
	d.Origin = origin
	return d, nil
}

func (r Resolver) cachePath(agent string) string {
	return filepath.Join(r.CacheDir, "agent", agent+".json")
}

// store writes a file of the cache.
func store(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := atomicfile.Write(path, data)
	if err != nil {
		return err
	}
	return f.Commit(0o644)
}

// find is the last file for the agent in the library directories, or "".
func (r Resolver) find(agent string) string {
	var found string
	r.eachFile(func(name, path string) {
		if name == agent {
			found = path
		}
	})
	return found
}

// Known are the agents that have a document without asking the network, sorted.
func (r Resolver) Known() []string {
	names := Embedded()
	r.eachFile(func(name, _ string) { names = append(names, name) })
	if r.CacheDir != "" {
		cached, _ := filepath.Glob(r.cachePath("*")) // fails only on a bad pattern, which then knows no names
		for _, path := range cached {
			names = append(names, strings.TrimSuffix(filepath.Base(path), ".json"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r Resolver) eachFile(f func(name, path string)) {
	for _, dir := range r.Dirs {
		for _, kind := range []string{"choria", "mcollective"} {
			// Directories that are missing or closed to us hold no documents.
			_ = filepath.WalkDir(filepath.Join(dir, kind, "agent"), func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					return fs.SkipDir
				}
				if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !e.IsDir() {
					f(name, path)
				}
				return nil
			})
		}
	}
}
