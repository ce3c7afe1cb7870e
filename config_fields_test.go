package main

import (
	"bytes"
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
	"strings"
	"testing"
)

const configPackage = modulePath + "/internal/config"

// configStructs are the types whose exported fields are there to be read.
var configStructs = []string{"Config", "Security", "Settings"}

// unreadFields are fields that nothing outside internal/config reads, each with its reason. Delete a line when its field is
// read; a line for a field that is read fails the test.
var unreadFields = map[string]string{
	"Config.ConnectTimeout":      "not documented: refused where Choria refuses it; --connect-timeout decides",
	"Config.LogFile":             "not documented: Choria's log, which we do not write; doctor shows it",
	"Config.LogLevel":            "not documented: as LogFile",
	"Config.SoftShutdownTimeout": "not documented: servers only; doctor shows it",
	"Config.PuppetServerHost":    "not documented: enrolment only, which we do not do; doctor shows it",
	"Config.PuppetServerPort":    "as PuppetServerHost",
	"Config.PuppetCAHost":        "as PuppetServerHost",
	"Config.PuppetCAPort":        "as PuppetServerHost",
	"Security.IssuerNames":       "becomes Security.Issuers",
	"Security.SignReplies":       "not documented: servers only; doctor shows it",
	"Security.PKCS11Driver":      "not documented: the provider is refused (ADR 0013); doctor shows it",
	"Security.PKCS11Slot":        "as PKCS11Driver",
}

// compiled is what type checking needs of `go list -export -json`.
type compiled struct {
	ImportPath, Dir, Export string
	GoFiles, Imports        []string
}

// compiledPackages asks for every package and where its compiled form is.
func compiledPackages(t *testing.T) map[string]compiled {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports", "./...")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, cmd.Stderr)
	}
	all := map[string]compiled{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var c compiled
		if err := dec.Decode(&c); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[c.ImportPath] = c
	}
}

// fieldsRead are the fields of the configuration's structs that a package reads, as Type.Field. Writing one does not count.
func fieldsRead(t *testing.T, c compiled, all map[string]compiled) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range c.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(c.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	checker := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(all[path].Export) })}
	if _, err := checker.Check(c.ImportPath, fset, files, &info); err != nil {
		t.Fatal(err)
	}
	written := map[ast.Expr]bool{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && a.Tok == token.ASSIGN {
				for _, left := range a.Lhs {
					written[left] = true
				}
			}
			return true
		})
	}
	var read []string
	for expr, s := range info.Selections {
		if s.Kind() != types.FieldVal || written[expr] {
			continue
		}
		holder := s.Recv()
		if p, ok := holder.(*types.Pointer); ok {
			holder = p.Elem()
		}
		if named, ok := holder.(*types.Named); ok && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == configPackage {
			read = append(read, named.Obj().Name()+"."+s.Obj().Name())
		}
	}
	return read
}

// TestEveryFieldOfTheConfigurationIsRead: a key that is parsed and never looked at protects nothing.
func TestEveryFieldOfTheConfigurationIsRead(t *testing.T) {
	all := compiledPackages(t)
	var read []string
	for path, c := range all {
		if path != configPackage && strings.HasPrefix(path, modulePath+"/") && slices.Contains(c.Imports, configPackage) {
			read = append(read, fieldsRead(t, c, all)...)
		}
	}
	fset := token.NewFileSet()
	pkg, err := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(all[path].Export) }).Import(configPackage)
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, name := range configStructs {
		s, ok := pkg.Scope().Lookup(name).Type().Underlying().(*types.Struct)
		if !ok {
			t.Fatalf("%s is not a struct", name)
		}
		for f := range s.Fields() {
			if f.Exported() {
				fields = append(fields, fmt.Sprintf("%s.%s", name, f.Name()))
			}
		}
	}
	for _, f := range fields {
		switch reason, excepted := unreadFields[f]; {
		case slices.Contains(read, f) && excepted:
			t.Errorf("%s is read: delete its exception", f)
		case !slices.Contains(read, f) && reason == "":
			t.Errorf("%s is read by nothing outside internal/config", f)
		}
	}
	for f := range unreadFields {
		if !slices.Contains(fields, f) {
			t.Errorf("the exception %s is no field", f)
		}
	}
}
