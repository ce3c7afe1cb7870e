package cmd

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestTheProgramKnowsItsName(t *testing.T) {
	for called, want := range map[string]string{
		"fleetctl": productName, "/usr/bin/choria-fleetctl": secondName, "choria-fleetctl.exe": secondName, "": productName, "flt": productName, "my-choria-fleetctl": productName,
	} {
		if got := nameOf(called); got != want {
			t.Errorf("called %q it is %q, want %q", called, got, want)
		}
	}
}

func TestCommandLinesAreRenamedAndTheProgramIsNot(t *testing.T) {
	for text, want := range map[string]string{
		"hint: to resume: fleetctl runs resume x":             "hint: to resume: choria-fleetctl runs resume x",
		"`fleetctl req AGENT`; fleetctl lab -- fleetctl ping": "`choria-fleetctl req AGENT`; choria-fleetctl lab -- choria-fleetctl ping",
		"fleetctl --site ams ping":                            "choria-fleetctl --site ams ping",
		"source <(fleetctl completion bash)":                  "source <(choria-fleetctl completion bash)",
		"fleetctl requests, as fleetctl reads them":           "fleetctl requests, as fleetctl reads them",
		"choria-fleetctl runs list":                           "choria-fleetctl runs list",
		"~/.config/fleetctl runs; fleetctl-runs(1)":           "~/.config/fleetctl runs; fleetctl-runs(1)",
	} {
		if got := renamed(secondName, text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := renamed(productName, text); got != text {
			t.Errorf("the first name changes %q", got)
		}
	}
}

// runNamed runs a command line under the second name.
func runNamed(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	a, out, errs := newApp(t, "", nil)
	a.name = secondName
	code = a.execute(t.Context(), args)
	return code, out.String(), errs.String()
}

// Under the second name, no text offers a command line that begins with the first one.
func TestTheSecondNameIsUsedEverywhere(t *testing.T) {
	lines := [][]string{{"--help"}, {"help", "req", "--all"}, {"help", "filters"}, {"req", "choria_provision"}, {"help", "choria_provision"},
		{"req", "choria_provision", "restart", "--help"}, {"req"}, {"runs", "shwo"}, {"runs", "show", "last"}, {"ping"}, {"completion", "bash"}, {"bogus"}}
	for _, c := range visible() {
		lines = append(lines, append([]string{"help"}, commandWords(c)...))
	}
	named := 0
	for _, args := range lines {
		_, out, errs := runNamed(t, args...)
		text := out + errs
		if again := renamed(secondName, text); again != text {
			t.Errorf("%q offers the first name:\n%s", args, text)
		}
		named += strings.Count(text, secondName+" ")
	}
	if named < 120 {
		t.Errorf("the second name is used %d times", named)
	}
	if code, out, errs := runNamed(t, "bogus"); code != exitUsage || out != "" || !strings.HasPrefix(errs, "choria-fleetctl: ") {
		t.Errorf("a wrong command: exit %d, %q, %q", code, out, errs)
	}
	if _, out, _ := runNamed(t, "version"); !strings.HasPrefix(out, "fleetctl ") {
		t.Errorf("the version is that of the program: %q", out)
	}
	if _, out, _ := runNamed(t, "__complete", "help", "ex"); !slices.Contains(strings.Fields(out), "exit-codes") {
		t.Errorf("completion: %q", out)
	}
}

func TestMessagesAreRenamedAsTheyAreWritten(t *testing.T) {
	var out bytes.Buffer
	w := messages(secondName, &out)
	if n, err := w.Write([]byte("see `fleetctl runs list`\n")); err != nil || n != len("see `fleetctl runs list`\n") || out.String() != "see `choria-fleetctl runs list`\n" {
		t.Errorf("%d, %v, %q", n, err, out.String())
	}
	if messages(productName, &out) != &out || bare(w) != &out {
		t.Error("a stream is hidden")
	}
}
