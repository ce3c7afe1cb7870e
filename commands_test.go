package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleetctl/cmd"
)

// listing is a block of a page that has command lines.
type listing struct {
	page  string
	lines []pageLine
	marks []mark // of the comments right before the block
}

// pageLine is what a reader copies from a page and runs: one line, or several that a backslash, a pipe or a quote connects.
type pageLine struct {
	at   int // its first line in the page, from 1
	text string
}

// mark is a comment in a page that says why this test does not run lines of the next block: CONTRIBUTING.md, "Command lines in
// pages", has the forms.
type mark struct {
	kind  string // "not run", "run by" or "ci"
	words string // the lines that have these words; "" for all lines of the block
	text  string // the reason, or the name of what runs the lines
}

var (
	markForm    = regexp.MustCompile(`^<!-- (not run|run by|ci)(?: \(([^)]+)\))?: (.+) -->$`)
	commandForm = regexp.MustCompile(`^([A-Za-z_]+=\S* )*([a-z]+=\$\()?(fleetctl|go run \.)( |$)`)
	flagForm    = regexp.MustCompile(`^--[a-z]`)
	inlineForm  = regexp.MustCompile("`(fleetctl [^`]+)`")
	testForm    = regexp.MustCompile(`^(Test\w+|\.ci/run)\b`)
)

// isCommand says whether a line runs fleetctl, or is flags for such a line.
func (l pageLine) isCommand() bool {
	return commandForm.MatchString(strings.TrimLeft(l.text, " $")) || l.isFlag()
}

func (l pageLine) isFlag() bool { return flagForm.MatchString(l.text) }

// listings returns the blocks of a page, fenced or indented, that have command lines of fleetctl. Blocks in a language other than
// that of a shell are none.
func listings(page, text string) []listing {
	var found []listing
	var block []string
	var marks []mark
	start, fence, indented := 0, "", false
	end := func() {
		l := listing{page: page, lines: logicalLines(block, start), marks: marks}
		if slices.ContainsFunc(l.lines, pageLine.isCommand) || len(marks) > 0 {
			found = append(found, l)
		}
		block, marks, indented = nil, nil, false
	}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case fence != "" && strings.HasPrefix(line, "```"):
			if fence == "```" || fence == "```sh" {
				end()
			} else {
				block, marks = nil, nil
			}
			fence = ""
		case fence != "":
			block = append(block, line)
		case indented && (strings.HasPrefix(line, "    ") || line == ""):
			block = append(block, strings.TrimPrefix(line, "    "))
		case strings.HasPrefix(line, "```"):
			if indented {
				end()
			}
			fence, start = line, i+2
		default:
			if indented {
				end()
			}
			if strings.HasPrefix(line, "    ") {
				indented, start, block = true, i+1, []string{line[4:]}
			} else if m := markForm.FindStringSubmatch(line); m != nil {
				marks = append(marks, mark{m[1], m[2], m[3]})
			} else if line != "" {
				marks = nil
			}
		}
	}
	if indented {
		end()
	}
	return found
}

// logicalLines joins what a shell reads as one line, and leaves comments and empty lines out.
func logicalLines(block []string, start int) []pageLine {
	var lines []pageLine
	var open string // what is not complete yet
	at := 0
	for i, line := range block {
		if open == "" {
			if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
				continue
			}
			at = start + i
		}
		open += line
		if unfinished(open) {
			open += "\n"
			continue
		}
		lines = append(lines, pageLine{at, open})
		open = ""
	}
	if open != "" {
		lines = append(lines, pageLine{at, open})
	}
	return lines
}

// unfinished says whether a shell waits for more: behind a backslash, a pipe, or inside quotes.
func unfinished(text string) bool {
	quote, escaped := rune(0), false
	for i, c := range text {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && i > 0 && text[i-1] == ' ':
			return false
		}
	}
	return quote != 0 || escaped || strings.HasSuffix(strings.TrimRight(text, " "), "|")
}

// markFor returns the mark that holds for a line, nil for none.
func (l listing) markFor(line pageLine) *mark {
	for i, m := range l.marks {
		if m.words == "" || strings.Contains(line.text, m.words) {
			return &l.marks[i]
		}
	}
	return nil
}

// inlineCommands returns the command lines in the running text of a page, without those that stand for any command.
func inlineCommands(page, text string) []pageLine {
	var lines []pageLine
	for i, line := range strings.Split(text, "\n") {
		for _, m := range inlineForm.FindAllStringSubmatch(line, -1) {
			if !strings.Contains(m[1], "...") && !regexp.MustCompile(`\b(COMMAND|TOPIC|NAME)\b`).MatchString(m[1]) {
				lines = append(lines, pageLine{i + 1, m[1]})
			}
		}
	}
	return lines
}

