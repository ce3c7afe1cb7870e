package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// format is how a result is written. The zero value is unset.
type format uint8

const (
	formatText format = iota + 1
	formatJSON
	formatLines
	formatTable
	formatCSV
	formatSenders
	formatNodeset
	formatJUnit
	formatSendersJSON // upstream's --senders --json
	formats
)

var formatNames = [formats]string{"unset", "text", "json", "jsonl", "table", "csv", "senders", "nodeset", "junit", "senders as json"}

// String is total.
func (f format) String() string {
	if f >= formats {
		return "unknown"
	}
	return formatNames[f]
}

// forPeople tells whether somebody reads along: then the search for nodes is told too.
func (f format) forPeople() bool { return f == formatText || f == formatTable }

// formatOf reads a name, of those that a command offers.
func formatOf(name string, offered ...format) (format, error) {
	for _, f := range offered {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, usage(fmt.Errorf("unknown format %q", name), "use one of "+formatList(offered))
}

func formatList(offered []format) string {
	names := make([]string, len(offered))
	for i, f := range offered {
		names[i] = f.String()
	}
	return strings.Join(names, ", ")
}

// formatFlags are --output, and the older flags for some of its values.
type formatFlags struct {
	output                      string
	json, jsonl, table, senders bool
	kind                        format // set by choose
}

// reqFormats are what req and its like can write.
var reqFormats = []format{formatText, formatJSON, formatLines, formatTable, formatCSV, formatSenders, formatNodeset, formatJUnit}

func (o *formatFlags) add(f *pflag.FlagSet) {
	f.StringVar(&o.output, "output", "", "`FORMAT`: "+formatList(reqFormats))
	f.BoolVarP(&o.json, "json", "j", false, "one JSON document")
	f.BoolVar(&o.jsonl, "jsonl", false, "a JSON line for everything that happens")
	f.BoolVar(&o.table, "table", false, "a table of the successful replies")
	f.BoolVar(&o.senders, "senders", false, "the names of the nodes that succeeded")
}

// choose settles what the flags ask for; two different wishes are refused, but for upstream's --senders --json.
func (o *formatFlags) choose() error {
	var wishes []format
	for _, w := range []struct {
		given bool
		as    format
	}{{o.senders, formatSenders}, {o.json, formatJSON}, {o.jsonl, formatLines}, {o.table, formatTable}} {
		if w.given {
			wishes = append(wishes, w.as)
		}
	}
	if o.output != "" {
		f, err := formatOf(o.output, reqFormats...)
		if err != nil {
			return err
		}
		wishes = append(wishes, f)
	}
	slices.Sort(wishes)
	switch wishes = slices.Compact(wishes); {
	case len(wishes) == 0:
		o.kind = formatText
	case len(wishes) == 1:
		o.kind = wishes[0]
	case slices.Equal(wishes, []format{formatJSON, formatSenders}):
		o.kind = formatSendersJSON
	default:
		return twoFormats(wishes[0], wishes[1])
	}
	return nil
}

func twoFormats(a, b format) error {
	return usage(fmt.Errorf("cannot write %s and %s at once", a, b), "choose one format")
}
