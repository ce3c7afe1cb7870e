package report

import (
	"fmt"
	"strings"
)

// Format is how a result is written. The zero value is unset.
type Format uint8

// The formats.
const (
	Text Format = iota + 1
	JSON
	Lines
	Table
	CSV
	Senders
	Nodeset
	JUnit
	Markdown
	HTML
	SendersJSON // upstream's --senders --json
	formats
)

var formatNames = [formats]string{"unset", "text", "json", "jsonl", "table", "csv", "senders", "nodeset", "junit", "markdown", "html", "senders as json"}

// String returns the name; it works for every value.
func (f Format) String() string {
	if f >= formats {
		return "unknown"
	}
	return formatNames[f]
}

// forPeople reports whether the format is for a person: then the search for nodes is printed too.
func (f Format) forPeople() bool { return f == Text || f == Table }

// Paged reports whether the format is a page: a report with charts, for people who were not there.
func (f Format) Paged() bool { return f == Markdown || f == HTML }

// FormatError reports a name that is not a format of the command.
type FormatError struct {
	Name    string
	Offered []Format
}

// Error implements error.
func (e *FormatError) Error() string { return fmt.Sprintf("unknown format %q", e.Name) }

// ParseFormat reads a name, of those that a command offers. Its error is a *FormatError.
func ParseFormat(name string, offered ...Format) (Format, error) {
	for _, f := range offered {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, &FormatError{name, offered}
}

// FormatNames lists formats for help and hints.
func FormatNames(offered []Format) string {
	names := make([]string, len(offered))
	for i, f := range offered {
		names[i] = f.String()
	}
	return strings.Join(names, ", ")
}
