package page

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// browsers are the names of a browser that draws a page without a screen.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

// browser finds one. This is the only test of the module that needs one: make shows its reason for a skip.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("SKIPPED: no browser is installed (one of %s): the page's script is not tested", strings.Join(browsers, ", "))
	return ""
}

// opened is the page as a browser shows it, once its script has run.
type opened struct {
	found string     // the line above the table
	rows  [][]string // the cells of the table
	sort  []string   // aria-sort of the columns
	html  string
}

var (
	foundLine = regexp.MustCompile(`<p id="found"[^>]*>(.*?)</p>`)
	tableRow  = regexp.MustCompile(`<tr role="row"><td.*?</tr>`)
	tableCell = regexp.MustCompile(`<td[^>]*>(.*?)</td>`)
	sortOrder = regexp.MustCompile(`<th [^>]*aria-sort="([a-z]+)"`)
)

// open opens the page at a fragment. A message on the console, as for a policy that forbids something, fails the test.
func open(t *testing.T, browser, file, fragment string) opened {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--enable-logging=stderr",
		"--dump-dom", "file://"+filepath.ToSlash(file)+fragment)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("%s: the console reports: %s", fragment, line)
		}
	}
	o := opened{html: string(out)}
	if m := foundLine.FindStringSubmatch(o.html); m != nil {
		o.found = m[1]
	}
	for _, row := range tableRow.FindAllString(o.html, -1) {
		var cells []string
		for _, c := range tableCell.FindAllStringSubmatch(row, -1) {
			cells = append(cells, c[1])
		}
		o.rows = append(o.rows, cells)
	}
	for _, m := range sortOrder.FindAllStringSubmatch(o.html, -1) {
		o.sort = append(o.sort, m[1])
	}
	return o
}

func (o opened) nodes() string {
	var names []string
	for _, r := range o.rows {
		names = append(names, r[0])
	}
	return strings.Join(names, " ")
}

func save(t *testing.T, d Document) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(htmlOf(t, d)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheTableFollowsTheAddress(t *testing.T) {
	name := browser(t)
	file := save(t, sample("not today"))
	for _, tt := range []struct{ fragment, nodes, found string }{
		{"", "web01 web02 web10", "3 of 3 nodes"},
		{"#fact%3Arack=r2&state=verified&sort=node", "web10", "1 of 3 nodes (rack = r2, State = verified)"},
		{"#sort=-node&q=WEB", "web10 web02 web01", "3 of 3 nodes (search = WEB)"},
		{"#reason=not%20today&state=refused", "web02", "1 of 3 nodes (Proof or reason = not today, State = refused)"},
	} {
		got := open(t, name, file, tt.fragment)
		if got.nodes() != tt.nodes || got.found != tt.found {
			t.Errorf("%s shows %q, %q", tt.fragment, got.nodes(), got.found)
		}
		if strings.HasPrefix(tt.fragment, "#sort=-node") && !slices.Equal(got.sort, []string{"descending", "none", "none", "none", "none", "none"}) {
			t.Errorf("the order is announced as %v", got.sort)
		}
	}
}

func TestHostileTextStaysTextInTheBrowser(t *testing.T) {
	name := browser(t)
	got := open(t, name, save(t, inject(sample(hostile), hostile)), "")
	if len(got.rows) != 3 || !strings.Contains(got.rows[0][0], "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") || strings.Contains(got.html, "<img") {
		t.Errorf("the page shows %v", got.rows)
	}
	if got := open(t, name, save(t, sample("x")), "#q=%3Cimg%20src=x%3E"); strings.Contains(got.html, "<img") || !strings.Contains(got.found, "&lt;img src=x&gt;") {
		t.Errorf("the search shows %s", got.found)
	}
}

// A page of a large fleet shows its nodes in pages.
func TestALargeFleetIsShownInPages(t *testing.T) {
	d := sample("not today")
	for i := range 9997 {
		d.Nodes.Rows = append(d.Nodes.Rows, []any{fmt.Sprintf("node%05d.example.net", i), i / 100, "verified", fmt.Sprintf("the node runs a process that started %d s after the request was sent", i), time.Duration(i) * time.Millisecond, fmt.Sprint("r", i%40)})
	}
	file, name := save(t, d), browser(t)
	if info, err := os.Stat(file); err != nil || info.Size() > 3<<20 {
		t.Errorf("the page has %d bytes, %v", info.Size(), err)
	}
	if got := open(t, name, file, "#page=3&sort=-node"); len(got.rows) != 100 || !strings.Contains(got.html, "Page 3 of 100") || got.rows[0][0] != "web10" && !strings.HasPrefix(got.rows[0][0], "node09") {
		t.Errorf("page 3 has %d rows, the first is %v", len(got.rows), got.rows[0])
	}
}
