package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/plain"
	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// enemy is what a node, a broker or a signer may put into any text.
const enemy = "a\x1b[2J\x00\u009b31m\u202egnp\u2066\u200f\u061c\u2028z\x7f\xff"

// documents are all the ways in which text from outside leaves.
func documents() map[string]func(io.Writer) error {
	quoted, _ := json.Marshal(enemy)
	raw := json.RawMessage(`{"out":"` + "\u202e\u009b\u2028\x7f" + `","` + "\u200e" + `":` + string(quoted) + `}`)
	reply := rpcclient.Reply{Node: "n" + enemy, Action: enemy, Message: enemy, Data: raw, Time: time.Unix(1, 0), Protocol: raw}
	failed := reply
	failed.Code = 1
	r := Result{Agent: enemy, Action: enemy, Replies: []*rpcclient.Reply{&reply, &failed}, Stats: Stats{NoResponses: []string{enemy}, UnexpectedResponses: []string{enemy}}, Summaries: raw}
	outputs := map[string]Output{"out": {DisplayAs: enemy}}
	text := TextOptions{Display: DisplayAll, Verbose: true, Outputs: outputs, Summaries: map[string][]string{"out": {enemy}}}
	brief := text
	brief.Verbose, brief.Display = false, DisplayDocOK
	suite := Suite{Agent: enemy, Action: enemy, Run: enemy, Verdict: enemy, Nodes: []batch.Result{{Identity: enemy, State: batch.Refused, Reason: enemy}}}
	return map[string]func(io.Writer) error{
		"json":     func(w io.Writer) error { return JSON(w, r) },
		"indented": func(w io.Writer) error { return IndentedJSON(w, r) },
		"lines": func(w io.Writer) error {
			l := NewLines(w)
			return errors.Join(l.Result(&reply), l.Summaries(raw), l.Error(errors.New(enemy)), l.Run(map[string]string{"a": enemy}), l.Stats(r.Stats))
		},
		"text":  func(w io.Writer) error { return Text(w, r, text) },
		"brief": func(w io.Writer) error { return Text(w, r, brief) },
		"table": func(w io.Writer) error { return OutputTable(w, r, outputs) },
		"csv":   func(w io.Writer) error { return CSV(w, r, outputs) },
		"stream": func(w io.Writer) error {
			s, err := NewCSVStream(w, []string{enemy})
			return errors.Join(err, s.Row([]string{enemy}), s.Close())
		},
		"senders": func(w io.Writer) error { return Senders(w, r.Replies) },
		"nodes":   func(w io.Writer) error { return errors.Join(Nodes(w, []string{enemy}), Nodeset(w, []string{enemy})) },
		"groups":  func(w io.Writer) error { return Groups(w, []Group{{Cause: enemy, Nodes: []string{enemy}}}, brief) },
		"junit":   func(w io.Writer) error { return JUnit(w, suite) },
		"plan": func(w io.Writer) error {
			p := batch.Plan{Notes: []string{enemy}, Batches: []batch.Batch{{Number: 1, Nodes: []string{enemy}, Reason: enemy}}, Pool: []string{enemy}}
			return Plan(w, p, batch.Estimate{}, PlanOptions{Width: 80, Guards: []string{enemy}})
		},
		"token": func(w io.Writer) error {
			t := Token{File: enemy, Purpose: enemy, Holder: enemy, Organization: enemy, Algorithm: enemy, Problem: enemy, Permissions: []string{enemy}, Details: [][2]string{{enemy, enemy}}}
			return errors.Join(WriteToken(w, t, time.Unix(1, 0)), TokenJSON(w, t))
		},
		"facts": func(w io.Writer) error {
			values := []FactValue{{Value: enemy, Nodes: []string{enemy}}}
			o := FactOptions{ShowNodes: true}
			return errors.Join(Facts(w, enemy, values, o), FactsTable(w, values, o), FactsJSON(w, values), FactsChart(w, enemy, values, o, 80))
		},
		"ping": func(w io.Writer) error { return Ping(w, enemy, time.Second) },
		"inventory": func(w io.Writer) error {
			n := inventory.Node{Identity: enemy, Version: enemy, Collectives: []string{enemy}, MainCollective: enemy, Agents: []string{enemy}, Classes: []string{enemy},
				Facts: raw, Machines: []inventory.Machine{{Name: enemy, Version: enemy, State: enemy}}}
			return Inventory(w, n, InventoryOptions{})
		},
		"doctor": func(w io.Writer) error {
			c := Checkup{Verdict: enemy, Files: []string{enemy}, Settings: []Setting{{enemy, enemy, enemy}},
				Credentials: []Credential{{Kind: enemy, Path: enemy, Names: []string{enemy}, Organization: enemy, Issuer: enemy, Permissions: []string{enemy}, Problem: enemy}},
				Steps:       []Step{{Name: enemy, Target: enemy, Status: StepFailed, Detail: enemy, Fix: enemy}}}
			return CheckupText(w, c, CheckupOptions{})
		},
	}
}

// TestTextFromOutsideIsHarmlessInEveryDocument: no character that moves a cursor or turns text around leaves as it came.
func TestTextFromOutsideIsHarmlessInEveryDocument(t *testing.T) {
	for name, write := range documents() {
		var out bytes.Buffer
		if err := write(&out); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(out.String(), "gnp") {
			t.Errorf("%s shows nothing of the text: %q", name, out.String())
		}
		for i, r := range out.String() {
			if plain.Hostile(r) {
				t.Errorf("%s: %U at byte %d of %q", name, r, i, out.String())
				break
			}
		}
	}
}

// TestHarmlessDocumentsKeepTheirMeaning: JSON decodes to what was sent, XML is well-formed.
func TestHarmlessDocumentsKeepTheirMeaning(t *testing.T) {
	var out bytes.Buffer
	if err := documents()["json"](&out); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Replies []struct{ Data map[string]string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if got, want := doc.Replies[0].Data["out"], "\u202e\u009b\u2028\x7f"; got != want {
		t.Errorf("out is %q, want %q", got, want)
	}
	out.Reset()
	if err := documents()["junit"](&out); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&out); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// full is a device without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

// TestEveryPrinterReportsThatItCouldNotWrite: a result that is lost must not end with code 0.
func TestEveryPrinterReportsThatItCouldNotWrite(t *testing.T) {
	for name, write := range documents() {
		if err := write(full{}); !errors.Is(err, errFull) {
			t.Errorf("%s into a full device: %v", name, err)
		}
	}
}
