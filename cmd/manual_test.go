package cmd

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manPages are the man pages of the program under both of its names.
func manPages(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := assets(assetOptions{names: []string{productName, secondName}, release: "1.2.3", date: "2026-11-26T12:00:00Z"})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return !strings.HasPrefix(name, "man/") })
	return files
}

var (
	roffMacro = regexp.MustCompile(`(?m)^\.(SH |SS |[A-Za-z]+.*\n)`)
	roffCode  = regexp.MustCompile(`\\f[BIR]|\\\[u[0-9A-F]+\]|\\\(..|\\.`)
)

// shown is a man page as a reader sees it, all blanks as one.
func shown(page []byte) string {
	text := roffMacro.ReplaceAllStringFunc(string(page), func(macro string) string {
		if strings.HasPrefix(macro, ".S") {
			return ""
		}
		return "\n"
	})
	text = roffCode.ReplaceAllStringFunc(text, func(code string) string {
		for r, escape := range roffEscapes {
			if escape == code {
				return string(r)
			}
		}
		return "" // a font, or an empty character
	})
	return oneLine(text)
}

// oneLine is a text without what a man page shows in another way: line ends and backquotes.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "`", "")), " ")
}

// visible are the commands and topics that help shows.
func visible() (all []*cobra.Command) {
	walkCommands(whole(), func(c *cobra.Command) {
		if !c.HasParent() || c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() {
			all = append(all, c)
		}
	})
	return all
}

func TestEveryCommandAndTopicHasAPage(t *testing.T) {
	got := slices.Sorted(maps.Keys(manPages(t)))
	var want []string
	for _, c := range visible() {
		for _, name := range []string{productName, secondName} {
			page, section := pageOf(c)
			want = append(want, pagePath(name+strings.TrimPrefix(page, productName), section))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 70 || !slices.Contains(want, "man/man1/choria-fleetctl-runs-resume.1") || !slices.Contains(want, "man/man7/fleetctl-filters.7") {
		t.Errorf("pages:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPagesSayWhatTheCommandsSay(t *testing.T) {
	pages := manPages(t)
	for _, c := range visible() {
		name, section := pageOf(c)
		at := pagePath(name, section)
		text := shown(pages[at])
		if link := string(pages[pagePath(secondName+strings.TrimPrefix(name, productName), section)]); link != ".so "+strings.TrimPrefix(at, "man/")+"\n" {
			t.Errorf("%s: the second name leads to %q", at, link)
		}
		rest := text
		has := func(what string) {
			t.Helper()
			_, after, found := strings.Cut(rest, oneLine(what))
			if !found {
				t.Fatalf("%s lacks %q, or has it elsewhere:\n%s", at, what, text)
			}
			rest = after
		}
		has("NAME " + name)
		has("- " + c.Short)
		if section == topicPage {
			has("DESCRIPTION")
			_, body, _ := strings.Cut(c.Long, "\n")
			has(body)
			has("SEE ALSO " + productName + "(1)")
			continue
		}
		has("SYNOPSIS " + usageLine(c))
		has("DESCRIPTION " + c.Long)
		groups := sections(c)
		for _, g := range groups {
			if len(groups) > 1 {
				has(g.title)
			}
			for _, f := range slices.Concat(g.common, g.more) {
				row := flagRowOf(f)
				has(row[0] + " " + row[1])
			}
		}
		if c.Example != "" {
			has("EXAMPLES " + c.Example)
		}
		has("EXIT STATUS 0 ")
		has("FILES ~/.config/fleetctl/config.yaml")
		has("SEE ALSO")
		has("fleetctl-exit-codes(7)")
	}
}

func TestThePageOfReqReadsWell(t *testing.T) {
	page := manPages(t)["man/man1/fleetctl-req.1"]
	if first, _, _ := strings.Cut(string(page), "\n"); first != `.TH FLEETCTL\-REQ 1 "2026\-11\-26" "fleetctl 1.2.3" "fleetctl manual"` {
		t.Errorf("the head is %s", first)
	}
	text := shown(page)
	for _, want := range []string{"SYNOPSIS fleetctl req", "-F, --wf FACT", "Stop rules and gates", "fleetctl(1) has the flags of every command", "130 ended by SIGINT 141 ended by SIGPIPE, before a run began 143 ended by SIGTERM FILES"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	for number, line := range strings.Split(string(page), "\n") {
		if len(line) > 400 || strings.HasPrefix(line, "'") {
			t.Errorf("line %d: %s", number+1, line)
		}
	}
}

func TestRoffShowsEachCharacterAsItself(t *testing.T) {
	var r roff
	r.line(prose(`.x 'q' a\b "c" --d ^e ~f` + " `g` é"))
	want := `\&.x \(aqq\(aq a\eb "c" \-\-d \(hae \(tif \fBg\fR \[u00E9]` + "\n"
	if got := r.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheExitCodesOfPagesAreThoseOfTheTopic(t *testing.T) {
	codes := exitCodes()
	if len(codes) != 14 || codes[9] != [2]string{"9", "no connection, or one that was lost and did not return in time; credentials missing or expired, or not accepted"} || codes[13][0] != "143" {
		t.Errorf("codes: %q", codes)
	}
}

func TestAssetsAreWrittenForPackages(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if code, out, errs := runApp(t, nil, "assets", "--gzip", "--release", "1.2.3", "--date", "2026-11-26", filepath.Join(dir, name)); code != exitOK || out+errs != "" {
			t.Fatalf("exit %d, %s%s", code, out, errs)
		}
	}
	seen := 0
	err := filepath.WalkDir(filepath.Join(dir, "one"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		if info.Mode().Perm() != 0o644 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		rel, err := filepath.Rel(filepath.Join(dir, "one"), path)
		if err != nil {
			return err
		}
		first, err1 := os.ReadFile(path)
		second, err2 := os.ReadFile(filepath.Join(dir, "two", rel))
		if err1 != nil || err2 != nil || !bytes.Equal(first, second) || len(first) == 0 {
			t.Errorf("%s differs, or is empty: %v %v", rel, err1, err2)
		}
		return nil
	})
	if err != nil || seen < 80 {
		t.Errorf("%d files, %v", seen, err)
	}
	for name, want := range map[string]string{
		"man/man1/fleetctl-req.1.gz": ".SH SYNOPSIS", "bash-completion/completions/choria-fleetctl": "-F __start_choria-fleetctl choria-fleetctl",
		"zsh/site-functions/_choria-fleetctl": "#compdef choria-fleetctl", "fish/vendor_completions.d/fleetctl.fish": "complete -c fleetctl",
	} {
		data, err := os.ReadFile(filepath.Join(dir, "one", filepath.FromSlash(name)))
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.HasSuffix(name, ".gz") {
			r, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(r); err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %q", name, want)
		}
	}
	for _, args := range [][]string{{"assets"}, {"assets", "--names", "other", dir}, {"assets", "--names", "", dir}} {
		if code, _, _ := runApp(t, nil, args...); code != exitUsage {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}
