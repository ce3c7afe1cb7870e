package filter

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"
)

// Versions is a range of server versions, such as <0.28 or >=0.28 <0.30 || 0.99.x. Safe for concurrent use.
type Versions struct{ constraints *semver.Constraints }

// ParseVersions reads a range of semantic versions. Parts that must all hold are separated by spaces or commas,
// alternatives by ||. Pre-releases take part: 0.29.4-rc1 is <0.29.4.
func ParseVersions(text string) (*Versions, error) {
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("version range %q is empty", text)
	}
	c, err := semver.NewConstraint(text)
	if err != nil {
		return nil, fmt.Errorf("version range %q: %w", text, err)
	}
	c.IncludePrerelease = true
	return &Versions{constraints: c}, nil
}

// Match reports whether a version is in the range. A version that cannot be compared is in no range; comparable is false then.
func (v *Versions) Match(version string) (in, comparable bool) {
	parsed, err := parseVersion(version)
	if err != nil {
		return false, false
	}
	return v.constraints.Check(parsed), true
}

// CompareVersions orders two versions. Those that cannot be compared come first, in the order of their texts.
func CompareVersions(a, b string) int {
	va, aerr := parseVersion(a)
	vb, berr := parseVersion(b)
	switch {
	case aerr != nil && berr != nil:
		return strings.Compare(a, b)
	case aerr != nil:
		return -1
	case berr != nil:
		return 1
	}
	if n := va.Compare(vb); n != 0 {
		return n
	}
	return strings.Compare(a, b)
}

// nightly is how Choria numbers its builds between releases: a date as a fourth number.
var nightly = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(v?\d+\.\d+\.\d+)\.(\d+)$`) })

func parseVersion(text string) (*semver.Version, error) {
	return semver.NewVersion(nightly().ReplaceAllString(text, "$1+$2"))
}
