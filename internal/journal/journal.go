// Package journal keeps the records of a run in one append-only file.
package journal

import (
	"errors"
	"iter"
	"time"
)

var errTodo = errors.New("not built yet")

// Journal is one run's file, held by this process alone.
type Journal struct{}

// Owner is the process that wrote last.
type Owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// Info is what a listing knows of a run without reading its records.
type Info struct {
	ID       string
	Modified time.Time
	Size     int64
	Live     bool // a process holds it
}

// Contents is what a journal held when it was read.
type Contents struct{}

// Retention says which runs Prune deletes.
type Retention struct {
	MaxAge   time.Duration
	Keep     int
	Finished func(lastLine []byte) bool
}

func Create(dir, id string) (*Journal, error)                        { return nil, errTodo }
func Open(dir, id string) (*Journal, error)                          { return nil, errTodo }
func Read(dir, id string) (*Contents, error)                         { return nil, errTodo }
func List(dir string) ([]Info, error)                                { return nil, errTodo }
func Prune(dir string, r Retention, now time.Time) ([]string, error) { return nil, errTodo }
func (j *Journal) Append(lines ...[]byte) error                      { return errTodo }
func (j *Journal) Lines() iter.Seq2[[]byte, error]                   { return nil }
func (j *Journal) Torn() int64                                       { return 0 }
func (j *Journal) Close() error                                      { return nil }
func (c *Contents) Lines() iter.Seq2[[]byte, error]                  { return nil }
func (c *Contents) Torn() int64                                      { return 0 }
func (c *Contents) Owner() (Owner, bool)                             { return Owner{}, false }
