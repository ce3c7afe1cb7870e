package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// program is the product code of this module, type-checked from source. Tests are not part of it.
type program struct {
	fset     *token.FileSet
	info     *types.Info
	files    map[string][]*ast.File    // by import path
	packages map[string]*types.Package // of this module, by import path
	outside  types.Importer            // reads the export data of all other packages
}

// Import implements [types.Importer].
func (p *program) Import(path string) (*types.Package, error) {
	if ours := p.packages[path]; ours != nil {
		return ours, nil
	}
	return p.outside.Import(path)
}

// loadProgram type-checks the product once for all tests that need it.
var loadProgram = sync.OnceValues(func() (*program, error) { return load(".") })

// load type-checks the module in a folder. `go list -deps` lists a package after its imports.
func load(dir string) (*program, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	exports := map[string]string{}
	fset := token.NewFileSet()
	p := &program{
		fset: fset, files: map[string][]*ast.File{}, packages: map[string]*types.Package{},
		info: &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{},
			Selections: map[*ast.SelectorExpr]*types.Selection{}},
		outside: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var c struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return p, nil
		} else if err != nil {
			return nil, fmt.Errorf("decode the output of go list: %w", err)
		}
		exports[c.ImportPath] = c.Export
		if c.ImportPath != modulePath && !strings.HasPrefix(c.ImportPath, modulePath+"/") {
			continue
		}
		for _, name := range c.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(c.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			p.files[c.ImportPath] = append(p.files[c.ImportPath], file)
		}
		conf := types.Config{Importer: p}
		if p.packages[c.ImportPath], err = conf.Check(c.ImportPath, fset, p.files[c.ImportPath], p.info); err != nil {
			return nil, fmt.Errorf("type-check %s: %w", c.ImportPath, err)
		}
	}
}

// users says where the names of the product are used.
type users struct {
	inside, outside map[types.Object]bool      // by product code of the name's own package, of another package
	tests           map[string]map[string]bool // by tests of other packages, of the test kit's own too: import path -> name
	promised        map[string]bool            // names of methods that some interface asks for
	groups          map[types.Object]bool      // constants declared together with one that has a user
}

// usersOf looks at every use in the product, and at the tests of other packages.
func usersOf(p *program, tests map[string][]*ast.File) users {
	u := users{inside: map[types.Object]bool{}, outside: map[types.Object]bool{}, tests: map[string]map[string]bool{}, groups: map[types.Object]bool{}, promised: map[string]bool{
		"Is": true, "As": true, "Unwrap": true, // package errors asks for these without a named interface
	}}
	for path, files := range p.files {
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					if used := p.info.Uses[id]; used != nil && used.Pkg() != nil && used.Pkg().Path() == path {
						u.inside[origin(used)] = true
					} else if used != nil {
						u.outside[origin(used)] = true
					}
				}
				return true
			})
		}
	}
	for path, files := range tests {
		for _, file := range files {
			u.addTest(path, file)
		}
	}
	for _, files := range p.files {
		for _, file := range files {
			for _, decl := range file.Decls {
				u.addGroup(p, decl)
			}
		}
	}
	seen := map[*types.Package]bool{}
	var walk func(*types.Package)
	walk = func(pkg *types.Package) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for _, name := range pkg.Scope().Names() {
			u.addInterface(pkg.Scope().Lookup(name).Type())
		}
		for _, imported := range pkg.Imports() {
			walk(imported)
		}
	}
	for _, pkg := range p.packages {
		walk(pkg)
	}
	for _, tv := range p.info.Types {
		u.addInterface(tv.Type) // interfaces without a name, and those that functions declare
	}
	return u
}

// addTest notes every selector of a test file under each package of ours that the file imports. A package's own tests are
// no users, except the test kit's.
func (u users) addTest(own string, file *ast.File) {
	var imported []string
	for _, spec := range file.Imports {
		if path, err := strconv.Unquote(spec.Path.Value); err == nil && path != own && strings.HasPrefix(path, modulePath+"/") {
			imported = append(imported, path)
		}
	}
	if own == testKit {
		imported = append(imported, own)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			for _, path := range imported {
				if u.tests[path] == nil {
					u.tests[path] = map[string]bool{}
				}
				u.tests[path][sel.Sel.Name] = true
			}
		}
		return true
	})
}

