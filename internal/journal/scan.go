package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"time"
)

// The two kinds of line.
const (
	recordKey = "rec"
	ownerKey  = "own"
)

// prefixLen is the length of `{"sum":"1a2b3c4d","rec":`.
const prefixLen = len(`{"sum":"1a2b3c4d","rec":`)

// chain is the sum of a line that follows a line of sum before.
func chain(before, key string, content []byte) string {
	castagnoli := crc32.MakeTable(crc32.Castagnoli) // which makes it once, when first asked
	c := crc32.Update(0, castagnoli, []byte(before))
	c = crc32.Update(c, castagnoli, []byte(key))
	return fmt.Sprintf("%08x", crc32.Update(c, castagnoli, content))
}

// appendLine adds a whole line to b, and returns its sum.
func appendLine(b []byte, before, key string, content []byte) ([]byte, string) {
	sum := chain(before, key, content)
	b = append(b, `{"sum":"`+sum+`","`+key+`":`...)
	b = append(b, content...)
	return append(b, "}\n"...), sum
}

// parseLine checks a line (without its newline) against the sum before it.
func parseLine(line []byte, before string) (key string, content []byte, sum string, why string) {
	if len(line) < prefixLen+1 || line[len(line)-1] != '}' {
		return "", nil, "", "it is not a whole line"
	}
	key = string(line[prefixLen-5 : prefixLen-2])
	sum = string(line[8:16])
	content = line[prefixLen : len(line)-1]
	if string(line[:prefixLen]) != `{"sum":"`+sum+`","`+key+`":` || (key != recordKey && key != ownerKey) {
		return "", nil, "", "it does not begin as a line of a journal"
	}
	if chain(before, key, content) != sum {
		return "", nil, "", "its checksum does not fit, or a line before it is missing"
	}
	return key, content, sum, ""
}

// owning is the content of an own line.
type owning struct {
	Format int    `json:"journal"`
	ID     string `json:"id"`
	Owner
	place
	Copy string `json:"copy,omitempty"` // why the process took the file for a copy when it opened it
}

// scan reads a journal line by line, checking each.
type scan struct {
	r         io.Reader
	at        io.ReaderAt
	id        string
	sum       string // of the last good line
	good      int64  // bytes up to its end
	n         int    // lines
	entries   int    // lines that are records
	noNewline bool   // the last line is whole except its newline
	err       error

	owner      Owner   // the process of the last own line, since its first one
	anchors    []Owner // every own line
	first      owning  // the first own line
	copy       string  // why an earlier process took the file for a copy
	lastKey    string  // of the last good line
	lastLength int64
	lastOwn    time.Time // of the last own line
}

func newScan(r io.ReaderAt, size int64, id string) *scan {
	return &scan{r: io.NewSectionReader(r, 0, size), at: r, id: id}
}

// records yields the contents of record lines, then the error, if any.
func (s *scan) records() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line := range s.lines {
			if !yield(line, nil) {
				return
			}
		}
		if s.err != nil {
			yield(nil, s.err)
		}
	}
}

// lines yields the contents of record lines up to the end, a torn tail, or
// s.err.
func (s *scan) lines(yield func([]byte) bool) {
	r := bufio.NewReaderSize(s.r, 1<<16)
	var long []byte
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		if err != nil && err != io.EOF {
			s.err = err
			return
		}
		if len(line) == 0 {
			return
		}
		if !s.take(line, yield) || err == io.EOF {
			return
		}
		long = long[:0]
	}
}

// take checks one line, with its newline if it has one. It reports whether to
// continue.
func (s *scan) take(line []byte, yield func([]byte) bool) bool {
	text, whole := bytes.CutSuffix(line, []byte{'\n'})
	key, content, sum, why := parseLine(text, s.sum)
	if why == "" && key == ownerKey {
		why = s.owned(content)
	}
	if why == "" && s.n == 0 && key != ownerKey {
		why = "the first line does not name the run of this journal"
	}
	if why != "" {
		if !s.isTorn(line, whole) {
			s.err = &CorruptError{s.n + 1, why}
		}
		return false
	}
	s.n++
	s.sum = sum
	s.good += int64(len(line))
	s.noNewline = !whole
	s.lastKey, s.lastLength = key, int64(len(line))
	if key == ownerKey {
		return true
	}
	s.entries++
	return yield(content)
}

// owned reads an own line; it must be of this run and of a format we know.
func (s *scan) owned(content []byte) (why string) {
	var o owning
	if err := json.Unmarshal(content, &o); err != nil {
		return "it does not name the owner of the journal"
	}
	switch {
	case o.Format != format:
		return fmt.Sprintf("it has format %d, and this program knows %d", o.Format, format)
	case o.ID != s.id:
		return fmt.Sprintf("it belongs to run %q", o.ID)
	}
	if s.n == 0 {
		s.first = o
	}
	if o.Copy != "" {
		s.copy = o.Copy
	}
	if !o.same(s.owner) || s.n == 0 {
		s.owner = o.Owner
	}
	s.anchors = append(s.anchors, o.Owner)
	s.lastOwn = o.Since
	return ""
}

// isTorn distinguishes a line that a crash cut short from later damage. A cut line has no newline and does not
// contain a whole line. If the file system extended the file before the data was written, zeros fill the line up to
// the end of the file. Zeros followed by other bytes are damage: acknowledged records may be lost, including
// requests that were sent.
func (s *scan) isTorn(line []byte, whole bool) bool {
	if whole {
		return false
	}
	if zero := bytes.IndexByte(line, 0); zero >= 0 && len(bytes.Trim(line[zero:], "\x00")) > 0 {
		return false
	}
	_, _, _, why := parseLine(line[:len(line)-1], s.sum)
	return why != ""
}
