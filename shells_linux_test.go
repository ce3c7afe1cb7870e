package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fleetctl/internal/lab"
)

// A shell is started without the user's own set-up, reads the script of completion, and completes what is typed.
type shell struct {
	name  string
	args  []string
	setup string // lines that load the completion
	needs string // a file besides the shell; "" for none
}

var shells = []shell{
	{"bash", []string{"--norc", "--noprofile", "-i"}, ". /usr/share/bash-completion/bash_completion\n. <(fleetctl completion bash)\nbind 'set enable-bracketed-paste off'\n", "/usr/share/bash-completion/bash_completion"},
	{"zsh", []string{"-f", "-i"}, "autoload -U compinit; compinit -u -D; . <(fleetctl completion zsh)\n", ""},
	{"fish", []string{"--no-config", "-i"}, "fleetctl completion fish | source\n", ""},
}

// typing is what is typed before a tab, and what the shell makes of its last word.
type typing struct{ typed, want string }

// wrapper answers completion as fleetctl does, and keeps the words of any other command for the test.
const wrapper = `#!/bin/sh
case $1 in
__complete*|completion) exec "$REAL_FLEETCTL" "$@" ;;
esac
printf '%s\n' "$@" >"$HOME/typed"
echo "words are kept"
`

// The scripts of completion do what they should where they are used. A machine without a shell skips it.
func TestShellsComplete(t *testing.T) {
	notRaced(t)
	t.Parallel()
	f := newFleet(t, lab.Options{Nodes: 1, Protocol: 2})
	node := f.lab.Nodes()[0].Identity
	for _, args := range [][]string{{"discover"}, {"inventory", node}, {"req", "rpcutil", "ping", "--journal", "-I", node}} {
		if got := f.run(args...); got.code != 0 {
			t.Fatalf("%q: %+v", args, got)
		}
	}
	for name, content := range map[string]string{"my-token.txt": "s3cret", "folder/inner.txt": "s3cret", "bin/fleetctl": wrapper, "bin/choria-fleetctl": wrapper} {
		path := filepath.Join(f.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := filepath.Glob(filepath.Join(f.dir, "state", "runs", "*.journal"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("records: %q, %v", runs, err)
	}
	run := strings.TrimSuffix(filepath.Base(runs[0]), ".journal")
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			path, err := exec.LookPath(sh.name)
			if err != nil {
				t.Skipf("%s is not installed: its completion is not tested", sh.name)
			}
			if _, err := os.Stat(sh.needs); sh.needs != "" && err != nil {
				t.Skipf("%s is missing: the completion of %s is not tested", sh.needs, sh.name)
			}
			typings := []typing{
				{"req choria_prov", "choria_provision"},
				{"req choria_provision rest", "restart"},
				{"req choria_provision restart tok", "token="},
				{"req choria_provision restart token=@my-tok", "token=@my-token.txt"},
				{"req choria_provision restart token=@fold", "token=@folder/"},
				{"req choria_provision restart token=@folder/in", "token=@folder/inner.txt"},
				{"req rpcutil ping --max-no-reply-b", "--max-no-reply-batch"},
				{"req rpcutil ping -I " + node[:6], node},
				{"req rpcutil ping -F count", "country="},
				{"inventory --output jun", "jun"}, // no format of an inventory
				{"inventory --output csv --columns node,fact:count", "node,fact:country"},
				{"inventory --group-by count", "country"},
				{"runs show 20", run},
				{"runs resume 20", "20"}, // the run is over
				{"help exit", "exit-codes"},
			}
			sh.complete(t, f, path, "fleetctl", typings)
			sh.setup = strings.ReplaceAll(sh.setup, "fleetctl", "choria-fleetctl")
			sh.complete(t, f, path, "choria-fleetctl", typings[:4])
		})
	}
}

// complete types at the shell, in a terminal of its own, under one of the names of the program.
func (sh shell) complete(t *testing.T, f *fleet, path, program string, typings []typing) {
	real, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t)
	c := exec.CommandContext(patient(t), path, sh.args...)
	c.Dir, c.Env = f.dir, append(f.command(t.Context()).Env, "REAL_FLEETCTL="+real, "TERM=xterm", "PATH="+filepath.Join(f.dir, "bin")+":"+os.Getenv("PATH"))
	c.Stdin, c.Stdout, c.Stderr = term.tty, term.tty, term.tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // it is killed below
		close(ended)
	}()
	defer func() {
		_ = c.Process.Kill()
		<-ended
	}()
	press := func(keys string) {
		if _, err := io.WriteString(term.master, keys); err != nil {
			t.Fatal(err)
		}
	}
	press(sh.setup + "echo set''up-is-done\n")
	at, ok := term.await("setup-is-done", 0, ended)
	for _, row := range typings {
		if !ok {
			return
		}
		press(program + " " + row.typed + "\t\r")
		at, ok = term.await("words are kept", at, ended)
		typed, err := os.ReadFile(filepath.Join(f.dir, "typed"))
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(string(typed))
		if got := words[len(words)-1]; got != row.want {
			t.Errorf("%s %q becomes %q, want %q", program, row.typed, got, row.want)
		}
	}
}
