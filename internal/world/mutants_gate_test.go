package world

// byPause tests what a pause comes from.
var byPause = []string{"-run", "AnOperatorPauses|PausesOf", "./batch"}

// gateMutants break the gates.
var gateMutants = []mutant{
	{name: "a gate's pause reads as an operator's", file: "batch/pause.go", tests: byPause,
		old: "return r.From\n", new: "return ByOperator\n"},
	{name: "a gate that failed lets the run go on", file: "batch/machine_gate.go", tests: byWorld,
		old: "m.closeGates()\n\t\tm.stop(e.At, haltSoft, Stop{Kind: StopGate, Batch: m.lastSent(), Reason: r.Reason})", new: "g.open = true"},
	{name: "a gate that failed is forgotten when the connection is lost", file: "batch/machine_gate.go", tests: byWorld,
		old: "e.Question == g.dropped && r.Decided", new: "e.Question == -1 && r.Decided"},
	{name: "a gate that is inconclusive for too long passes", file: "batch/machine_gate.go", tests: byWorld,
		old: "case r.Verdict == GatePassed:\n\t\tm.gatesWait", new: "case r.Verdict != GateFailed:\n\t\tm.gatesWait"},
	{name: "a gate passes before it has decided", file: "batch/machine_gate.go", tests: byWorld,
		old: "case !r.Decided:", new: "case !r.Decided && r.Verdict != GatePassed:"},
	{name: "gates pass for every later batch", file: "batch/machine_send.go", tests: byWorld,
		old: "m.gates.open = false // for this batch alone", new: ""},
	{name: "a window asks its gates once", file: "batch/machine_gate.go", tests: byWorld,
		old: ">= m.size() {\n\t\tg.open = false", new: ">= m.size() {\n\t\tg.open = true"},
	{name: "gates that passed before a pause count", file: "batch/machine_link.go", tests: byWorld,
		old: "m.closeGates()\n\t\tm.gates.waiting = false", new: "m.gates.waiting = false"},
	{name: "gates that passed before the connection was lost count", file: "batch/machine_link.go", tests: byWorld,
		old: "\t\tm.closeGates()\n\t\tm.record(Record{Kind: KindLink", new: "\t\tm.record(Record{Kind: KindLink"},
	{name: "a batch that was begun before a pause leaves by the gates from before", file: "batch/machine_send.go", tests: byWorld,
		old: "case m.gates.on && f.holdups != m.gates.holdups:", new: "case false:"},
	{name: "a resume asks no gates", file: "batch/machine_gate.go", tests: byWorld,
		old: "gating{on: !m.l.begin.Gates.IsZero()}", new: "gating{on: !m.l.begin.Gates.IsZero() && m.l.resumes == 0}"},
}
