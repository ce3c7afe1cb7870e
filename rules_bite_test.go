package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// Each rule is shown one offense and one similar case that keeps it: a rule that cannot fail protects nothing.

func TestImportRuleBites(t *testing.T) {
	for _, test := range []struct {
		pkg, path string
		test      bool
		want      string // "" allowed, else part of the complaint
	}{
		{pkg: "batch", path: "fleetctl/internal/choria", want: "may not import"},
		{pkg: "batch", path: "fleetctl/internal/choria", test: true, want: "may not import"},
		{pkg: "batch", path: "fleetctl/batch", test: true},
		{pkg: "main", path: "fleetctl/rpcclient", want: "may not import"},
		{pkg: "main", path: "fleetctl/cmd"},
		{pkg: "internal/choria", path: "fleetctl/cmd", want: "may not import"},
		{pkg: "rpcclient", path: "fleetctl/internal/bus", want: "may not import"},
		{pkg: "rpcclient", path: "fleetctl/internal/lab", test: true},
		{pkg: "internal/interop", path: "fleetctl/internal/lab", want: "may not import"},
		{pkg: "internal/interop", path: "fleetctl/internal/lab", test: true},
		{pkg: "cmd", path: "fleetctl/internal/lab"},
		{pkg: "cmd", path: "github.com/spf13/cobra"},
		{pkg: "cmd", path: "github.com/spf13/cobra/doc"},
		{pkg: "cmd", path: "github.com/nats-io/nats.go", want: "whose door is internal/bus"},
		{pkg: "cmd", path: "github.com/nats-io/nats-server/v2/server", want: "whose door is internal/lab"},
		{pkg: "internal/bus", path: "github.com/nats-io/nats-server/v2/server", test: true},
		{pkg: "rpcclient", path: "github.com/stretchr/testify/assert", test: true, want: "has no door"},
		{pkg: "rpcclient", path: "github.com/google/go-cmp/cmp", test: true},
		{pkg: "rpcclient", path: "github.com/google/go-cmp/cmp", want: "has no door"},
		{pkg: "rpcclient", path: "net/http"},
		{pkg: "internal/extra", path: "fmt", want: "not in the import table"},
	} {
		got := checkImport(test.pkg, test.path, test.test)
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("checkImport(%s, %s, test %v) = %q, want %q", test.pkg, test.path, test.test, got, test.want)
		}
	}
}

func TestUseRulesBite(t *testing.T) {
	for _, test := range []struct {
		name, pkg, source string
		test              bool
		want              int // complaints
	}{
		{name: "exit", pkg: "cmd", source: `import "os"; func f() { os.Exit(1) }`, want: 1},
		{name: "exit at home", pkg: "main", source: `import "os"; func f() { os.Exit(1) }`},
		{name: "exit under another name", pkg: "cmd", source: `import sys "os"; func f() { sys.Exit(1) }`, want: 1},
		{name: "a method of that name", pkg: "cmd", source: `type o struct{}; func (o) Exit(int) {}; func f() { var os o; os.Exit(1) }`},
		{name: "stdout", pkg: "internal/render", source: `import "os"; var w = os.Stdout`, want: 1},
		{name: "environment", pkg: "internal/config", source: `import "os"; var v = os.Getenv("HOME")`, want: 1},
		{name: "environment in a test", pkg: "internal/config", source: `import "os"; var v = os.Getenv("HOME")`, test: true},
		{name: "print", pkg: "cmd", source: `import "fmt"; func f() { fmt.Println() }`, want: 1},
		{name: "print in a test", pkg: "cmd", source: `import "fmt"; func f() { fmt.Printf("") }`, test: true, want: 1},
		{name: "print in an example", pkg: "batch", source: `import "fmt"; func ExampleF() { fmt.Println() }`, test: true},
		{name: "print to a writer", pkg: "cmd", source: `import "fmt"; func f() { fmt.Fprintln(nil) }`},
		{name: "sleep", pkg: "internal/lab", source: `import "time"; func f() { time.Sleep(1) }`, want: 1},
		{name: "sleep in a test", pkg: "internal/lab", source: `import "time"; func f() { time.Sleep(1) }`, test: true, want: 1},
		{name: "log", pkg: "cmd", source: `import "log"; func f() { log.Fatal() }`, want: 1},
		{name: "global slog", pkg: "cmd", source: `import "log/slog"; func f() { slog.Info("") }`, want: 1},
		{name: "slog handed in", pkg: "cmd", source: `import "log/slog"; func f(l *slog.Logger) { l.Info("") }`},
		{name: "background", pkg: "internal/bus", source: `import "context"; var c = context.Background()`, want: 1},
		{name: "background in cmd", pkg: "cmd", source: `import "context"; var c = context.Background()`},
		{name: "background in a test", pkg: "internal/bus", source: `import "context"; var c = context.Background()`, test: true},
		{name: "dot import", pkg: "cmd", source: `import . "strings"`, want: 1},
		{name: "second door", pkg: "cmd", source: `import "github.com/golang-jwt/jwt/v5"`, want: 1},
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "bad.go", "package p; "+test.source, 0)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := checkFile(test.pkg, fset, file, test.test); len(got) != test.want {
			t.Errorf("%s: got %d complaints %q, want %d", test.name, len(got), got, test.want)
		}
	}
}

