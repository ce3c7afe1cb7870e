package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"fleetctl/rpcclient"
)

// prettyWidth is the widest single-line array in a reply, as upstream has it.
const prettyWidth = 80

// maxListed is how many names a list shows when it is not verbose.
const maxListed = 200

// Display reports which replies text shows.
type Display uint8

// The displays of `choria req --display`. The agent's document decides unless the operator does; its `failed` is
// DisplayDocFailed, and so on (docs/protocol.md, others).
const (
	displayUnset Display = iota
	// DisplayDocFailed is the document's `failed` or nothing: failures only, grouped by cause.
	DisplayDocFailed
	// DisplayDocOK is the document's `ok`: successes, and failures grouped by cause.
	DisplayDocOK
	// DisplayDocAlways is the document's `always`: successes, and failures grouped by cause.
	DisplayDocAlways
	// DisplayOK, DisplayFailed, DisplayAll and DisplayNone are the operator's words. Failed and all list each failure.
	DisplayOK
	DisplayFailed
	DisplayAll
	DisplayNone
)

var displayNames = [...]string{"unset", "document: failed", "document: ok", "document: always", "ok", "failed", "all", "none"}

// String names the display.
func (d Display) String() string {
	if int(d) < len(displayNames) {
		return displayNames[d]
	}
	return "display " + strconv.Itoa(int(d))
}

// ParseDisplay reads the operator's word; "" leaves it to the document's display mode. ok is false for another word.
// A document's unknown mode shows nothing but grouped failures.
func ParseDisplay(flag, document string) (d Display, ok bool) {
	switch flag {
	case "":
		return map[string]Display{"ok": DisplayDocOK, "always": DisplayDocAlways}[document].orFailed(), true
	case "ok":
		return DisplayOK, true
	case "failed":
		return DisplayFailed, true
	case "all":
		return DisplayAll, true
	case "none":
		return DisplayNone, true
	}
	return displayUnset, false
}

func (d Display) orFailed() Display {
	if d == displayUnset {
		return DisplayDocFailed
	}
	return d
}

func (d Display) successes() bool {
	return d == DisplayDocOK || d == DisplayDocAlways || d == DisplayOK || d == DisplayAll
}

// Shows reports whether text needs a reply of this status code: replies that no text needs may be dropped.
func (d Display) Shows(code int, verbose bool) bool {
	d = d.orFailed()
	if code == 0 {
		return d.successes()
	}
	each, grouped := d.failures(verbose)
	return each || grouped
}

// failures reports whether failures are listed one by one, or grouped.
func (d Display) failures(verbose bool) (each, grouped bool) {
	switch d {
	case DisplayFailed, DisplayAll:
		return true, false
	case DisplayOK, DisplayNone:
		return false, false
	}
	return verbose, !verbose
}

// TextOptions are the operator's wishes for text. The zero value shows what a document without a display mode shows.
type TextOptions struct {
	Display Display
	// Verbose shows data as JSON, each failure, the statistics and complete lists.
	Verbose bool
	// Color paints status labels and counts.
	Color bool
	// Width is the terminal's; folded node names are wrapped to it. Zero means no wrapping.
	Width int
	// Outputs are the document's outputs by name.
	Outputs map[string]Output
	// Summaries are the aggregates' lines by output name (docs/protocol.md, aggregates).
	Summaries map[string][]string
	// Groups follow the grouped failures: causes beyond replies, such as unverified nodes.
	Groups []Group
	// Verdict is the last line; empty leaves it out.
	Verdict string
}

// Text writes a finished request as `choria req` does, with failures grouped by cause unless each was asked for, and the
// verdict as the last line.
func Text(w io.Writer, r Result, o TextOptions) error {
	buf := bufio.NewWriter(w) // keeps the first error
	each, grouped := o.Display.orFailed().failures(o.Verbose)
	for _, reply := range r.Replies {
		if reply.OK() && o.Display.successes() || !reply.OK() && each {
			textReply(buf, reply, o)
		}
	}
	if grouped {
		writeGroups(buf, groupFailures(r.Replies), o)
	}
	if o.Display != DisplayNone {
		writeGroups(buf, o.Groups, o)
	}
	textSummaries(buf, o)
	fmt.Fprintln(buf)
	writeFooter(buf, r.Stats, o)
	if o.Verdict != "" {
		fmt.Fprintf(buf, "\n%s\n", o.Verdict)
	}
	return buf.Flush()
}

// statusLabel is the name of an RPC status code. It is empty, as upstream's, for OK and for codes that upstream does not
// know (docs/protocol.md, others).
func statusLabel(r *rpcclient.Reply) string {
	if r.Code < 0 || r.Code > 5 {
		return ""
	}
	return r.Code.String()
}

func statusColor(code int) color {
	if code == 1 || code == 5 {
		return red
	}
	return yellow
}

func textReply(w io.Writer, r *rpcclient.Reply, o TextOptions) {
	code := int(r.Code)
	fmt.Fprintf(w, "%-40s %s\n\n", oneLine(r.Node), statusColor(code).paint(o.Color, statusLabel(r)))
	if code != 0 {
		fmt.Fprintf(w, "    %s\n\n", yellow.paint(o.Color, clean(r.Message)))
	}
	switch {
	case o.Verbose:
		text, err := json.MarshalIndent(validJSON(r.Data), documentIndent, documentIndent)
		if err != nil {
			text = r.Data
		}
		fmt.Fprintf(w, "%s%s\n", documentIndent, clean(string(text)))
	case code == 0:
		labelled(w, r, o.Outputs)
	}
}

