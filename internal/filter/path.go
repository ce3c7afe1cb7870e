package filter

import (
	"fmt"

	"github.com/tidwall/gjson"
)

// TextsAt returns the texts of the array that path, a gjson path, leads to in a JSON document. odd describes the
// first member that is something else, such as "member 3 is an object", and is "" when there is none. ok is false
// when there is no array at path. The document must be valid JSON; what a path finds in anything else is undefined.
func TextsAt(document []byte, path string) (texts []string, odd string, ok bool) {
	found := gjson.GetBytes(document, path)
	if !found.IsArray() {
		return nil, "", false
	}
	for i, member := range found.Array() {
		switch {
		case member.Type == gjson.String:
			texts = append(texts, member.String())
		case odd == "":
			odd = fmt.Sprintf("member %d is %s", i+1, kindOf(member))
		}
	}
	return texts, odd, true
}

func kindOf(r gjson.Result) string {
	switch {
	case r.IsObject():
		return "an object"
	case r.IsArray():
		return "an array"
	case r.IsBool():
		return "a truth value"
	case r.Type == gjson.Number:
		return "a number"
	}
	return "null"
}
