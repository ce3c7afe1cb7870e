package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"fleetctl/internal/plain"
)

// snapshotVersion is the version of the snapshot format: JSON lines, the first about the snapshot, one for each node in
// no particular order, the last with the number of nodes and the nodes that did not answer. A file without its last line is cut
// short. Versions only add keys.
const snapshotVersion = 1

// SnapshotInfo describes a snapshot.
type SnapshotInfo struct {
	Taken      time.Time `json:"taken"`
	Collective string    `json:"collective"`
	// Selection are the flags that chose the nodes, as typed.
	Selection []string `json:"selection"`
	// AgentVersions means that the versions of agents were asked for.
	AgentVersions bool `json:"agent_versions"`
}

type snapshotHead struct {
	Kind          string `json:"k"`
	SchemaVersion int    `json:"schema_version"`
	SnapshotInfo
}

type snapshotNode struct {
	Kind string `json:"k"`
	record
}

type snapshotEnd struct {
	Kind  string `json:"k"`
	Nodes int    `json:"nodes"`
	// Silent and Refused nodes exist, and are not in the snapshot.
	Silent  []string `json:"silent"`
	Refused []string `json:"refused"`
}

const (
	kindSnapshot = "snapshot"
	kindNode     = "node"
	kindEnd      = "end"
	maxLine      = 64 << 20 // bytes of one node: far more than any facts
)

// SnapshotWriter writes a snapshot, node by node.
type SnapshotWriter struct {
	w     *bufio.Writer
	nodes int
}

// NewSnapshotWriter begins a snapshot.
func NewSnapshotWriter(w io.Writer, info SnapshotInfo) (*SnapshotWriter, error) {
	s := &SnapshotWriter{w: bufio.NewWriter(w)}
	info.Taken, info.Selection = info.Taken.UTC(), notNil(info.Selection)
	return s, s.line(snapshotHead{kindSnapshot, snapshotVersion, info})
}

func (s *SnapshotWriter) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if _, err = s.w.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Add writes a node. What changes by itself, its start time and uptime, is left out.
func (s *SnapshotWriter) Add(n Node) error {
	s.nodes++
	n.Stats = nil
	return s.line(snapshotNode{kindNode, n.record()})
}

// Close ends the snapshot: without it the file is cut short. It does not close the underlying writer.
func (s *SnapshotWriter) Close(silent, refused []string) error {
	if err := s.line(snapshotEnd{kindEnd, s.nodes, notNil(silent), notNil(refused)}); err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Snapshot is a snapshot that was read. It keeps where each node is in the file, not the nodes: they are read again when
// they are wanted, so the file has to stay open and unchanged.
type Snapshot struct {
	SnapshotInfo
	Silent, Refused []string
	file            io.ReaderAt
	order           []string
	at              map[string]span
}

type span struct {
	offset int64
	length int
}

// ErrNoSnapshot means that a file is not a snapshot.
var ErrNoSnapshot = errors.New("not an inventory snapshot")

// ReadSnapshot reads a snapshot of size bytes and checks all of it. Errors name the line.
func ReadSnapshot(file io.ReaderAt, size int64) (*Snapshot, error) {
	s := &Snapshot{file: file, at: map[string]span{}}
	scanner := bufio.NewScanner(io.NewSectionReader(file, 0, size))
	scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
	scanner.Split(wholeLines)
	var offset int64
	number, ended := 0, false
	for scanner.Scan() {
		number++
		line := scanner.Bytes()
		if ended {
			return nil, fmt.Errorf("line %d: more after the end", number)
		}
		var err error
		if number == 1 {
			err = s.head(line)
		} else {
			ended, err = s.member(line, offset)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		offset += int64(len(line)) + 1
	}
	switch err := scanner.Err(); {
	case err != nil:
		return nil, fmt.Errorf("line %d: %w", number+1, err)
	case number == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrNoSnapshot)
	case !ended:
		return nil, fmt.Errorf("cut short after line %d", number)
	}
	return s, nil
}

// wholeLines splits at newlines only: bufio.ScanLines would drop a carriage return, and offsets would be wrong.
func wholeLines(data []byte, atEnd bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEnd && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (s *Snapshot) head(line []byte) error {
	var head snapshotHead
	if err := json.Unmarshal(line, &head); err != nil || head.Kind != kindSnapshot || head.SchemaVersion < 1 {
		return ErrNoSnapshot
	}
	if head.SchemaVersion > snapshotVersion {
		return fmt.Errorf("cannot read version %d of the format: this program knows version %d", head.SchemaVersion, snapshotVersion)
	}
	s.SnapshotInfo = head.SnapshotInfo
	return nil
}

// member reads a line after the first one.
func (s *Snapshot) member(line []byte, offset int64) (ended bool, err error) {
	var kind struct {
		Kind string `json:"k"`
	}
	if err := json.Unmarshal(line, &kind); err != nil {
		return false, err
	}
	switch kind.Kind {
	case kindNode:
		n, err := readNode(line)
		if err != nil {
			return false, err
		}
		if _, twice := s.at[n.Identity]; twice {
			return false, fmt.Errorf("node %s is there twice", n.Identity)
		}
		s.at[n.Identity] = span{offset, len(line)}
		s.order = append(s.order, n.Identity)
	case kindEnd:
		var end snapshotEnd
		if err := json.Unmarshal(line, &end); err != nil {
			return false, err
		}
		if end.Nodes != len(s.order) {
			return false, fmt.Errorf("it has %s, and its last line counts %d", plain.Count(len(s.order), "node"), end.Nodes)
		}
		s.Silent, s.Refused = end.Silent, end.Refused
		return true, nil
	default:
		return false, fmt.Errorf("unknown kind of line %q", kind.Kind)
	}
	return false, nil
}

func readNode(line []byte) (Node, error) {
	var read snapshotNode
	if err := json.Unmarshal(line, &read); err != nil {
		return Node{}, err
	}
	n := Node(read.members)
	n.Facts = bytes.TrimSpace(read.Facts)
	switch {
	case n.Identity == "":
		return Node{}, errors.New("a node without a name")
	case n.Version == "":
		return Node{}, fmt.Errorf("node %s has no version", n.Identity)
	case len(n.Facts) > 0 && n.Facts[0] != '{':
		return Node{}, fmt.Errorf("node %s: its facts are no object", n.Identity)
	}
	return n, nil
}

// Len is the number of nodes.
func (s *Snapshot) Len() int { return len(s.order) }

// Node reads a node again; ok is false where the snapshot has none of that name.
func (s *Snapshot) Node(identity string) (n Node, ok bool, err error) {
	where, ok := s.at[identity]
	if !ok {
		return Node{}, false, nil
	}
	line := make([]byte, where.length)
	if _, err := s.file.ReadAt(line, where.offset); err != nil {
		return Node{}, true, fmt.Errorf("read snapshot again: %w", err)
	}
	if n, err = readNode(line); err == nil && n.Identity != identity {
		err = errors.New("it has been changed meanwhile")
	}
	if err != nil {
		return Node{}, true, fmt.Errorf("read snapshot again: %w", err)
	}
	return n, true, nil
}

// Nodes reads every node again, in the order of the file.
func (s *Snapshot) Nodes() iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		for _, identity := range s.order {
			n, _, err := s.Node(identity)
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}
