//go:build unix

package cmd

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"fleetctl/internal/lab"
)

// The result is written, and the terminal is free, while the command still works at the event end.
func TestTheResultDoesNotWaitForTheCommand(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2})
	works, goes := p.path("works"), p.path("goes")
	for _, name := range []string{works, goes} {
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result := p.path("result.json")
	// At the end of the run, the command waits for the result, reports it, and waits for the test.
	p.write("slow", `#!/bin/sh
[ "$FLEETCTL_EVENT" = end ] || exit 0
until [ -s `+result+` ]; do sleep 0.01; done
echo "the result is there" > `+works+`
cat `+goes+` > /dev/null
touch `+p.path("done")+`
`)
	a, out, errs := newApp(t, "", p.env())
	ended := make(chan int, 1)
	go func() {
		ended <- a.execute(t.Context(), append(strings.Fields("req rpcutil ping --journal --output json -o "+result+" -I "+p.names[0]), "--on-event", p.path("slow")))
	}()
	reported := make(chan string, 1)
	go func() { reported <- readAt(t, works) }() // until the command has written to it
	select {
	case text := <-reported:
		if text != "the result is there\n" {
			t.Errorf("read %q", text)
		}
	case code := <-ended:
		t.Fatalf("the process ended with %d, and its command saw no result:\n%s", code, errs)
	}
	if a.running.Load() != nil {
		t.Error("the run still has the terminal")
	}
	select {
	case code := <-ended:
		t.Errorf("the process ended with %d before its command", code)
	default:
	}
	if err := os.WriteFile(goes, []byte("go\n"), 0); err != nil {
		t.Error(err)
	}
	if code := <-ended; code != exitOK || strings.Contains(errs.String(), "warning") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if _, err := os.Stat(p.path("done")); err != nil {
		t.Errorf("the command was not waited for: %v", err)
	}
}

// A command of --on-event that runs fleetctl finds the records of the run.
func TestTheCommandGetsTheFolderOfTheRecords(t *testing.T) {
	t.Setenv("FLEETCTL_STATE_DIR", "/elsewhere")
	p := newPractice(t, lab.Options{Nodes: 2})
	for _, tt := range []struct{ flag, want string }{
		{"", "/elsewhere"},
		{" --state-dir " + p.path("records"), p.path("records")},
	} {
		os.Remove(p.path("dir"))
		r := p.run("req rpcutil ping -I "+p.names[0]+tt.flag, "--on-event", `env | grep ^FLEETCTL_STATE_DIR= > `+p.path("dir"))
		if got := readAt(t, p.path("dir")); r.code != 0 || got != "FLEETCTL_STATE_DIR="+tt.want+"\n" {
			t.Errorf("%s: exit code %d, the command got %q, want %s\n%s", tt.flag, r.code, got, tt.want, r.err)
		}
	}
}

// What is no run has no events: the flag's command does not run, and a warning says so. The command of the settings is for
// runs that change something, so that there is nothing to warn about.
func TestRequestsWithoutARunWarnAboutTheCommand(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2})
	if err := os.MkdirAll(p.path("fleetctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write("fleetctl/config.yaml", "on_event: touch "+p.path("ran")+"\n")
	const warning = "warning: the command of --on-event does not run: it is for runs, and a request to a service or with --reply-to is none"
	for _, line := range []string{
		"req choria_registry ddl name=rpcutil format=json",
		"req rpcutil ping --reply-to site.replies -I " + p.names[0],
	} {
		flagged := p.run(line, "--on-event", "touch "+p.path("ran"))
		if flagged.code != 0 || strings.Count(flagged.err, warning) != 1 {
			t.Errorf("%s --on-event: exit code %d\n%s", line, flagged.code, flagged.err)
		}
		if plain := p.run(line); plain.code != 0 || strings.Contains(plain.err, "on-event") {
			t.Errorf("%s: exit code %d\n%s", line, plain.code, plain.err)
		}
	}
	if _, err := os.Stat(p.path("ran")); err == nil {
		t.Error("the command ran")
	}
}
