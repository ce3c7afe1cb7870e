package world

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	mutate    = flag.Bool("mutants", false, "break the product, one line at a time, and see whether its tests notice")
	oneMutant = flag.String("mutant", "", "with -mutants: those whose name matches this regular expression")
)

// root is where the module begins, seen from here.
const root = "../.."

// mutant is one line of the product, broken: in a file, what stands there and what stands there instead. tests are the
// arguments of `go test` that must notice. A mutant that no test can notice says why it survives.
type mutant struct {
	name, file, old, new string
	tests                []string
	survives             string
}

// source reads the file of a mutant, and refuses an old text that is not there exactly once.
func (m mutant) source() ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(data, []byte(m.old)); n != 1 {
		return nil, errors.New(m.file + " has its old text " + map[bool]string{true: "more than once", false: "not at all"}[n > 1])
	}
	return bytes.Replace(data, []byte(m.old), []byte(m.new), 1), nil
}

// TestMutantsFit keeps the table in step with the product.
func TestMutantsFit(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		if _, err := m.source(); err != nil {
			t.Errorf("mutant %q: %v", m.name, err)
		}
		if names[m.name] {
			t.Errorf("mutant %q is listed twice", m.name)
		}
		names[m.name] = true
	}
	if len(mutants) < 20 {
		t.Errorf("%d mutants, want 20 at least", len(mutants))
	}
}

// run tests the product with the mutant in place of its file; the product itself stays as it is. It returns the end of
// what the tests said, and whether they noticed.
func (m mutant) run(t *testing.T, dir string) (said string, noticed bool) {
	var args []string
	if m.file != "" {
		data, err := m.source()
		if err != nil {
			t.Errorf("mutant %q: %v", m.name, err)
			return "", false
		}
		file := filepath.Join(dir, "file.go")
		original, err := filepath.Abs(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: file}})
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{file: data, filepath.Join(dir, "overlay.json"): overlay} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "-overlay="+filepath.Join(dir, "overlay.json"))
	}
	args = append([]string{"test", "-vet=off", "-failfast", "-timeout=4m"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, m.tests...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")) {
		t.Errorf("mutant %q does not compile:\n%s", m.name, out)
		return "", false
	}
	return string(out), err != nil
}

// TestMutants breaks the product in every way of the table; each must be noticed by the tests that are named.
func TestMutants(t *testing.T) {
	if !*mutate {
		t.Skip("make mutants")
	}
	wanted := regexp.MustCompile(*oneMutant)
	left := slices.DeleteFunc(slices.Clone(mutants), func(m mutant) bool { return !wanted.MatchString(m.name) })
	for _, tests := range testsOf(left) { // the whole product first: what fails anyway notices nothing
		if said, failed := (mutant{tests: tests}).run(t, t.TempDir()); failed {
			t.Fatalf("go test %s fails without any mutant:\n%s", strings.Join(tests, " "), said)
		}
	}
	var mu sync.Mutex // guards left and noticed
	count := len(left)
	began, noticed := time.Now(), 0
	t.Run("all", func(t *testing.T) {
		for range max(1, runtime.GOMAXPROCS(0)) {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					if len(left) == 0 {
						mu.Unlock()
						return
					}
					m := left[0]
					left = left[1:]
					mu.Unlock()
					at := time.Now()
					said, found := m.run(t, t.TempDir())
					mu.Lock()
					switch {
					case found && m.survives != "":
						t.Errorf("mutant %q is noticed: it needs no reason to survive", m.name)
					case found:
						noticed++
						t.Logf("noticed   %-50s %.1fs  %s", m.name, time.Since(at).Seconds(), complaint(said))
					case m.survives != "":
						t.Logf("survives  %-50s %s", m.name, m.survives)
					default:
						t.Errorf("mutant %q survives: go test %s does not notice\n%s: %q\nbecame %q", m.name, strings.Join(m.tests, " "), m.file, m.old, m.new)
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d of %d mutants noticed in %.0fs", noticed, count, time.Since(began).Seconds())
}

// complaint is what a test that noticed says first.
func complaint(said string) string {
	for _, complains := range complaints {
		if m := complains.FindStringSubmatch(said); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return ""
}

var complaints = []*regexp.Regexp{
	regexp.MustCompile(`(panic: test timed out.{1,100})`), regexp.MustCompile(`_test\.go:\d+: (.{1,120})`), regexp.MustCompile(`(?:--- FAIL|panic): (.{1,100})`),
}

// testsOf are the distinct arguments of `go test` of mutants.
func testsOf(mutants []mutant) [][]string {
	var all [][]string
	seen := map[string]bool{}
	for _, m := range mutants {
		if key := strings.Join(m.tests, " "); !seen[key] {
			seen[key] = true
			all = append(all, m.tests)
		}
	}
	return all
}
