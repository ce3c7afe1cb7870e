package ddl

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// Aggregator sums up the replies of one action (docs/protocol.md, aggregates).
// Not safe for concurrent use: one goroutine adds and reads.
type Aggregator struct {
	outputs map[string]Output
	by      map[string]summarizer
}

// summarizer sums up one output. Values arrive as text.
type summarizer interface {
	add(value string)
	json() (json.RawMessage, bool)
	text() []string
}

// NewAggregator starts summing up replies. One aggregate an output: the last
// that the document declares. Unknown functions are left out.
func (a *Action) NewAggregator() *Aggregator {
	g := &Aggregator{outputs: a.Outputs, by: map[string]summarizer{}}
	for _, spec := range a.Aggregates {
		switch spec.Function {
		case "summary", "boolean_summary":
			g.by[spec.Output] = &summary{spec: spec, counts: map[string]int{}}
		case "average":
			g.by[spec.Output] = &average{format: spec.Format}
		case "chart":
			g.by[spec.Output] = &chart{}
		}
	}
	return g
}

// Add counts the data of one reply, whatever its status. Outputs that it leaves
// out count with their default. Data that is no JSON object is left out.
func (g *Aggregator) Add(data json.RawMessage) {
	if len(g.by) == 0 {
		return
	}
	var reply map[string]json.RawMessage
	if json.Unmarshal(data, &reply) != nil || reply == nil {
		return
	}
	for output, s := range g.by {
		raw, ok := reply[output]
		var value any
		if !ok {
			if value = g.outputs[output].Default; value == nil {
				continue
			}
		} else if json.Unmarshal(raw, &value) != nil {
			continue
		}
		if text, ok := valueText(value); ok {
			s.add(text)
		}
	}
}

// valueText is the text under which a value is counted: strings as they are,
// everything else as compact JSON, so that a list is one value.
func valueText(value any) (string, bool) {
	if s, ok := value.(string); ok {
		return s, true
	}
	data, err := json.Marshal(value)
	return string(data), err == nil
}

// JSON is the object of summaries, output name to result.
func (g *Aggregator) JSON() json.RawMessage {
	all := map[string]json.RawMessage{}
	for output, s := range g.by {
		if data, ok := s.json(); ok {
			all[output] = data
		}
	}
	data, err := json.Marshal(all)
	if err != nil {
		return json.RawMessage("{}")
	}
	return data
}

// Text is the lines of each output's summary. An output without values has no
// lines, an average has one anyway.
func (g *Aggregator) Text() map[string][]string {
	all := map[string][]string{}
	for output, s := range g.by {
		all[output] = s.text()
	}
	return all
}

// summary counts how often each value was seen.
type summary struct {
	spec   Aggregate
	counts map[string]int
}

func (s *summary) add(value string) {
	if label, ok := s.spec.Labels[value]; ok {
		value = label
	}
	s.counts[value]++
}

func (s *summary) json() (json.RawMessage, bool) {
	data, err := json.Marshal(s.counts)
	return data, err == nil
}

// text puts the most frequent value first, and equally frequent ones in order.
func (s *summary) text() []string {
	values := slices.SortedFunc(maps.Keys(s.counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.counts[b], s.counts[a]), cmp.Compare(a, b))
	})
	width := 0
	for _, v := range values {
		width = max(width, len(v))
	}
	lines := []string{}
	for _, v := range values {
		if s.spec.Format != "" {
			lines = append(lines, fmt.Sprintf(s.spec.Format, v, s.counts[v]))
		} else {
			lines = append(lines, fmt.Sprintf("%*s: %d", width, v, s.counts[v]))
		}
	}
	return lines
}

// average is the mean of the values that are numbers.
type average struct {
	format string
	sum    float64
	count  int
}

func (a *average) add(value string) {
	if f, err := strconv.ParseFloat(value, 64); err == nil {
		a.sum += f
		a.count++
	}
}

func (a *average) mean() float64 {
	if a.count == 0 {
		return math.NaN()
	}
	return a.sum / float64(a.count)
}

func (a *average) json() (json.RawMessage, bool) {
	data, err := json.Marshal(map[string]float64{"average": a.mean()})
	return data, err == nil
}

func (a *average) text() []string {
	return []string{fmt.Sprintf(cmp.Or(a.format, "Average: %.3f"), a.mean())}
}

// chart plots the values that are numbers, in the order of arrival.
type chart struct{ values []float64 }

func (c *chart) add(value string) {
	if f, err := strconv.ParseFloat(value, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		c.values = append(c.values, f)
	}
}

func (c *chart) json() (json.RawMessage, bool) {
	data, err := json.Marshal(map[string]string{"chart": plot(c.values)})
	return data, err == nil
}

func (c *chart) text() []string {
	if len(c.values) == 0 {
		return []string{}
	}
	return []string{plot(c.values)}
}
