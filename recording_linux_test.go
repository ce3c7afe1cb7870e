package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"fleetctl/internal/lab"
)

var record = flag.Bool("record", false, "record a run for the picture in README.md")

// recording is what a program writes to a terminal, piece by piece.
type recording struct {
	began  time.Time
	pieces []piece
}

type piece struct {
	at   time.Duration
	text string
}

// together is how long pieces belong to one shot after its first.
const together = 40 * time.Millisecond

// shots plays the recording on a screen: one shot for all that was written together.
func (r recording) shots(rows, columns int) ([]shot, error) {
	s := newScreen(rows, columns)
	var shots []shot
	for i, p := range r.pieces {
		if err := s.write(p.text); err != nil {
			return nil, err
		}
		if i+1 < len(r.pieces) && r.pieces[i+1].at-p.at < together {
			continue
		}
		now := shot{at: p.at}
		for y := range s.rows {
			now.rows = append(now.rows, s.row(y))
		}
		for len(now.rows) > 0 && len(now.rows[len(now.rows)-1]) == 0 {
			now.rows = now.rows[:len(now.rows)-1]
		}
		if len(shots) == 0 || !slices.EqualFunc(shots[len(shots)-1].rows, now.rows, slices.Equal[[]textRun]) {
			shots = append(shots, now)
		}
	}
	return shots, nil
}

// TestRecordARun is `make picture`: with -record it types a restart into a shell at a terminal, against a lab in which one node
// refuses, and writes what the terminal showed to docs/run.svg.
func TestRecordARun(t *testing.T) {
	if !*record {
		t.Skip("make picture records")
	}
	const rows, columns = 24, 80
	f := newFleet(t, lab.Options{Nodes: 40, Seed: 7, Faults: lab.Faults{Refuse: lab.Amount{N: 1}}})
	term := newTerminal(t)
	shell := exec.CommandContext(patient(t), "sh", "-i")
	shell.Dir, shell.Env = f.dir, append(f.command(patient(t)).Env, "TERM=xterm", "PS1=$ ", "ENV=")
	shell.Stdin, shell.Stdout, shell.Stderr = term.tty, term.tty, term.tty
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = shell.Wait() // the code of the last command
		close(ended)
	}()
	at, began := 0, time.Now()
	var r recording
	for _, s := range []step{
		{await: "$ ", keys: "fleetctl req choria_provision restart token=s3cret -F role=web --batch 1,8\n"},
		{await: "[y/N] ", keys: "y\n"},
		{await: "not authorized"},
		{await: "\n$ ", do: func() { r = term.recorded() }, keys: "exit\n"},
	} {
		var ok bool
		if at, ok = term.await(s.await, at, ended); !ok {
			return
		}
		if s.do != nil {
			s.do()
		}
		if _, err := io.WriteString(term.master, s.keys); err != nil {
			t.Fatal(err)
		}
	}
	<-ended
	took := time.Since(began)
	shots, err := r.shots(rows, columns)
	if err != nil {
		t.Fatal(err)
	}
	const speed = 4
	picture, err := film{
		title: "A run of fleetctl: 16 servers restarted in batches, each restart proved",
		description: fmt.Sprintf("A recording of a terminal, %.0f seconds long and shown %d times faster: the command, its plan, the question, the batches with the "+
			"share of nodes that is proved, a node that refuses, and the verdict.", took.Seconds(), speed),
		shots: shots, columns: columns, speed: speed, hold: 6 * time.Second,
	}.svg()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pictureFile, []byte(picture), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d shots, %d bytes", pictureFile, len(shots), len(picture))
}

func TestShots(t *testing.T) {
	r := recording{pieces: []piece{{0, "a"}, {together / 2, "b\r\n"}, {time.Second, "\r"}, {2 * time.Second, "\x1b[32mc"}}}
	shots, err := r.shots(3, 10)
	if got, want := fmt.Sprint(shots, err), "[{20000000 [[{ab }]]} {2000000000 [[{ab }] [{c 32}]]}] <nil>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if text, err := (film{shots: shots, columns: 10, speed: 1}).svg(); err != nil || strings.Count(text, "<use ") != 3 || strings.Count(text, "<text ") != 2 {
		t.Errorf("%v: %s", err, text)
	}
	if !utf8.ValidString(escaped("a<b\x00")) || escaped("a<b") != "a&lt;b" {
		t.Error("text is not escaped")
	}
}
