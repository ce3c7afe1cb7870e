// Package detached starts a copy of this program in a session of its own, so that it outlives the terminal, and hands it a
// document through an inherited pipe. It also knows what ends such a process anyway, when its user logs out.
//
// It does not know what the document means. Invariants: the document is never an argument, a variable or a file; a process
// whose starter has died before it said "go" gets an error, and has done nothing yet; no descriptor of the pipes reaches a
// program that the process starts.
package detached

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrUnsupported: this system has no sessions that outlive a terminal, or no inherited pipes.
var ErrUnsupported = errors.New("background runs are not supported on this system")

// errAlone: this process was not started by Start.
var errAlone = errors.New("it is started by --detach alone")

// Options is what a process is started with.
type Options struct {
	Path     string   // the program
	Args     []string // the first is its name; no secrets
	Env      []string // NAME=VALUE; no secrets
	Output   *os.File // its stdout and stderr; the caller's
	Document any      // becomes JSON; it may hold secrets
}

// message is a line from the process to its starter, or (Go) back.
type message struct {
	Ready bool            `json:"ready,omitempty"` // nothing is done yet
	Go    bool            `json:"go,omitempty"`
	Last  json.RawMessage `json:"last,omitempty"` // the process's own last word
}

// Process is a process that Start started. Not safe for concurrent use.
type Process struct {
	PID  int
	to   io.WriteCloser
	from io.ReadCloser
	in   *bufio.Reader
	end  func() // asks the process to end, and waits for that
	free func() // lets it go its own way
}

// errEnded: the process ended without its last word.
var errEnded = errors.New("the background process ended before it began")

// Await waits for a message. It reports whether it was the last one, which is read into word.
func (p *Process) Await(word any) (last bool, err error) {
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		return false, errEnded
	}
	var m message
	if err := json.Unmarshal(line, &m); err != nil || m.Ready == (m.Last != nil) {
		return false, fmt.Errorf("the background process wrote an unknown message: %w", cause(err))
	}
	if m.Ready {
		return false, nil
	}
	return true, json.Unmarshal(m.Last, word)
}

func cause(err error) error {
	if err == nil {
		return errors.New("neither ready nor the last one")
	}
	return err
}

// Go lets a process begin that is ready. What follows is its own matter.
func (p *Process) Go() error { return send(p.to, message{Go: true}) }

// Stop asks the process to end, and waits until it has.
func (p *Process) Stop() {
	p.close()
	p.end()
}

// Release lets the process go its own way.
func (p *Process) Release() {
	p.close()
	p.free()
}

func (p *Process) close() {
	_ = p.to.Close()
	_ = p.from.Close()
}

// Starter is this process's way to the one that started it.
type Starter struct {
	in  *bufio.Reader
	out io.WriteCloser
}

// Ready reports that all is well, and waits for the word to begin. An error means that the starter wants no more, or is
// gone.
func (s *Starter) Ready() error {
	if err := send(s.out, message{Ready: true}); err != nil {
		return fmt.Errorf("the command that started this process is gone: %w", err)
	}
	line, err := s.in.ReadBytes('\n')
	var m message
	if err != nil || json.Unmarshal(line, &m) != nil || !m.Go {
		return errors.New("the command that started this process is gone")
	}
	return nil
}

// Last reports the last word, once; the starter is not needed any more. That it is gone is no error.
func (s *Starter) Last(word any) {
	if s.out == nil {
		return
	}
	if text, err := json.Marshal(word); err == nil {
		_ = send(s.out, message{Last: text})
	}
	_ = s.out.Close()
	s.out = nil
}

// send writes one line.
func send(w io.Writer, m any) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
