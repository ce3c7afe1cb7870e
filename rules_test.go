package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The rules of the house, as data. docs/architecture.md says what they are for and shows the same table; changing a
// row is a decision, recorded in docs/adr/.

const modulePath = "fleetctl"

// row is one line of the import table. A package is named by its folder, the root by "main".
type row struct {
	pkg   string
	ours  []string // packages of this module that it may import; "all" for any
	third []string // doors that it keeps: prefixes of third-party import paths
	tests bool     // the package is only tests
}

var table = []row{
	{pkg: "main", ours: []string{"cmd"}},
	{pkg: "cmd", ours: []string{"all"}, third: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys", "golang.org/x/term"}},
	{pkg: "discovery", ours: []string{"internal/choria", "internal/filter", "internal/hook"}, third: []string{"go.yaml.in/yaml/v3"}},
	{pkg: "internal/run", ours: []string{"batch", "discovery", "internal/choria", "internal/config", "internal/ddl", "internal/filter", "internal/fleet", "internal/gate", "internal/journal", "internal/lease", "internal/plain", "internal/proof", "internal/saved", "internal/secret", "internal/security", "internal/sender", "inventory", "rpcclient"}},
	{pkg: "internal/sender", ours: []string{"batch", "internal/lease", "internal/secret", "internal/security", "rpcclient"}},
	{pkg: "internal/report", ours: []string{"batch", "discovery", "internal/atomicfile", "internal/ddl", "internal/filter", "internal/hook", "internal/page", "internal/plain", "internal/render", "internal/run", "internal/saved", "inventory", "rpcclient"}},
	{pkg: "internal/fleet", ours: []string{"batch", "discovery", "internal/atomicfile", "internal/bus", "internal/choria", "internal/config", "internal/ddl", "internal/filter", "internal/lease", "internal/plain", "internal/security", "rpcclient"}},
	{pkg: "internal/doctor", ours: []string{"discovery", "internal/bus", "internal/choria", "internal/config", "internal/filter", "internal/fleet", "internal/lease", "internal/plain", "internal/security", "rpcclient"}},
	{pkg: "internal/secret"},
	{pkg: "internal/saved", ours: []string{"batch", "internal/atomicfile", "internal/choria", "internal/gate", "internal/secret", "internal/security"}},
	{pkg: "internal/gate", ours: []string{"batch", "internal/hook", "internal/plain", "internal/secret"}},
	{pkg: "internal/hook"},
	{pkg: "internal/detached"},
	{pkg: "rpcclient", ours: []string{"internal/choria"}},
	{pkg: "batch"},
	{pkg: "inventory", ours: []string{"internal/filter", "internal/plain", "rpcclient"}},
	{pkg: "internal/choria"},
	{pkg: "internal/plain"},
	{pkg: "internal/atomicfile"},
	{pkg: "internal/page", ours: []string{"internal/plain"}},
	{pkg: "internal/security", ours: []string{"internal/atomicfile", "internal/choria"}, third: []string{"github.com/golang-jwt/jwt/v5", "github.com/oasisprotocol/curve25519-voi"}},
	{pkg: "internal/bus", ours: []string{"internal/choria"}, third: []string{"github.com/nats-io/nats.go"}},
	{pkg: "internal/lease", ours: []string{"batch", "internal/bus"}},
	{pkg: "internal/filter", third: []string{"github.com/expr-lang/expr", "github.com/tidwall/gjson", "github.com/Masterminds/semver/v3"}},
	{pkg: "internal/ddl", ours: []string{"internal/atomicfile", "internal/filter", "internal/secret"}},
	{pkg: "internal/config", ours: []string{"internal/plain", "internal/secret"}, third: []string{"go.yaml.in/yaml/v3"}},
	{pkg: "internal/journal"},
	{pkg: "internal/proof", ours: []string{"batch", "internal/choria", "internal/filter", "rpcclient"}},
	{pkg: "internal/render", ours: []string{"batch", "discovery", "internal/plain", "inventory", "rpcclient"}, third: []string{"github.com/schollz/progressbar/v3", "github.com/jedib0t/go-pretty/v6", "github.com/tidwall/pretty"}},
	{pkg: "internal/lab", ours: []string{"internal/choria", "internal/ddl", "internal/filter", "internal/security"}, third: []string{"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go"}},
	{pkg: "internal/interop", tests: true},
	{pkg: "internal/world", ours: []string{"batch", "discovery", "internal/choria", "internal/ddl", "internal/filter", "internal/fleet", "internal/journal", "internal/lease", "internal/proof", "internal/run", "internal/secret", "internal/security", "internal/sender", "rpcclient"}, tests: true},
}

// testDoors are the third-party modules that tests of any package may use besides those of their own row.
var testDoors = []string{"go.yaml.in/yaml/v3", "github.com/santhosh-tekuri/jsonschema/v6", "github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go"}

// forbiddenNames say nothing of what a package knows.
var forbiddenNames = []string{"util", "utils", "common", "shared", "helper", "helpers", "type", "types", "model", "models", "misc", "base"}

// use is a name of the standard library that only its homes may mention.
type use struct {
	path  string // import path
	names string // regular expression on the name behind the dot; "" means the import itself
	homes []string
	tests bool // tests are bound too; their Example functions never are
	why   string
}

var uses = []use{
	{path: "os", names: `Exit`, homes: []string{"main"}, why: "deferred clean-up is skipped; return an error, main ends the program"},
	{path: "os", names: `Stdin|Stdout|Stderr`, homes: []string{"main", "cmd"}, why: "streams are handed in by cmd"},
	{path: "os", names: `Getenv|LookupEnv|Environ|ExpandEnv`, homes: []string{"main", "cmd"}, why: "the environment is handed in by cmd"},
	{path: "fmt", names: `Print|Printf|Println`, tests: true, why: "write to a stream that was handed in"},
	{path: "time", names: `Sleep`, tests: true, why: "wait for an event or a context"},
	{path: "log", tests: true, why: "a *slog.Logger is handed in"},
	{path: "log/slog", names: `Default|SetDefault|(Debug|Info|Warn|Error|Log)(Context)?`, why: "there is no global logger"},
	{path: "context", names: `Background|TODO`, homes: []string{"main", "cmd"}, why: "contexts come from the caller"},
}

// maxLines is the length at which a file that is not a test has to be split.
const maxLines = 400

// machinePaths belong to one workplace, never to the project. Written in pieces, so that this file passes.
var machinePaths = []string{"/" + "work/", "/tmp/" + "choria"}

// listed is what the rules need of `go list -json`.
type listed struct {
	ImportPath, Name, Dir             string
	GoFiles, CgoFiles, IgnoredGoFiles []string
	TestGoFiles, XTestGoFiles         []string
	Imports, TestImports              []string // for this operating system
}

func (l listed) pkg() string {
	if l.ImportPath == modulePath {
		return "main"
	}
	return strings.TrimPrefix(l.ImportPath, modulePath+"/")
}

// files returns the Go files for every operating system: the product's when tests is false, else the tests'.
func (l listed) files(tests bool) []string {
	var names []string
	for _, list := range [][]string{l.GoFiles, l.CgoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles} {
		for _, name := range list {
			if strings.HasSuffix(name, "_test.go") == tests {
				names = append(names, name)
			}
		}
	}
	return names
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	notRaced(t)
	list, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// packages asks go list once.
var packages = sync.OnceValues(func() ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports", "./...")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, cmd.Stderr)
	}
	var list []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("decode the output of go list: %w", err)
		}
		list = append(list, l)
	}
})