// addGroup notes the constants of one declaration when one of them has a user: they are the values of one thing.
func (u users) addGroup(p *program, decl ast.Decl) {
	gen, ok := decl.(*ast.GenDecl)
	if !ok || gen.Tok != token.CONST {
		return
	}
	var group []types.Object
	used := false
	for _, spec := range gen.Specs {
		for _, id := range spec.(*ast.ValueSpec).Names {
			o := p.info.Defs[id]
			group = append(group, o)
			used = used || u.outside[o] || o.Pkg() != nil && u.tests[o.Pkg().Path()][o.Name()]
		}
	}
	for _, o := range group {
		u.groups[o] = used
	}
}

func (u users) addInterface(t types.Type) {
	if t == nil {
		return
	}
	if i, ok := t.Underlying().(*types.Interface); ok {
		for m := range i.Methods() {
			u.promised[m.Name()] = true
		}
	}
}

// origin is the declared form of a method or a field of a generic type.
func origin(o types.Object) types.Object {
	switch o := o.(type) {
	case *types.Func:
		return o.Origin()
	case *types.Var:
		return o.Origin()
	}
	return o
}

// problem says what is wrong with an exported name: it has no user, or none but its own package. "" means nothing is. Not
// judged are fields, which may be a document's; constants of an exported type, or declared beside one with a user; sentinel errors, which are the contract of the
// functions that return them; types that the signature of something exported mentions; methods that an interface asks for.
func (u users) problem(o types.Object, mentioned map[types.Object]bool) string {
	if !o.Exported() || u.outside[o] {
		return ""
	}
	byTests := u.tests[o.Pkg().Path()][o.Name()]
	switch o := o.(type) {
	case *types.Func:
		if o.Signature().Recv() != nil && u.promised[o.Name()] {
			return ""
		}
	case *types.Const:
		if named, ok := o.Type().(*types.Named); ok && named.Obj().Exported() || u.groups[o] {
			return ""
		}
	case *types.Var:
		if strings.HasPrefix(o.Name(), "Err") && u.inside[o] {
			return ""
		}
	case *types.TypeName:
		if mentioned[o] || types.IsInterface(o.Type()) {
			return "" // what implements an interface need not name it
		}
	}
	switch {
	case o.Pkg().Path() == testKit && (byTests || u.inside[o]), byTests && u.inside[o]:
		return ""
	case byTests:
		return "only tests use it"
	case u.inside[o]:
		return "no other package uses it: do not export it"
	}
	return "nothing uses it"
}

// testKit is the package that serves the tests of all others.
const testKit = modulePath + "/internal/lab"

// exportedNames are what the scopes of the module's packages declare, methods included.
func (p *program) exportedNames() (names []types.Object) {
	for _, pkg := range p.packages {
		for _, name := range pkg.Scope().Names() {
			o := pkg.Scope().Lookup(name)
			names = append(names, o)
			if named, ok := o.Type().(*types.Named); ok && !types.IsInterface(named) && named.Obj() == o {
				for m := range named.Methods() {
					names = append(names, m)
				}
			}
		}
	}
	return names
}

// mentioned are the types that signatures and fields of exported names mention: a caller holds their values without
// naming them.
func mentioned(names []types.Object) map[types.Object]bool {
	found := map[types.Object]bool{}
	var walk func(types.Type)
	walk = func(t types.Type) {
		switch t := t.(type) {
		case *types.Alias:
			found[t.Obj()] = true
			walk(types.Unalias(t))
		case *types.Named:
			found[t.Obj()] = true
			for a := range t.TypeArgs().Types() {
				walk(a)
			}
		case *types.Struct:
			for f := range t.Fields() {
				if f.Exported() {
					walk(f.Type())
				}
			}
		case *types.Signature:
			for v := range t.Params().Variables() {
				walk(v.Type())
			}
			for v := range t.Results().Variables() {
				walk(v.Type())
			}
		case *types.Map:
			walk(t.Key())
			walk(t.Elem())
		case *types.Interface:
			for m := range t.Methods() {
				walk(m.Type())
			}
		case interface{ Elem() types.Type }: // pointer, slice, array, channel
			walk(t.Elem())
		}
	}
	for _, o := range names {
		if t, ok := o.(*types.TypeName); ok {
			walk(t.Type().Underlying())
		} else if o.Exported() {
			walk(o.Type())
		}
	}
	return found
}

