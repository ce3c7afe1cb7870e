package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleetctl/internal/run"
)

// sources calls do with the syntax of every file of the program but its tests.
func sources(t *testing.T, do func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, data, 0)
		if err == nil {
			do(path, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// typed checks a command as if an operator had typed it: its name, its flags, how many arguments it has. Nothing runs.
func typed(words []string) error {
	root := newRoot(&app{name: productName})
	c, rest, err := root.Find(words[1:])
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// TestOfferedCommandsAreWhole parses every command about a run that a message offers: the calls of run.Next in the program,
// with a folder and secrets. No other place makes such a command of a run's id.
func TestOfferedCommandsAreWhole(t *testing.T) {
	next := run.Next{Run: "20260101-000000-aaaaa", Secrets: []string{"token", "password"}, Folder: "/srv/it's state"}
	const folder = ` --state-dir '/srv/it'\''s state'`
	seen := map[string]int{}
	check := func(path, command string) {
		if strings.Count(command, folder) != 1 {
			t.Errorf("%s: %q does not name the folder", path, command)
		}
		words := strings.Fields(strings.Replace(command, folder, " --state-dir x", 1))
		if err := typed(words); err != nil {
			t.Errorf("%s: %q: %v", path, command, err)
		}
		sends := slices.Contains([]string{"resume", "retry", "adopt"}, words[2]) || words[1] == "apply"
		if got := strings.HasSuffix(command, " password=@FILE token=@FILE"); got != sends {
			t.Errorf("%s: %q: secrets %t, want %t", path, command, got, sends)
		}
		seen[words[2]]++
	}
	byHand := regexp.MustCompile(`fleetctl (runs [a-z]+ (%|$)|apply (%|$))`)
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && byHand.MatchString(text) {
					t.Errorf("%s: %q makes a command without run.Next", path, text)
				}
			case *ast.CallExpr:
				name, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || name.Sel.Name != "Command" || len(n.Args) == 0 {
					return true
				}
				var args []string
				for _, a := range n.Args {
					if lit, ok := a.(*ast.BasicLit); ok {
						text, _ := strconv.Unquote(lit.Value)
						args = append(args, text)
					}
				}
				switch {
				case len(args) == 0 || strings.Contains(args[0], "/"): // another Command
				case args[0] == "show" && len(args) == 2 && args[1] == "--state": // the states are no literal
					check(path, next.Command("show", "--state", "refused,no-reply"))
				default:
					check(path, next.Command(args[0], args[1:]...))
				}
			}
			return true
		})
	})
	check("a retry", next.Command("retry", "--failed", "--no-reply", "--absent"))
	check("a saved plan", next.Apply("restart.plan"))
	for _, verb := range []string{"show", "watch", "wait", "stop", "continue", "resume", "retry", "adopt", "settle", "forget", "report"} {
		if seen[verb] == 0 {
			t.Errorf("no message offers `runs %s`: has run.Next another name?", verb)
		}
	}
}

// TestNamedCommandsAreWhole parses the commands that stand whole in texts: hints, examples and help.
func TestNamedCommandsAreWhole(t *testing.T) {
	command := regexp.MustCompile("(?m)(`|: |^ *|; )(fleetctl [a-z][^`;#|>,\n]*)")
	n := 0
	sources(t, func(path string, file *ast.File) {
		ast.Inspect(file, func(node ast.Node) bool {
			lit, ok := node.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			for _, m := range command.FindAllStringSubmatch(text, -1) {
				words := strings.Fields(m[2])
				if len(words) < 2 || slices.Contains(words, "--help") || strings.ContainsAny(m[2], "'%(<") || strings.Contains(m[2], "...") || strings.HasSuffix(m[2], " ") {
					continue // with quotes, or not whole
				}
				if c, _, err := newRoot(&app{name: productName}).Find(words[1:2]); err != nil || c.Name() == productName {
					continue // a sentence that begins with the program's name
				}
				n++
				if err := typed(words); err != nil {
					t.Errorf("%s: %q: %v", path, m[2], err)
				}
			}
			return true
		})
	})
	if n < 20 {
		t.Errorf("%d commands were found in all texts", n)
	}
}
