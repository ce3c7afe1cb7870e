package run

import (
	"context"
	"fmt"
	"strconv"

	"fleetctl/internal/plain"
	"fleetctl/internal/proof"
)

// question is the kind of question of a prompt.
type question uint8

const (
	noQuestion  question = iota
	yesQuestion          // y or N
	countNodes           // the number of nodes, typed
)

// asks returns the question that comes before an action. With always, a run that cannot ask is refused: a shutdown, and
// every change where the settings have confirm. Without always, a run without a terminal starts without the question.
func (c checkpoint) asks() (q question, always bool) {
	switch a := proof.Of(c.req.Agent, c.req.Action); {
	case a == proof.Shutdown:
		return countNodes, true
	case c.Settings.Confirm:
		return yesQuestion, true
	case a == proof.Restart, a == proof.Reprovision, a == proof.Update:
		return yesQuestion, false
	}
	return noQuestion, false
}

func (c checkpoint) consentText() string {
	switch q, always := c.asks(); {
	case q == countNodes:
		return "asks for the number of nodes to be typed; without a terminal needs --yes"
	case q == yesQuestion && always:
		return fmt.Sprintf("asks before it begins (confirm in %s)", c.SettingsFile)
	case q == yesQuestion:
		return "asks before it begins, at a terminal"
	}
	return ""
}

// consent prints the plan and asks the operator at the terminal. With --no-input at a terminal it refuses. Without a
// terminal it refuses when asks returns always, and otherwise lets the run start: a script gave the command.
func (c checkpoint) consent(ctx context.Context, p guardInput) error {
	q, always := c.asks()
	if q == noQuestion || p.nodes == 0 {
		return nil
	}
	if c.req.plan != nil { // it is the consent, but to what cannot be taken back
		if q == countNodes && c.req.approved == 0 {
			return refuse("have it approved: `fleetctl plan approve FILE`; or say --yes if you mean it", "cannot %s %s without an approval of the plan", verb(c.req.Action), plain.Count(p.nodes, "node"))
		}
		return nil
	}
	if err := c.Asker.Reachable(); err != nil || c.req.Guards.NoInput {
		if always || err == nil {
			return refuse("add --yes to confirm", "cannot %s %s without asking", verb(c.req.Action), plain.Count(p.nodes, "node"))
		}
		return nil
	}
	if err := c.Reporter.Report(Proposed{c.proposal(p.plan)}); err != nil {
		return err
	}
	ok, err := c.ask(ctx, q, p.nodes)
	if err != nil {
		return fmt.Errorf("not confirmed, nothing was sent: %w", err)
	}
	if !ok {
		return refuse("", "not confirmed: nothing was sent")
	}
	return nil
}

// ask asks the question of an action and reports whether the answer was yes.
func (c checkpoint) ask(ctx context.Context, q question, nodes int) (bool, error) {
	if q == countNodes {
		text, err := c.Asker.Line(ctx, fmt.Sprintf("%s takes %s%s off the network for good. Type the number of nodes to confirm: ", c.req.Action, plain.Count(nodes, "node"), c.atSite()))
		return text == strconv.Itoa(nodes), err
	}
	return c.Asker.Yes(ctx, fmt.Sprintf("%s %s%s?", verb(c.req.Action), plain.Count(nodes, "node"), c.atSite()))
}

// atSite names the site in a question, so that one fleet is not taken for another.
func (c checkpoint) atSite() string {
	if c.Settings.Site == "" {
		return ""
	}
	return " at site " + c.Settings.Site
}

// verb is the action as a verb in a message.
func verb(action string) string {
	switch action {
	case "shutdown":
		return "shut down"
	case "release_update":
		return "update"
	}
	return action
}
