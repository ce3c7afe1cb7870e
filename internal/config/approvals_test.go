package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRulesOfApprovals(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []Approval
		err  string
	}{
		{"approvals: []", nil, ""},
		{"approvals: [{action: shutdown, need: 1}, {nodes_over: 500, need: 2}]", []Approval{{"shutdown", 0, 1}, {"", 500, 2}}, ""},
		{"approvals:\n- {action: choria_provision#restart, nodes_over: 5, need: 16}", []Approval{{"choria_provision#restart", 5, 16}}, ""},
		{"approvals: [{nodes_over: 0, need: 1}]", []Approval{{"", 0, 1}}, ""},
		{"approvals: {action: shutdown, need: 1}", nil, "line 1: approvals: expected a list of rules"},
		{"approvals:", nil, "expected a list of rules"},
		{"approvals: [shutdown]", nil, "line 1: a rule of approvals: expected key: value"},
		{"approvals:\n- {action: shutdown}", nil, "line 2: a rule of approvals has no need"},
		{"approvals: [{need: 1}]", nil, "names neither action nor nodes_over"},
		{"approvals: [{action: shutdown, need: 0}]", nil, "want a whole number from 1 to 16"},
		{"approvals: [{action: shutdown, need: 17}]", nil, "want a whole number from 1 to 16"},
		{"approvals: [{action: shutdown, need: yes}]", nil, "want a whole number from 1 to 16"},
		{"approvals: [{action: 5, need: 1}]", nil, "want the name of an action"},
		{"approvals: [{action: \"\", need: 1}]", nil, "want the name of an action"},
		{"approvals: [{nodes_over: -1, need: 1}]", nil, "want a whole number"},
		{"approvals: [{node_over: 5, need: 1}]", nil, "did you mean nodes_over?"},
		{"approvals: [{need: 1, need: 2}]", nil, "already set"},
	} {
		got, err := parseSettings([]byte(tt.text))
		if d := cmp.Diff(tt.want, got.Approvals); d != "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, %s", tt.text, err, d)
		}
	}
}

func TestHowManyApprovalsAreNeeded(t *testing.T) {
	s := Settings{Approvals: []Approval{{"shutdown", 0, 1}, {"", 500, 2}, {"choria_provision#restart", 10, 3}}}
	for _, tt := range []struct {
		agent, action string
		nodes, want   int
	}{
		{"choria_provision", "shutdown", 1, 1}, {"other", "shutdown", 500, 1}, {"other", "shutdown", 501, 2}, {"x", "y", 500, 0}, {"x", "y", 501, 2},
		{"choria_provision", "restart", 10, 0}, {"choria_provision", "restart", 11, 3}, {"other", "restart", 11, 0}, {"choria_provision", "shutdown", 0, 0},
	} {
		if got := s.ApprovalsNeeded(tt.agent, tt.action, tt.nodes); got != tt.want {
			t.Errorf("%s#%s on %d nodes: %d, want %d", tt.agent, tt.action, tt.nodes, got, tt.want)
		}
	}
	if got := (Settings{}).ApprovalsNeeded("choria_provision", "shutdown", 1000); got != 0 {
		t.Errorf("without rules: %d", got)
	}
}
