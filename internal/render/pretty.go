package render

import (
	"bytes"
	"encoding/json"

	"github.com/tidwall/pretty"
)

// indentStep is the indentation of one level in pretty JSON and XML.
const indentStep = "  "

// prettyJSON lays JSON out with sorted keys, every line after prefix. An array of plain values (arrays of them too)
// stays on one line when it fits into width columns, counted with the prefix; width 0 puts every element on its own
// line. Numbers and strings keep their spelling. Members with the same name are sorted by value. Text that is not JSON comes
// back as it is. There is no final newline.
func prettyJSON(data []byte, prefix string, width int) []byte {
	if !json.Valid(data) {
		return append([]byte(prefix), data...)
	}
	return bytes.TrimSuffix(pretty.PrettyOptions(data, &pretty.Options{Width: width, Prefix: prefix, Indent: indentStep, SortKeys: true}), []byte("\n"))
}