func findRow(pkg string) (row, bool) {
	i := slices.IndexFunc(table, func(r row) bool { return r.pkg == pkg })
	if i < 0 {
		return row{}, false
	}
	return table[i], true
}

func covers(prefixes []string, path string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// checkImport says what is wrong with pkg importing path; "" when nothing is.
func checkImport(pkg, path string, test bool) string {
	r, ok := findRow(pkg)
	if !ok {
		return fmt.Sprintf("package %s is not in the import table", pkg)
	}
	if ours, found := strings.CutPrefix(path, modulePath+"/"); found || path == modulePath {
		switch {
		case slices.Contains(r.ours, "all"), slices.Contains(r.ours, ours), pkg == ours:
			return ""
		case test && (len(r.ours) > 0 || pkg == "internal/interop"):
			return "" // a package that stands on nothing of ours is tested on nothing of ours
		}
		return fmt.Sprintf("package %s may not import %s", pkg, path)
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "" // standard library: see uses
	}
	if covers(r.third, path) || test && covers(testDoors, path) {
		return ""
	}
	for _, other := range table {
		if covers(other.third, path) {
			return fmt.Sprintf("package %s imports %s, whose door is %s", pkg, path, other.pkg)
		}
	}
	return fmt.Sprintf("package %s imports %s, which has no door in the import table", pkg, path)
}

// checkFile applies the import table and the uses to one parsed file.
func checkFile(pkg string, fset *token.FileSet, file *ast.File, test bool) []string {
	var problems []string
	report := func(pos token.Pos, problem string) {
		problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(pos), problem))
	}
	local := map[string]string{} // name in this file -> import path
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			report(spec.Pos(), err.Error())
			continue
		}
		if problem := checkImport(pkg, path, test); problem != "" {
			report(spec.Pos(), problem)
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." {
			report(spec.Pos(), "dot imports hide where a name comes from")
		}
		local[name] = path
		for _, u := range uses {
			if u.path == path && u.names == "" && !u.allowed(pkg, test) {
				report(spec.Pos(), fmt.Sprintf("package %s may not import %s: %s", pkg, path, u.why))
			}
		}
	}
	for _, decl := range file.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && test && strings.HasPrefix(fn.Name.Name, "Example") {
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := sel.X.(*ast.Ident)
			if !ok || x.Obj != nil {
				return true
			}
			for _, u := range uses {
				if local[x.Name] == u.path && u.matches(sel.Sel.Name) && !u.allowed(pkg, test) {
					report(sel.Pos(), fmt.Sprintf("package %s may not use %s.%s: %s", pkg, x.Name, sel.Sel.Name, u.why))
				}
			}
			return true
		})
	}
	return problems
}

