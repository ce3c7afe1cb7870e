package world

// What notices a mutant. The world is asked where the fault is one of behavior, a package's own tests where it is one of
// a single promise.
var (
	byWorld   = []string{"./internal/world", "-run", "TestSeeds$|TestFaults$"}
	byEngine  = []string{"./batch"}
	byProof   = []string{"./internal/proof"}
	byClient  = []string{"./rpcclient"}
	byJournal = []string{"./internal/journal"}
)

// mutants are the broken products.
var mutants = []mutant{
	// The journal.
	{name: "an append is not synced", file: "internal/journal/journal.go", tests: byJournal,
		old: "err = j.f.Sync()", new: "err = nil"},
	{name: "the directory is not synced", file: "internal/journal/journal.go", tests: byJournal,
		old: "errors.Join(j.own(), syncDir(root))", new: "errors.Join(j.own(), nil)"},
	{name: "a partial line stays after a failed write", file: "internal/journal/journal.go", tests: byJournal,
		old: "if cut := j.f.Truncate(j.size); cut != nil {", new: "if cut := j.f.Truncate(j.size + int64(len(b))); cut != nil {"},
	{name: "a disk that failed once is trusted again", file: "internal/journal/journal.go", tests: byJournal,
		old: "j.last = fmt.Errorf(\"append to journal %q: %w\", j.id, err)\n\t\treturn j.last", new: "return err"},
	{name: "a torn tail is not cut off", file: "internal/journal/journal.go", tests: byJournal,
		old: "if j.torn > 0 {", new: "if false {"},
	{name: "the sum does not chain", file: "internal/journal/scan.go", tests: byJournal,
		old: "c := crc32.Update(0, castagnoli, []byte(before))", new: "c := crc32.Update(0, castagnoli, nil)"},
	{name: "two processes may hold a journal", file: "internal/journal/lock_unix.go", tests: byJournal,
		old: "return nil, ErrBusy", new: "return unlocker{f}, nil"},
	{name: "a damaged line counts as torn", file: "internal/journal/scan.go", tests: byJournal,
		old: "if !s.isTorn(line, whole) {", new: "if false {"},

	// The client.
	{name: "a duplicate reply is believed", file: "rpcclient/session.go", tests: byClient,
		old: "case answered:\n\t\treturn Duplicate, false", new: "case false:\n\t\treturn Duplicate, false"},
	{name: "a stranger is believed", file: "rpcclient/session.go", tests: byClient,
		old: "case !asked && !p.open:", new: "case false:"},
	{name: "the signer need not be the sender", file: "rpcclient/session.go", tests: byClient,
		old: "if proven != \"\" && proven != inner.Sender {", new: "if false {"},
	{name: "a request is not flushed", file: "rpcclient/publish.go", tests: byClient,
		old: "if err := s.client.conn.Flush(ctx); err != nil {\n\t\treturn sent, published, err\n\t}", new: ""},
	{name: "an interrupted send names nobody", file: "rpcclient/session.go", tests: byClient,
		old: "s.settle(ctx, nodes[published:], published, err)", new: "s.settle(ctx, nil, published, err)"},

	// The proof.
	{name: "a start before the reply is proof", file: "internal/proof/judge.go", tests: byProof,
		old: "unix > p.base && unix > p.stamp", new: "unix > p.base"},
	{name: "a probe does not wait until the request is harmless", file: "internal/proof/probe.go", tests: byProof,
		old: "p.wait = max(p.wait, t.Sent.Add(v.harmless(t)).Sub(now))", new: ""},
	{name: "a request is harmless before the longest delay is over", file: "internal/proof/probe.go", tests: byProof,
		old: "return v.o.TTL + max(v.o.LongestDelay, t.Delay) + clockMargin", new: "return v.o.TTL"},
	{name: "an earlier process counts as untouched", file: "internal/proof/probe.go", tests: byProof,
		old: "return start == p.base ||", new: "return start <= p.base ||"},

	// The engine.
	{name: "a request leaves before its intent is durable", file: "batch/runner.go", tests: byEngine,
		old: "case actCmd:\n\t\t\tif x.flush() {", new: "case actCmd:\n\t\t\tif true {"},
	{name: "an outcome is shown before it is durable", file: "batch/runner.go", tests: byEngine,
		old: "if err := x.write(); err != nil {", new: "for _, r := range x.pending {\n\t\t\tif x.Observer != nil {\n\t\t\t\tx.Observer.Observe(r)\n\t\t\t}\n\t\t}\n\t\tif err := x.write(); err != nil {"},
	{name: "replies are not handled before timers and signals", file: "batch/runner.go", tests: byEngine,
		old: "if _, reply := e.(outcomeEvent); !reply {", new: "if false {"},
	{name: "an old batch's reply timer ends a later wait", file: "batch/machine.go", tests: byEngine,
		old: "case e.Batch != c.batch:\n", new: "case e.Batch > c.batch:\n"},
	{name: "a doubt is dropped", file: "batch/machine.go", tests: byEngine,
		old: "int(r.batch) == batch && r.doubt == 0 {", new: "int(r.batch) == batch {"},
	{name: "a node that was being sent to counts as not sent", file: "batch/ledger.go", tests: byEngine,
		old: "l.moveAll(0, Sending, Unknown)", new: "l.moveAll(0, Sending, NotSent)"},
	{name: "a limit is met one too late", file: "batch/stop.go", tests: byEngine,
		old: "c.count < limit {", new: "c.count <= limit {"},
	{name: "a batch goes on after a stop", file: "batch/machine.go", tests: byEngine,
		old: "case m.halt == haltNone && len(m.queue) > 0:", new: "case len(m.queue) > 0:"},
}
