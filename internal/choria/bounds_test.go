package choria

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// nested is an object whose value is a 1 inside so many arrays or objects.
func nested(pair string, depth int) []byte {
	start, end := pair[:len(pair)-1], pair[len(pair)-1:]
	return []byte(`{"a":` + strings.Repeat(start, depth) + "1" + strings.Repeat(end, depth) + `}`)
}

func TestNestingIsBounded(t *testing.T) {
	for _, pair := range []string{"[]", `{"k":}`} {
		for depth, want := range map[int]string{1: "", maxDepth - 1: "", maxDepth: "nested too deep", 9990: "nested too deep", 30000: "nested too deep"} {
			got := ""
			if err := scanObject(nested(pair, depth), nil); err != nil {
				got = err.Error()
			}
			if want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("%d times %q: %q, want %q", depth, pair, got, want)
			}
		}
	}
}

// weighty is an object with an array of n zeros, inside so many more arrays.
func weighty(depth, n int) []byte {
	return []byte(`{"a":` + strings.Repeat("[", depth) + strings.TrimSuffix(strings.Repeat("0,", n), ",") + strings.Repeat("]", depth) + `}`)
}

func TestNumberOfValuesIsBounded(t *testing.T) {
	for _, tc := range []struct {
		depth, n int
		good     bool
	}{
		{1, 100_000, true}, {1, maxWeight/2 - 1, true}, {1, maxWeight/2 + 1, false},
		{maxDepth - 1, 10_000, true}, {maxDepth - 1, maxWeight/maxDepth + 1, false},
	} {
		err := scanObject(weighty(tc.depth, tc.n), nil)
		if (err == nil) != tc.good || err != nil && !strings.Contains(err.Error(), "too many values") {
			t.Errorf("%d values %d deep: %v", tc.n, tc.depth, err)
		}
	}
}

// TestWhatIsDecodedDoesNotGrow: indented as documents are, the largest replies that are let through stay near their size.
// A reply of 60 KB, nested 9,990 deep, became 300 MB.
func TestWhatIsDecodedDoesNotGrow(t *testing.T) {
	for _, data := range [][]byte{weighty(maxDepth-3, maxWeight/maxDepth-100), weighty(1, maxWeight/3-1), nested("[]", maxDepth-2)} {
		body := fmt.Appendf(nil, `{"statuscode":0,"data":%s}`, data)
		reply, err := DecodeRPCReply(body)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, reply.Data, "", "   "); err != nil {
			t.Fatal(err)
		}
		if limit := 4*len(body) + 4*maxWeight; out.Len() > limit {
			t.Errorf("%d bytes become %d, more than %d", len(body), out.Len(), limit)
		}
	}
	if _, err := DecodeRPCReply(fmt.Appendf(nil, `{"statuscode":0,"data":%s}`, nested("[]", 9990))); err == nil {
		t.Error("9,990 levels are accepted")
	}
}

func TestSizeIsBounded(t *testing.T) {
	for extra, good := range map[int]bool{0: true, 1: false} {
		event := []byte(`{"protocol":"io.choria.lifecycle.v1.startup","timestamp":1}`)
		transport := []byte(`{"protocol":"choria:transport:1","data":"e30=","headers":{}}`)
		blank := func(doc []byte) []byte {
			return append(doc, bytes.Repeat([]byte(" "), maxMessage+extra-len(doc))...)
		}
		if _, err := DecodeTransport(blank(transport)); (err == nil) != good {
			t.Errorf("a transport of %d bytes: %v", maxMessage+extra, err)
		}
		if _, err := DecodeEvent(blank(event)); (err == nil) != good {
			t.Errorf("an event of %d bytes: %v", maxMessage+extra, err)
		}
	}
}

// TestTimesAreBounded: one reply dated in the year 10000 made a whole JSON document impossible.
func TestTimesAreBounded(t *testing.T) {
	for seconds, good := range map[int64]bool{
		0: true, 1: true, 253402300799: true, 253402300800: false, -1: false, 1 << 62: false, -1 << 63: false,
	} {
		reply, err := DecodeReply(V1, fmt.Appendf(nil, `{"protocol":"choria:reply:1","message":"m","envelope":{"senderid":"n","time":%d}}`, seconds))
		if (err == nil) != good {
			t.Errorf("v1, %d: %v", seconds, err)
		}
		event, eventErr := DecodeEvent(fmt.Appendf(nil, `{"protocol":"io.choria.lifecycle.v1.startup","timestamp":%d}`, seconds))
		if (eventErr == nil) != good {
			t.Errorf("event, %d: %v", seconds, eventErr)
		}
		for _, at := range []time.Time{reply.Time, event.Time} {
			if _, err := json.Marshal(at); err != nil {
				t.Errorf("%d: %v", seconds, err)
			}
		}
	}
	for nanos, good := range map[int64]bool{0: true, 1<<63 - 1: true, -1: false, -1 << 63: false} {
		if _, err := DecodeReply(V2, fmt.Appendf(nil, `{"protocol":"io.choria.protocol.v2.reply","message":"","sender":"n","time":%d}`, nanos)); (err == nil) != good {
			t.Errorf("v2, %d: %v", nanos, err)
		}
	}
}

