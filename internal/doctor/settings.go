package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fleetctl/internal/config"
)

func (c *checkup) settings(ctx context.Context) finding {
	s, err := patiently(ctx, "read settings", c.o.Fleet.Own)
	if err != nil {
		return finding{err: asUsage(err)}
	}
	if s.IsZero() {
		return finding{detail: "no limits of our own"}
	}
	site := ""
	if s.Site != "" {
		site = ", site " + s.Site
	}
	if _, ok := s.Collectives[c.n.Collective]; ok {
		s, site = s.In(c.n.Collective), site+", collective "+c.n.Collective
	}
	details := []string{fmt.Sprintf("%s%s: max_nodes %d, require_filter %t, confirm %t, read_only %t",
		c.o.SettingsFile, site, s.MaxNodes, s.RequireFilter, s.Confirm, s.ReadOnly)}
	for _, l := range []struct {
		on   bool
		text string
	}{{len(s.Locks) > 0, "lock " + strings.Join(s.Locks, ", ")}, {len(s.MaxDown) > 0, "max_down " + strings.Join(s.MaxDown, ", ")}, {s.Share, "share true"}} {
		if l.on {
			details = append(details, l.text)
		}
	}
	if s.OnEvent != "" { // the command itself may hold a key
		details = append(details, "on_event set")
	}
	f := finding{detail: strings.Join(details, ", "), warnings: c.pointless(ctx, s)}
	if len(f.warnings) > 0 {
		f.fix = "correct the name in " + c.o.SettingsFile
	}
	return f
}

// pointless are the rules that protect nothing, because a name in them is unknown here: mostly it is misspelled.
func (c *checkup) pointless(ctx context.Context, s config.Settings) (warnings []string) {
	actions := map[string]bool{}
	documents := c.n.Documents()
	documents.Fetch = nil // the network is not asked
	for _, agent := range documents.Known() {
		doc, err := documents.Resolve(ctx, agent)
		if err != nil {
			continue // a broken document is reported where its agent is used
		}
		for _, action := range doc.ActionNames() {
			actions[action], actions[agent+"#"+action] = true, true
		}
	}
	for _, rule := range s.Approvals {
		if rule.Action != "" && !actions[rule.Action] {
			warnings = append(warnings, fmt.Sprintf("approvals are demanded for %q, and no known agent has that action", rule.Action))
		}
	}
	if len(s.Sites) > 0 { // their configurations have other collectives
		return warnings
	}
	known := append([]string{c.n.Collective, c.n.Config.MainCollective}, c.n.Config.Collectives...)
	for name := range s.Collectives {
		if !slices.Contains(known, name) {
			warnings = append(warnings, fmt.Sprintf("there are limits for the collective %q, and the configuration has none of that name", name))
		}
	}
	slices.Sort(warnings)
	return warnings
}
