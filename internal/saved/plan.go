package saved

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/choria"
	"fleetctl/internal/gate"
	"fleetctl/internal/secret"
)

// Every plan has a format and its version. A program reads the versions up to its own; a plan lives at most a day, so there
// is no need to read older ones for long.
const (
	planFormat  = "fleetctl-plan"
	planVersion = 1
)

// How long a plan can be applied after it was made, when nothing is said, and at most.
const (
	DefaultLife = time.Hour
	LongestLife = 24 * time.Hour
)

// Plan is what is to be done, complete: the operator that applies it adds the secrets, and nothing else. Durations are nanoseconds
// in JSON, times are in UTC.
type Plan struct {
	Format      string            `json:"format"`
	Version     int               `json:"schema_version"`
	ID          string            `json:"id"` // becomes the run's
	Created     time.Time         `json:"created"`
	Expires     time.Time         `json:"expires"`
	Owner       string            `json:"owner"`              // the caller id of what signs for the owner, else of its requests
	Program     string            `json:"fleetctl,omitempty"` // the version that made it
	Command     []string          `json:"command,omitempty"`  // as it was typed, without secrets
	Site        string            `json:"site,omitempty"`
	Collective  string            `json:"collective"`
	Federations []string          `json:"federations,omitempty"`
	Agent       string            `json:"agent"`
	Action      string            `json:"action"`
	DDL         string            `json:"ddl,omitempty"` // the version of the agent's document
	Inputs      map[string]string `json:"inputs,omitempty"`
	Secrets     []string          `json:"secrets,omitempty"` // names of inputs that have to be given when it is applied
	TTL         time.Duration     `json:"ttl"`
	Nodes       []Node            `json:"nodes"` // in the order of the plan
	Plan        batch.Plan        `json:"plan"`
	// Facts are the values that were asked for to plan batches, by fact, one a node in the order of the plan; "" where a node
	// has none. Those of a window are in its plan.
	Facts map[string][]string `json:"facts,omitempty"`
	// Selection finds the nodes again; nil where a list named them, or a part of those found was taken.
	Selection  *Selection  `json:"selection,omitempty"`
	Rules      batch.Rules `json:"rules"`
	Pace       batch.Pace  `json:"pace"`
	Verify     Verify      `json:"verify,omitzero"`
	Gates      []Gate      `json:"gates,omitempty"`
	GatePolicy GatePolicy  `json:"gate_policy,omitzero"`
	Locks      []string    `json:"locks,omitempty"` // that the run holds
	// MaxDown is how many nodes may be down at once: of all (*), and of those with one value of a fact.
	MaxDown map[string]int `json:"max_down,omitempty"`
	// BudgetWait is how long the run waits for room below these limits; nil is the default.
	BudgetWait *time.Duration `json:"budget_wait,omitempty"`
	Share      bool           `json:"share,omitempty"` // operators elsewhere can follow and adopt the run
	// ShareTimeout is how long the shared record may be silent before the run stops; nil is the default.
	ShareTimeout *time.Duration `json:"share_timeout,omitempty"`
}

// Selection is the filter by which nodes were found, as it was typed. Empty, it is every node with the agent.
type Selection struct {
	Facts      []string `json:"facts,omitempty"`
	Classes    []string `json:"classes,omitempty"`
	Agents     []string `json:"agents,omitempty"`
	Identities []string `json:"identities,omitempty"`
	With       []string `json:"with,omitempty"`
	Select     []string `json:"select,omitempty"`
	Exclude    []string `json:"exclude,omitempty"` // names, sets and expressions, no files
}

// Node is a node as it was when the plan was made. One that did not answer then has a name only.
type Node struct {
	Identity string    `json:"identity"`
	Started  time.Time `json:"started,omitzero"` // whole seconds, on the node's own clock
	Version  string    `json:"version,omitempty"`
}

// Verify says how it is proved that nodes did it, as the options of req have it.
type Verify struct {
	Way     string         `json:"way,omitempty"` // --verify
	None    bool           `json:"none,omitempty"`
	Expr    string         `json:"expr,omitempty"`
	Version string         `json:"version,omitempty"`
	Timeout *time.Duration `json:"timeout,omitempty"`
	Settle  *time.Duration `json:"settle,omitempty"`
}

// Gate is one gate: a command with the scripts that it names, or a query.
type Gate struct {
	Command string        `json:"command,omitempty"`
	Scripts []gate.Script `json:"scripts,omitempty"`
	PromQL  string        `json:"promql,omitempty"`
}

