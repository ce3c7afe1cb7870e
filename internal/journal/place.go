package journal

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// place is where a journal was made. It is in each own line; the first one counts.
type place struct {
	Device uint64 `json:"dev,omitempty"`
	Inode  uint64 `json:"ino,omitempty"`
}

// copyLag is how much later than its last line a file may have changed: what a slow disk takes.
const copyLag = 5 * time.Second

// copied reports why the file may be an outdated copy; "" when nothing hints at one. A process that
// opened a copy wrote so in its own line: what is missing stays missing.
func (s *scan) copied(m Machine, info fs.FileInfo) string {
	if s.copy != "" || s.n == 0 {
		return s.copy
	}
	if s.first.Host != m.Host {
		return fmt.Sprintf("it was made on host %q, and this is %q", s.first.Host, m.Host)
	}
	device, inode, _ := fileIdentity(info)
	if known := s.first.Inode != 0 && inode != 0; known && (s.first.Device != device || s.first.Inode != inode) {
		return "it is another file than the one that was made for the run"
	}
	changed, last := m.Changed(info), s.lastTime()
	if !changed.IsZero() && !last.IsZero() && changed.Sub(last) > copyLag {
		return fmt.Sprintf("the file changed %s after its last line was written", changed.Sub(last).Round(time.Second))
	}
	return ""
}

// lastTime is when the last line was written, by itself: the time of an own line, the key t of a record. Zero when it does
// not say.
func (s *scan) lastTime() time.Time {
	if s.lastKey == ownerKey {
		return s.lastOwn
	}
	line := make([]byte, s.lastLength)
	if _, err := s.at.ReadAt(line, s.good-s.lastLength); err != nil && err != io.EOF {
		return time.Time{}
	}
	var r struct {
		Record struct {
			Time time.Time `json:"t"`
		} `json:"rec"`
	}
	if json.Unmarshal(line, &r) != nil {
		return time.Time{}
	}
	return r.Record.Time
}
