package filter

import (
	"strings"

	"github.com/tidwall/gjson"
)

// Bounds of FactNames: a name is printed, and a node may send any text.
const (
	maxFactDepth = 6
	maxFactNames = 2000
)

// FactNames returns the paths of a node's facts, a JSON object: os, os.family, os.release.full, as -F and TextAt read
// them. Arrays are not looked into. At most 2000 names, down to a depth of six.
func FactNames(facts []byte) []string {
	if !gjson.ValidBytes(facts) {
		return nil
	}
	var names []string
	addFactNames(&names, "", gjson.ParseBytes(facts), maxFactDepth)
	return names
}

func addFactNames(names *[]string, prefix string, object gjson.Result, depth int) {
	if !object.IsObject() || depth == 0 {
		return
	}
	object.ForEach(func(key, value gjson.Result) bool {
		if len(*names) >= maxFactNames {
			return false
		}
		name := prefix + escapePath(key.String())
		*names = append(*names, name)
		addFactNames(names, name+".", value, depth-1)
		return true
	})
}

// escapePath makes one key a part of a path.
func escapePath(key string) string {
	return strings.NewReplacer(`\`, `\\`, ".", `\.`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`, "!", `\!`).Replace(key)
}
