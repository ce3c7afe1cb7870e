package report

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"

	"fleetctl/batch"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// factStates are the states of a run's nodes by the values of a fact.
type factStates struct {
	Fact   string        `json:"fact"`
	Values []valueStates `json:"values"`
}

// valueStates are the nodes with one value.
type valueStates struct {
	Value  string       `json:"value"` // "" for nodes without one
	Nodes  int          `json:"nodes"`
	States batch.Counts `json:"states"`
	good   int          // nodes on which the action succeeded
}

// byFacts groups the nodes of a run by the values of each of the facts that were asked for.
func (o StoredOptions) byFacts(r run.Stored) ([]factStates, error) {
	if len(o.By) == 0 {
		return nil, nil
	}
	facts, err := o.facts(r)
	if err != nil {
		return nil, err
	}
	var all []factStates
	for _, fact := range o.By {
		all = append(all, byFact(r, fact, facts[fact]))
	}
	return all, nil
}

// byFact groups the nodes of a run by values, one a node. The value with the largest share of nodes without success is the
// first.
func byFact(r run.Stored, fact string, values []string) factStates {
	f := factStates{Fact: fact}
	at := map[string]int{}
	counts := map[string]map[batch.State]int{}
	proved, i := r.Proves(), 0
	for n := range r.Progress.Results() {
		value := values[i]
		i++
		v, ok := at[value]
		if !ok {
			v = len(f.Values)
			at[value], counts[value] = v, map[batch.State]int{}
			f.Values = append(f.Values, valueStates{Value: value})
		}
		counts[value][n.State]++
		if f.Values[v].Nodes++; succeeded(n, proved) {
			f.Values[v].good++
		}
	}
	for v := range f.Values {
		f.Values[v].States = batch.CountsOf(counts[f.Values[v].Value])
	}
	slices.SortFunc(f.Values, func(a, b valueStates) int {
		return cmp.Or(cmp.Compare(a.good*b.Nodes, b.good*a.Nodes), cmp.Compare(b.Nodes, a.Nodes), strings.Compare(a.Value, b.Value))
	})
	return f
}

// writeByFacts writes a table for each fact.
func writeByFacts(w io.Writer, s batch.Summary, facts []factStates, width int) error {
	for _, f := range facts {
		header := []string{f.Fact, "nodes"}
		for _, state := range batch.States() {
			if s.States.Of(state) > 0 {
				header = append(header, state.String())
			}
		}
		var rows [][]string
		for _, v := range f.Values {
			row := []string{cmp.Or(v.Value, "(none)"), strconv.Itoa(v.Nodes)}
			for _, state := range batch.States() {
				if s.States.Of(state) > 0 {
					row = append(row, strconv.Itoa(v.States.Of(state)))
				}
			}
			rows = append(rows, row)
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		if err := render.FitTable(w, header, rows, width); err != nil {
			return err
		}
	}
	return nil
}
