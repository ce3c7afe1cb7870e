package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fleetctl/batch"
)

var (
	span     = regexp.MustCompile("`([^`\n]+)`")
	goFile   = regexp.MustCompile(`^([a-z_0-9]+/)*[a-z_0-9]+\.go$`)
	folder   = regexp.MustCompile(`^(batch|cmd|discovery|docs|internal|inventory|rpcclient|testdata)/[a-zA-Z_0-9/.-]+$`)
	selector = regexp.MustCompile(`^([A-Za-z]+)\.([A-Za-z]+)(\(.*\))?$`)
	mixed    = regexp.MustCompile(`^([A-Za-z][a-z]+([A-Z][a-z]+)+)(\(\))?$`) // a name alone: only mixed case is certainly one of Go
)

// source is what the code spans of a page may name: the tracked files, and the names that the Go files declare.
type source struct {
	files map[string]bool // paths, the folders above them, and base names
	names map[string]bool // "package.Name", "Type.Method", and the same without what is before the dot
}

func readSource(t *testing.T) source {
	t.Helper()
	notRaced(t)
	s := source{map[string]bool{}, map[string]bool{}}
	fset := token.NewFileSet()
	for _, file := range trackedFiles(t) {
		for at := file; at != "."; at = path.Dir(at) {
			s.files[at] = true
		}
		s.files[path.Base(file)] = true
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		parsed, err := parser.ParseFile(fset, filepath.FromSlash(file), nil, parser.SkipObjectResolution)
		if err != nil {
			continue // deleted, not committed yet; or another test reports it
		}
		for _, decl := range parsed.Decls {
			s.declare(parsed.Name.Name, decl)
		}
	}
	return s
}

func (s source) name(of, name string) {
	s.names[of+"."+name] = true
	s.names[name] = true
}

// declare adds the functions, types, methods, constants and variables of a declaration; the methods of interfaces, too.
func (s source) declare(pkg string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			s.name(pkg, d.Name.Name)
			return
		}
		on := d.Recv.List[0].Type
		if star, ok := on.(*ast.StarExpr); ok {
			on = star.X
		}
		if id, ok := on.(*ast.Ident); ok {
			s.name(id.Name, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if value, ok := spec.(*ast.ValueSpec); ok {
				for _, name := range value.Names {
					s.name(pkg, name.Name)
				}
			}
			typ, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			s.name(pkg, typ.Name.Name)
			if face, ok := typ.Type.(*ast.InterfaceType); ok {
				for _, m := range face.Methods.List {
					for _, name := range m.Names {
						s.name(typ.Name.Name, name.Name)
					}
				}
			}
		}
	}
}

// standard are the first parts of selectors that are not of this module.
var standard = []string{"fmt", "os", "time", "context", "testing", "nats", "crypto"}

// missing returns what the code spans of a text name and the source does not have. Names of Go are checked where names is
// true.
func (s source) missing(text string, names bool) []string {
	missing := map[string]bool{}
	for _, m := range span.FindAllStringSubmatch(text, -1) {
		word := strings.TrimSuffix(strings.TrimPrefix(m[1], "../"), "/")
		switch {
		case strings.Contains(word, "NAME"): // stands for any name
		case goFile.MatchString(word), folder.MatchString(word):
			if !s.files[word] {
				missing[word] = true
			}
		case names && selector.MatchString(word) && !strings.Contains(word, ".md"):
			parts := selector.FindStringSubmatch(word)
			if !s.names[parts[1]+"."+parts[2]] && !slices.Contains(standard, parts[1]) {
				missing[word] = true
			}
		case names && mixed.MatchString(word):
			if !s.names[strings.TrimSuffix(word, "()")] {
				missing[word] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(missing))
}

// TestPagesNameCodeThatExists: the files that pages name exist, and so do the functions of docs/architecture.md.
func TestPagesNameCodeThatExists(t *testing.T) {
	s := readSource(t)
	for _, page := range trackedFiles(t) {
		if !strings.HasSuffix(page, ".md") || page == "CHANGELOG.md" || strings.HasPrefix(page, "docs/adr/") {
			continue // these describe the past
		}
		data, err := os.ReadFile(filepath.FromSlash(page))
		if err != nil {
			continue // deleted, not committed yet
		}
		for _, name := range s.missing(string(data), page == "docs/architecture.md") {
			t.Errorf("%s names `%s`, which does not exist", page, name)
		}
	}
}

// TestTheGlossaryIsComplete: every state of a node has its row, and the rows are in the order of the alphabet.
func TestTheGlossaryIsComplete(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "glossary.md"))
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(string(page), -1)[1:] { // without the head
		words = append(words, strings.ToLower(m[1]))
	}
	if !slices.IsSorted(words) || len(slices.Compact(slices.Clone(words))) != len(words) {
		t.Errorf("the words of the glossary are not sorted, or not unique: %q", words)
	}
	for _, state := range batch.States() {
		if !slices.Contains(words, state.String()) {
			t.Errorf("the glossary lacks the state %s", state)
		}
	}
}

func TestTheCheckOfNamesBites(t *testing.T) {
	s := source{files: map[string]bool{"cmd/req.go": true, "cmd": true, "req.go": true}, names: map[string]bool{"run.Start": true, "ruleNames": true}}
	text := "`cmd/req.go` `req.go` `run.Start` `run.Start(ctx)` `os.Exit` `cmd/old.go` `old.go` `run.Stop` `os.family` `ruleNames` `ruleTexts()` `verified`"
	got := fmt.Sprint(s.missing(text, true), s.missing(text, false))
	if want := "[cmd/old.go old.go ruleTexts() run.Stop] [cmd/old.go old.go]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTheIndexHasEveryPage: docs/README.md links to every page of its folder.
func TestTheIndexHasEveryPage(t *testing.T) {
	index, err := os.ReadFile(filepath.Join("docs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range trackedFiles(t) {
		dir, name := path.Split(page)
		if dir == "docs/" && path.Ext(name) == ".md" && name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}