func (u use) allowed(pkg string, test bool) bool {
	return test && !u.tests || slices.Contains(u.homes, pkg)
}

func (u use) matches(name string) bool {
	return u.names != "" && regexp.MustCompile(`^(`+u.names+`)$`).MatchString(name)
}

// checkComment wants exactly one package comment that begins as godoc expects.
func checkComment(pkg string, files []*ast.File) string {
	var comments []string
	for _, f := range files {
		if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
			comments = append(comments, f.Doc.Text())
		}
	}
	if len(comments) != 1 {
		return fmt.Sprintf("package %s has %d package comments, want 1", pkg, len(comments))
	}
	if want := "Package " + pkg[strings.LastIndex(pkg, "/")+1:] + " "; pkg != "main" && !strings.HasPrefix(comments[0], want) {
		return fmt.Sprintf("the comment of package %s does not begin with %q", pkg, want)
	}
	return ""
}

func checkName(pkg, name string) string {
	if slices.Contains(forbiddenNames, name) {
		return fmt.Sprintf("package %s: the name %q does not say what it knows", pkg, name)
	}
	if pkg != "main" && name != pkg[strings.LastIndex(pkg, "/")+1:] {
		return fmt.Sprintf("package %s calls itself %q", pkg, name)
	}
	return ""
}

func checkLength(path string, data []byte) string {
	if n := bytes.Count(data, []byte("\n")); n > maxLines {
		return fmt.Sprintf("%s has %d lines, limit is %d: look for the missing type", path, n, maxLines)
	}
	return ""
}

func checkPaths(path string, data []byte) []string {
	var problems []string
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for _, p := range machinePaths {
			if bytes.Contains(text, []byte(p)) {
				problems = append(problems, fmt.Sprintf("%s:%d names %s, a path of one machine", path, line, p))
			}
		}
	}
	return problems
}

var markdownLink = regexp.MustCompile(`\]\(([^)\s#]+)(#[^)\s]*)?\)`)

// checkLinks wants every relative link of a page to lead to a file; exists takes a slash-separated path from the root.
func checkLinks(path string, data []byte, exists func(string) bool) []string {
	var problems []string
	for _, m := range markdownLink.FindAllSubmatch(data, -1) {
		target := string(m[1])
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		if at := filepath.ToSlash(filepath.Join(filepath.Dir(path), target)); !exists(at) {
			problems = append(problems, fmt.Sprintf("%s links to %s, which does not exist", path, target))
		}
	}
	return problems
}

