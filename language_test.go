package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The rules of language, as data: CONTRIBUTING.md, "Language", explains them.

// phrase is wording that the project does not use.
type phrase struct {
	bad   string // regular expression, matched on whole words in any case
	use   string // what to write instead
	bites string // a text that has it
	pages bool   // checked in Markdown and help topics only, not in Go
}

var phrases = []phrase{
	{bad: `mend(s|ed|ing)?`, use: "fix, or hint", bites: "what to mend"},
	{bad: `nobody|no one`, use: "the thing that is missing: no node, no process, no client", bites: "no one is asked"},
	{bad: `(some|any)(body|one)( else)?`, use: "the actor: an operator, another user, a client, any process", bites: "someone else holds it"},
	{bad: `whoever|whomever`, use: "the actor: the operator, the process that", bites: "whoever sends it"},
	{bad: `whose turn`, use: "which side must act", bites: "whose turn it is"},
	{bad: `(go|goes|going|gone|went) on( with| and| until| after| without| when| where| there| later|[.,;:)])`, use: "resume, or continue", bites: "the run went on after that"},
	{bad: `going on`, use: "resuming, or in progress", bites: "what is going on"},
	{bad: `tells? (whether|if|that|how|what|which|who|where|why|when)`, use: "reports, or prints", bites: "the reply tells what it did"},
	{bad: `(is|are|was|were|be|been) told`, use: "is reported, sees, or gets", bites: "the operator was told"},
	{bad: `what (became|becomes) of`, use: "the state of, or the result of", bites: "what became of the node"},
	{bad: `guard's no|a no (is|was|at|to|from|of)`, use: "refusal", bites: "a guard's no"},
	{bad: `good news|bad news|news of|the news`, use: "event, report or change", bites: "the news of the broker"},
	{bad: `tells?|told|untold`, use: "report, print or show", bites: "the plan told it", pages: true},
	{bad: `by and by`, use: "later", bites: "by and by it ends"},
	{bad: `plain death`, use: "kills the process", bites: "the second is plain death"},
	{bad: `lets? (us|it|them|him|one|a client|the client) in|let in`, use: "accepts", bites: "until one lets us in"},
	{bad: `tidings|news to`, use: "change, or unknown", bites: "news to the operator"},
	{bad: `(come|comes|came|coming) to (nothing|nought)`, use: "failed, or no node of it succeeded", bites: "the batch came to nothing"},
	{bad: `in vain`, use: "without effect, or needlessly", bites: "it was sent in vain"},
	{bad: `for ever`, use: "forever, or without a limit", bites: "it waits for ever"},
	{bad: `all the same`, use: "anyway", bites: "it runs all the same"},
	{bad: `in silence|without a word`, use: "silently", bites: "it is dropped in silence"},
	{bad: `(is|are|was|were|and) said`, use: "is reported", bites: "the loss is said", pages: true},
	{bad: `dead or alive`, use: "connected or not", bites: "a node, dead or alive"},
	{bad: `grow(n|s)? old`, use: "stale, or out of date", bites: "records grow old"},
	{bad: `fate`, use: "outcome, or state", bites: "the fate of a node"},
	{bad: `(that|which|what) (is|are) none`, use: "that is not a ..., with the noun", bites: "a name that is none"},
	{bad: `lest|whereby|wherein|thereof|herein|hither|thither|nought|naught|befalls?|befell`, use: "a present-day word", bites: "whereby it ends"},
	{bad: `accounts? (of|for) (each|every|all|the) nodes?`, use: "state of each node", bites: "the account of every node"},
	{bad: `(has|have) not to be`, use: "may be, or need not be", bites: "one that has not to be kept"},
	{bad: `(is|are|was|were) given nothing`, use: "has an empty value", bites: "the flag is given nothing"},
	{bad: `of old|as of old`, use: "earlier", bites: "as of old", pages: true},

	// One spelling: that of the United States.
	{bad: `(behavi|col|fav|hon|neighb|lab|flav|hum|rum|harb|vap)our(s|ed|ing|al|ful|able|ably|ite|less)?`, use: "the spelling with -or", bites: "its behaviour"},
	{bad: `[a-z]*(recogn|organ|neutral|initial|normal|serial|synchron|author|summar|minim|maxim|optim|real|custom|final|util|general|special|local|capital|central|categor|character|visual|random|sanit|token|stabil|penal|apolog)is(e|es|ed|ing|er|ers|ation|ations)`, use: "the spelling with -ize", bites: "it is recognised"},
	{bad: `(un|re)?(cancel|signal|label|dial|travel|model|marshal|level|total|fuel|channel|tunnel|panel|initial|quarrel)l(ed|ing|er|ers)`, use: "the spelling with one l", bites: "it was relabelled"},
	{bad: `(analy|paraly|cataly)s(e|es|ed|ing)`, use: "the spelling with -yze", bites: "to analyse it"},
	{bad: `licences?|defences?|offences?|pretences?`, use: "the spelling with -se", bites: "an offence"},
	{bad: `centres?|metres?|grey|catalogues?|judgement|fulfil|enrol|enrolment|artefacts?|programmes?|whilst|amongst|learnt|spelt|misspelt|burnt|dreamt|ageing|acknowledgement`, use: "the US spelling", bites: "learnt from it"},
}

