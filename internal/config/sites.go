package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"fleetctl/internal/plain"
)

// Limits hold at a site, or in a collective, besides those for all.
type Limits struct {
	MaxNodes      int
	RequireFilter bool
	Confirm       bool
	ReadOnly      bool
	Locks         []string
	MaxDown       []string
	Share         bool
}

// Site is one of several fleets: its configuration, and its limits.
type Site struct {
	Config string // Choria's client configuration; absolute
	Limits
}

// UnknownSiteError says that the settings have no site of a name.
type UnknownSiteError struct {
	Name  string
	Known []string // sorted
}

// Error names the site.
func (e *UnknownSiteError) Error() string {
	return fmt.Sprintf("there is no site %q in the settings", e.Name)
}

// Hint proposes a site.
func (e *UnknownSiteError) Hint() string {
	if len(e.Known) == 0 {
		return "the settings have no sites: add `sites: {NAME: {config: FILE}}`"
	}
	hint := "there are " + strings.Join(e.Known, ", ")
	if near := nearest(e.Name, e.Known); near != "" {
		hint = fmt.Sprintf("did you mean %s? ", near) + hint
	}
	return hint
}

// At returns the settings for a site, the strictest of its own and those for all. "" is no site. The error is an
// *UnknownSiteError.
func (s Settings) At(name string) (Settings, error) {
	if name == "" {
		return s, nil
	}
	site, ok := s.Sites[name]
	if !ok {
		return Settings{}, &UnknownSiteError{name, slices.Sorted(maps.Keys(s.Sites))}
	}
	s.Site = name
	return s.with(site.Limits), nil
}

// In returns the settings for runs in a collective, the strictest of its own and those before.
func (s Settings) In(collective string) Settings {
	return s.with(s.Collectives[collective])
}

func (s Settings) with(l Limits) Settings {
	if l.MaxNodes > 0 && (s.MaxNodes == 0 || l.MaxNodes < s.MaxNodes) {
		s.MaxNodes = l.MaxNodes
	}
	s.RequireFilter = s.RequireFilter || l.RequireFilter
	s.Confirm = s.Confirm || l.Confirm
	s.ReadOnly = s.ReadOnly || l.ReadOnly
	s.Locks, s.MaxDown = slices.Concat(s.Locks, l.Locks), slices.Concat(s.MaxDown, l.MaxDown)
	s.Share = s.Share || l.Share
	return s
}

// parseSites reads the map of sites. Unlike other settings it says itself which line is wrong.
func parseSites(value *yaml.Node) (map[string]Site, error) {
	sites := map[string]Site{}
	err := eachKey(value, "sites", func(name, site *yaml.Node) error {
		if !siteName(name.Value) {
			return fmt.Errorf("line %d: %s is no name of a site: want letters, digits, dots, dashes", name.Line, quote("", name.Value))
		}
		parsed, err := parseSite(name.Value, site)
		sites[name.Value] = parsed
		return err
	})
	return sites, err
}

func parseSite(name string, value *yaml.Node) (s Site, err error) {
	s.Limits, err = parseLimits(value, "site "+name, settingKey{name: "config", parse: func(_ *Settings, value *yaml.Node) error {
		s.Config = value.Value
		if value.ShortTag() != "!!str" || s.Config == "" || plain.Line(s.Config) != s.Config || strings.HasPrefix(s.Config, "~") {
			return fmt.Errorf("line %d: config of site %s is %q: want the path of a file, absolute or from the folder of the settings", value.Line, name, value.Value)
		}
		return nil
	}})
	if err == nil && s.Config == "" {
		err = fmt.Errorf("line %d: site %s has no config: want Choria's client configuration there", value.Line, name)
	}
	return s, err
}

// parseCollectives reads the map of collectives.
func parseCollectives(value *yaml.Node) (map[string]Limits, error) {
	collectives := map[string]Limits{}
	err := eachKey(value, "collectives", func(name, value *yaml.Node) (err error) {
		if name.Value == "" || strings.ContainsFunc(name.Value, func(r rune) bool { return r <= ' ' || strings.ContainsRune("*>.\x7f", r) }) {
			return fmt.Errorf("line %d: %s is no name of a collective", name.Line, quote("", name.Value))
		}
		collectives[name.Value], err = parseLimits(value, "collective "+name.Value)
		return err
	})
	return collectives, err
}

// parseLimits reads the limits of a site or a collective, and keys of its own.
func parseLimits(value *yaml.Node, of string, own ...settingKey) (Limits, error) {
	var s Settings
	keys := slices.Concat(own, limitKeys)
	err := eachKey(value, of, func(key, value *yaml.Node) error {
		names := make([]string, len(keys))
		for i, k := range keys {
			if names[i] = k.name; k.name == key.Value {
				return k.apply(&s, value)
			}
		}
		return unknownKey(key, " of "+of, names)
	})
	return Limits{s.MaxNodes, s.RequireFilter, s.Confirm, s.ReadOnly, s.Locks, s.MaxDown, s.Share}, err
}

// eachKey walks a mapping, in which no key may be twice.
func eachKey(value *yaml.Node, what string, do func(key, value *yaml.Node) error) error {
	if value.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s: expected key: value", value.Line, what)
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(value.Content); i += 2 {
		key := value.Content[i]
		if line, twice := seen[key.Value]; twice {
			return fmt.Errorf("line %d: %s is already set in line %d", key.Line, key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := do(key, value.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// siteName is what goes into a file name, a prompt and a shell.
func siteName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && name[0] != '-' && name[0] != '.'
}

// anchorSites makes the paths of sites absolute: they are from the folder of the settings.
func (s *Settings) anchorSites(file string) {
	for name, site := range s.Sites {
		if !filepath.IsAbs(site.Config) {
			site.Config = filepath.Join(filepath.Dir(file), site.Config)
			s.Sites[name] = site
		}
	}
}
