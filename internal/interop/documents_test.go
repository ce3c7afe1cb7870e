//go:build unix

package interop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func eachVersion(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for version := 1; version <= 2; version++ {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) { test(t, version) })
	}
}

// names reads the JSON list of names that a command printed, sorted; nothing printed is no name, and so is null.
func names(t *testing.T, res result) []string {
	t.Helper()
	var list []string
	if strings.TrimSpace(res.Stdout) != "" {
		decode(t, res, &list)
	}
	got := append([]string{}, list...)
	slices.Sort(got)
	return got
}

func decode(t *testing.T, res result, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(res.Stdout), v); err != nil {
		t.Fatalf("exit %d, stdout is not the JSON expected: %v\nstdout: %s\nstderr: %s", res.Code, err, res.Stdout, res.Stderr)
	}
}

// document is what the tests read of `req --json`, theirs and ours; Run is ours only.
type document struct {
	Replies []struct {
		Sender     string          `json:"sender"`
		StatusCode int             `json:"statuscode"`
		StatusMsg  string          `json:"statusmsg"`
		Data       json.RawMessage `json:"data"`
	} `json:"replies"`
	Stats struct {
		NoResponses []string `json:"no_responses"`
		Discovered  int      `json:"discovered"`
		OK          int      `json:"ok"`
		Failed      int      `json:"failed"`
	} `json:"request_stats"`
	Run struct {
		ExitCode int               `json:"exit_code"`
		States   map[string]int    `json:"states"`
		Batches  []json.RawMessage `json:"batches"`
		Nodes    []struct {
			Identity string `json:"identity"`
			Batch    int    `json:"batch"`
			State    string `json:"state"`
		} `json:"nodes"`
	} `json:"run"`
}

// volatile are the values that differ between two runs of the same request; their kind still has to be the same.
var volatile = []string{
	"requestid", "time_utc", "start_time_utc", "publish_time", "request_time", "discover_time",
	"pong", "pid", "starttime", "total", "validated", "unvalidated", "passed", "filtered", "replies", "ttlexpired", "events", "threads",
}

// documented are the keys that we add to upstream's document.
var documented = []string{"schema_version", "run"}

// essence strips a `req --json` document of what may differ: documented additions, volatile values, the order of replies.
func essence(t *testing.T, res result) map[string]any {
	t.Helper()
	var doc map[string]any
	decode(t, res, &doc)
	for _, key := range documented {
		delete(doc, key)
	}
	if replies, ok := doc["replies"].([]any); ok {
		slices.SortFunc(replies, func(a, b any) int { return cmp.Compare(sender(a), sender(b)) })
		for _, reply := range replies {
			blank(reply)
		}
	}
	if stats, ok := doc["request_stats"]; ok {
		blank(stats)
	}
	return doc
}

func sender(reply any) string {
	m, _ := reply.(map[string]any)
	s, _ := m["sender"].(string)
	return s
}

// blank replaces volatile values by the name of their kind, and sorts lists of text, whose order means nothing.
func blank(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if slices.Contains(volatile, key) {
				v[key] = fmt.Sprintf("some %T", value)
				continue
			}
			blank(value)
		}
	case []any:
		for _, value := range v {
			blank(value)
		}
		slices.SortFunc(v, func(a, b any) int {
			x, _ := a.(string)
			y, _ := b.(string)
			return cmp.Compare(x, y)
		})
	}
}

// keyOrder lists the paths of a document's keys as they are written, each once, without our additions.
func keyOrder(t *testing.T, res result) []string {
	t.Helper()
	var order []string
	var walk func(raw json.RawMessage, path string)
	walk = func(raw json.RawMessage, path string) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		opening, err := dec.Token()
		if err != nil {
			t.Fatalf("read %s of the document: %v", path, err)
		}
		for opening == json.Delim('{') && dec.More() {
			key, err := dec.Token()
			if err != nil {
				t.Fatalf("read %s of the document: %v", path, err)
			}
			name, _ := key.(string)
			at := strings.TrimPrefix(path+"."+name, ".")
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				t.Fatalf("read %s of the document: %v", at, err)
			}
			if slices.Contains(documented, at) {
				continue
			}
			if !slices.Contains(order, at) {
				order = append(order, at)
			}
			if name != "data" && name != "summaries" {
				walk(value, at)
			}
		}
		for opening == json.Delim('[') && dec.More() {
			var value json.RawMessage
			if err := dec.Decode(&value); err != nil {
				t.Fatalf("read %s of the document: %v", path, err)
			}
			walk(value, path)
		}
	}
	walk(json.RawMessage(res.Stdout), "")
	return order
}

// counters are the labels of an inventory whose values differ between two looks at the same node.
var counters = regexp.MustCompile(`^( *(?:Total Messages|Messages Passed Filters|Messages Filtered|Expired Messages|Replies Sent|Events Published): )\d+$`)

// layout returns the lines of an inventory, the counters without their values.
func layout(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, counters.ReplaceAllString(strings.TrimRight(line, " \n"), "${1}N"))
	}
	return lines
}
