// Package report prints a run or a survey of the fleet as it happens. It has one model of events (those of internal/run)
// and several printers (text, JSON, lines, tables, csv, junit). Its Notifier starts the command of --on-event.
//
// It makes no decision about a run. The caller hands in the streams, their widths, the options, and the function that
// computes the exit code which a document shows.
package report