func TestCommentRuleBites(t *testing.T) {
	parse := func(source string) *ast.File {
		file, err := parser.ParseFile(token.NewFileSet(), "a.go", source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	good, none, odd := parse("// Package bus knows.\npackage bus"), parse("package bus"), parse("// Knows.\npackage bus")
	for _, test := range []struct {
		name  string
		files []*ast.File
		bites bool
	}{
		{"one", []*ast.File{good, none}, false},
		{"none", []*ast.File{none}, true},
		{"two", []*ast.File{good, good}, true},
		{"wrong beginning", []*ast.File{odd}, true},
	} {
		if got := checkComment("internal/bus", test.files); (got != "") != test.bites {
			t.Errorf("%s: got %q, want a complaint: %v", test.name, got, test.bites)
		}
	}
}

func TestOtherRulesBite(t *testing.T) {
	missing := func(string) bool { return false }
	there := func(path string) bool { return path == "docs/b.md" }
	for _, test := range []struct {
		name  string
		got   bool
		bites bool
	}{
		{"empty name", checkName("internal/util", "util") != "", true},
		{"name of another folder", checkName("internal/bus", "wire") != "", true},
		{"good name", checkName("internal/bus", "bus") != "", false},
		{"long file", checkLength("a.go", bytes.Repeat([]byte("\n"), maxLines+1)) != "", true},
		{"file at the limit", checkLength("a.go", bytes.Repeat([]byte("\n"), maxLines)) != "", false},
		{"path of a machine", len(checkPaths("a.md", []byte("see\n"+machinePaths[0]+"main"))) > 0, true},
		{"path of the project", len(checkPaths("a.md", []byte("see docs/a.md"))) > 0, false},
		{"dead link", len(checkLinks("docs/a.md", []byte("[b](b.md#x)"), missing)) > 0, true},
		{"live link", len(checkLinks("docs/a.md", []byte("[b](b.md#x) [c](https://example.net/c)"), there)) > 0, false},
		{"files of a test", len(listed{GoFiles: []string{"a.go"}, TestGoFiles: []string{"a_test.go"}}.files(true)) != 1, false},
	} {
		if test.got != test.bites {
			t.Errorf("%s: complaint %v, want %v", test.name, test.got, test.bites)
		}
	}
	if got, want := (row{pkg: "batch"}).tableLine(), "| `batch` | none | – |"; got != want {
		t.Errorf("tableLine = %q, want %q", got, want)
	}
}
