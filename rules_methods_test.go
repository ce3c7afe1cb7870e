package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// maxMethods is how many methods a type of these packages may have, tests aside: past that, look for the missing type. What decides
// about a run stood in one type of 113 methods once.
const maxMethods = 20

var methodsAreCounted = []string{"cmd", "internal/run"}

// checkMethods counts the methods of every type of a package.
func checkMethods(pkg string, files []*ast.File) []string {
	count := map[string]int{}
	for _, file := range files {
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil {
				continue
			}
			of := fn.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if name, ok := of.(*ast.Ident); ok {
				count[name.Name]++
			}
		}
	}
	var problems []string
	for name, n := range count {
		if n > maxMethods {
			problems = append(problems, fmt.Sprintf("package %s: type %s has %d methods, limit is %d: look for the missing type", pkg, name, n, maxMethods))
		}
	}
	return problems
}

func TestTypesHaveFewMethods(t *testing.T) {
	for _, pkg := range methodsAreCounted {
		paths, err := filepath.Glob(filepath.Join(filepath.FromSlash(pkg), "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("package %s: %d files, %v", pkg, len(paths), err)
		}
		var files []*ast.File
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		for _, problem := range checkMethods(pkg, files) {
			t.Error(problem)
		}
	}
}

func TestMethodRuleBites(t *testing.T) {
	of := func(n int) []*ast.File {
		var source strings.Builder
		source.WriteString("package p\ntype t struct{}\nfunc (t) a() {}\n")
		for i := range n - 1 {
			source.WriteString(fmt.Sprintf("func (x *t) m%d() {}\n", i))
		}
		file, err := parser.ParseFile(token.NewFileSet(), "a.go", source.String(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return []*ast.File{file}
	}
	if got := checkMethods("cmd", of(maxMethods)); len(got) != 0 {
		t.Errorf("at the limit: %q", got)
	}
	if got := checkMethods("cmd", of(maxMethods+1)); len(got) != 1 {
		t.Errorf("above it: %q", got)
	}
}
