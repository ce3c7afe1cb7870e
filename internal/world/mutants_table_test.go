package world

import "slices"

// What notices a mutant. The world is asked where the fault is one of behavior, a package's own tests where it is one of
// a single promise.
var (
	byHours   = []string{"-run", "TestTranscripts/hours$", "./batch"} // elsewhere such a batch is begun again and again, for minutes
	byWorld   = []string{"./batch", "./internal/world"}
	byFaults  = []string{"-run", "TestFaults$", "./internal/world"}
	byUpdates = []string{"-run", "TestUpdate", "./internal/world"}
	byProof   = []string{"./internal/proof"}
	byClient  = []string{"./rpcclient"}
	byJournal = []string{"./internal/journal"}
)

// mutants are the broken products.
var mutants = slices.Concat(journalMutants, productMutants, windowMutants, gateMutants, lockMutants, orderMutants, budgetMutants, shareMutants, commonMutants)

// journalMutants break the journal.
var journalMutants = []mutant{
	// The journal.
	{name: "an append is not synced", file: "internal/journal/journal.go", tests: byJournal,
		old: "err = j.f.Sync()", new: "err = nil"},
	{name: "the directory is not synced", file: "internal/journal/journal.go", tests: byJournal,
		old: "err = errors.Join(j.own(), root.Sync())", new: "err = j.own()"},
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
}