// GatePolicy is how gates are asked.
type GatePolicy struct {
	gate.Policy
	Timeout time.Duration `json:"timeout"` // of one look
	// Collateral is how many starts and ends of other nodes are allowed between two batches; nil: they are not counted.
	Collateral *int   `json:"max_collateral,omitempty"`
	Server     string `json:"prometheus,omitempty"` // where queries are asked, without user and password
}

// Scripts are those of a gate: the nth of the commands, counted from 0.
func (p *Plan) Scripts(n int) []gate.Script {
	for _, g := range p.Gates {
		if g.Command == "" {
			continue
		}
		if n == 0 {
			return g.Scripts
		}
		n--
	}
	return nil
}

// runID is what ids of runs look like: they are names of files.
var runID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-z][0-9a-z-]{0,63}$`) })

// validate refuses what no fleetctl makes: a plan comes from a file, which any user may have written.
func (p *Plan) validate() error {
	for _, missing := range []struct{ name, value string }{{"owner", p.Owner}, {"collective", p.Collective}, {"agent", p.Agent}, {"action", p.Action}} {
		if missing.value == "" {
			return fmt.Errorf("it has no %s", missing.name)
		}
	}
	switch life := p.Expires.Sub(p.Created); {
	case !runID().MatchString(p.ID):
		return fmt.Errorf("its id %q is not one of a run", p.ID)
	case p.Created.IsZero(), life <= 0:
		return errors.New("it does not say when it begins and expires")
	case life > LongestLife:
		return fmt.Errorf("it is valid for %s, and %s is the longest", life, LongestLife)
	case p.TTL <= 0:
		return errors.New("its requests have no time to live")
	}
	return errors.Join(p.validateInputs(), p.validateNodes(), p.validateGates(), p.Rules.Validate(), p.Pace.Validate())
}

func (p *Plan) validateInputs() error {
	for name := range p.Inputs {
		if secret.Name(name) || slices.Contains(p.Secrets, name) {
			return fmt.Errorf("input %q is a secret, and has a value", name)
		}
	}
	if !slices.IsSorted(p.Secrets) || len(slices.Compact(slices.Clone(p.Secrets))) != len(p.Secrets) {
		return errors.New("the names of its secrets are not sorted, or one is there twice")
	}
	return nil
}

// validateNodes insists that nodes and batches are about the same nodes, each once.
func (p *Plan) validateNodes() error {
	switch {
	case len(p.Nodes) == 0:
		return errors.New("it has no nodes")
	case len(p.Plan.Doubts) > 0:
		return errors.New("it is about nodes that an earlier run may have reached")
	case len(p.Plan.LeftOut) > 0:
		return errors.New("it has nodes that it leaves out")
	case p.Selection != nil && slices.ContainsFunc(p.Selection.Exclude, func(text string) bool { return strings.HasPrefix(text, "@") }):
		return errors.New("it names a file of nodes, which may be another one elsewhere")
	}
	begun, err := batch.Begin(batch.Header{}, p.Plan) // knows what a plan has to be
	if err != nil {
		return err
	}
	i := 0
	for r := range begun.Results() {
		if i >= len(p.Nodes) || p.Nodes[i].Identity != r.Identity {
			return fmt.Errorf("its nodes and its batches differ at %q", r.Identity)
		}
		if err := choria.CheckIdentity(r.Identity); err != nil {
			return err
		}
		i++
	}
	if i != len(p.Nodes) {
		return fmt.Errorf("node %q is in no batch", p.Nodes[i].Identity)
	}
	for fact, values := range p.Facts {
		if len(values) != i {
			return fmt.Errorf("it has %d values of fact %q for %d nodes", len(values), fact, i)
		}
	}
	return p.Plan.Policy.Validate()
}

func (p *Plan) validateGates() error {
	for _, g := range p.Gates {
		if (g.Command == "") == (g.PromQL == "") || g.PromQL != "" && g.Scripts != nil {
			return errors.New("a gate is neither a command nor a query, or both")
		}
	}
	if len(p.Gates) == 0 && p.GatePolicy.Collateral == nil {
		return nil
	}
	if p.GatePolicy.Collateral != nil && *p.GatePolicy.Collateral < 0 {
		return errors.New("it allows less than no starts of other nodes")
	}
	if p.GatePolicy.Timeout <= 0 {
		return errors.New("a look at a gate has no time")
	}
	return p.GatePolicy.Validate()
}
