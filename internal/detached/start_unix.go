//go:build unix

package detached

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Supported reports whether Start works on this system.
const Supported = true

// The descriptors of the pipes in the process that is started: behind the three standard streams.
const (
	documentFD = 3
	reportFD   = 4
)

// maxDocument is the longest document that is taken, in bytes: the plan of a million nodes is shorter.
const maxDocument = 1 << 30

// Start starts a process in a session of its own, without a terminal, and hands it the document.
func Start(o Options) (*Process, error) {
	document, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	from, report, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, document.Close(), to.Close())
	}
	c := &exec.Cmd{
		Path: o.Path, Args: o.Args, Env: append([]string{}, o.Env...), Stdout: o.Output, Stderr: o.Output,
		ExtraFiles: []*os.File{document, report}, SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = c.Start()
	_, _ = document.Close(), report.Close() // the process has its own
	p := &Process{to: to, from: from, in: bufio.NewReader(from)}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("start a background process: %w", err)
	}
	p.PID = c.Process.Pid
	p.end = func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = c.Wait()
	}
	p.free = func() { _ = c.Process.Release() }
	if err := send(to, o.Document); errors.Is(err, syscall.EPIPE) {
		p.Stop()
		return nil, errEnded
	} else if err != nil {
		p.Stop()
		return nil, fmt.Errorf("hand the run to a background process: %w", err)
	}
	return p, nil
}

// Inherited reads the document that Start handed to this process, and returns the way back.
func Inherited(document any) (*Starter, error) {
	for _, fd := range []int{documentFD, reportFD} {
		var info syscall.Stat_t
		if err := syscall.Fstat(fd, &info); err != nil || info.Mode&syscall.S_IFMT != syscall.S_IFIFO {
			return nil, errAlone
		}
		syscall.CloseOnExec(fd)
	}
	s := &Starter{in: bufio.NewReader(os.NewFile(documentFD, "document")), out: os.NewFile(reportFD, "report")}
	var line []byte
	for {
		part, err := s.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			if err := json.Unmarshal(line, document); err != nil {
				return nil, fmt.Errorf("the document of the run cannot be read: %w", err)
			}
			return s, nil
		case !errors.Is(err, bufio.ErrBufferFull), len(line) > maxDocument:
			return nil, errAlone
		}
	}
}
