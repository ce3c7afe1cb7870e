package run

import (
	"encoding/json"
	"fmt"

	"fleetctl/batch"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/security"
)

// asked takes what an operator elsewhere asks.
func (m *mirrored) asked(a lease.Ask) {
	by := plain.Line(lease.Holder{Caller: a.By, Host: a.Host}.String())
	if a.Stop {
		select {
		case m.interrupt <- fmt.Errorf("stopped by %s", by):
		default:
		}
		return
	}
	select {
	case m.control <- batch.Control{Time: a.Time, Pause: a.Pause, By: by}:
	default: // a driver that does not look takes the next one
	}
}

// signing signs the segments of a shared record. What shows whose signature it is stands where it changes.
type signing struct {
	id   *security.Identity
	last security.Statement
}

func (s *signing) sign(text []byte) (json.RawMessage, error) {
	statement, err := s.id.SignStatement(text)
	if err != nil {
		return nil, err
	}
	whole := statement
	if statement.Token == s.last.Token {
		statement.Token = ""
	}
	if statement.Certificate == s.last.Certificate {
		statement.Certificate = ""
	}
	s.last = whole
	return json.Marshal(statement)
}
