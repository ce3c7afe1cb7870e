package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fleetctl/discovery"
)

// NodesAtHand are the nodes that the last whole discoveries without a filter found, for requests to these agents. They
// are proposals for completion, never targets. Nothing is dialed; without a cache or credentials there are none.
func (f *Fleet) NodesAtHand(agents []string) []string {
	var nodes []string
	for _, agent := range agents {
		if path, err := f.knownFile(discovery.Query{Collective: f.Collective, Agent: agent}); err == nil {
			nodes = append(nodes, readKnown(path)...)
		}
	}
	return slices.Compact(discovery.Sort(nodes))
}

// maxFacts is how many names of facts are kept for a fleet.
const maxFacts = 5000

// factsFile is where the names of a fleet's facts are; "" for nowhere.
func (f *Fleet) factsFile() string {
	if f.o.CacheDir == "" {
		return ""
	}
	place, err := json.Marshal([]any{f.Config.MiddlewareHosts, f.Config.FederationHosts, f.srvDomain(), f.Federations, f.Collective})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(place)
	return filepath.Join(f.o.CacheDir, "facts-"+hex.EncodeToString(sum[:12]))
}

// FactsAtHand are the names of facts that nodes of this fleet have shown, sorted. They are proposals for completion.
func (f *Fleet) FactsAtHand() []string {
	data, err := os.ReadFile(f.factsFile())
	if err != nil {
		return nil
	}
	return slices.Sorted(strings.FieldsSeq(string(data)))
}

// KeepFacts adds to the names of FactsAtHand. Names with blanks are left out: no shell completes them. When the list
// cannot be written, completion only knows less.
func (f *Fleet) KeepFacts(names []string) {
	path, known := f.factsFile(), f.FactsAtHand()
	before := len(known)
	for _, name := range names {
		if len(known) < maxFacts && name != "" && !strings.ContainsFunc(name, blankOrControl) {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	if known = slices.Compact(known); path != "" && len(known) > before {
		_ = replaceFile(path, []byte(strings.Join(known, "\n")+"\n"))
	}
}

func blankOrControl(r rune) bool { return r <= ' ' || r == 0x7f }
