package cmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

func TestCompletionDescribesFlagsInPlainText(t *testing.T) {
	code, out, _ := runApp(t, nil, "__complete", "req", "rpcutil", "ping", "--")
	if code != exitOK || strings.Contains(out, "`") || !strings.Contains(out, "--nodes\ttake the nodes from FILE") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

func TestCompletionOffersWhatEarlierCommandsSaw(t *testing.T) {
	p := newPractice(t, lab.Options{Nodes: 3})
	env := withVariable(p.env(), "XDG_CACHE_HOME", p.path("cache"))
	node := p.names[0]
	for _, args := range [][]string{{"discover"}, {"inventory", node}} {
		if code, _, errs := runApp(t, env, append(slices.Clone(patient), args...)...); code != exitOK {
			t.Fatalf("%q: exit %d, %s", args, code, errs)
		}
	}
	for _, tt := range []struct {
		words     []string
		want      []string
		directive string
	}{
		{[]string{"ping", "-I", node[:8]}, []string{node}, noFiles},
		{[]string{"req", "rpcutil", "ping", "--exclude", node[:8]}, []string{node}, noFiles},
		{[]string{"ping", "-T", "mt_collective", "-I", node[:8]}, nil, noFiles}, // nothing was asked there
		{[]string{"discover", "-F", "countr"}, []string{"country="}, noFilesNoSpace},
		{[]string{"inventory", "--group-by", "countr"}, []string{"country"}, noFiles},
		{[]string{"inventory", "--group-by", "token-e"}, []string{"token-expiry"}, noFiles},
		{[]string{"inventory", "--columns", "node,vers"}, []string{"node,version"}, noFilesNoSpace},
		{[]string{"inventory", "--columns", "node,fact:countr"}, []string{"node,fact:country"}, noFilesNoSpace},
		{[]string{"inventory", "--output", "jun"}, nil, noFiles},
	} {
		got, directive := complete(t, env, tt.words...)
		if !slices.Equal(got, tt.want) || directive != tt.directive {
			t.Errorf("%q: got %q %s, want %q %s", tt.words, got, directive, tt.want, tt.directive)
		}
	}
}

func TestCompletionFindsTheFileOfASecret(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"token.txt", "token.old", ".hidden", "odd\nname", "folder/inner"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := "token=@" + dir + "/"
	for typed, want := range map[string][]string{
		at:                   {at + "folder/", at + "token.old", at + "token.txt"},
		at + "token.t":       {at + "token.txt"},
		at + "folder/":       {at + "folder/inner"},
		at + ".h":            {at + ".hidden"},
		at + "nowhere/x":     nil,
		"token=e":            {"token=env:"},
		"token=@nosuchfile-": nil,
	} {
		if got, _ := complete(t, nil, "req", "choria_provision", "restart", typed); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

// Commands are only offered runs that they can do something about.
func TestCompletionOffersRunsThatFit(t *testing.T) {
	p := newPractice(t, lab.Options{Nodes: 2})
	if got := p.run("req rpcutil ping --journal", "-I", p.names[0]); got.code != exitOK {
		t.Fatal(got)
	}
	if got := p.run("req choria_provision restart token=wrong", "-I", p.names[0]); got.code != exitRefused {
		t.Fatal(got)
	}
	ping, restart := "", ""
	_, out, _ := runApp(t, p.env(), "__complete", "runs", "show", "")
	for line := range strings.Lines(out) {
		switch id, about, _ := strings.Cut(strings.TrimSpace(line), "\t"); about {
		case "rpcutil#ping, 1 node, done":
			ping = id
		case "choria_provision#restart, 1 node, failed":
			restart = id
		}
	}
	if ping == "" || restart == "" || !strings.Contains(out, "last\t") {
		t.Fatalf("runs are not described:\n%s", out)
	}
	for command, want := range map[string][]string{
		"show": {ping, restart}, "report": {ping, restart}, "diff": {ping, restart}, "retry": {restart},
		"resume": nil, "pause": nil, "continue": nil, "stop": nil, "watch": nil,
	} {
		got, _ := complete(t, p.env(), "runs", command, "20")
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("runs %s offers %q, want %q", command, got, want)
		}
	}
	if got, _ := complete(t, p.env(), "runs", "retry", restart, "to"); !slices.Equal(got, []string{"token="}) {
		t.Errorf("the secret of a retry: %q", got)
	}
}
