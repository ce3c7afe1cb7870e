package batch

import (
	"encoding/json"
	"errors"
	"time"
)

// Adoption is the body of an adopted record: another operator's process takes a run over, from a copy of its record.
type Adoption struct {
	From string          `json:"from"`           // the driver of before, in words
	Size int64           `json:"size"`           // of the record that was taken over, in bytes
	Meta json.RawMessage `json:"meta,omitempty"` // the new driver's own description of the run; no secrets
}

// AdoptedLine is the line of an adopted record.
func AdoptedLine(at time.Time, by string, a Adoption) ([]byte, error) {
	return encodeRecord(Record{Kind: KindAdopted, Time: at.Round(0), By: by, Adopted: &a})
}

func (l *ledger) applyAdopted(r *Record) error {
	if r.Adopted == nil {
		return errors.New("an adopted record without its body")
	}
	if len(r.Adopted.Meta) > 0 {
		l.begin.Header.Meta = r.Adopted.Meta
	}
	l.adopted = append(l.adopted, AdoptedBy{Time: r.Time, By: r.By, From: r.Adopted.From})
	return nil
}

// AdoptedBy is one adoption of a run.
type AdoptedBy struct {
	Time time.Time `json:"time"` // by the new driver's clock
	By   string    `json:"by"`
	From string    `json:"from"`
}

// Adopted lists the adoptions of a run, in order.
func (p Progress) Adopted() []AdoptedBy { return p.l.adopted }

// adoptedMargin takes the place of youngMargin where the age of the run is measured by another clock than its records.
const adoptedMargin = 5 * time.Second

// runAge is how old a process must be to have begun before the run did, and how young to have begun after it for certain.
func (m *machine) runAge(at time.Time) (older, younger time.Duration) {
	if m.age > 0 {
		return m.age + Longest(m.agedAt, at) + adoptedMargin, m.age + Shortest(m.agedAt, at) - adoptedMargin
	}
	return Longest(m.l.started, at) + youngMargin, Shortest(m.l.started, at) - youngMargin
}
