package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"fleetctl/internal/ddl"
	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// danger is what an action does to a node, at worst. The zero value is unset.
type danger uint8

const (
	reads danger = iota + 1
	changes
	restarts
	resets
	stops
	dangers
)

// dangerWords are the words of the list of actions, each with its meaning.
var dangerWords = [dangers][2]string{
	reads:    {"reads", "changes nothing on a node"},
	changes:  {"changes", "may change a node; fleetctl trusts the reply"},
	restarts: {"restarts", "the server restarts; fleetctl asks at a terminal, begins with one node, and proves that the server came back"},
	resets:   {"resets", "the server loses its configuration and waits to be provisioned; asked and proved as a restart is"},
	stops:    {"stops", "the server stays down until it is started on its host; the number of nodes must be typed"},
}

func dangerOf(doc *ddl.Document, action string) danger {
	switch proof.Of(doc.Metadata.Name, action) {
	case proof.Restart, proof.Update:
		return restarts
	case proof.Reprovision:
		return resets
	case proof.Shutdown:
		return stops
	}
	if doc.ReadOnly(action) {
		return reads
	}
	return changes
}

// explainAgent writes the help of an agent, or of one of its actions. Nothing is asked of the network.
func explainAgent(a *app, args []string) error {
	_, documents := offline(a)
	doc, err := documents.Resolve(context.Background(), args[0])
	if err != nil {
		return err
	}
	if len(args) == 1 {
		_, err = io.WriteString(a.io.out, renamed(a.name, agentHelp(doc, widthOf(a.io.out))))
		return err
	}
	action, ok := doc.Action(args[1])
	if !ok {
		hint := didYouMean(args[1], doc.ActionNames())
		if hint == "" {
			hint = args[0] + " has " + strings.Join(doc.ActionNames(), ", ")
		}
		return usage(fmt.Errorf("unknown action %s#%s", args[0], args[1]), hint)
	}
	_, err = io.WriteString(a.io.out, renamed(a.name, actionHelp(doc, action, widthOf(a.io.out))))
	return err
}

// agentHelp lists the actions of an agent with their danger. The texts are the document's, and a document may come from
// anywhere.
func agentHelp(doc *ddl.Document, width int) string {
	m, p := doc.Metadata, &page{width: min(width, widestHelp)}
	for _, l := range wrapped(m.Name+" "+m.Version+": "+m.Description, p.width) {
		p.WriteString(plain.Line(l) + "\n")
	}
	longest := 0
	for _, name := range doc.ActionNames() {
		longest = max(longest, len(name))
	}
	var rows [][2]string
	seen := map[danger]bool{}
	for _, name := range doc.ActionNames() {
		action, _ := doc.Action(name)
		d := dangerOf(doc, name)
		seen[d] = true
		rows = append(rows, [2]string{fmt.Sprintf("%-*s  %-8s", longest, plain.Line(name), dangerWords[d][0]), plain.Line(action.Description)})
	}
	p.entries("Actions", rows)
	var legend [][2]string
	for _, d := range slices.Sorted(maps.Keys(seen)) {
		legend = append(legend, dangerWords[d])
	}
	p.entries("Danger", legend)
	fmt.Fprintf(p, "\nInputs of an action: fleetctl req %s ACTION --help\n", plain.Line(m.Name))
	return p.String()
}

// actionHelp is what an action does, takes and returns.
func actionHelp(doc *ddl.Document, action *ddl.Action, width int) string {
	m, p := doc.Metadata, &page{width: min(width, widestHelp)}
	for _, l := range wrapped(m.Name+"#"+action.Name+": "+action.Description, p.width) {
		p.WriteString(plain.Line(l) + "\n")
	}
	d := dangerWords[dangerOf(doc, action.Name)]
	p.entries("Danger", [][2]string{d})
	words := []string{"fleetctl", reqName, m.Name, action.Name}
	var inputs [][2]string
	for _, needed := range []bool{true, false} { // the required inputs first
		for _, name := range slices.Sorted(maps.Keys(action.Inputs)) {
			in := action.Inputs[name]
			if required := !in.Optional; required != needed {
				continue
			}
			if needed {
				words = append(words, name+"="+exampleOf(in))
			}
			inputs = append(inputs, [2]string{plain.Line(name) + "=", plain.Line(strings.TrimRight(in.Description, ".") + " (" + strings.Join(limitsOf(in), ", ") + ")")})
		}
	}
	p.section("Example", "  "+plain.Line(strings.Join(words, " ")))
	p.entries("Inputs", inputs)
	var outputs [][2]string
	for _, name := range slices.Sorted(maps.Keys(action.Outputs)) {
		out := action.Outputs[name]
		outputs = append(outputs, [2]string{plain.Line(name), plain.Line(out.Description)})
	}
	p.entries("Replies have", outputs)
	fmt.Fprintf(p, "\nA node has %s for a reply. Flags: fleetctl req --help\n", m.Timeout)
	return p.String()
}

// exampleOf is a value as an operator would type it.
func exampleOf(in ddl.Input) string {
	switch {
	case in.Secret():
		return "@FILE"
	case len(in.List) > 0:
		return in.List[0]
	}
	return strings.ToUpper(in.Name)
}

// limitsOf are the type of an input and what its value must satisfy.
func limitsOf(in ddl.Input) []string {
	out := []string{in.Type}
	if in.Optional {
		out = append(out, "optional")
	} else {
		out = append(out, "required")
	}
	if len(in.List) > 0 {
		out = append(out, "one of "+strings.Join(in.List, " "))
	}
	if in.MaxLength > 0 {
		out = append(out, "at most "+strconv.Itoa(in.MaxLength)+" bytes")
	}
	if in.Validation != "" && in.Validation != "." && in.Validation != ".+" && in.Validation != ".*" {
		out = append(out, "matches "+in.Validation)
	}
	if in.Secret() {
		out = append(out, "secret: give @FILE, - for stdin, or env:NAME")
	}
	switch text := fmt.Sprint(in.Default); text {
	case "<nil>", "", "map[]", "[]":
	default:
		out = append(out, "default "+text)
	}
	return out
}