func TestNamesAreBounded(t *testing.T) {
	for n, good := range map[int]bool{maxName: true, maxName + 1: false} {
		long := strings.Repeat("x", n)
		for what, decode := range map[string]func() error{
			"request id": func() error {
				_, err := DecodeReply(V1, fmt.Appendf(nil, `{"protocol":"choria:reply:1","message":"m","envelope":{"senderid":"n","requestid":%q}}`, long))
				return err
			},
			"agent": func() error {
				_, err := DecodeReply(V2, fmt.Appendf(nil, `{"protocol":"io.choria.protocol.v2.reply","message":"","sender":"n","agent":%q}`, long))
				return err
			},
			"action": func() error {
				_, err := DecodeRPCReply(fmt.Appendf(nil, `{"statuscode":0,"action":%q}`, long))
				return err
			},
			"event": func() error {
				_, err := DecodeEvent(fmt.Appendf(nil, `{"protocol":"io.choria.lifecycle.v1.startup","component":%q}`, long))
				return err
			},
		} {
			if err := decode(); (err == nil) != good {
				t.Errorf("%s of %d bytes: %v", what, n, err)
			}
		}
	}
}

// TestStatusMessagesAreCut: a refusal of 1 MB was recorded and printed whole.
func TestStatusMessagesAreCut(t *testing.T) {
	for _, message := range []string{"", "short", strings.Repeat("x", maxStatus), strings.Repeat("ü", maxStatus/2), strings.Repeat("x", maxStatus+1), strings.Repeat("日", 1<<19)} {
		quoted, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := DecodeRPCReply(fmt.Appendf(nil, `{"statuscode":1,"statusmsg":%s}`, quoted))
		if err != nil {
			t.Fatal(err)
		}
		got := reply.StatusMsg
		if len(message) <= maxStatus {
			if got != message {
				t.Errorf("%d bytes: not kept", len(message))
			}
			continue
		}
		kept, mark, found := strings.Cut(got, " ... [cut: ")
		if !found || len(got) > maxStatus || !utf8.ValidString(got) || !strings.HasPrefix(message, kept) || len(kept) < maxStatus-100 || mark != fmt.Sprintf("%d bytes]", len(message)) {
			t.Errorf("%d bytes become %d: %q", len(message), len(got), got[max(0, len(got)-60):])
		}
	}
}

// TestAnnouncedDelaysAreBounded: a reply that announced "after 8760h" made the run wait for a year.
func TestAnnouncedDelaysAreBounded(t *testing.T) {
	const bad = -1
	for data, want := range map[string]time.Duration{
		`{"message":"Restarting Choria Server after 8s"}`:                    8 * time.Second,
		`{"message":"Shutting Choria Server down after 0s"}`:                 0,
		`{"message":"Restarting after 1m5s"}`:                                65 * time.Second,
		`{"message":"Restarting after 611s"}`:                                MaxDelay,
		`{"message":"OK"}`:                                                   0,
		`{"message":"after all"}`:                                            0,
		``:                                                                   0,
		`{"message":"Restarting after 612s"}`:                                bad,
		`{"message":"Restarting after 8760h"}`:                               bad,
		`{"message":"Restarting after 99999999999999999999999999s"}`:         bad,
		`{"message":"Restarting after ` + strings.Repeat("9", 1<<20) + `s"}`: bad,
		`{"message":"Restarting after 8parsecs"}`:                            bad,
	} {
		got, err := AnnouncedDelay([]byte(data))
		if err != nil {
			got = bad
			if len(err.Error()) > 200 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		}
		if got != want {
			t.Errorf("%.60s: %v, %v, want %v", data, got, err, want)
		}
	}
}

// TestBoundsAreDocumented: docs/protocol.md has each number.
func TestBoundsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a message on the wire": fmt.Sprintf("%d MiB", maxMessage>>20),
		"nesting":               fmt.Sprintf("%d levels", maxDepth),
		"values":                fmt.Sprintf("%d", maxWeight),
		"names":                 fmt.Sprintf("%d bytes", maxName),
		"a status message":      fmt.Sprintf("%d bytes", maxStatus),
		"times":                 "1970 to 9999",
		"an announced delay":    fmt.Sprintf("%d s", MaxDelay/time.Second),
	} {
		if row := "| " + name + " | " + want; !strings.Contains(strings.ReplaceAll(string(page), ",", ""), row) {
			t.Errorf("docs/protocol.md has no row that begins with %q", row)
		}
	}
}