// pageWidth is the width of Markdown in characters. Tables, code, and words that cannot be broken may be wider.
const pageWidth = 100

var phraseFinders = compilePhrases()

func compilePhrases() []*regexp.Regexp {
	var list []*regexp.Regexp
	for _, p := range phrases {
		list = append(list, regexp.MustCompile(`(?i)(^|[^a-z0-9_])(`+p.bad+`)($|[^a-z0-9_])`))
	}
	return list
}

// checkPhrases returns what is wrong with a text, one entry for each phrase that it contains. page is true for Markdown
// and for help topics.
func checkPhrases(text string, page bool) []string {
	var problems []string
	text = strings.Join(strings.Fields(text), " ")
	for i, p := range phrases {
		if p.pages && !page {
			continue
		}
		if m := phraseFinders[i].FindStringSubmatch(text); m != nil {
			problems = append(problems, fmt.Sprintf("%q: write %s", m[2], p.use))
		}
	}
	return problems
}

// block is a run of lines of a page that is one text: a paragraph, an item, a row of a table, a heading.
type block struct {
	line int // of its first line, from 1
	text string
}

var (
	codeSpan  = regexp.MustCompile("`+[^`]*`+")
	linkGoal  = regexp.MustCompile(`\]\([^)]*\)`)
	described = regexp.MustCompile(`"(description|title)": *"(?:[^"\\]|\\.)*"`) // in a JSON schema; keys are a contract
	itemStart = regexp.MustCompile(`^\s*([-*]|\d+\.) `)
)

// prose returns the texts of a page without its code and without the goals of its links.
func prose(page string) []block {
	var blocks []block
	open, fenced := false, false
	line := 0
	for text := range strings.Lines(page) {
		line++
		trimmed := strings.TrimSpace(text)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced, open = !fenced, false
			continue
		case fenced, trimmed == "", !open && indentedCode(text):
			open = false
			continue
		}
		if alone := strings.HasPrefix(trimmed, "|") || strings.HasPrefix(trimmed, "#"); alone || itemStart.MatchString(text) || !open {
			blocks = append(blocks, block{line, trimmed})
			open = !alone
			continue
		}
		blocks[len(blocks)-1].text += " " + trimmed
	}
	for i := range blocks {
		blocks[i].text = linkGoal.ReplaceAllString(codeSpan.ReplaceAllString(blocks[i].text, "x"), "]")
	}
	return blocks
}

func indentedCode(line string) bool {
	return strings.HasPrefix(line, "    ") && !itemStart.MatchString(line)
}

// checkWidth wants the lines of a page to end at pageWidth, except tables, code, and a single word.
func checkWidth(path, page string) []string {
	var problems []string
	fenced := false
	line := 0
	for text := range strings.Lines(page) {
		line++
		text = strings.TrimRight(text, "\r\n")
		if strings.HasPrefix(strings.TrimSpace(text), "```") {
			fenced = !fenced
		}
		if fenced || indentedCode(text) || strings.HasPrefix(text, "|") || utf8.RuneCountInString(text) <= pageWidth {
			continue
		}
		if strings.Contains(strings.TrimSpace(itemStart.ReplaceAllString(text, "")), " ") {
			problems = append(problems, fmt.Sprintf("%s:%d is wider than %d characters", path, line, pageWidth))
		}
	}
	return problems
}

// checkLanguage applies the phrases to the comments, the texts and the test names of one Go file.
func checkLanguage(fset *token.FileSet, file *ast.File) []string {
	var problems []string
	check := func(at token.Pos, text string) {
		for _, problem := range checkPhrases(text, false) {
			problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(at), problem))
		}
	}
	for _, group := range file.Comments {
		check(group.Pos(), group.Text())
	}
	tags := map[*ast.BasicLit]bool{} // keys of documents: a contract
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			tags[n.Tag] = true
		case *ast.FuncDecl:
			if strings.HasPrefix(n.Name.Name, "Test") || strings.HasPrefix(n.Name.Name, "Fuzz") {
				check(n.Pos(), splitWords(n.Name.Name))
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil && !tags[n] {
				check(n.Pos(), text)
			}
		}
		return true
	})
	return problems
}

