package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// level is the row of a package in the picture, counted from the bottom: 0 for a package that imports none of ours, else
// one above the highest package that it imports.
func level(pkg string) int {
	r, _ := findRow(pkg)
	ours := r.ours
	if slices.Contains(ours, "all") {
		ours = nil
		for _, other := range table {
			if other.pkg != "main" && other.pkg != pkg && !other.tests {
				ours = append(ours, other.pkg)
			}
		}
	}
	top := -1
	for _, other := range ours {
		top = max(top, level(other))
	}
	return top + 1
}

// picture draws the import table: a brick for each package, above the packages that it imports. All rows are equally wide.
func picture() string {
	var rows [][]string
	for _, r := range table {
		if r.tests {
			continue
		}
		for len(rows) <= level(r.pkg) {
			rows = append(rows, nil)
		}
		rows[level(r.pkg)] = append(rows[level(r.pkg)], r.pkg)
	}
	slices.Reverse(rows)
	const inner = pageWidth - 4 // between the outer walls
	var b strings.Builder
	line := "+" + strings.Repeat("-", inner) + "+\n"
	for _, row := range rows {
		slices.Sort(row)
		b.WriteString(line)
		for _, course := range courses(row, inner-2) {
			b.WriteString("|")
			free := inner - len(strings.Join(course, "|")) // spaces to share out
			for i, pkg := range course {
				share := free / (len(course) - i)
				free -= share
				b.WriteString(strings.Repeat(" ", share/2) + pkg + strings.Repeat(" ", share-share/2) + "|")
			}
			b.WriteString("\n")
		}
	}
	return b.String() + line
}

// courses splits a row that is wider than width into as few equally full lines as possible.
func courses(row []string, width int) [][]string {
	lines := 1 + (len(strings.Join(row, " | "))-1)/width
	var out [][]string
	for rest := row; len(rest) > 0; lines-- {
		n := (len(rest) + lines - 1) / max(lines, 1)
		out, rest = append(out, rest[:n]), rest[n:]
	}
	return out
}

// TestArchitectureShowsThePicture compares docs/architecture.md with the import table. Its failure prints what belongs there.
func TestArchitectureShowsThePicture(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "<!-- picture: packages -->\n```text\n")
	got, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatal("docs/architecture.md has no block behind <!-- picture: packages -->")
	}
	if want := picture(); got != want {
		t.Errorf("docs/architecture.md shows another picture than the import table. Replace it with:\n%s", want)
	}
}

// TestThePictureIsTrue checks the picture itself: each package is in it once, above everything that it imports.
func TestThePictureIsTrue(t *testing.T) {
	rows := map[string]int{}
	for i, line := range strings.Split(picture(), "\n") {
		for cell := range strings.SplitSeq(line, "|") {
			pkg := strings.TrimSpace(cell)
			if _, ok := findRow(pkg); !ok {
				continue
			}
			if _, twice := rows[pkg]; twice {
				t.Errorf("%s is in the picture twice", pkg)
			}
			rows[pkg] = i
		}
	}
	for _, r := range table {
		if r.tests {
			continue
		}
		at, ok := rows[r.pkg]
		if !ok {
			t.Errorf("%s is not in the picture", r.pkg)
		}
		for _, ours := range r.ours {
			if ours != "all" && rows[ours] <= at {
				t.Errorf("%s imports %s, which is not below it", r.pkg, ours)
			}
		}
	}
	if rows["main"] >= rows["cmd"] {
		t.Error("main is not above cmd")
	}
}

// TestContributingNamesTheSizes compares CONTRIBUTING.md with the limits that the rules check.
func TestContributingNamesTheSizes(t *testing.T) {
	page, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(page)), " ")
	for _, want := range []string{fmt.Sprintf("at most %d lines", maxLines), fmt.Sprintf("%d columns", pageWidth)} {
		if !strings.Contains(text, want) {
			t.Errorf("CONTRIBUTING.md does not say %q", want)
		}
	}
}
