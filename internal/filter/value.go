package filter

import "github.com/tidwall/gjson"

// TextAt returns the text of what path, a gjson path, leads to in a JSON document: a string as it is, anything else as
// it is written there. ok is false where there is nothing, or null. The document must be valid JSON.
func TextAt(document []byte, path string) (text string, ok bool) {
	found := gjson.GetBytes(document, path)
	if !found.Exists() || found.Type == gjson.Null {
		return "", false
	}
	if found.Type == gjson.String {
		return found.String(), true
	}
	return found.Raw, true
}
