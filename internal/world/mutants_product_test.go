//go:build !next

package world

// productMutants break the client, the proof and the engine.
var productMutants = []mutant{
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
