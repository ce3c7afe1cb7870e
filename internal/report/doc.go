// Package report prints a run or a survey of the fleet as it happens: one model of events (those of internal/run), and
// several printers (text, JSON, lines, tables, csv, junit).
//
// It gathers and lays out; it decides nothing. Streams, widths and wishes are handed in; the exit code that a document
// shows is asked of the caller.
package report