// splitWords puts spaces between the words of a name in camel case.
func splitWords(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plainPage reports whether a file that is not Markdown is for readers: a help topic, a schema, what CI and make run.
func plainPage(path string) bool {
	return path == "Makefile" || strings.HasPrefix(path, "cmd/topics/") || strings.HasPrefix(path, "docs/schemas/") || strings.HasPrefix(path, ".ci/")
}

func TestPagesKeepTheLanguage(t *testing.T) {
	notRaced(t)
	pages := 0
	for _, path := range trackedFiles(t) {
		markdown := strings.HasSuffix(path, ".md")
		if !markdown && !plainPage(path) {
			continue
		}
		data, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			continue // deleted, not committed yet
		}
		pages++
		if strings.HasPrefix(path, "docs/schemas/") {
			data = bytes.Join(described.FindAll(data, -1), []byte("\n"))
		}
		if !markdown {
			for _, problem := range checkPhrases(string(data), true) {
				t.Errorf("%s: %s", path, problem)
			}
			continue
		}
		for _, problem := range checkWidth(path, string(data)) {
			t.Error(problem)
		}
		for _, b := range prose(string(data)) {
			for _, problem := range checkPhrases(b.text, true) {
				t.Errorf("%s:%d: %s", path, b.line, problem)
			}
		}
	}
	if pages < 20 {
		t.Errorf("found %d pages", pages)
	}
}

func TestPackagesKeepTheLanguage(t *testing.T) {
	for _, l := range listPackages(t) {
		pkg := l.pkg()
		var problems []string
		fset := token.NewFileSet()
		for _, name := range slices.Concat(l.files(false), l.files(true)) {
			path := filepath.Join(strings.TrimPrefix(l.ImportPath, modulePath+"/"), name)
			if pkg == "main" {
				path = name
			}
			if path == "language_test.go" {
				continue // it quotes what it forbids
			}
			file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				t.Errorf("parse: %v", err)
				continue
			}
			problems = append(problems, checkLanguage(fset, file)...)
		}
		for _, problem := range problems {
			t.Error(problem)
		}
	}
}

// Every phrase finds the text that it is meant for, and a phrase for pages leaves Go alone.
func TestEveryPhraseBites(t *testing.T) {
	for i, p := range phrases {
		if p.bites == "" || !phraseFinders[i].MatchString(p.bites) {
			t.Errorf("%s does not find %q", p.bad, p.bites)
		}
		if got := checkPhrases(p.bites, true); !slices.ContainsFunc(got, func(problem string) bool { return strings.HasSuffix(problem, ": write "+p.use) }) {
			t.Errorf("%q: got %q, want a complaint with %q", p.bites, got, p.use)
		}
		if got := checkPhrases(p.bites, false); p.pages && len(got) > 0 {
			t.Errorf("%q is for pages only: got %q", p.bites, got)
		}
	}
}

// Texts that the rules find, and texts that they leave alone.
func TestLanguageRulesBite(t *testing.T) {
	for _, test := range []struct {
		text  string
		page  bool
		bites bool
	}{
		{"what to mend", false, true},
		{"the amendment", false, false},
		{"Nobody is\nasked", false, true},
		{"it goes on with the next batch", false, true},
		{"it goes\non with the next batch", false, true},
		{"a run that was going on.", false, true},
		{"the progress goes on stderr", false, false},
		{"it tells whether it is open", false, true},
		{"the broker tells nodes apart", false, false},
		{"the broker tells nodes apart", true, true},
		{"a colour", false, true},
		{"a color", false, false},
		{"neutralised", false, true},
		{"promised", false, false},
		{"canceled", false, false},
		{"the context is cancelled", false, true},
		{"it is controlled", false, false},
		{"signalled by the operator", false, true},
	} {
		if got := checkPhrases(test.text, test.page); (len(got) > 0) != test.bites {
			t.Errorf("%q (page %v): got %q, want a complaint: %v", test.text, test.page, got, test.bites)
		}
	}
	long := strings.Repeat("word ", 30)
	for _, test := range []struct {
		name, page string
		bites      bool
	}{
		{"a long line", long, true},
		{"a long item", "- " + long, true},
		{"a long continuation of an item", "- word\n  " + long, true},
		{"a row of a table", "| " + long + "|", false},
		{"code", "    " + long, false},
		{"fenced code", "```\n" + long + "\n```\n", false},
		{"behind fenced code", "```\nword\n```\n" + long, true},
		{"a single word", "- " + strings.Repeat("x", 120), false},
	} {
		if got := checkWidth("a.md", test.page); (len(got) > 0) != test.bites {
			t.Errorf("%s: got %q, want a complaint: %v", test.name, got, test.bites)
		}
	}
	page := "# Mend\n\nSee `mend` and [x](mend.md)\n\n    mend\n\n- one\n  mend\n\n```\nmend\n```\n"
	var found []int
	for _, b := range prose(page) {
		if len(checkPhrases(b.text, true)) > 0 {
			found = append(found, b.line)
		}
	}
	if want := []int{1, 7}; !slices.Equal(found, want) {
		t.Errorf("blocks with a phrase begin on lines %v, want %v", found, want)
	}
	fset := token.NewFileSet()
	source := []byte("// Package p mends.\npackage p\n\nfunc TestNobodyKnows() { println(\"by and by\", `ok`) }\n\ntype t struct {\n\ta int `json:\"mend\"`\n}\n")
	file, err := parser.ParseFile(fset, "a.go", bytes.NewReader(source), parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got := checkLanguage(fset, file); len(got) != 3 {
		t.Errorf("got %q, want 3 complaints", got)
	}
}
