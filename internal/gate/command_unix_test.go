//go:build unix

package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
	"fleetctl/internal/secret"
)

func command(text string, env ...string) Command {
	return Command{Text: text, Env: append(env, "PATH=/bin:/usr/bin"), Timeout: time.Minute}
}

func TestTheExitCodeIsTheVerdict(t *testing.T) {
	want := map[batch.GateVerdict][]int{batch.GatePassed: {0}, batch.GateInconclusive: {6, 8, 9, 75, 124, 126, 127, 128, 129, 137, 255}, batch.GateFailed: {1, 2, 3, 4, 5, 7, 10, 74, 76, 123, 125}}
	for verdict, codes := range want {
		for _, code := range codes {
			look, err := command(fmt.Sprintf("exit %d", code)).Look(t.Context(), moment)
			if err != nil || look.Verdict != verdict || look.Value != fmt.Sprint(code) {
				t.Errorf("exit %d: %+v, %v", code, look, err)
			}
			if (look.Reason == "") != (verdict == batch.GatePassed) {
				t.Errorf("exit %d: the reason is %q", code, look.Reason)
			}
		}
	}
}

func TestWhatACommandSaysIsTheReason(t *testing.T) {
	var scrub secret.Scrubber
	scrub.Add(secret.New("hunter2-hunter2"))
	for _, tt := range []struct {
		text, reason string
		verdict      batch.GateVerdict
	}{
		{"echo one; echo two >&2; exit 1", "two", batch.GateFailed},
		{"echo two >&2; echo one; echo; echo ' '; exit 1", "one", batch.GateFailed},
		{"echo 4 of 4", "4 of 4", batch.GatePassed},
		{"printf 'no newline'; exit 9", "no newline", batch.GateInconclusive},
		{"echo the token is hunter2-hunter2; exit 1", "the token is [redacted]", batch.GateFailed},
		{`printf '\033[2Jgone\r\n'; exit 1`, `\x1b[2Jgone`, batch.GateFailed},
		{"printf 'a\\tb\\377\\n'; exit 1", `a\tb\xff`, batch.GateFailed},
		{"cat; echo; echo the end", "the end", batch.GatePassed},
		{"kill -9 $$", "ended by a signal", batch.GateInconclusive},
		{"/no/such/program 2>/dev/null", "exit code 127, the command was not found", batch.GateInconclusive},
		{"exit 3", "exit code 3", batch.GateFailed},
		{"sleep 100 & echo left a child behind", "left a child behind", batch.GatePassed},
		{"i=0; while [ $i -lt 2000 ]; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; echo last", "last", batch.GatePassed},
		{"head -c 70000 /dev/zero | tr '\\0' y; exit 1", "its last line is too long to be shown", batch.GateFailed},
		{"head -c 400 /dev/zero | tr '\\0' z; exit 1", strings.Repeat("z", maxReason-3) + "...", batch.GateFailed},
		{"head -c 299 /dev/zero | tr '\\0' z; echo hunter2-hunter2; exit 1", strings.Repeat("z", maxReason-3) + "...", batch.GateFailed}, // no part of it either
	} {
		c := command(tt.text)
		c.Scrub = scrub.Text
		look, err := c.Look(t.Context(), moment)
		if err != nil || look.Verdict != tt.verdict || look.Reason != tt.reason {
			t.Errorf("%s: %+v, %v", tt.text, look, err)
		}
	}
}

