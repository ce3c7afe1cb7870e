package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
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
	"Config.PuppetServerHost":    "not documented: enrollment only, which fleetctl does not do; doctor shows it",
	"Config.PuppetServerPort":    "as PuppetServerHost",
	"Config.PuppetCAHost":        "as PuppetServerHost",
	"Config.PuppetCAPort":        "as PuppetServerHost",
	"Security.IssuerNames":       "becomes Security.Issuers",
	"Security.SignReplies":       "not documented: servers only; doctor shows it",
	"Security.PKCS11Driver":      "not documented: the provider is refused (ADR 0013); doctor shows it",
	"Security.PKCS11Slot":        "as PKCS11Driver",
}

// fieldsRead are the fields of the configuration's structs that a package reads, as Type.Field. Writing one does not count.
func fieldsRead(p *program, files []*ast.File) []string {
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
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			expr, ok := n.(*ast.SelectorExpr)
			if s := p.info.Selections[expr]; ok && s != nil && s.Kind() == types.FieldVal && !written[expr] {
				holder := s.Recv()
				if p, ok := holder.(*types.Pointer); ok {
					holder = p.Elem()
				}
				if named, ok := holder.(*types.Named); ok && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == configPackage {
					read = append(read, named.Obj().Name()+"."+s.Obj().Name())
				}
			}
			return true
		})
	}
	return read
}

// TestEveryFieldOfTheConfigurationIsRead: a key that is parsed and never looked at protects nothing.
func TestEveryFieldOfTheConfigurationIsRead(t *testing.T) {
	notRaced(t)
	p, err := loadProgram()
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for path, files := range p.files {
		if path != configPackage {
			read = append(read, fieldsRead(p, files)...)
		}
	}
	pkg := p.packages[configPackage]
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
