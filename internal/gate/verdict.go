package gate

import "fleetctl/batch"

// codes is the table of exit codes with a meaning of their own (docs/gates.md). Others fail; from 128 on the command was
// ended by a signal.
var codes = []struct {
	code    int
	verdict batch.GateVerdict
	text    string
}{
	{0, batch.GatePassed, ""},
	{6, batch.GateInconclusive, "fleetctl: the outcome of some nodes is unknown"},
	{8, batch.GateInconclusive, "fleetctl: no node matched"},
	{9, batch.GateInconclusive, "fleetctl: no connection"},
	{75, batch.GateInconclusive, "a temporary failure"},
	{124, batch.GateInconclusive, "timeout: time is up"},
	{126, batch.GateInconclusive, "the command cannot be executed"},
	{127, batch.GateInconclusive, "the command was not found"},
}

// firstSignal is the lowest exit code by which a shell reports that a signal ended the command.
const firstSignal = 128

// judge gives an exit code its verdict, and what is known of its meaning; "" for a code without one. A negative code is
// that of a shell which a signal ended.
func judge(code int) (v batch.GateVerdict, text string) {
	for _, c := range codes {
		if c.code == code {
			return c.verdict, c.text
		}
	}
	if code >= firstSignal || code < 0 {
		return batch.GateInconclusive, "ended by a signal"
	}
	return batch.GateFailed, ""
}
