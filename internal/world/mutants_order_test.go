package world

// bySeeds is the world alone: what its random cases have to notice.
var bySeeds = []string{"-run", "TestSeeds$", "./internal/world"}

// orderMutants break the order of nodes, and which of them are left out.
var orderMutants = []mutant{
	{name: "--not-since: a young node is sent to", file: "batch/machine_skip.go", tests: bySeeds,
		old: "b.Age > 0 && b.Age < limit {", new: "b.Age > 0 && b.Age < 0 {"},
	{name: "--not-since: every node is left out", file: "batch/machine_skip.go", tests: bySeeds,
		old: "b.Age > 0 && b.Age < limit {", new: "b.Age > 0 {"},
	{name: "--not-since: a node that was left out is open", file: "batch/progress.go", tests: bySeeds,
		old: "c.Of(Planned)+c.Of(NotSent) > l.leftOut+l.counts.skipped:", new: "c.Of(Planned)+c.Of(NotSent) > l.leftOut:"},
	{name: "--last-if: what goes last is sent first", file: "batch/machine_queue.go", tests: bySeeds,
		old: "m.queue = append(m.queue, last...)", new: "m.queue = append(last, m.queue...)"},
	{name: "--last-if: a window starts what goes last beside others", file: "batch/window.go", tests: bySeeds,
		old: "|| w.tail[g.rows[0]] && w.ahead > 0 {", new: "{"},
	{name: "--last-if: a retry forgets which nodes go last", file: "batch/progress.go", tests: bySeeds,
		old: "n.Last = n.Last || kept[n.Identity]", new: ""},
	{name: "--accept-drift: a resume sends to a node that was left out", file: "batch/ledger_probe.go", tests: []string{"-run", "LeavesNodesOut", "./batch"},
		old: "NotSent, true, true })", new: "NotSent, true, false })"},
}
