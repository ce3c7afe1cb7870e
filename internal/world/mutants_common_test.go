package world

// byOperators is the world of several operators.
var byOperators = []string{"-run", "TestOperators$|TestCommonFaults$", "./internal/world"}

// commonMutants break what operators share: the budget, the locks, the shared record, and how a run uses them.
var commonMutants = []mutant{
	{name: "operators: other runs are not counted", file: "internal/lease/ledger.go", tests: byOperators,
		old: "if id == run || n == 0 {", new: "if true {"},
	{name: "operators: one more fits", file: "internal/lease/ledger.go", tests: byOperators,
		old: "if down <= limit {", new: "if down <= limit+1 {"},
	{name: "operators: a run does not ask for room", file: "internal/run/budget_admit.go", tests: byOperators,
		old: "case c.budget != nil:\n\t\treturn c.budget\n", new: ""},
	{name: "operators: a node that accepted is up", file: "internal/run/budget.go", tests: byOperators,
		old: "return d.takes != 0 || d.proves\n", new: "return false\n"},
	{name: "operators: a silent node is up", file: "internal/run/budget.go", tests: byOperators,
		old: "if _, reached := p.Reached(node); !reached {", new: "if _, reached := p.Reached(node); !reached || p.State(node) == batch.NoReply || p.State(node) == batch.Unknown {"},
	{name: "operators: a node without proof is up", file: "internal/run/budget.go", tests: byOperators,
		old: "\tcase batch.Verified:\n\t\treturn d.takes", new: "\tcase batch.Verified, batch.Unverified:\n\t\treturn d.takes"},
	{name: "operators: a run that ends leaves nothing in the ledger", file: "internal/run/budget_admit.go", tests: byOperators,
		old: "b.account.Close(ctx, b.rule.all(p))", new: "b.account.Close(ctx, nil)"},
	{name: "operators: a resume forgets what is down", file: "internal/run/budget.go", tests: byOperators,
		old: "nodes = c.budget.rule.all(p.stored.Progress)", new: "nodes = nil"},
	{name: "operators: silent nodes are settled", file: "internal/run/budget_settle.go", tests: byOperators,
		old: "return !ok || s.Absent || s.Silent", new: "return ok && s.Absent"},
	{name: "operators: another holder's lock is renewed", file: "internal/lease/lock.go", tests: byOperators,
		old: "if h := decode(entry.Value); h.Nonce != l.me.Nonce {", new: "if h := decode(entry.Value); h.Nonce == \"\" {"},
	{name: "operators: planned nodes of an adopted run are not looked at", file: "batch/machine_send.go", tests: byOperators,
		old: "case b.Age > 0 && b.Age < certain:\n\t\t\tyoung = append(young, name)\n\t\tcase b.Age > 0 && b.Age < age:", new: "case b.Age < 0 && b.Age < certain:\n\t\t\tyoung = append(young, name)\n\t\tcase b.Age < 0 && b.Age < age:"},
	{name: "operators: a lock is given back while a request may act", file: "internal/run/locks.go", tests: byOperators,
		old: "if wait := time.Until(c.quiet(p)); wait > 0 {", new: "if wait := time.Until(c.quiet(p)); wait > time.Hour {"},
	{name: "operators: a run does not hold its locks", file: "internal/run/locks.go", tests: byOperators,
		old: "\tnames := c.allLocks()\n\tif len(names) == 0 || ", new: "\tnames := c.allLocks()\n\tif len(names) >= 0 || "},
}
