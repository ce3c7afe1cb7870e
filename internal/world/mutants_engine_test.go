//go:build !next

package world

// engineMutants break the engine.
var engineMutants = []mutant{
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
