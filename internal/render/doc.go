// Package render turns finished values into text, tables, JSON and progress lines on a writer.
//
// It knows the layouts: upstream's `choria req`, `inventory`, `ping`, `discover` and `facts` (docs/protocol.md, req
// output and utility agents), and our own additions to them. It makes no decisions: the
// caller hands in which replies to show, whether to use color, the width of the terminal, the verdict and the time. It
// reads no clock, no environment and no stream.
//
// Invariants: machine formats (JSON, JSON lines, CSV) keep the text of a node unchanged; output for a terminal has control
// characters made visible, so that a node cannot change the operator's screen. Values that are handed in are
// never changed or kept. Every function returns the first error of the writer. Nothing here is safe for concurrent use
// on one writer, except Progress.
package render
