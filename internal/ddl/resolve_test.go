package ddl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func writeDocument(t *testing.T, path, name, version string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"metadata":{"name":%q,"version":%q,"timeout":2},"actions":[{"action":"do"}]}`, name, version)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedDocumentsWinOverDisk(t *testing.T) {
	dir := t.TempDir()
	writeDocument(t, filepath.Join(dir, "choria/agent/rpcutil.json"), "rpcutil", "evil")
	d, err := Resolver{Dirs: []string{dir}}.Resolve(t.Context(), "rpcutil")
	if err != nil || d.Origin != originEmbedded {
		t.Errorf("got %+v, %v, want the embedded document", d, err)
	}
}

func TestLastDocumentOnDiskWins(t *testing.T) {
	first, last := t.TempDir(), t.TempDir()
	writeDocument(t, filepath.Join(first, "choria/agent/pkg.json"), "pkg", "1")
	writeDocument(t, filepath.Join(last, "choria/agent/pkg.json"), "pkg", "2")
	writeDocument(t, filepath.Join(last, "mcollective/agent/deep/er/pkg.json"), "pkg", "3")
	writeDocument(t, filepath.Join(last, "mcollective/data/pkg.json"), "pkg", "4")
	d, err := Resolver{Dirs: []string{first, "/does/not/exist", last}}.Resolve(t.Context(), "pkg")
	if err != nil || d.Metadata.Version != "3" || d.Origin != filepath.Join(last, "mcollective/agent/deep/er/pkg.json") {
		t.Errorf("got %+v, %v, want version 3", d, err)
	}
}

func TestRegistryComesLastAndIsCached(t *testing.T) {
	cache, calls := t.TempDir(), 0
	r := Resolver{CacheDir: cache, Fetch: func(_ context.Context, agent string) ([]byte, error) {
		calls++
		return []byte(`{"metadata":{"name":"` + agent + `","timeout":3}}`), nil
	}}
	d, err := r.Resolve(t.Context(), "pkg")
	if err != nil || d.Origin != originRegistry {
		t.Fatalf("got %+v, %v, want a document of the registry", d, err)
	}
	path := filepath.Join(cache, "agent", "pkg.json")
	d, err = r.Resolve(t.Context(), "pkg")
	if err != nil || d.Origin != path || calls != 1 {
		t.Errorf("second time: %+v, %v, %d calls, want the cached one", d, err, calls)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err = r.Resolve(t.Context(), "pkg")
	if err != nil || d.Origin != originRegistry || calls != 2 {
		t.Errorf("damaged cache: %+v, %v, %d calls, want it fetched again", d, err, calls)
	}
	entries, err := os.ReadDir(filepath.Join(cache, "agent"))
	if err != nil || len(entries) != 1 {
		t.Errorf("cache holds %v, %v, want one file", entries, err)
	}
}

func TestUnknownAgentNamesTheKnownOnes(t *testing.T) {
	dir := t.TempDir()
	writeDocument(t, filepath.Join(dir, "choria/agent/package.json"), "package", "1")
	down := errors.New("no registry answered")
	for _, r := range []Resolver{{Dirs: []string{dir}}, {Dirs: []string{dir}, Fetch: func(context.Context, string) ([]byte, error) { return nil, down }}} {
		for _, agent := range []string{"pakage", "", ".", "..", "../package", "a/b", `a\b`, "x\x00"} {
			_, err := r.Resolve(t.Context(), agent)
			unknown, ok := errors.AsType[*UnknownAgentError](err)
			if !ok || unknown.Agent != agent || !slices.Contains(unknown.Known, "package") || !slices.Contains(unknown.Known, "rpcutil") {
				t.Errorf("%q: got %v, want an UnknownAgentError", agent, err)
			}
		}
	}
	_, err := Resolver{Fetch: func(context.Context, string) ([]byte, error) { return nil, down }}.Resolve(t.Context(), "pakage")
	if !errors.Is(err, down) {
		t.Errorf("got %v, want the registry's fault in the error", err)
	}
}

func TestDocumentOfAnotherAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	writeDocument(t, filepath.Join(dir, "choria/agent/pkg.json"), "other", "1")
	if d, err := (Resolver{Dirs: []string{dir}}).Resolve(t.Context(), "pkg"); err == nil {
		t.Errorf("got %+v, want an error", d)
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("deadline of the run")
	cancel(reason)
	_, err := Resolver{Fetch: func(ctx context.Context, _ string) ([]byte, error) { return nil, ctx.Err() }}.Resolve(ctx, "pkg")
	if !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}
