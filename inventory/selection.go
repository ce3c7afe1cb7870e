package inventory

import "fleetctl/internal/filter"

// Selection chooses nodes of an inventory. The zero value selects all.
type Selection struct {
	Upgradable, NotUpgradable bool
	Version                   string // a range such as '>=0.28 <0.29.4'
}

// Selector judges nodes by a selection.
type Selector struct {
	s        Selection
	versions *filter.Versions
	odd      map[string]int
}

// Selector compiles the selection. Its error is about the range of versions.
func (s Selection) Selector() (*Selector, error) {
	out := &Selector{s: s, odd: map[string]int{}}
	if s.Version == "" {
		return out, nil
	}
	var err error
	out.versions, err = filter.ParseVersions(s.Version)
	return out, err
}

// Wants reports whether a node is selected.
func (s *Selector) Wants(n Node) bool {
	if s.s.Upgradable && !n.Upgradable || s.s.NotUpgradable && n.Upgradable {
		return false
	}
	if s.versions == nil {
		return true
	}
	in, comparable := s.versions.Match(n.Version)
	if !comparable {
		s.odd[n.Version]++
	}
	return in
}

// Odd are the versions that cannot be compared with the range, and how many nodes have each. They are not selected.
func (s *Selector) Odd() map[string]int { return s.odd }
