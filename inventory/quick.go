package inventory

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// quick decodes the plain forms of a value that encoding/json has found to be valid: a decimal integer, a boolean, a text
// without escapes in ASCII, and a list of such texts. It reports false, and leaves into as it is, for every other form.
func quick(raw json.RawMessage, into any) bool {
	switch into := into.(type) {
	case *int64:
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err == nil {
			*into = n
		}
		return err == nil
	case *bool:
		yes := string(raw) == "true"
		if !yes && string(raw) != "false" {
			return false
		}
		*into = yes
		return true
	case *string:
		text, rest, ok := plainText(raw)
		if !ok || len(rest) > 0 {
			return false
		}
		*into = string(text)
		return true
	case *[]string:
		list, ok := plainList(raw)
		if ok {
			*into = list
		}
		return ok
	}
	return false
}

// plainText reads a text at the beginning of raw.
func plainText(raw []byte) (text, rest []byte, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			return raw[1:i], raw[i+1:], true
		case c == '\\', c >= 0x80:
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// plainList reads a list without spaces around its texts.
func plainList(raw []byte) ([]string, bool) {
	if len(raw) < 2 || raw[0] != '[' {
		return nil, false
	}
	list := make([]string, 0, bytes.Count(raw, []byte{','})+1)
	rest := raw[1:]
	if string(rest) == "]" {
		return list, true
	}
	for {
		text, after, ok := plainText(rest)
		if !ok || len(after) == 0 {
			return nil, false
		}
		list = append(list, string(text))
		switch {
		case string(after) == "]":
			return list, true
		case after[0] != ',':
			return nil, false
		}
		rest = after[1:]
	}
}
