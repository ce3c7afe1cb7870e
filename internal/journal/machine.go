package journal

import (
	"io/fs"
	"os"
	"time"
)

// Machine is where a journal is written or read: what its lines record of host, boot and process, and the clocks by which
// a record is judged. ThisMachine is the real one; tests make others. Its functions must not be nil.
type Machine struct {
	Host  string
	Boot  string // the id of this boot; "" where the system has none
	PID   int
	Start string // when this process began, in the system's own format; "" when the system does not report it
	UID   int    // the effective user; -1 where files have no owner
	Began time.Duration
	// Now is the wall clock. Uptime is the time since the boot, sleep included; where Boot is "", the time since the process
	// began. Began is the Uptime at which this command began.
	Now     func() time.Time
	Uptime  func() time.Duration
	Changed func(fs.FileInfo) time.Time // when the file or its status last changed; zero where that is not known
	// Process is the start time of the process with this number, in the format of Start; "" when there is none, or unknown.
	Process func(pid int) string

	files fileSystem
}

// began is the uptime at the start of this program.
var began = uptime()

// ThisMachine is this machine and this process.
func ThisMachine() Machine {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return Machine{
		Host: host, Boot: bootID(), PID: os.Getpid(), Start: processStart(os.Getpid()), UID: os.Geteuid(), Began: began,
		Now: time.Now, Uptime: uptime, Changed: changed, Process: processStart,
	}
}

// Owns reports whether a file belongs to the user of this process; where files have no owner, all do.
func (m Machine) Owns(info fs.FileInfo) bool {
	_, _, uid := fileIdentity(info)
	return uid == m.UID
}

func (m Machine) disk() fileSystem {
	if m.files == nil {
		return disk{}
	}
	return m.files
}
