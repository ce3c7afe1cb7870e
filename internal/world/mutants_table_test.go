package world

// What notices a mutant. The world is asked where the fault is one of behavior, a package's own tests where it is one of
// a single promise.
var (
	byWorld   = []string{"./batch", "./internal/world"}
	byEngine  = []string{"./batch"}
	byProof   = []string{"./internal/proof"}
	byClient  = []string{"./rpcclient"}
	byJournal = []string{"./internal/journal"}
)

// mutants are the broken products.
var mutants = append(innerMutants, engineMutants...)

// innerMutants break the journal, the client and the proof.
var innerMutants = []mutant{
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
		old: "case answered:\n\t\treturn Duplicate, false", new: "case answered && false:\n\t\treturn Duplicate, false"},
	{name: "a stranger is believed", file: "rpcclient/session.go", tests: byClient,
		old: "case !asked && !p.open:", new: "case !asked && false:"},
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
}
