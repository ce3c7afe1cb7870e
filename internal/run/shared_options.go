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
	if err := s.validateBudget(r); err != nil || len(s.Locks) == 0 && len(s.MaxDown) == 0 && !s.Mirror {
		return err
	}
	if r.ReplyTo != "" {
		return usage(errors.New("--lock and --share exclude --reply-to: this process does not learn when the nodes are done"), "")
	}
	return r.shortEnough("use --ttl 30 or less with --lock, --max-down and --share")
}

// shortEnough refuses a time to live that was typed, and that is too long for a lock. A longer one that was configured or
// recorded is lowered.
func (r Request) shortEnough(hint string) error {
	if ttl := r.Pace.TTL; ttl.Set && !r.keptTTL && ttl.D > lockTTL {
		return usage(fmt.Errorf("--ttl %s is too long for a lock: a request must be over before the lock is", ttl.D), hint)
	}
	return nil
}

// checkTTL does so where the run holds a lock that the request does not ask for: one of the settings, or of limits that bind
// every run.
func (c sharing) checkTTL() error {
	if c.req.handed != nil || len(c.lockNames()) == 0 && !c.mirrored() {
		return nil
	}
	return c.req.shortEnough("use --ttl 30 or less: lock, max_down or share in " + c.SettingsFile + ", or `fleetctl shared limits`, make this run hold a lock")
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
	s.BudgetWait.keep(m.BudgetWait)
	s.Timeout.keep(m.ShareTimeout)
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
