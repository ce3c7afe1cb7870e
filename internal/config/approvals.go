package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Approval is a rule: what needs approvals of other operators, and how many. Both conditions have to hold.
type Approval struct {
	Action    string // of any agent, or AGENT#ACTION; "" for each that changes something
	NodesOver int    // only for more nodes than this
	Need      int    // approvals, each of another caller; at least 1
}

// About reports whether the rule is about an action, whatever the number of nodes.
func (a Approval) About(agent, action string) bool {
	return a.Action == "" || a.Action == action || a.Action == agent+"#"+action
}

// ApprovalsNeeded is how many approvals an action on so many nodes needs: the most that a rule asks for.
func (s Settings) ApprovalsNeeded(agent, action string, nodes int) int {
	need := 0
	for _, rule := range s.Approvals {
		if rule.About(agent, action) && nodes > rule.NodesOver {
			need = max(need, rule.Need)
		}
	}
	return need
}

// parseApprovals reads the list of rules. It names the line of a fault itself.
func parseApprovals(value *yaml.Node) ([]Approval, error) {
	if value.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: approvals: expected a list of rules", value.Line)
	}
	var rules []Approval
	for _, entry := range value.Content {
		rule, given := Approval{}, false
		err := eachKey(entry, "a rule of approvals", func(key, value *yaml.Node) error {
			wrong := func(want string) error {
				return fmt.Errorf("line %d: %s of a rule of approvals is %q: want %s", value.Line, key.Value, value.Value, want)
			}
			switch key.Value {
			case "action":
				if given = true; value.ShortTag() != "!!str" || value.Decode(&rule.Action) != nil || rule.Action == "" {
					return wrong("the name of an action")
				}
			case "nodes_over":
				if given = true; value.ShortTag() != "!!int" || value.Decode(&rule.NodesOver) != nil || rule.NodesOver < 0 {
					return wrong("a whole number")
				}
			case "need":
				if value.ShortTag() != "!!int" || value.Decode(&rule.Need) != nil || rule.Need < 1 || rule.Need > 16 {
					return wrong("a whole number from 1 to 16")
				}
			default:
				return unknownKey(key, " of a rule of approvals", []string{"action", "nodes_over", "need"})
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, err
		case rule.Need == 0:
			return nil, fmt.Errorf("line %d: a rule of approvals has no need: want how many", entry.Line)
		case !given:
			return nil, fmt.Errorf("line %d: a rule of approvals names neither action nor nodes_over", entry.Line)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}
