package cmd

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// complete is what a shell is offered for the last word, without descriptions, and cobra's directive.
func complete(t *testing.T, env map[string]string, words ...string) (offered []string, directive string) {
	t.Helper()
	code, out, errs := runApp(t, env, append([]string{"__complete"}, words...)...)
	if code != exitOK {
		t.Fatalf("complete %q: exit code %d, stderr %q", words, code, errs)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, ":") {
			return offered, line
		}
		if word, _, _ := strings.Cut(line, "\t"); strings.HasPrefix(word, words[len(words)-1]) { // the shell's part
			offered = append(offered, word)
		}
	}
	t.Fatalf("complete %q: no directive in %q", words, out)
	return nil, ""
}

const (
	noFiles        = ":4"
	noFilesNoSpace = ":6"
	anyFile        = ":0"
)

func TestCompletion(t *testing.T) {
	for _, tt := range []struct {
		words     []string
		want      []string // all of these, and nothing else when exact
		exact     bool
		directive string
	}{
		{words: []string{"req", ""}, want: []string{"choria_provision", "rpcutil", "scout"}, directive: noFiles},
		{words: []string{"rpc", "choria_prov"}, want: []string{"choria_provision"}, exact: true, directive: noFiles},
		{words: []string{"req", "choria_provision", "re"}, want: []string{"restart", "reprovision"}, directive: noFiles},
		{words: []string{"req", "choria_provision", "restart", ""}, want: []string{"splay=", "token="}, exact: true, directive: noFilesNoSpace},
		{words: []string{"req", "choria_provision", "restart", "token=@/x", ""}, want: []string{"splay="}, exact: true, directive: noFilesNoSpace},
		{words: []string{"req", "choria_provision", "restart", "token="}, want: []string{"token=@", "token=-", "token=env:"}, exact: true, directive: noFilesNoSpace},
		{words: []string{"req", "nosuchagent", ""}, exact: true, directive: noFiles},
		{words: []string{"req", "rpcutil", "nosuchaction", ""}, exact: true, directive: noFiles},
		{words: []string{"req", "rpcutil", "ping", "--dm", ""}, want: []string{"broadcast", "mc"}, directive: noFiles},
		{words: []string{"req", "--output", "j"}, want: []string{"json", "jsonl", "junit"}, exact: true, directive: noFiles},
		{words: []string{"inventory", "--output", "j"}, want: []string{"json", "jsonl"}, exact: true, directive: noFiles},
		{words: []string{"discover", "--output", ""}, want: []string{"text", "json", "nodeset"}, exact: true, directive: noFiles},
		{words: []string{"req", "--display", "f"}, want: []string{"failed"}, exact: true, directive: noFiles},
		{words: []string{"ping", "-A", "rpc"}, want: []string{"rpcutil"}, exact: true, directive: noFiles},
		{words: []string{"discover", "--nodes", ""}, exact: true, directive: anyFile},
		{words: []string{"lab", "--nodes", ""}, exact: true, directive: noFiles},
		{words: []string{"lab", "--protocol", ""}, want: []string{"1", "2"}, exact: true, directive: noFiles},
		{words: []string{"completion", ""}, want: []string{"bash", "fish", "powershell", "zsh"}, exact: true, directive: noFiles},
		{words: []string{"help", "ex"}, want: []string{"exit-codes"}, exact: true, directive: noFiles},
		{words: []string{"help", "runs", "re"}, want: []string{"resume", "retry"}, directive: noFiles},
		{words: []string{"runs", "show", ""}, exact: true, directive: noFiles},
	} {
		got, directive := complete(t, nil, tt.words...)
		for _, w := range tt.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q: %q is missing in %q", tt.words, w, got)
			}
		}
		if tt.exact && len(got) != len(tt.want) {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
		if directive != tt.directive {
			t.Errorf("%q: directive %s, want %s", tt.words, directive, tt.directive)
		}
	}
}

func TestCompletionKnowsDocumentsAndCollectivesAtHandAndNeverDials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialed := make(chan struct{})
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			close(dialed)
		}
	}()
	dir, cache := t.TempDir(), t.TempDir()
	document := func(name string) []byte {
		return []byte(`{"metadata":{"name":"` + name + `","description":"ours","timeout":5},"actions":[{"action":"go","input":{"to":{"type":"list","list":["here","there"]},"now":{"type":"boolean"}}}]}`)
	}
	for path, data := range map[string][]byte{
		filepath.Join(dir, "choria", "agent", "ondisk.json"): document("ondisk"), filepath.Join(cache, "agent", "cached.json"): document("cached"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := writeConfig(t, "plugin.choria.middleware_hosts = "+l.Addr().String(), "libdir = "+dir, "collectives = alpha,beta", "plugin.choria.services.registry.cache = "+cache)
	env := map[string]string{"FLEETCTL_CONFIG": conf}
	for _, tt := range []struct{ words, want []string }{
		{[]string{"req", "ondi"}, []string{"ondisk"}},
		{[]string{"req", "cach"}, []string{"cached"}},
		{[]string{"req", "nosuch", ""}, nil},
		{[]string{"req", "cached", ""}, []string{"go"}},
		{[]string{"req", "ondisk", "go", "to="}, []string{"to=here", "to=there"}},
		{[]string{"req", "ondisk", "go", "now=t"}, []string{"now=true"}},
		{[]string{"ping", "-T", ""}, []string{"alpha", "beta"}},
	} {
		if got, _ := complete(t, env, tt.words...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.words, got, tt.want)
		}
	}
	l.Close() // connections that were accepted before are accepted by now
	select {
	case <-dialed:
		t.Error("completion dialed the broker")
	default:
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, out, _ := runApp(t, nil, "completion", shell)
		if code != exitOK || !strings.Contains(out, "fleetctl") || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
	if code, _, errs := runApp(t, nil, "completion", "tcsh"); code != exitUsage {
		t.Errorf("tcsh: exit code %d, %q", code, errs)
	}
}