// parseTests reads the tests of every package. A test package of its own (package x_test) belongs to x.
func parseTests(t *testing.T) map[string][]*ast.File {
	t.Helper()
	files := map[string][]*ast.File{}
	for _, l := range listPackages(t) {
		for _, name := range l.files(true) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files[l.ImportPath] = append(files[l.ImportPath], file)
		}
	}
	return files
}

// TestEveryExportedNameIsUsed: a name that no other package uses is not exported, and code that only tests use is a test.
func TestEveryExportedNameIsUsed(t *testing.T) {
	notRaced(t)
	t.Parallel()
	p, err := loadProgram()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if names := p.exportedNames(); len(names) < 200 {
		t.Fatalf("found %d exported names: the walk misses packages", len(names))
	}
	for _, u := range p.unused(parseTests(t)) {
		u.at.Filename = strings.TrimPrefix(u.at.Filename, root+"/")
		t.Errorf("%s: %s: %s", u.at, u.name, u.problem)
	}
}

// unusedName is an exported name that need not be one.
type unusedName struct {
	at            token.Position
	name, problem string
}

// unused returns the exported names with a problem, in the order of the files.
func (p *program) unused(tests map[string][]*ast.File) []unusedName {
	u, names := usersOf(p, tests), p.exportedNames()
	types := mentioned(names)
	var found []unusedName
	for _, o := range names {
		if problem := u.problem(o, types); problem != "" {
			found = append(found, unusedName{p.fset.Position(o.Pos()), o.Name(), problem})
		}
	}
	slices.SortFunc(found, func(a, b unusedName) int {
		return cmp.Or(cmp.Compare(a.at.Filename, b.at.Filename), cmp.Compare(a.at.Line, b.at.Line))
	})
	return found
}

// A module with an unused name of every kind, beside the ones that may be exported.
var unusedFixture = map[string]string{
	"go.mod":  "module fleetctl\n\ngo 1.26\n",
	"main.go": "package main\n\nimport \"fleetctl/a\"\n\nfunc main() { a.Used(); _ = a.One; a.T{}.Called() }\n",
	"a/a.go": `package a

import "errors"

func Used() { Inside() }

func Inside() {} // found

func Nowhere() {} // found

func ByTests() {} // found

func ByTestsAndInside() {}

func init() { ByTestsAndInside(); _ = ErrUsed }

const (
	One = iota
	Two
)

const Lonely = 1 // found

var ErrUsed = errors.New("a contract")

var ErrUnused = errors.New("no contract") // found

type T struct{ Field int }

func (T) Called() {}

func (T) Uncalled() {} // found

func (T) Error() string { return "" }

type Mentioned struct{}

func (T) Returns() Mentioned { return Mentioned{} } // found

type Unmentioned struct{} // found
`,
	"a/a_test.go": "package a\n\nfunc use() { Nowhere() }\n",
	"b/b_test.go": "package b\n\nimport \"fleetctl/a\"\n\nfunc use() { a.ByTests(); a.ByTestsAndInside() }\n",
}

// TestUnusedNamesAreFound shows the check a module in which it must find the names that a comment marks, and no other.
func TestUnusedNamesAreFound(t *testing.T) {
	notRaced(t)
	t.Parallel()
	dir := t.TempDir()
	tests := map[string][]*ast.File{}
	for name, text := range unusedFixture {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			pkg := modulePath + "/" + filepath.Dir(name)
			tests[pkg] = append(tests[pkg], file)
		}
	}
	p, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []int
	for _, u := range p.unused(tests) {
		got = append(got, u.at.Line)
	}
	line := 0
	for text := range strings.Lines(unusedFixture["a/a.go"]) {
		if line++; strings.Contains(text, "// found") {
			want = append(want, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("names are found on lines %v of a/a.go, want %v", got, want)
	}
}
