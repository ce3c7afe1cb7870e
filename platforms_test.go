package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	forOne    = regexp.MustCompile(`_(aix|bsd|darwin|linux|other|unix|windows)\.go$`)
)

// platformProblems returns what is wrong with the table of docs/platforms.md: a cell that neither names a test that exists
// nor states that it was never run.
func platformProblems(page string, known func(test string) bool) (problems []string) {
	table, _, _ := strings.Cut(page, "## Where the code differs")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 || strings.HasPrefix(line, "| What ") {
			continue
		}
		rows++
		if len(cells) != 4 {
			problems = append(problems, "a row does not have four cells: "+line)
			continue
		}
		for _, cell := range cells[1:] {
			tests := namedTest.FindAllStringSubmatch(cell, -1)
			for _, m := range tests {
				if !known(m[1]) {
					problems = append(problems, cells[0]+": there is no "+m[1])
				}
			}
			if len(tests) == 0 && !strings.Contains(cell, "never run") {
				problems = append(problems, cells[0]+": neither a test nor never run: "+cell)
			}
		}
	}
	if rows == 0 {
		problems = append(problems, "the page has no table")
	}
	return problems
}

// TestPlatformsNamesTestsAndFiles: every cell of the table is true to the tests, and every file of the product that is for
// one system is on the page.
func TestPlatformsNamesTestsAndFiles(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("docs", "platforms.md"))
	if err != nil {
		t.Fatal(err)
	}
	s := readSource(t)
	for _, problem := range platformProblems(string(data), func(test string) bool { return s.names[test] }) {
		t.Error("docs/platforms.md: " + problem)
	}
	for _, file := range trackedFiles(t) {
		if forOne.MatchString(file) && path.Ext(file) == ".go" && !strings.Contains(string(data), "`"+file+"`") {
			t.Errorf("docs/platforms.md does not name %s, which is for one system: what works where?", file)
		}
	}
}

func TestTheCheckOfPlatformsBites(t *testing.T) {
	known := func(test string) bool { return test == "TestA" }
	for row, ok := range map[string]bool{
		"| x | `TestA` | the same; never run | never run |":          true,
		"| x | `TestB` | the same; never run | never run |":          false,
		"| x | works | the same; never run | never run |":            false,
		"| x | `TestA` | works there | never run |":                  false,
		"| x | `TestA` | never run |":                                false,
		"| x | `TestA`, `TestB` | the same; never run | never run |": false,
	} {
		if got := len(platformProblems("| What | Linux | macOS | Windows |\n|---|\n"+row+"\n", known)) == 0; got != ok {
			t.Errorf("%s is accepted: %v", row, got)
		}
	}
	if len(platformProblems("no table", known)) == 0 {
		t.Error("a page without a table is accepted")
	}
}