// What the command may know: the moment, the run's configuration, and nothing secret.
func TestACommandGetsTheMomentAndNoSecret(t *testing.T) {
	t.Setenv("OURS", "not for it")
	var scrub secret.Scrubber
	scrub.Add(secret.New("hunter2-hunter2"))
	file := filepath.Join(t.TempDir(), "got")
	environ := []string{"FILE=" + file, "PATH=/bin:/usr/bin", "FLEETCTL_TOKEN=a", "DB_PASSWORD=b", "PLAIN=c", "PROVISION=hunter2-hunter2", "FLEETCTL_CONFIG=/other", "FLEETCTL_RUN=old"}
	c := Command{Text: `cat > "$FILE"; env | sort >> "$FILE"`, Env: append(secret.Environment(environ), "FLEETCTL_CONFIG=/etc/choria/client.conf"), Timeout: time.Minute, Scrub: scrub.Text}
	if look, err := c.Look(t.Context(), moment); err != nil || look.Verdict != batch.GatePassed {
		t.Fatalf("%+v, %v", look, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, env, _ := strings.Cut(string(text), "\n")
	var got struct {
		Version        int `json:"schema_version"`
		Run            string
		Batch, Batches int
		Nodes          []batch.MomentNode
		States         map[string]int
	}
	if err := json.Unmarshal([]byte(input), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.Run != "r1" || got.Batch != 2 || got.Batches != 3 || !slices.Equal(got.Nodes, moment.Nodes) || got.States["verified"] != 3 {
		t.Errorf("stdin is %s", input)
	}
	for _, line := range []string{"FLEETCTL_RUN=r1", "FLEETCTL_BATCH=2", "FLEETCTL_BATCHES=3", "FLEETCTL_CONFIG=/etc/choria/client.conf", "PLAIN=c"} {
		if !strings.Contains("\n"+env, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, env)
		}
	}
	for _, name := range []string{"FLEETCTL_TOKEN", "DB_PASSWORD", "PROVISION", "hunter2", "OURS", "=old", "/other"} {
		if strings.Contains(env, name) {
			t.Errorf("%s in\n%s", name, env)
		}
	}
	empty, err := document(batch.Moment{})
	if d := cmp.Diff(`{"schema_version":1,"run":"","batch":0,"batches":0,"nodes":[],"states":{"planned":0,"sending":0,"accepted":0,"refused":0,"absent":0,"no-reply":0,"verified":0,"unverified":0,"unknown":0,"not-sent":0}}`+"\n", string(empty)); d != "" || err != nil {
		t.Errorf("before the first batch: %s, %v", d, err)
	}
}

// A pipe holds 64 KiB: a gate that does not read its stdin, or closes it, must neither hang nor count as failed.
func TestAGateMayIgnoreItsStdin(t *testing.T) {
	m := moment
	for range 20000 {
		m.Nodes = append(m.Nodes, batch.MomentNode{Identity: "node-with-a-long-name.example.net", State: batch.Verified})
	}
	for _, text := range []string{"true", "exec <&-; true", "head -c 10 > /dev/null", "exec < /dev/null; cat"} {
		if look, err := command(text).Look(t.Context(), m); err != nil || look.Verdict != batch.GatePassed {
			t.Errorf("%s: %+v, %v", text, look, err)
		}
	}
}

// What hangs is killed with its children, by the time limit or by the end of the run.
func TestAGateThatHangsIsKilledWithItsGroup(t *testing.T) {
	over := errors.New("the run is over")
	for _, byRun := range []bool{false, true} {
		pipe := filepath.Join(t.TempDir(), "alive")
		if err := exec.Command("mkfifo", pipe).Run(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		read := make(chan error, 1)
		go func() { // ends when the last process that has it open for writing is gone
			f, err := os.Open(pipe)
			if err == nil {
				if byRun {
					cancel(over) // the child runs
				}
				_, err = f.Read(make([]byte, 1))
			}
			read <- err
		}()
		c := command(`(exec sleep 1000 > "$PIPE") & sleep 1000`, "PIPE="+pipe)
		c.Timeout = 500 * time.Millisecond
		if byRun {
			c.Timeout = time.Hour
		}
		look, err := c.Look(ctx, moment)
		switch {
		case byRun && !errors.Is(err, over):
			t.Errorf("error %v", err)
		case !byRun && (err != nil || look.Verdict != batch.GateInconclusive || look.Reason != "no answer within 500ms"):
			t.Errorf("%+v, %v", look, err)
		}
		select {
		case <-read:
		case <-time.After(30 * time.Second):
			t.Error("a child lives on")
		}
		cancel(nil)
	}
}

func TestAPinnedScriptMustNotChange(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "check.sh")
	write := func(text string) {
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("#!/bin/sh\nexit 0\n")
	places := Places{Path: "/bin:/usr/bin"}
	saved, err := places.Scripts(script + " -v")
	if err != nil || len(saved) != 1 {
		t.Fatalf("%v, %v", saved, err)
	}
	c := command(script + " -v")
	c.Pinned = &Pins{Places: places, Saved: saved}
	look := func() batch.GateLook {
		l, err := c.Look(t.Context(), moment)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := look(); l.Verdict != batch.GatePassed {
		t.Errorf("unchanged: %+v", l)
	}
	write("#!/bin/sh\nexit  0\n")
	if l := look(); l.Verdict != batch.GateFailed || !strings.Contains(l.Reason, "has changed since the plan was saved") {
		t.Errorf("changed: %+v", l)
	}
	if err := os.Remove(script); err != nil {
		t.Fatal(err)
	}
	if l := look(); l.Verdict != batch.GateFailed || !strings.Contains(l.Reason, "is not now") {
		t.Errorf("gone: %+v", l)
	}
}
