package saved

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetctl/internal/gate"
	"fleetctl/internal/security"
)

// Approval is the word of a caller for one plan, of one digest.
type Approval struct {
	Time   time.Time `json:"time"`   // whole seconds, UTC
	Caller string    `json:"caller"` // as whom it is shown; what counts is whom the signature is of
	security.Statement
}

// Signature is the owner's word that the plan is its own.
type Signature struct{ security.Statement }

// Signer signs with our own Choria identity. *security.Identity is one.
type Signer interface {
	Signatory() (s security.Signatory, ok bool)
	SignStatement(text []byte) (security.Statement, error)
}

// Verifier tells whose signature it is. *security.Identity is one.
type Verifier interface {
	VerifyStatement(s security.Statement, text []byte, now time.Time) (security.Signatory, error)
}

// approvalText is what an approver signs.
func approvalText(digest string, at time.Time) []byte {
	return []byte("fleetctl-plan:v1:" + digest + ":" + at.UTC().Format(time.RFC3339))
}

// ownerText is what the owner signs. An approval is never taken for it: the owner of a plan is who may not approve it.
func ownerText(digest string) []byte { return []byte("fleetctl-plan-owner:v1:" + digest) }

// Sign signs the file as its owner, whose caller id must be the plan's. signed is false where we have no key of our own.
func (f *File) Sign(s Signer) (signed bool, err error) {
	who, ok := s.Signatory()
	if !ok {
		return false, nil
	}
	if who.Caller != f.Plan.Owner {
		return false, fmt.Errorf("the plan is owned by %s, and signed by %s", f.Plan.Owner, who.Caller)
	}
	statement, err := s.SignStatement(ownerText(f.Digest))
	if err != nil {
		return false, err
	}
	f.Signed = &Signature{statement}
	return true, nil
}

// Owned is nil when the owner has signed the plan. Its token or certificate is judged as of when the plan was made: a plan
// has a life of its own, which is short.
func (f *File) Owned(v Verifier) error {
	if f.Signed == nil {
		return errors.New("its owner has not signed it")
	}
	who, err := v.VerifyStatement(f.Signed.Statement, ownerText(f.Digest), f.Plan.Created)
	if err != nil {
		return fmt.Errorf("its owner's signature: %w", err)
	}
	if who.Caller != f.Plan.Owner {
		return fmt.Errorf("it is owned by %s, and signed by %s", f.Plan.Owner, who.Caller)
	}
	return nil
}

// Current refuses a plan before and after its time.
func (f *File) Current(now time.Time) error {
	switch {
	case now.Before(f.Plan.Created.Add(-skew)):
		return refused("compare the clocks of both machines", "the plan was made at %s, which is in the future", f.Plan.Created.Format(time.RFC3339))
	case !now.Before(f.Plan.Expires):
		return refused(saveAgain, "the plan expired at %s", f.Plan.Expires.Format(time.RFC3339))
	}
	return nil
}

// Approve makes our approval of the plan, and the time when it ends: with the plan, or with our token or certificate.
// Errors are *RefusedError where we may not approve it, and those of the signer.
func (f *File) Approve(s Signer, now time.Time) (a Approval, ends time.Time, err error) {
	if err := f.Current(now); err != nil {
		return Approval{}, time.Time{}, err
	}
	who, ok := s.Signatory()
	if !ok {
		return Approval{}, time.Time{}, refused("approve it as a caller with a seed or a private key of its own", "cannot approve: there is no key of ours to sign with")
	}
	if who.Caller == f.Plan.Owner {
		return Approval{}, time.Time{}, refused("another operator has to", "cannot approve: %s made this plan", who.Caller)
	}
	at := now.UTC().Truncate(time.Second)
	statement, err := s.SignStatement(approvalText(f.Digest, at))
	if err != nil {
		return Approval{}, time.Time{}, err
	}
	ends = f.Plan.Expires
	if !who.Ends.IsZero() && who.Ends.Before(ends) {
		ends = who.Ends
	}
	return Approval{Time: at, Caller: who.Caller, Statement: statement}, ends, nil
}

// Judged is an approval with what it is worth.
type Judged struct {
	Caller string    // as verified; where that failed, as it says itself
	Time   time.Time // as it says itself
	Ends   time.Time // of an approval that counts
	Why    string    // it does not count; "" when it does
}

// Judge looks at each approval, in order. appliers are the caller ids of the operator that applies the plan; none while it is
// only looked at. No approval counts for a plan whose owner has not signed it: any operator could name another as the owner, and approve it.
func (f *File) Judge(v Verifier, appliers []string, now time.Time) []Judged {
	unowned := f.Owned(v)
	all := make([]Judged, 0, len(f.Approvals))
	for _, a := range f.Approvals {
		j := Judged{Caller: a.Caller, Time: a.Time}
		who, err := v.VerifyStatement(a.Statement, approvalText(f.Digest, a.Time), now)
		if err == nil {
			j.Caller, j.Ends = who.Caller, f.Plan.Expires
			if !who.Ends.IsZero() && who.Ends.Before(j.Ends) {
				j.Ends = who.Ends
			}
		}
		switch {
		case err != nil:
			j.Why = err.Error()
		case unowned != nil:
			j.Why = "the plan cannot be approved: " + unowned.Error()
		case who.Caller != a.Caller:
			j.Why = fmt.Sprintf("it says that it is of %s, and is signed by another", a.Caller)
		case a.Time.After(now.Add(skew)):
			j.Why = "it is dated in the future"
		case a.Time.Before(f.Plan.Created.Add(-skew)):
			j.Why = "it is older than the plan"
		case who.Caller == f.Plan.Owner:
			j.Why = "it is of the owner of the plan"
		case slices.Contains(appliers, who.Caller):
			j.Why = "it is of the operator that applies the plan"
		case slices.ContainsFunc(all, func(other Judged) bool { return other.Why == "" && other.Caller == who.Caller }):
			j.Why = "this caller has approved it already"
		}
		if j.Why != "" {
			j.Ends = time.Time{}
		}
		all = append(all, j)
	}
	return all
}

// Count is how many approvals count, all of different callers.
func Count(all []Judged) int {
	n := 0
	for _, j := range all {
		if j.Why == "" {
			n++
		}
	}
	return n
}

// Runnable refuses a plan whose gates are commands of another operator, for whom no signature vouches: to apply a plan
// is to run its commands. appliers are the caller ids of the operator that applies it; keyless: this operator has no
// key, so that its own plans are not signed either.
func (f *File) Runnable(v Verifier, appliers []string, keyless bool) error {
	commands := slices.ContainsFunc(f.Plan.Gates, func(g Gate) bool { return g.Command != "" })
	if !commands || keyless && f.Signed == nil && slices.Contains(appliers, f.Plan.Owner) {
		return nil
	}
	if err := f.Owned(v); err != nil {
		return refused("have its owner save it with a key of its own, or read its gates and save them in a plan of yours",
			"cannot apply the plan: its gates are commands of %s, and %v", f.Plan.Owner, err)
	}
	return nil
}

// Unchanged refuses a plan that names a script which is another now.
func (f *File) Unchanged(places gate.Places) error {
	for _, g := range f.Plan.Gates {
		now, err := places.Scripts(g.Command)
		if err != nil {
			return refused(saveAgain, "gate %q: %v", g.Command, err)
		}
		if why := gate.Changed(g.Scripts, now); why != "" {
			return refused(saveAgain, "gate %q: %s", g.Command, why)
		}
	}
	return nil
}
