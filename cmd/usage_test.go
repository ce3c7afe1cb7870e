package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What cannot be meant is refused before any network, and before a configuration is looked for.
func TestNonsenseIsRefusedAtOnce(t *testing.T) {
	restart := []string{"req", "choria_provision", "restart", "token=t0ken"}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--nodes", ""}, "--nodes is given nothing"},
		{[]string{"--limit", ""}, "--limit is given nothing"},
		{[]string{"--batch", ""}, "--batch is given nothing"},
		{[]string{"--expect-file", ""}, "--expect-file is given nothing"},
		{[]string{"--max-failed", ""}, "--max-failed"},
		{[]string{"--max-nodes", ""}, "--max-nodes"},
		{[]string{"--target", ""}, "--target is given nothing"},
		{[]string{"-I", ""}, "every node would be meant"},
		{[]string{"--limit", "0"}, "leaves no nodes"},
		{[]string{"--limit", "5%%"}, "neither a number nor a percentage"},
		{[]string{"--max-nodes", "0"}, "allows no run"},
		{[]string{"--expect", "-1"}, "not a number of nodes"},
		{[]string{"--discovery-timeout", "0"}, "finds no node"},
		{[]string{"--batch-sleep", "1e30"}, "no time to wait"},
	} {
		code, _, said := runApp(t, nil, append(restart, tt.args...)...)
		if code != exitUsage || !strings.Contains(said, tt.want) {
			t.Errorf("%q: exit %d, %s, want %d and %q", tt.args, code, said, exitUsage, tt.want)
		}
	}
}

// A folder in place of a configuration is no empty configuration.
func TestAFolderIsNoConfiguration(t *testing.T) {
	if code, _, said := runApp(t, nil, "discover", "--config", t.TempDir()); code != exitUsage || !strings.Contains(said, "directory") {
		t.Errorf("exit %d, %s", code, said)
	}
}

// Without HOME, as under a system's timer, records and settings are the user's all the same, not the present folder's.
func TestHomeIsKnownWithoutItsVariable(t *testing.T) {
	e := environment{func(string) (string, bool) { return "", false }}
	if dir := e.runsFolder(""); !filepath.IsAbs(dir) {
		t.Errorf("records go to %q", dir)
	}
	if path := e.settingsFile(); !filepath.IsAbs(path) {
		t.Errorf("settings come from %q", path)
	}
}

func TestALostLogIsTold(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	if code, _, said := runApp(t, nil, "version", "--log-file", "/dev/full"); code != exitOK || !strings.Contains(said, "the log is not complete") {
		t.Errorf("exit %d, %s", code, said)
	}
}

// What is wrong with the arguments is said in the operator's words, not in those of a library.
func TestWrongArgumentsAreToldInPlainWords(t *testing.T) {
	for _, tt := range []struct {
		args       []string
		want, hint string
	}{
		{[]string{"ping", "web1"}, `unexpected argument "web1"`, "fleetctl ping -I NAME"},
		{[]string{"discover", "web1"}, `unexpected argument "web1"`, "fleetctl discover -I NAME"},
		{[]string{"version", "web1"}, `unexpected argument "web1"`, "fleetctl version --help"},
		{[]string{"inventory", "web1", "web2"}, "one identity at a time", "-I NAME -I NAME"},
		{[]string{"runs", "show"}, "which run?", "fleetctl runs show RUN"},
		{[]string{"runs", "stop"}, "which run?", "fleetctl runs stop RUN"},
		{[]string{"runs", "resume"}, "which run?", "fleetctl runs resume RUN"},
		{[]string{"runs", "retry", "--failed"}, "which run?", "fleetctl runs retry RUN"},
		{[]string{"runs", "show", "a", "b"}, `unexpected argument "b"`, "fleetctl runs show --help"},
		{[]string{"runs", "nosuch"}, `unknown command "nosuch"`, "fleetctl runs --help"},
	} {
		code, _, said := runApp(t, nil, tt.args...)
		if code != exitUsage || !strings.Contains(said, tt.want) || !strings.Contains(said, tt.hint) {
			t.Errorf("%q: exit %d, %s, want %d, %q and %q", tt.args, code, said, exitUsage, tt.want, tt.hint)
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
	walk(newRoot(&app{env: environment{os.LookupEnv}}))
}

func TestTheRecordKnowsItsUserWithoutTheVariable(t *testing.T) {
	if name := (environment{func(string) (string, bool) { return "", false }}).user(); name == "" {
		t.Error("no name")
	}
}

// A word that is no action, or no agent, is answered with those that there are.
func TestUnknownWordsAreAnsweredWithTheKnownOnes(t *testing.T) {
	config := filepath.Join(t.TempDir(), "client.conf")
	if err := os.WriteFile(config, []byte("identity = operator.example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ agent, action, want string }{
		{"rpcutil", "zzzzzz", "daemon_stats, get_config_item"},
		{"rpcutil", "pinf", "did you mean rpcutil#ping?"},
		{"zzzzzz", "ping", "choria_provision, choria_registry"},
	} {
		code, _, said := runApp(t, nil, "req", tt.agent, tt.action, "--config", config)
		if code != exitUsage || !strings.Contains(said, tt.want) {
			t.Errorf("%s#%s: exit %d, %s, want %d and %q", tt.agent, tt.action, code, said, exitUsage, tt.want)
		}
	}
}
