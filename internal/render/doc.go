// Package render turns finished values into text, tables, JSON and progress lines on a writer.
//
// It knows the layouts: upstream's `choria req`, `inventory`, `ping`, `discover` and `facts` (docs/protocol.md, req
// output and utility agents), and our own additions to them. It decides nothing: which replies are worth showing, whether
// color is wanted, how wide the terminal is, what the verdict says and what time it is are all handed in. It reads no
// clock, no environment and no stream of its own.
//
// Invariants: machine formats (JSON, JSON lines, CSV) carry a node's words unchanged; everything meant for a terminal
// has control characters made visible, so that a node cannot repaint the operator's screen. Values that are handed in are
// never changed or kept. Every function returns the first error of the writer. Nothing here is safe for concurrent use
// on one writer, except Progress.
package render
