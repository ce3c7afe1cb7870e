// Package report prints a run or a survey of the fleet as it happens: one model of events (those of internal/run), and
// several printers (text, JSON, lines, tables, csv, junit).
//
// It collects the events and prints them; it makes no decision about a run. The caller hands in streams, widths and
// options, and a function for the exit code that a document shows.
package report
