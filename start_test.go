package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

// variant is one way to build the program.
type variant struct {
	name  string
	flags []string
	lab   bool
	// initBytes is how many bytes the packages may allocate while they are initialized, before main runs: about 5 % more than
	// they did when this was written.
	initBytes int
}

var variants = []variant{
	{name: "fleetctl", lab: true, initBytes: 800_000},
	{name: "fleetctl-nolab", flags: []string{"-tags", "nolab"}, initBytes: 575_000},
}

// ownInitBytes is what the packages of this module may allocate of that.
const ownInitBytes = 15_000

// TestStart builds the program with and without the lab, as `go run .` builds it.
func TestStart(t *testing.T) {
	notRaced(t)
	t.Parallel()
	dir := t.TempDir()
	for _, v := range variants {
		program := filepath.Join(dir, v.name)
		if runtime.GOOS == "windows" {
			program += ".exe"
		}
		c := exec.Command("go", slices.Concat([]string{"build", "-buildvcs=false", "-o", program}, v.flags, []string{"."})...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
		}
		t.Run("bytes of "+v.name, func(t *testing.T) { checkInitBytes(t, program, v) })
		if !v.lab {
			t.Run("without lab", func(t *testing.T) { checkWithoutLab(t, program) })
		}
	}
}

// initialized is one line of GODEBUG=inittrace=1.
type initialized struct {
	pkg   string
	bytes int
}

var initLine = regexp.MustCompile(`(?m)^init (\S+) .* (\d+) bytes, \d+ allocs$`)

// checkInitBytes holds what packages do before main runs: every command pays for it. Time depends on the machine; what is
// allocated does not.
func checkInitBytes(t *testing.T, program string, v variant) {
	c := exec.Command(program, "version")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", v.name, err, &errs)
	}
	var all []initialized
	total, own := 0, 0
	for _, m := range initLine.FindAllStringSubmatch(errs.String(), -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, initialized{m[1], n})
		total += n
		if strings.HasPrefix(m[1], modulePath+"/") {
			own += n
		}
	}
	slices.SortFunc(all, func(a, b initialized) int { return cmp.Compare(b.bytes, a.bytes) })
	if len(all) < 50 {
		t.Fatalf("%s: inittrace shows %d packages:\n%s", v.name, len(all), &errs)
	}
	if total > v.initBytes {
		t.Errorf("%s allocates %d bytes before main runs, more than %d. The largest: %v.\n"+
			"A package of ours: make its tables and regular expressions when they are first used (sync.OnceValue). "+
			"A library: is there one that does less? If not, raise the bound in start_test.go, and the figure in docs/performance.md.",
			v.name, total, v.initBytes, all[:10])
	}
	if own > ownInitBytes {
		ours := slices.DeleteFunc(all, func(i initialized) bool { return !strings.HasPrefix(i.pkg, modulePath+"/") })
		t.Errorf("the packages of %s itself allocate %d bytes before main runs, more than %d: %v.\n"+
			"Make tables and regular expressions when they are first used (sync.OnceValue).", v.name, own, ownInitBytes, ours)
	}
}

// outcome runs a program and returns its exit code and what it wrote.
func outcome(t *testing.T, env []string, program string, args ...string) (code int, out, errs string) {
	t.Helper()
	c := exec.Command(program, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr, c.Env = &stdout, &stderr, append(os.Environ(), env...)
	if err := c.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return code, stdout.String(), stderr.String()
}

// checkWithoutLab checks that a build without the lab holds no code of the broker, says so in the right places, and does
// everything else.
func checkWithoutLab(t *testing.T, program string) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if strings.Contains(m.Path, "nats-server") || strings.Contains(m.Path, "nats-io/jwt") {
			t.Errorf("the build without the lab holds %s", m.Path)
		}
	}
	for _, line := range []string{"lab", "lab --nodes 3 -- fleetctl ping", "lab --help"} {
		code, out, errs := outcome(t, nil, program, strings.Fields(line)...)
		if code != 2 || out != "" || !strings.Contains(errs, "this build of fleetctl has no practice fleet") || !strings.Contains(errs, "hint: use another build") {
			t.Errorf("%s: exit %d, %q, %s", line, code, out, errs)
		}
	}
	for line, want := range map[string]string{
		"help lab": "This build of fleetctl has no practice fleet", "--help": "A practice fleet: not in this build", "version": ", without lab)", "version --json": `"lab": false`,
	} {
		if code, out, errs := outcome(t, nil, program, strings.Fields(line)...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: exit %d, no %q in %s%s", line, code, want, out, errs)
		}
	}
	home := t.TempDir()
	env := []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home}
	for _, line := range []string{"ping", "--help"} { // no hint at a command that this build does not have
		if _, out, errs := outcome(t, env, program, line); strings.Contains(out+errs, "fleetctl lab") {
			t.Errorf("%s points at the lab: %s%s", line, out, errs)
		}
	}

	l, err := lab.Start(t.Context(), lab.Options{Nodes: 5, Protocol: 2, Dir: filepath.Join(home, "lab"), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	env = append(env, "FLEETCTL_CONFIG="+l.ConfigFile())
	code, out, errs := outcome(t, env, program, "req", "choria_provision", "restart", "token=s3cret", "--expect", "5", "--yes", "--batch", "3", "--canary", "0", "--batch-sleep", "0", "--connect-timeout", "30", "--np")
	if code != 0 || !strings.Contains(out+errs, "5 nodes") {
		t.Errorf("a restart: exit %d, %s%s", code, out, errs)
	}
}