// labeled writes the outputs of a reply, sorted by output name, with right-aligned labels.
func labelled(w io.Writer, r *rpcclient.Reply, outputs map[string]Output) {
	members, object := r.Outputs()
	for name, out := range outputs {
		if object && out.Defaulted && !slices.ContainsFunc(members, func(m rpcclient.Member) bool { return m.Name == name }) {
			members = append(members, rpcclient.Member{Name: name})
		}
	}
	slices.SortFunc(members, func(a, b rpcclient.Member) int { return strings.Compare(a.Name, b.Name) })
	label := func(name string) string {
		if as := outputs[name].DisplayAs; as != "" {
			return oneLine(as)
		}
		return oneLine(name)
	}
	longest := 0
	for _, m := range members {
		longest = max(longest, utf8.RuneCountInString(label(m.Name)))
	}
	margin := strings.Repeat(" ", longest+5)
	for _, m := range members {
		name := label(m.Name)
		value := strings.TrimSpace(clean(valueText(m.Value, margin, prettyWidth)))
		for _, part := range [...]string{margin[:longest+3-utf8.RuneCountInString(name)], name, ": ", value, "\n"} {
			io.WriteString(w, part)
		}
	}
	io.WriteString(w, "\n")
}

// valueText is a JSON value as people read it: strings bare, null empty, arrays and objects pretty.
func valueText(raw json.RawMessage, prefix string, width int) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	switch c := raw[0]; {
	case c == '{' || c == '[':
		return string(prettyJSON(raw, prefix, width))
	case c == '"':
		if s, ok := rpcclient.Text(raw); ok {
			return s
		}
	case bytes.ContainsAny(raw, ".eE") && c != 't' && c != 'f':
		if n, err := strconv.ParseFloat(string(raw), 64); err == nil {
			return strconv.FormatFloat(n, 'f', -1, 64)
		}
	}
	return string(raw)
}

func textSummaries(w io.Writer, o TextOptions) {
	for _, name := range slices.Sorted(maps.Keys(o.Summaries)) {
		label := name
		if as := o.Outputs[name].DisplayAs; as != "" {
			label = as
		}
		fmt.Fprintf(w, "%s\n\n", bold.paint(o.Color, "Summary of "+oneLine(label)+":"))
		lines := o.Summaries[name]
		if len(lines) == 0 {
			fmt.Fprintf(w, "   %s\n\n", yellow.paint(o.Color, "No summary received"))
			continue
		}
		for _, l := range lines {
			if l = clean(l); strings.Contains(l, "\n") {
				fmt.Fprintln(w, l) // a chart brings its own layout
			} else {
				fmt.Fprintf(w, "   %s\n", l)
			}
		}
		fmt.Fprintln(w)
	}
}

// Footer writes the counts and the lists of silent and unexpected nodes that end upstream's text.
func Footer(w io.Writer, s Stats, o TextOptions) error {
	buf := bufio.NewWriter(w)
	writeFooter(buf, s, o)
	return buf.Flush()
}

func writeFooter(w io.Writer, s Stats, o TextOptions) {
	if o.Verbose {
		fmt.Fprintln(w, yellow.paint(o.Color, "---- request stats ----"))
		fmt.Fprintf(w, "               Nodes: %d / %d\n", s.Responses, s.Discovered)
		fmt.Fprintf(w, "         Pass / Fail: %d / %d\n", s.OK, s.Failed)
		fmt.Fprintf(w, "        No Responses: %d\n", len(s.NoResponses))
		fmt.Fprintf(w, "Unexpected Responses: %d\n", len(s.UnexpectedResponses))
		fmt.Fprintf(w, "          Start Time: %s\n", s.Start.UTC().Format("2006-01-02T15:04:05-0700"))
		fmt.Fprintf(w, "      Discovery Time: %v\n", s.DiscoverTime)
		fmt.Fprintf(w, "        Publish Time: %v\n", s.PublishTime)
		fmt.Fprintf(w, "          Agent Time: %v\n", s.RequestTime-s.PublishTime)
		fmt.Fprintf(w, "          Total Time: %v\n", s.RequestTime+s.DiscoverTime)
	} else {
		c := green
		switch s.Responses {
		case 0:
			c = red
		case s.Discovered:
		default:
			c = yellow
		}
		fmt.Fprintf(w, "Finished processing %s / %s hosts in %s\n", c.paint(o.Color, strconv.Itoa(s.Responses)),
			c.paint(o.Color, strconv.Itoa(s.Discovered)), (s.RequestTime + s.DiscoverTime).Round(time.Millisecond))
	}
	nameList(w, "No Responses from", s.NoResponses, o.Verbose)
	nameList(w, "Unexpected Responses from", s.UnexpectedResponses, o.Verbose)
}

// nameList writes names, three a row.
func nameList(w io.Writer, title string, nodes []string, verbose bool) {
	if len(nodes) == 0 {
		return
	}
	nodes = slices.Sorted(slices.Values(nodes))
	if !verbose && len(nodes) > maxListed {
		fmt.Fprintf(w, "\n%s (showing first %d): %d\n\n", title, maxListed, len(nodes))
		nodes = nodes[:maxListed]
	} else {
		fmt.Fprintf(w, "\n%s: %d\n\n", title, len(nodes))
	}
	table := tabwriter.NewWriter(w, 0, 0, 4, ' ', 0)
	for row := range slices.Chunk(nodes, 3) {
		var cells [3]string
		for i, name := range row {
			cells[i] = oneLine(name)
		}
		fmt.Fprintf(table, "    %s\t\n", strings.Join(cells[:], "\t"))
	}
	table.Flush() // an error stays in w
}
