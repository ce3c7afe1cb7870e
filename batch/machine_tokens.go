package batch

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A node that starts with an expired token may lose more than its process: what
// is asked of it here is only to be sent while its token is good.

// noToken is why a node is left out.
const noToken = "token not seen: it did not answer when asked before sending"

// lookAtTokens keeps a batch from being sent to nodes whose token ends too soon:
// the run stops before it. Silent nodes whose token is unknown are left out.
func (m *machine) lookAtTokens(at time.Time, f *flight) {
	margin := m.l.begin.Rules.TokenMargin
	if margin <= 0 || m.halt != haltNone {
		return
	}
	limit := at.Add(margin)
	var ending, unseen []string
	for _, name := range m.aboard(f) {
		switch b, said := f.prep.said[name]; {
		case !said:
			unseen = append(unseen, name)
		case !b.TokenEnds.IsZero() && b.TokenEnds.Before(limit):
			ending = append(ending, name)
		}
	}
	if len(ending) > 0 {
		of := nodeCount(len(ending))
		if f.batch > 0 {
			of = fmt.Sprintf("%s of batch %d", of, f.batch)
		}
		m.stop(at, haltSoft, Stop{Kind: StopRule, Rule: RuleTokens, Batch: f.batch, Count: len(ending), Limit: 1,
			Reason: fmt.Sprintf("the token of %s ends within %v: %s", of, margin, someNames(ending))})
		return
	}
	if len(unseen) == 0 {
		return
	}
	for group := range slices.Chunk(unseen, groupSize) {
		m.record(Record{Kind: KindLeftOut, Time: at, Batch: f.batch, Nodes: group, Reason: noToken})
	}
	if m.mayReplace(f.batch) {
		m.replace(at, f, unseen, "was left out")
	}
	m.judge(at, f.batch, -1)
}

// maxNames is how many nodes a reason names.
const maxNames = 20

func someNames(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}
