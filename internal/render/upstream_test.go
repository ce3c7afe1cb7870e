package render

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
	"github.com/google/go-cmp/cmp"
)

// upstreamCase is what the real formatter of choria 0.29.4 printed for some replies.
type upstreamCase struct {
	Name, Agent, Action string
	Replies             []struct {
		Sender string
		Code   int
		Msg    string
		Data   json.RawMessage
	}
	Outputs   map[string]Output
	Summaries map[string][]string
	JSONSum   json.RawMessage
	Stats     struct {
		NoResponses, UnexpectedResponses  []string
		Discovered, Failed, OK, Responses int
	}
	Expected map[string]string
}

func upstreamCases(t *testing.T) []upstreamCase {
	t.Helper()
	text, err := os.ReadFile("testdata/upstream.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []upstreamCase
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func (c upstreamCase) result() Result {
	r := Result{Agent: c.Agent, Action: c.Action, Summaries: c.JSONSum}
	for _, reply := range c.Replies {
		r.Replies = append(r.Replies, &rpcclient.Reply{Node: reply.Sender, Action: c.Action, Code: choria.StatusCode(reply.Code),
			Message: reply.Msg, Data: reply.Data, Time: time.Date(2026, 11, 22, 7, 26, 59, 0, time.UTC)})
	}
	r.Stats = Stats{RequestID: "0811d16d4c6749108aa2f8a4ddb6f3a3", NoResponses: c.Stats.NoResponses,
		UnexpectedResponses: c.Stats.UnexpectedResponses, Discovered: c.Stats.Discovered, Failed: c.Stats.Failed,
		OK: c.Stats.OK, Responses: c.Stats.Responses, DiscoverTime: 2 * time.Second}
	return r
}

// the durations and clocks of the recording differ from ours.
var (
	clocks  = regexp.MustCompile(`(?m)( Time: ).*$`)
	numbers = regexp.MustCompile(`("(?:publish_time|request_time|discover_time|start_time_utc)": ).*?(,?\n)`)
)

func sameClocks(s string) string {
	return numbers.ReplaceAllString(clocks.ReplaceAllString(s, "${1}T"), "${1}T$2")
}

func TestTextIsLaidOutAsUpstream(t *testing.T) {
	modes := map[string]Display{"ok": DisplayOK, "failed": DisplayFailed, "all": DisplayAll, "none": DisplayNone}
	for _, c := range upstreamCases(t) {
		for mode, display := range modes {
			t.Run(c.Name+"/"+mode, func(t *testing.T) {
				var b strings.Builder
				o := TextOptions{Display: display, Outputs: c.Outputs, Summaries: c.Summaries}
				if err := Text(&b, c.result(), o); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.Expected[mode], b.String()); diff != "" {
					t.Errorf("-upstream +ours\n%s", diff)
				}
			})
		}
	}
}

func TestTextWithoutFailuresIsUpstreams(t *testing.T) {
	for _, c := range upstreamCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			display, ok := ParseDisplay("", c.Expected["display"])
			if !ok {
				t.Fatal("a document's display mode was refused")
			}
			r := c.result()
			o := TextOptions{Display: display, Outputs: c.Outputs, Summaries: c.Summaries}
			for mode, verbose := range map[string]bool{"text": false, "verbose": true} {
				var b strings.Builder
				o.Verbose = verbose
				if err := Text(&b, r, o); err != nil {
					t.Fatal(err)
				}
				got, want := sameClocks(b.String()), sameClocks(c.Expected[mode])
				switch {
				case verbose: // upstream leaves a failure's message out
					for _, reply := range r.Replies {
						if reply.Code != 0 {
							got = strings.Replace(got, "    "+reply.Message+"\n\n", "", 1)
						}
					}
				case r.Stats.Failed > 0: // ours are grouped
					continue
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: -upstream +ours\n%s", mode, diff)
				}
			}
		})
	}
}

func TestJSONIsUpstreamsDocumentAndOurKeys(t *testing.T) {
	for _, c := range upstreamCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			var b bytes.Buffer
			r := c.result()
			if err := JSON(&b, r); err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSuffix(sameClocks(c.Expected["json"]), "\n}\n") + ",\n   \"schema_version\": 1\n}\n"
			if diff := cmp.Diff(sorted(want), sorted(sameClocks(b.String()))); diff != "" {
				t.Errorf("-upstream +ours\n%s", diff)
			}
			if !json.Valid(b.Bytes()) {
				t.Error("not JSON")
			}
		})
	}
}

// sorted brings the silent nodes, whose order is upstream's map order, into one order.
func sorted(s string) string {
	return regexp.MustCompile(`(?s)"no_responses": \[.*?\]`).ReplaceAllStringFunc(s, func(list string) string {
		var names []string
		for _, name := range regexp.MustCompile(`"[^"]+"[,\n]`).FindAllString(list, -1) {
			names = append(names, strings.TrimRight(name, ",\n"))
		}
		return `"no_responses": ` + strings.Join(slices.Sorted(slices.Values(names)), " ")
	})
}

func TestSendersAreUpstreams(t *testing.T) {
	for _, c := range upstreamCases(t) {
		var plain, document strings.Builder
		if err := Senders(&plain, c.result().Replies); err != nil {
			t.Fatal(err)
		}
		if err := SendersJSON(&document, c.result().Replies); err != nil {
			t.Fatal(err)
		}
		if got, want := plain.String(), c.Expected["senders"]; got != want {
			t.Errorf("%s: senders %q, want %q", c.Name, got, want)
		}
		if got, want := document.String(), c.Expected["sendersjson"]; got != want {
			t.Errorf("%s: senders as JSON %q, want %q", c.Name, got, want)
		}
	}
}

func TestTableHasUpstreamsBox(t *testing.T) {
	for _, c := range upstreamCases(t) {
		if strings.Contains(c.Expected["table"], "[\n") {
			continue // upstream's box breaks around cells of several lines; ours does not
		}
		var b strings.Builder
		if err := OutputTable(&b, c.result(), c.Outputs); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.Expected["table"], b.String()); diff != "" {
			t.Errorf("%s: -upstream +ours\n%s", c.Name, diff)
		}
	}
}
