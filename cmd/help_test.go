package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func topic(t *testing.T, name string) string {
	t.Helper()
	code, out, errs := runApp(t, nil, "help", name)
	if code != exitOK || out == "" {
		t.Fatalf("help %s: exit code %d, %q", name, code, errs)
	}
	return out
}

func docs(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTopicsAreThose(t *testing.T) {
	var got []string
	for _, c := range newTopics() {
		got = append(got, c.Name())
	}
	if want := []string{"batches", "environment", "exit-codes", "filters", "secrets"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if code, _, errs := runApp(t, nil, "help", "weather"); code != exitUsage || !strings.Contains(errs, "exit-codes") {
		t.Errorf("an unknown topic: exit code %d, %q", code, errs)
	}
	if code, out, _ := runApp(t, nil, "help", "runs", "resume"); code != exitOK || !strings.Contains(out, "resume RUN") {
		t.Errorf("help of a command: exit code %d, %q", code, out)
	}
}

// TestTopicExitCodesIsTheTableOfTheDocs holds the topic, the docs and the program together.
func TestTopicExitCodesIsTheTableOfTheDocs(t *testing.T) {
	text := strings.Join(strings.Fields(topic(t, "exit-codes")), " ") // help is wrapped
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([^|;(]+)`).FindAllStringSubmatch(docs(t, "exit-codes.md"), -1)
	var codes []string
	for _, row := range rows {
		codes = append(codes, row[1])
		if line := fmt.Sprintf("%s %s", row[1], strings.TrimSpace(strings.ReplaceAll(row[2], "`", ""))); !strings.Contains(text, line) {
			t.Errorf("the topic lacks %q", line)
		}
	}
	var want []string
	for _, c := range []int{exitOK, exitFault, exitUsage, exitRefused, exitNoReply, exitStopped, exitUnknown, exitGuard, exitNoNodes, exitNetwork, exitHangup, exitInt, 128 + 13, exitTerm} { // 13 is SIGPIPE
		want = append(want, fmt.Sprint(c))
	}
	if !slices.Equal(codes, want) {
		t.Errorf("the docs list %q, the program has %q", codes, want)
	}
}

func TestTopicEnvironmentNamesTheVariablesOfTheDocs(t *testing.T) {
	text := topic(t, "environment")
	_, section, _ := strings.Cut(docs(t, "configuration.md"), "## Environment")
	section, _, _ = strings.Cut(section, "\n## ")
	names := regexp.MustCompile("`([A-Z][A-Z0-9_]+)`").FindAllStringSubmatch(section, -1)
	if len(names) < 10 {
		t.Fatalf("found %d variables in the docs", len(names))
	}
	for _, n := range names {
		if !strings.Contains(text, n[1]) {
			t.Errorf("the topic lacks %s", n[1])
		}
	}
	for _, name := range regexp.MustCompile(`\b[A-Z]+_[A-Z_]+\b`).FindAllString(text, -1) {
		if !strings.Contains(section, name) {
			t.Errorf("the docs lack %s", name)
		}
	}
}

// TestTopicsNameFlagsThatExist finds texts that are out of date.
func TestTopicsNameFlagsThatExist(t *testing.T) {
	known := map[string]bool{"-v": true}
	var collect func(c *cobra.Command)
	collect = func(c *cobra.Command) {
		add := func(f *pflag.Flag) { known["--"+f.Name], known["-"+f.Shorthand] = true, true }
		c.Flags().VisitAll(add)
		c.PersistentFlags().VisitAll(add)
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(newRoot(&app{name: productName, env: environment{os.LookupEnv}}))
	for _, c := range newTopics() {
		for _, flag := range regexp.MustCompile(`(^|[ (/])(--?[a-zA-Z][a-z-]*)`).FindAllStringSubmatch(c.Long, -1) {
			if !known[flag[2]] {
				t.Errorf("%s names the flag %s, which does not exist", c.Name(), flag[2])
			}
		}
	}
}

// Help names what a flag takes, never the type that the program keeps it in.
func TestHelpNamesWhatFlagsTake(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			switch name, _ := pflag.UnquoteUsage(f); name {
			case "string", "strings", "stringArray", "int", "uint", "float":
				if !f.Hidden {
					t.Errorf("%s --%s takes a %q: put the name of its value between backquotes", c.CommandPath(), f.Name, name)
				}
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&app{name: productName, env: environment{os.LookupEnv}}))
}