// helpListings returns the command lines of the texts in the Go files of package cmd: the examples of the help, and the topics.
func helpListings(t *testing.T) []listing {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("cmd", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []listing
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		l := listing{page: filepath.ToSlash(file)}
		ast.Inspect(parsed, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(text, "\n") {
				if command := (pageLine{fset.Position(lit.Pos()).Line + i, strings.TrimSpace(line)}); strings.HasPrefix(line, "  ") && command.isCommand() && !regexp.MustCompile(`%[a-z]`).MatchString(line) {
					l.lines = append(l.lines, command)
				}
			}
			return true
		})
		if l.lines != nil {
			found = append(found, l)
		}
	}
	return found
}

// parseOnly is the program fleetctl-parse: it lets the real command tree read the flags of a command line, and runs nothing but
// the fleetctl or the shell line behind `--`.
func parseOnly() {
	own, inner := os.Args[1:], []string(nil)
	if at := slices.Index(own, "--"); at >= 0 {
		own, inner = own[:at], own[at+1:]
	}
	read, write, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	helped := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(read) // a text that is cut short names no command
		helped <- string(text)
	}()
	os.Stdout = write
	args := slices.Clone(own)
	if len(own) == 0 || own[0] != "help" { // which only shows, and knows its topics
		args = append(args, "--help")
	}
	code := cmd.Main(args)
	write.Close()
	if word := unknownCommand(own, <-helped); code == 0 && word != "" {
		fmt.Fprintf(os.Stderr, "no command %q in: fleetctl %s\n", word, strings.Join(own, " "))
		code = 2
	}
	if code == 0 && len(inner) > 1 && (inner[0] == "fleetctl" || inner[1] == "-c") {
		c := exec.Command(inner[0], inner[1:]...)
		c.Stderr = os.Stderr
		code = 1
		if err := c.Run(); err == nil {
			code = 0
		} else if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		}
	}
	os.Exit(code)
}

// unknownCommand returns the word of a command line that is no command: the help of a group of commands is shown then.
func unknownCommand(args []string, help string) string {
	path := "fleetctl"
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			break
		}
		if strings.Contains(help, "\n  "+path+" COMMAND\n") {
			return arg
		}
		path += " " + arg
	}
	return ""
}

// parseLine lets a shell read a line, with fleetctl-parse in place of fleetctl. It returns what is wrong with it.
func parseLine(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	misused := filepath.Join(dir, "misused") // in front of a pipe, too
	for name, text := range map[string]string{"fleetctl": "fleetctl-parse \"$@\" || { echo \"fleetctl $*\" >> " + misused + "; exit 2; }", "choria": "exit 0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(patient(t), "sh", "-c", "set -e\n"+forShell(text))
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+dir+string(filepath.ListSeparator)+os.Getenv("PATH"), "HOME="+dir, "USER=operator", "XDG_CONFIG_HOME="+dir, "GITHUB_STEP_SUMMARY=summary.md")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	if wrong, err := os.ReadFile(misused); err == nil {
		return fmt.Errorf("wrong usage: %s%s", wrong, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// forShell is a line with the program on the PATH in place of `go run .`, and without the prompt. Flags alone are those of req; a
// fleetctl that is the value of such a flag is a line, too.
func forShell(text string) string {
	if (pageLine{text: text}).isFlag() {
		inner := regexp.MustCompile(`'(fleetctl [^']+)'`).FindStringSubmatch(text)
		return "fleetctl req rpcutil ping " + text + "\n" + strings.Join(inner[min(1, len(inner)):], "")
	}
	return strings.Replace(strings.TrimPrefix(text, "$ "), "go run . ", "fleetctl ", 1)
}

func TestCommandLinesAreFound(t *testing.T) {
	page := "Text.\n\n    fleetctl ping     # all\n    fleetctl req a b \\\n        --batch 1\n\n    # more\n    id=$(fleetctl x \\\n        y)\nEnd `fleetctl z`.\n\n" +
		"<!-- not run: reason -->\n<!-- run by (two): TestX -->\n\n```sh\ngo run . lab -- fleetctl a 'b\nc' |\n  d\n```\n\n```text\nfleetctl output\n```\n\n    plain: text\n"
	got := ""
	for _, l := range listings("p", page) {
		got += fmt.Sprintf("%+v %+v\n", l.marks, l.lines)
	}
	want := "[] [{at:3 text:fleetctl ping     # all} {at:4 text:fleetctl req a b \\\n    --batch 1} {at:8 text:id=$(fleetctl x \\\n    y)}]\n" +
		"[{kind:not run words: text:reason} {kind:run by words:two text:TestX}] [{at:16 text:go run . lab -- fleetctl a 'b\nc' |\n  d}]\n"
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	if inline := fmt.Sprint(inlineCommands("p", page+"`fleetctl help TOPIC`")); inline != "[{10 fleetctl z}]" {
		t.Errorf("in the text: %s", inline)
	}
}
