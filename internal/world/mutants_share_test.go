package world

// The tests that must notice when shared records or adoptions are broken.
var (
	byShare = []string{"-run", "Shared|Adopt|Dead|Plan|Signed|Retried", "./internal/run"}
	// bySilence alone: in other tests such a run tries again for minutes.
	bySilence = []string{"-run", "ASilentSharedRecord", "./internal/run"}
	byImplied = []string{"-run", "CountsInTheBudget|TimeToLive|Settl", "./internal/run"}
	byAdopt   = []string{"-run", "Mirror|Claimed|Driver|Segment|Asked|Found|Reader", "./internal/lease"}
)

// shareMutants break the shared record, and what protects an adoption.
var shareMutants = []mutant{
	{name: "share: a segment is written over another's", file: "internal/lease/mirror.go", tests: byAdopt,
		old: "if gerr == nil && bytes.Equal(entry.Value, s.value) {", new: "if gerr == nil {"},
	{name: "share: a lost driver goes on", file: "internal/lease/mirror.go", tests: byAdopt,
		old: "\tif m.lost != nil || m.first.IsZero() {\n\t\treturn m.lost", new: "\tif m.lost != nil || m.first.IsZero() {\n\t\treturn nil"},
	{name: "share: silence has no end", file: "internal/lease/mirror.go", tests: byAdopt,
		old: "case silent.For > m.o.Timeout:", new: "case false:"},
	{name: "share: what was not acknowledged counts", file: "internal/lease/mirror.go", tests: byAdopt,
		old: "done, lost, acked := m.head.Bytes >= target, m.lost, m.acked", new: "done, lost, acked := target >= 0, m.lost, m.acked"},
	{name: "share: an adoption does not show in the head", file: "internal/lease/mirror.go", tests: byAdopt,
		old: "case kept && decodeHead(entry.Value).Nonce != head.Nonce:", new: "case false:"},
	{name: "share: a run is claimed twice", file: "internal/lease/head.go", tests: byAdopt,
		old: "if there.Nonce != m.head.Nonce {", new: "if false {"},
	{name: "share: segments need not continue each other", file: "internal/lease/segment.go", tests: byAdopt,
		old: "meta.To != r.to+int64(len(data)) || meta.Digest != r.digest() {", new: "meta.To != r.to+int64(len(data)) {"},
	{name: "share: a batch does not wait for its shared intent", file: "internal/run/drive.go", tests: byShare,
		old: "return c.mirror.Await(ctx) })", new: "return nil })"},
	{name: "share: a silent shared record holds nothing", file: "internal/run/locks.go", tests: bySilence,
		old: "if passes = k.mirror.May(); passes != nil && !lease.Unconfirmed(passes) {",
		new: "if passes = k.mirror.May(); lease.Unconfirmed(passes) {\n\t\t\tpasses = nil\n\t\t} else if passes != nil {"},
	{name: "share: outcomes are not shared", file: "internal/run/shared_mirror.go", tests: byShare,
		old: "\tc.to.Add(raw)\n", new: "\t_ = raw\n"},
	{name: "adopt: the run's lock is not taken", file: "internal/run/shared_mirror.go", tests: bySilence,
		old: "names = append(names, runLock+c.runID())", new: "_ = names"},
	{name: "adopt: signatures are not verified", file: "internal/run/shared_read.go", tests: byShare,
		old: "\t\tif err != nil {\n\t\t\treturn \"\", fmt.Errorf(\"segment %d: %w\", i+1, err)", new: "\t\tif false {\n\t\t\treturn \"\", fmt.Errorf(\"segment %d: %w\", i+1, err)"},
	{name: "adopt: nothing is outlasted", file: "internal/run/shared_adopt.go", tests: byShare,
		old: "wait := longest\n", new: "wait := longest * 0\n"},
	{name: "adopt: an evicted driver is not outlasted", file: "internal/run/shared_adopt.go", tests: byShare,
		old: "if c.locks.marked() || ", new: "if "},
	{name: "adopt: a driver that was heard of just now is not outlasted", file: "internal/run/shared_adopt.go", tests: byShare,
		old: " || s.shared.Found.Age < lockLife {", new: " {"},
	{name: "adopt: planned nodes are not looked at", file: "batch/machine_send.go", tests: byShare,
		old: "case b.Age > 0 && b.Age < certain:\n\t\t\tyoung = append(young, name)\n\t\tcase b.Age > 0 && b.Age < age:", new: "case b.Age < 0 && b.Age < certain:\n\t\t\tyoung = append(young, name)\n\t\tcase b.Age < 0 && b.Age < age:"},
	{name: "adopt: the first driver resumes", file: "internal/run/shared_mirror.go", tests: byShare,
		old: "if found.Head.Bytes > s.size {\n\t\treturn nil, gone", new: "if found.Head.Bytes > s.size {\n\t\treturn nil, nil"},
	{name: "adopt: linked runs elsewhere are not looked at", file: "internal/run/linked.go", tests: byShare,
		old: "if c.adopting != nil || p.stored.Meta.Share || sharing(c).mirrored() {", new: "if false {"},
	{name: "adopt: only an adoption looks at linked runs elsewhere", file: "internal/run/linked.go", tests: byShare,
		old: "if c.adopting != nil || p.stored.Meta.Share || sharing(c).mirrored() {", new: "if c.adopting != nil {"},
	{name: "adopt: a retry does not hold the run that it repeats", file: "internal/run/shared_mirror.go", tests: byShare,
		old: "names = append(names, runLock+c.parent)", new: "_ = names"},
	{name: "share: a run with limits is not shared", file: "internal/run/shared_mirror.go", tests: byImplied,
		old: "c.Settings.Share && c.changes() || c.counts())", new: "c.Settings.Share && c.changes())"},
	{name: "settings: the limits of a collective do not hold", file: "internal/run/call.go", tests: byImplied,
		old: "c.Settings = c.Settings.In(c.Fleet.About().Collective)", new: "_ = c.Settings"},
	{name: "lock: a ttl that was typed is lowered", file: "internal/run/shared_options.go", tests: byImplied,
		old: "ttl.Set && !r.keptTTL && ttl.D > lockTTL", new: "ttl.Set && r.keptTTL && ttl.D > lockTTL"},
	{name: "settle: by a record that another driver has outgrown", file: "internal/run/budget_settle.go", tests: byImplied,
		old: "if err != nil || end != nil {\n\t\treturn err", new: "if err != nil || end == nil {\n\t\treturn err"},
	{name: "settle: elsewhere, while a request may act", file: "internal/run/budget_settle.go", tests: byImplied,
		old: "return min(hold, max(hold+lockLife-r.Found.Age, 0))", new: "return min(hold, 0)"},
	{name: "settle: while a process here renews the lock", file: "internal/run/budget_settle.go", tests: byImplied,
		old: "renewed := held.Renewed < waited-time.Second; renewed ||", new: "renewed := held.Renewed < waited-time.Second; renewed && false ||"},
	{name: "adopt: a node that may be older has restarted", file: "batch/machine_send.go", tests: byShare,
		old: "case b.Age > 0 && b.Age < certain:", new: "case b.Age > 0 && b.Age < max(age, certain):"},
	{name: "apply: a plan is not claimed", file: "internal/run/shared_mirror.go", tests: byShare,
		old: "if !shared && c.req.plan == nil || !c.recorded() {", new: "if !shared || !c.recorded() {"},
}
