package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"fleetctl/internal/report"
)

// formatFlags are --output, and the older flags for some of its values.
type formatFlags struct {
	output                      string
	json, jsonl, table, senders bool
	kind                        report.Format // set by choose
}

// reqFormats are the formats of req, runs resume and runs retry.
var reqFormats = []report.Format{report.Text, report.JSON, report.Lines, report.Table, report.CSV, report.Senders, report.Nodeset, report.JUnit, report.Markdown, report.HTML}

// addOutput adds --output with the formats that the command offers.
func addOutput(f *pflag.FlagSet, to *string, offered []report.Format) {
	f.StringVar(to, "output", "", "`FORMAT`: "+report.FormatNames(offered))
	completeWith(f, "output", strings.Split(report.FormatNames(offered), ", ")...)
}

func (o *formatFlags) add(f *pflag.FlagSet) {
	addOutput(f, &o.output, reqFormats)
	f.BoolVarP(&o.json, "json", "j", false, "one JSON document")
	f.BoolVar(&o.jsonl, "jsonl", false, "a JSON line for everything that happens")
	f.BoolVar(&o.table, "table", false, "a table of the successful replies")
	f.BoolVar(&o.senders, "senders", false, "the names of the nodes that succeeded")
}

// streams reports whether events are written as they happen.
func (o *formatFlags) streams() bool { return o.kind == report.Lines }

// choose sets kind from the flags. Two different formats are refused, except upstream's --senders --json.
func (o *formatFlags) choose() error {
	var wishes []report.Format
	for _, w := range []struct {
		given bool
		as    report.Format
	}{{o.senders, report.Senders}, {o.json, report.JSON}, {o.jsonl, report.Lines}, {o.table, report.Table}} {
		if w.given {
			wishes = append(wishes, w.as)
		}
	}
	if o.output != "" {
		f, err := report.ParseFormat(o.output, reqFormats...)
		if err != nil {
			return err
		}
		wishes = append(wishes, f)
	}
	slices.Sort(wishes)
	switch wishes = slices.Compact(wishes); {
	case len(wishes) == 0:
		o.kind = report.Text
	case len(wishes) == 1:
		o.kind = wishes[0]
	case slices.Equal(wishes, []report.Format{report.JSON, report.Senders}):
		o.kind = report.SendersJSON
	default:
		return twoFormats(wishes[0], wishes[1])
	}
	return nil
}

func twoFormats(a, b report.Format) error {
	return usage(fmt.Errorf("cannot write %s and %s at once", a, b), "choose one format")
}
