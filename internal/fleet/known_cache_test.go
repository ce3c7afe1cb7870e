package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/filter"
)

// The first discovery takes its whole time. The next one ends when the nodes of the first have answered, long before its
// time, and so does one that names a file.
func TestDiscoveryEndsWhenTheKnownNodesHaveAnswered(t *testing.T) {
	l, p := practice(t)
	p.CacheDir = filepath.Join(t.TempDir(), "fleetctl")
	find := func(targets Targets, flags filter.Flags) discovery.Result {
		t.Helper()
		parsed, err := filter.Parse(flags)
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.open(t, "").Find(t.Context(), targets, parsed, "")
		if err != nil || len(res.Nodes) != 3 {
			t.Fatalf("%d nodes of 3, %v", len(res.Nodes), err)
		}
		return res
	}
	const short, long = time.Second, 10 * time.Minute
	if res := find(Targets{Timeout: short}, filter.Flags{}); res.Took < short || !res.Whole {
		t.Errorf("without a known set it took %v", res.Took)
	}
	if res := find(Targets{Timeout: long}, filter.Flags{}); res.Took > long/2 || len(res.Missing) > 0 {
		t.Errorf("with a known set it took %v", res.Took)
	}
	var names []string
	for _, n := range l.Nodes() {
		names = append(names, n.Identity)
	}
	file := writeFile(t, "nodes", strings.Join(append(names, "absent.example.net"), "\n"))
	agents := filter.Flags{Agents: []string{"rpcutil"}} // another question
	if res := find(Targets{Timeout: long, Known: file}, agents); res.Took > long/2 || len(res.Missing) > 0 {
		t.Errorf("with --known it took %v", res.Took)
	}
	kept, err := filepath.Glob(filepath.Join(p.CacheDir, "nodes-*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("kept %v, %v; want one file a question", kept, err)
	}
	for _, path := range kept {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v; want mode 0600", info.Mode(), err)
		}
		if got := readKnown(path); !slices.Equal(got, discovery.Sort(names)) {
			t.Errorf("kept %v", got)
		}
	}
	if slices.ContainsFunc(p.said, func(line string) bool { return strings.Contains(line, "did not answer") }) {
		t.Errorf("said %q", p.said)
	}
}

// Half a list would end a discovery too early.
func TestADamagedListOfKnownNodesIsNone(t *testing.T) {
	f := newPlace(t).open(t, "")
	path := filepath.Join(t.TempDir(), "fleetctl", "nodes-1")
	f.keepKnown(t.Context(), path, nil, discovery.Result{Nodes: []string{"a", "b", "c"}, Whole: true})
	good, err := os.ReadFile(path)
	if err != nil || !slices.Equal(readKnown(path), []string{"a", "b", "c"}) {
		t.Fatalf("kept %q, %v", good, err)
	}
	for n := range good {
		if err := os.WriteFile(path, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readKnown(path); got != nil {
			t.Fatalf("the first %d bytes of %d read as %v", n, len(good), got)
		}
	}
}

func TestOnlyAWholeDiscoveryIsKept(t *testing.T) {
	p := newPlace(t)
	f := p.open(t, "")
	p.said = nil
	path := filepath.Join(t.TempDir(), "fleetctl", "nodes-1")
	f.keepKnown(t.Context(), path, []string{"a", "b", "c"}, discovery.Result{Nodes: []string{"a"}, Missing: []string{"b", "c"}, Took: 10 * time.Second})
	if _, err := os.Stat(path); err == nil {
		t.Error("a discovery that missed two of three nodes is kept")
	}
	if want := []string{"warning: 2 of 3 nodes that were expected did not answer within 10s: b,c"}; !slices.Equal(p.said, want) {
		t.Errorf("said %q, want %q", p.said, want)
	}
}

func TestOnlySomeMissingNodesAreNamed(t *testing.T) {
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprintf("web%04d-%d.example.net", i, i%7)
	}
	if got := someNames(names); len(got) > 1000 || !strings.HasSuffix(got, " and 4980 more") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if got := someNames([]string{"a", "b"}); got != "a,b" {
		t.Errorf("got %s", got)
	}
}

func TestKnownNodesThatDecideNothing(t *testing.T) {
	p := newPlace(t)
	p.CacheDir = t.TempDir()
	f := p.open(t, "")
	p.said = nil
	if nodes, keep, err := f.known(t.Context(), Targets{}, discovery.Query{Window: true}); nodes != nil || keep != "" || err != nil || len(p.said) != 1 || !strings.HasPrefix(p.said[0], "warning: --discovery-window") {
		t.Errorf("with a window: %v, %q, %v, said %q", nodes, keep, err, p.said)
	}
	f = p.open(t, "")
	if _, _, err := f.known(t.Context(), Targets{Known: writeFile(t, "none", "\n")}, discovery.Query{}); err == nil {
		t.Error("a file without a node is taken")
	}
}

// What the plan wants to know of the broker is asked while the nodes answer, not after it: here discovery would last for ten
// minutes, and ends when the broker's answer is there.
func TestAbsenceIsAskedBesideDiscovery(t *testing.T) {
	_, p := practice(t)
	answered := make(answers, 1)
	p.Logger = slog.New(answered)
	f := p.open(t, "")
	f.AskOfAbsence()
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("the broker has answered")
	go func() {
		<-answered
		cancel(enough)
	}()
	if _, err := f.Find(ctx, Targets{Timeout: 10 * time.Minute}, filter.Filter{}, ""); !errors.Is(err, enough) {
		t.Errorf("discovery ended by %v", err)
	}
}

// answers is a log that reports the broker's answer about a node that is absent.
type answers chan struct{}

func (a answers) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "node" && strings.HasPrefix(attr.Value.String(), "absent-") {
			a <- struct{}{}
		}
		return true
	})
	return nil
}

func (a answers) Enabled(context.Context, slog.Level) bool { return true }
func (a answers) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a answers) WithGroup(string) slog.Handler            { return a }