// tableLine is the row as docs/architecture.md shows it, without its last column.
func (r row) tableLine() string {
	cell := func(names []string, none string) string {
		if len(names) == 0 {
			return none
		}
		if names[0] == "all" {
			return "all"
		}
		return "`" + strings.Join(names, "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", r.pkg, cell(r.ours, "none"), cell(r.third, "–"))
}

func TestPackagesKeepTheRules(t *testing.T) {
	for _, l := range listPackages(t) {
		pkg := l.pkg()
		if problem := checkName(pkg, l.Name); problem != "" && l.Name != "" {
			t.Error(problem)
		}
		if _, ok := findRow(pkg); !ok {
			t.Errorf("package %s is not in the import table", pkg)
			continue
		}
		fset := token.NewFileSet()
		parse := func(tests bool) []*ast.File {
			var files []*ast.File
			for _, name := range l.files(tests) {
				path := filepath.Join(strings.TrimPrefix(l.ImportPath, modulePath+"/"), name)
				if pkg == "main" {
					path = name
				}
				file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
				if err != nil {
					t.Errorf("parse: %v", err)
					continue
				}
				files = append(files, file)
				for _, problem := range checkFile(pkg, fset, file, tests) {
					t.Error(problem)
				}
				if data, err := os.ReadFile(path); err == nil && !tests {
					if problem := checkLength(path, data); problem != "" {
						t.Error(problem)
					}
				}
			}
			return files
		}
		product := parse(false)
		parse(true)
		if len(product) == 0 {
			continue // no product code yet
		}
		if problem := checkComment(pkg, product); problem != "" {
			t.Error(problem)
		}
	}
}

// unusedParts lists what a row allows and no product file of its package imports.
func unusedParts(r row, imports []string) []string {
	used := func(prefix string) bool {
		return slices.ContainsFunc(imports, func(path string) bool { return covers([]string{prefix}, path) })
	}
	var unused []string
	for _, ours := range r.ours {
		if ours != "all" && !used(modulePath+"/"+ours) {
			unused = append(unused, ours)
		}
	}
	for _, third := range r.third {
		if !used(third) {
			unused = append(unused, third)
		}
	}
	return unused
}

func TestTheTableAllowsOnlyWhatIsUsed(t *testing.T) {
	for _, l := range listPackages(t) {
		r, ok := findRow(l.pkg())
		if !ok {
			continue // reported by TestPackagesKeepTheRules
		}
		imports := l.Imports
		if r.tests {
			imports = l.TestImports
		}
		for _, part := range unusedParts(r, imports) {
			t.Errorf("package %s may import %s and does not: take it out of its row", r.pkg, part)
		}
	}
}

func TestPackagesOfTheTableExist(t *testing.T) {
	present := map[string]bool{}
	for _, l := range listPackages(t) {
		present[l.pkg()] = len(l.files(false)) > 0
	}
	for _, r := range table {
		if !present[r.pkg] {
			t.Errorf("package %s is in the import table and does not exist", r.pkg)
		}
	}
}

func TestArchitectureShowsTheTable(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range table {
		if !bytes.Contains(page, []byte("\n"+r.tableLine())) {
			t.Errorf("docs/architecture.md has no line that begins with\n%s", r.tableLine())
		}
	}
}

func TestTrackedFilesNameNoMachineAndLinkToFiles(t *testing.T) {
	exists := func(path string) bool { _, err := os.Stat(filepath.FromSlash(path)); return err == nil }
	for _, path := range trackedFiles(t) {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, not committed yet
		}
		if err != nil {
			t.Error(err)
			continue
		}
		for _, problem := range checkPaths(path, data) {
			t.Error(problem)
		}
		if strings.HasSuffix(path, ".md") {
			for _, problem := range checkLinks(path, data, exists) {
				t.Error(problem)
			}
		}
	}
}

// trackedFiles asks git; a tree without git (an unpacked archive) is walked.
func trackedFiles(t *testing.T) []string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "git", "ls-files", "-z").Output(); err == nil {
		return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	}
	var paths []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains([]string{".git", "bin", "dist"}, path) {
			return filepath.SkipDir
		}
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
