package run

import (
	"errors"
	"fmt"
	"time"

	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
)

// Shared is what a run shares with those of other operators.
type Shared struct {
	Locks   []string // held while the run sends
	Wait    Wait     // for a lock that another holds; 0: not at all
	Mirror  bool     // operators elsewhere see the record, and may adopt the run
	Timeout Wait     // how long the shared record may be silent before the run stops; 1 m

	MaxDown    lease.Limits // of nodes that are down at once, with those of other runs
	BudgetWait Wait         // for room below these limits; 10 minutes
}

func (s Shared) validate(r Request) error {
	for _, name := range s.Locks {
		if err := lease.CheckName(name); err != nil {
			return usage(err, "")
		}
	}
	if s.Mirror && r.Record.Off {
		return usage(errors.New("--share excludes --no-journal: what is shared is the record"), "")
	}
	if err := s.validateBudget(r); err != nil || len(s.Locks) == 0 && !s.Mirror {
		return err
	}
	if r.ReplyTo != "" {
		return usage(errors.New("--lock and --share exclude --reply-to: this process does not learn when the nodes are done"), "")
	}
	if r.Pace.TTL.Set && r.Pace.TTL.D > lockTTL {
		return usage(fmt.Errorf("--ttl %s is too long for a lock: a request must be over before the lock is", r.Pace.TTL.D), "use --ttl 30 or less with --lock and --share")
	}
	return nil
}

// keep fills in what a recorded run shares.
func (s *Shared) keep(m Meta) {
	if len(s.Locks) == 0 {
		s.Locks = m.Locks
	}
	s.Mirror = s.Mirror || m.Share
	if len(s.MaxDown) == 0 {
		s.MaxDown = m.MaxDown
	}
	if !s.BudgetWait.Set {
		s.BudgetWait = Wait{m.BudgetWait, m.BudgetWait > 0}
	}
}

// driven refuses to take a run over from a driver whose lock lives.
func driven(id string, held *lease.HeldError) error {
	who := "another process"
	if held.Holder.Caller != "" {
		who = plain.Line(lease.Holder{Caller: held.Holder.Caller, Host: held.Holder.Host}.String())
	}
	text := fmt.Sprintf("%s drives run %s", who, id)
	if run := held.Holder.Run; run != id && run != "" {
		text = fmt.Sprintf("%s retries run %s, as run %s", who, id, plain.Line(run))
	}
	if renewed := held.Renewed.Round(time.Second); renewed > 0 {
		text += fmt.Sprintf(", last heard of %s ago", renewed)
	}
	return &GuardError{
		Guard: lockGuard, Err: errors.New(text),
		Hint: "`" + Next{Run: id}.Command("stop", "--shared") + "` asks it to end; when it has died, its lock is free within 65s: wait for it with --lock-wait 2m",
	}
}
