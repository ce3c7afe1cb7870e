package filter

import "github.com/tidwall/gjson"

// TextsAt returns the texts of the array that path, a gjson path, leads to in a JSON document, and how many
// of its members are something else. ok is false when there is no array at path. The document must be valid
// JSON; what a path finds in anything else is undefined.
func TextsAt(document []byte, path string) (texts []string, others int, ok bool) {
	found := gjson.GetBytes(document, path)
	if !found.IsArray() {
		return nil, 0, false
	}
	for _, member := range found.Array() {
		if member.Type == gjson.String {
			texts = append(texts, member.String())
		} else {
			others++
		}
	}
	return texts, others, true
}
