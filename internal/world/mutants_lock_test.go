package world

// The tests that must notice when locks are broken.
var (
	byLease = []string{"./internal/lease"}
	byLocks = []string{"-run", "Lock|ARun", "./internal/run"}
	byAdmit = []string{"-run", "Admit|TooLate", "./batch"}
)

// lockMutants break locks, the fence, and the way that the engine asks for both.
var lockMutants = []mutant{
	{name: "lock: another holder's lock is renewed", file: "internal/lease/lock.go", tests: byLease,
		old: "if h := decode(entry.Value); h.Nonce != l.me.Nonce {", new: "if h := decode(entry.Value); h.Nonce == \"\" {"},
	{name: "lock: a renewal counts from its answer", file: "internal/lease/lock.go", tests: byLease,
		old: "l.revision, l.renewed = revision, sent", new: "l.revision, l.renewed = revision, time.Now()"},
	{name: "lock: the fence is as long as the lease", file: "internal/lease/lock.go", tests: byLease,
		old: "{ return life - ttl - Skew }", new: "{ return life }"},
	{name: "lock: nothing is waited for after an eviction", file: "internal/lease/lock.go", tests: byLease,
		old: "entry.Revision; !entry.Released {", new: "entry.Revision; false {"},
	{name: "lock: a lock that waits is given back", file: "internal/lease/lock.go", tests: byLease,
		old: "if lost != nil || waits {", new: "if lost != nil || waits && false {"},
	{name: "lock: an expired lock is taken again", file: "internal/lease/lock.go", tests: byLease,
		old: "l.lose(&lostError{Name: l.name, Expired: true})\n\t\treturn 0, false", new: "return 0, true"},
	{name: "lock: a request leaves after its fence", file: "rpcclient/publish.go", tests: []string{"-run", "OnceItIsSealed", "./rpcclient"},
		old: "if err := p.sealed(); err != nil {", new: "if err := p.sealed(); false {"},
	{name: "lock: the engine does not ask before the intent", file: "batch/machine_send.go", tests: byAdmit,
		old: "case !m.admitted(f):", new: "case false:"},
	{name: "lock: a batch that was too late stops the run", file: "batch/machine_flight.go", tests: byAdmit,
		old: "if m.sendAgain(e.At, f, not) {", new: "if false {"},
	{name: "lock: a run does not hold its lock", file: "internal/run/drive.go", tests: byLocks,
		old: "runner.Admitter = sharing(c).admitter()", new: "_ = c.locks"},
	{name: "lock: a lock is given back while a request may act", file: "internal/run/locks.go", tests: byLocks,
		old: "if wait := time.Until(c.quiet(p)); wait > 0 {", new: "if wait := time.Until(c.quiet(p)); wait > time.Hour {"},
}
