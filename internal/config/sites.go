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

// Site is one of several fleets: its configuration, and limits that hold there besides those for all.
type Site struct {
	Config        string // Choria's client configuration; absolute
	MaxNodes      int
	RequireFilter bool
	Confirm       bool
	ReadOnly      bool
	Locks         []string // besides those for all
	MaxDown       []string // besides those for all
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
	if site.MaxNodes > 0 && (s.MaxNodes == 0 || site.MaxNodes < s.MaxNodes) {
		s.MaxNodes = site.MaxNodes
	}
	s.RequireFilter = s.RequireFilter || site.RequireFilter
	s.Confirm = s.Confirm || site.Confirm
	s.ReadOnly = s.ReadOnly || site.ReadOnly
	s.Locks, s.MaxDown = slices.Concat(s.Locks, site.Locks), slices.Concat(s.MaxDown, site.MaxDown)
	return s, nil
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

func parseSite(name string, value *yaml.Node) (Site, error) {
	var s Site
	var limits Settings
	names := []string{"config"}
	for _, k := range limitKeys {
		names = append(names, k.name)
	}
	err := eachKey(value, "site "+name, func(key, value *yaml.Node) error {
		if key.Value == "config" {
			s.Config = value.Value
			if value.ShortTag() != "!!str" || s.Config == "" || plain.Line(s.Config) != s.Config || strings.HasPrefix(s.Config, "~") {
				return fmt.Errorf("line %d: config of site %s is %q: want the path of a file, absolute or from the folder of the settings", value.Line, name, value.Value)
			}
			return nil
		}
		for _, k := range limitKeys {
			if k.name == key.Value {
				return k.apply(&limits, value)
			}
		}
		return unknownKey(key, " of site "+name, names)
	})
	if err == nil && s.Config == "" {
		err = fmt.Errorf("line %d: site %s has no config: want Choria's client configuration there", value.Line, name)
	}
	s.MaxNodes, s.RequireFilter, s.Confirm, s.ReadOnly = limits.MaxNodes, limits.RequireFilter, limits.Confirm, limits.ReadOnly
	s.Locks, s.MaxDown = limits.Locks, limits.MaxDown
	return s, err
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
