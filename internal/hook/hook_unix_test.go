//go:build unix

package hook

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestACommandGetsItsInputAndItsEnvironmentAlone(t *testing.T) {
	t.Setenv("OURS", "not for it")
	file := filepath.Join(t.TempDir(), "got")
	c := Command{Text: `{ cat; echo; env; } > "$FILE"; echo first; echo last >&2; echo`, Env: []string{"FILE=" + file, "PATH=/bin:/usr/bin"}, Timeout: time.Minute}
	said, err := c.Run(t.Context(), []byte(`{"a":1}`))
	if err != nil || said != "last" {
		t.Fatalf("said %q, %v", said, err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(got); !strings.HasPrefix(text, "{\"a\":1}\n") || !strings.Contains(text, "FILE=") || strings.Contains(text, "OURS") || strings.Contains(text, "HOME=") {
		t.Errorf("it got\n%s", text)
	}
	if _, err := (Command{Text: "env | grep OURS && exit 9; exit 0", Env: nil, Timeout: time.Minute}).Run(t.Context(), nil); err != nil {
		t.Errorf("without any environment: %v", err)
	}
}

func TestTheEndOfACommand(t *testing.T) {
	long := []byte(strings.Repeat("x", 1<<20))
	for _, tt := range []struct {
		name, text string
		input      []byte
		code       int
		said       string
	}{
		{"does not read its input", "exit 0", long, 0, ""},
		{"fails", "echo one; echo no such channel; exit 7", nil, 7, "no such channel"},
		{"fails and hints", "echo no such node; echo hint: try another; exit 7", nil, 7, "no such node"},
		{"only hints", "echo hint: try another; exit 7", nil, 7, "hint: try another"},
		{"is no program", "/no/such/program", nil, 127, "found"},
		{"kills itself", "kill -9 $$", nil, -1, ""},
		{"writes a lot", "cat; echo; echo the end", long, 0, "the end"},
		{"leaves a child behind", "sleep 100 & exit 0", nil, 0, ""},
	} {
		said, err := Command{Text: tt.text, Env: []string{"PATH=/bin:/usr/bin"}, Timeout: time.Minute}.Run(t.Context(), tt.input)
		exit, failed := errors.AsType[*exec.ExitError](err)
		if failed != (tt.code != 0) || failed && exit.ExitCode() != tt.code || !failed && err != nil || !strings.Contains(said, tt.said) {
			t.Errorf("%s: said %q, %v", tt.name, said, err)
		}
	}
}

// What hangs is killed with its children, by the time limit or by the end of the context.
func TestACommandThatHangsIsKilledWithItsGroup(t *testing.T) {
	gone := errors.New("the run is over")
	for _, byContext := range []bool{false, true} {
		pipe := filepath.Join(t.TempDir(), "alive")
		if err := exec.Command("mkfifo", pipe).Run(); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() { // ends when the last process that has it open for writing is gone
			_, err := os.ReadFile(pipe)
			read <- err
		}()
		ctx, cancel := context.WithCancelCause(t.Context())
		c := Command{Text: "(sleep 1000 > \"$PIPE\") & sleep 1000", Env: []string{"PATH=/bin:/usr/bin", "PIPE=" + pipe}, Timeout: 500 * time.Millisecond}
		if byContext {
			c.Timeout = time.Hour
			time.AfterFunc(500*time.Millisecond, func() { cancel(gone) })
		}
		_, err := c.Run(ctx, nil)
		if want := map[bool]error{false: ErrTimeout, true: gone}[byContext]; !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		select {
		case err := <-read:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("a child lives on")
		}
		cancel(nil)
	}
}
