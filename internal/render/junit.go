package render

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"

	"fleetctl/batch"
)

// Suite is a run as a test report: one test case a node.
type Suite struct {
	Agent, Action string
	// Run is the run's id, empty when it was not recorded.
	Run     string
	Verdict string
	// ExitCode is the one that the program ends with.
	ExitCode int
	Start    time.Time
	Took     time.Duration
	// Proved reports that acceptance is not the end: a node that is only accepted is an error.
	Proved bool
	// Nodes are the cases, in the order of the report.
	Nodes []batch.Result
}

type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr"`
	junitCounts
	Suite junitSuite `xml:"testsuite"`
}

type junitCounts struct {
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Errors   int    `xml:"errors,attr"`
	Skipped  int    `xml:"skipped,attr"`
	Time     string `xml:"time,attr"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitCounts
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string       `xml:"name,attr"`
	Class   string       `xml:"classname,attr"`
	Time    string       `xml:"time,attr"`
	Failure *junitResult `xml:"failure"`
	Error   *junitResult `xml:"error"`
	Skipped *junitResult `xml:"skipped"`
}

type junitResult struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes a run as a JUnit report: a node that refused or is unverified has failed, a node in an unknown state (no
// reply, unknown) is an error, one that was not sent to is skipped. Hostile characters are shown by their numbers.
func JUnit(w io.Writer, s Suite) error {
	s.Agent, s.Action = clean(s.Agent), clean(s.Action)
	counts := junitCounts{Tests: len(s.Nodes), Time: junitSeconds(s.Took)}
	suite := junitSuite{Name: s.Agent + "#" + s.Action, Timestamp: s.Start.UTC().Format("2006-01-02T15:04:05")}
	for _, p := range []junitProperty{{"run", s.Run}, {"verdict", s.Verdict}, {"exit_code", strconv.Itoa(s.ExitCode)}} {
		if p.Value = clean(p.Value); p.Value != "" {
			suite.Properties = append(suite.Properties, p)
		}
	}
	for _, n := range s.Nodes {
		c := junitCase{Name: clean(n.Identity), Class: s.Agent + "." + s.Action, Time: junitSeconds(nodeTime(n))}
		c.judge(n, s.Proved, &counts)
		suite.Cases = append(suite.Cases, c)
	}
	suite.junitCounts = counts
	buf := bufio.NewWriter(w)
	buf.WriteString(xml.Header) // an error stays in buf
	e := xml.NewEncoder(buf)
	e.Indent("", indentStep)
	if err := e.Encode(junitSuites{Name: "fleetctl", junitCounts: counts, Suite: suite}); err != nil {
		return fmt.Errorf("render a JUnit report: %w", err)
	}
	buf.WriteString("\n")
	return buf.Flush()
}

// judge puts a node's state into JUnit's words.
func (c *junitCase) judge(n batch.Result, proved bool, counts *junitCounts) {
	reason := clean(n.Reason)
	message := reason
	switch {
	case message != "":
	case n.State == batch.Accepted:
		message = "accepted, but not checked for proof"
	default:
		message = n.State.String()
	}
	said := &junitResult{Message: message, Type: n.State.String(), Text: n.State.String()}
	if n.Code != 0 {
		said.Text = fmt.Sprintf("%s with status code %d", n.State, n.Code)
	}
	if reason != "" {
		said.Text += ": " + reason
	}
	switch n.State {
	case batch.Verified:
	case batch.Accepted:
		if proved {
			c.Error = said
			counts.Errors++
		}
	case batch.Refused, batch.Unverified:
		c.Failure = said
		counts.Failures++
	case batch.NotSent, batch.Planned:
		c.Skipped = &junitResult{Message: message}
		counts.Skipped++
	default:
		c.Error = said
		counts.Errors++
	}
}

// nodeTime is how long a node took, from the sending of its batch to the last thing known of it.
func nodeTime(n batch.Result) time.Duration {
	end := n.Proved
	if end.IsZero() {
		end = n.Replied
	}
	if n.Sent.IsZero() || end.Before(n.Sent) {
		return 0
	}
	return end.Sub(n.Sent)
}

func junitSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
