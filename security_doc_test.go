package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// testName is a test as docs/security.md names it; testFunc is one as it is written.
var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
)

// TestSecurityPageNamesTests holds docs/security.md to its word: every line of its tables names tests that exist.
func TestSecurityPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, path := range trackedFiles(t) {
		if !strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			continue // deleted, not committed yet
		}
		for _, m := range testFunc.FindAllSubmatch(source, -1) {
			exists[string(m[1])] = true
		}
	}
	rows, head := 0, true
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "|") {
			head = true
			continue
		}
		if head || strings.HasPrefix(line, "|---") {
			head = false
			continue
		}
		rows++
		names := testName.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range names {
			if !exists[name[1]] {
				t.Errorf("%s is no test: %s", name[1], line)
			}
		}
	}
	if rows < 50 {
		t.Errorf("the page has %d lines that name tests", rows)
	}
}
