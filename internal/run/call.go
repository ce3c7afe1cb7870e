package run

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
	"fleetctl/internal/filter"
	"fleetctl/internal/fleet"
	"fleetctl/internal/gate"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
	"fleetctl/internal/proof"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Fleet is what a run needs of the way to the fleet. *fleet.Fleet is one.
type Fleet interface {
	About() fleet.About
	Who() (fleet.Caller, error) // opens our credentials
	Documents() ddl.Resolver
	Identity() (*security.Identity, error) // what we sign plans and approvals with
	Find(ctx context.Context, t fleet.Targets, parsed filter.Filter, agent string) (discovery.Result, error)
	MethodName(t fleet.Targets, parsed filter.Filter) string
	Dial(ctx context.Context) (*rpcclient.Client, error)
	Private(ctx context.Context) (private bool, broker string, err error)
	Events() fleet.Events // after Dial
	// Links delivers what happens to the connection, nil before Dial. It is read by one run.
	Links() <-chan batch.Link
	// Bucket dials, and names a bucket of the brokers.
	Bucket(ctx context.Context, name string) (lease.Store, error)
	// KeepTokens makes the client remember the nodes' tokens, from before the first question on.
	KeepTokens()
	// AskOfAbsence makes Find ask the broker, beside the nodes, whether it reports absent ones.
	AskOfAbsence()
}

// Asker asks the operator.
type Asker interface {
	// Reachable is nil where there is a terminal to ask at.
	Reachable() error
	// Line asks for a line of text. The end of ctx is an error; the end of the terminal's input is an empty line.
	Line(ctx context.Context, question string) (string, error)
	// Yes asks for y or n; anything but a clear yes is a no.
	Yes(ctx context.Context, question string) (bool, error)
}

// Context is what a run needs besides its request. All fields are required except those marked otherwise.
type Context struct {
	Fleet    Fleet
	Store    Store
	Asker    Asker
	Reporter Reporter

	Secrets   secret.Source
	Scrub     *secret.Scrubber // gets the secrets of the run
	Token     string           // stands in for the provisioning token where none is given; may be empty
	ReadNodes func(ctx context.Context, name string) ([]string, error)

	Settings     config.Settings
	SettingsFile string // for messages
	User         string // who runs this, for the record
	Host         string
	Version      string       // of this program
	Environ      []string     // of the commands of gates: NAME=VALUE, none secret by its name
	Places       gate.Places  // where the words of these commands lead
	Logger       *slog.Logger // what happens, for --debug; nil: discarded
	// Outlive is called before a recorded run begins: from then on the process must not end because a pipe is closed. It
	// returns what pauses and continues the run, besides Store.Control; may be nil, and may return nil.
	Outlive func(Next) <-chan batch.Control
	// Detach takes a run that has passed its guards, to have another process drive it; for requests with Detach.
	Detach func(ctx context.Context, h Handover) error
	// Expect gets how many nodes the run is for, before it begins; may be nil.
	Expect func(nodes int)
	// Ready is called after the last guard, before a record is made or taken. An error ends the run there. May be nil.
	Ready func() error
}

// call is an action on a fleet, checked as far as it can be without asking the nodes.
type call struct {
	Context
	req    Request
	fleet  Fleet
	about  fleet.About
	doc    *ddl.Document
	action *ddl.Action
	inputs inputs
	data   json.RawMessage
	// lacking is why the inputs of a recorded run cannot be sent, as when a secret was not given again. Proof needs none.
	lacking error
	// command is what was typed, without secrets, for the record.
	command []string
	// chosen reports that the nodes were chosen: by a filter, a file, names, or an earlier run.
	chosen bool
	start  time.Time
	// clocks judge the times that come from records; lagging means that the record may lack requests that were sent.
	clocks     []journal.Clock
	lagging    bool
	id         string                       // of this run, once it is needed
	locks      *locks                       // nil while none is held
	mirror     *mirrored                    // the shared record; nil without one
	claimed    *lease.Mirror                // the head of a new run in the shared bucket; nil without one
	end        *lease.Reader                // where the shared record of a resumed run ends; nil without one
	adopting   *SharedRun                   // nil except in an adoption
	parent     string                       // the run that this one retries; "" for none
	budget     *budget                      // nil where no limit of nodes that are down binds this run
	keeper     batch.Gatekeeper             // nil without gates
	collateral *collateral                  // nil without --max-collateral
	tokens     *tokenLook                   // nil before the nodes' tokens were looked at
	known      map[string]map[string]string // the facts that the plan asked the nodes for, by node
	passed     guardInput                   // what the guards have let pass
	// parentSize is the length of the record of the run that a retry repeats, in bytes.
	parentSize int64
	// planned is closed when the plan of the run is recorded; nil: nothing waits for that.
	planned io.Closer
}

// minTTL is the shortest time to live that servers of protocol v1 accept.
const minTTL = 30 * time.Second

// prepare checks everything that can be checked without the nodes.
func prepare(ctx context.Context, c Context, r Request) (*call, error) {
	c.Settings = c.Settings.In(c.Fleet.About().Collective)
	j := &call{Context: c, req: r, fleet: c.Fleet, about: c.Fleet.About(), start: time.Now(), chosen: r.stored || r.plan != nil || r.Targets.Chosen()}
	if err := j.resolve(ctx); err != nil {
		return nil, err
	}
	if err := forwardable(j); err != nil {
		return nil, err
	}
	if err := (noter{j}).readsAges(); err != nil {
		return nil, err
	}
	if err := (demand{j}).checkVersion(); err != nil {
		return nil, err
	}
	if err := (sharing{j}).checkTTL(); err != nil {
		return nil, err
	}
	if !r.Record.Resume { // the record may have a lock
		if err := (sharing{j}).checkWait(); err != nil {
			return nil, err
		}
	}
	return j, gatekeeping{j}.open()
}

// resolve finds the agent's document and turns the inputs into data, before any other network work.
func (c *call) resolve(ctx context.Context) error {
	var err error
	if c.doc, err = c.fleet.Documents().Resolve(ctx, c.req.Agent); err != nil {
		return err
	}
	action, ok := c.doc.Action(c.req.Action)
	if !ok {
		hint := c.req.Agent + " has " + strings.Join(c.doc.ActionNames(), ", ")
		if near := filter.Nearest(c.req.Action, c.doc.ActionNames()); near != "" {
			hint = fmt.Sprintf("did you mean %s#%s?", c.req.Agent, near)
		}
		return usage(fmt.Errorf("unknown action %s#%s", c.req.Agent, c.req.Action), hint)
	}
	c.action = action
	if h := c.req.handed; h != nil {
		c.inputs, c.data, c.command = h.inputs(c.Scrub), h.Data, h.Command
		return nil
	}
	c.command = c.req.command(action, c.typed())
	if c.req.stored && c.req.DryRun {
		return nil // checked when the run was begun; the rest can be reported without a secret
	}
	var literal []string
	if c.inputs, literal, err = resolveInputs(ctx, c.Secrets, c.Token, c.req.Agent, action, c.req.Inputs); err != nil {
		return err
	}
	for _, key := range literal {
		if c.about.Practice {
			break // the token of a practice fleet is no secret
		}
		if err := c.Reporter.Report(SecretTyped{Key: key}); err != nil {
			return err
		}
	}
	for _, v := range c.inputs.secret {
		c.Scrub.Add(v)
	}
	if c.data, err = c.inputs.check(c.req.Agent, action); c.req.stored {
		c.lacking, err = err, nil
	}
	return err
}

// typed are the inputs on the command line: those of a recorded run are in its record, those of a saved plan in its file.
func (c *call) typed() map[string]string {
	if !c.req.stored && c.req.plan == nil {
		return c.req.Inputs
	}
	return c.req.given
}

// canSend opens our credentials, and refuses what servers of our protocol would drop silently.
func (c *call) canSend() error {
	who, err := c.fleet.Who()
	if err != nil {
		return err
	}
	if ttl := c.message().TTL; who.Version == choria.V1 && ttl < minTTL {
		return usage(fmt.Errorf("a time to live of %s is too short: servers of protocol v1 drop such requests silently", ttl), "use --ttl 30 or longer")
	}
	if (tokenWatch{c}).refuses() {
		c.fleet.KeepTokens()
	}
	return nil
}

// elapsed is how much time has passed for certain: within this process by its own clocks, since a recorded moment by those
// of the record.
func (c *call) elapsed(since, now time.Time) time.Duration {
	least := batch.Shortest(since, now)
	if since != since.Round(0) { // it has a monotonic reading: it is of this process
		return least
	}
	for _, clock := range c.clocks {
		least = min(least, clock.Since(since))
	}
	return max(least, 0)
}

// changes reports that the action changes something.
func (c *call) changes() bool { return !c.doc.ReadOnly(c.req.Action) }

// service reports that one server answers, whichever: no node is chosen.
func (c *call) service() bool { return c.doc.Metadata.Service }

// message is the request that every batch sends.
func (c *call) message() rpcclient.Request {
	ttl := c.req.Pace.TTL.D
	if ttl == 0 {
		ttl = c.about.TTL
	}
	ttl = cmp.Or(ttl, rpcclient.DefaultTTL)
	if len(sharing{c}.allLocks()) > 0 {
		ttl = min(ttl, lockTTL)
	}
	return rpcclient.Request{Agent: c.req.Agent, Action: c.req.Action, Data: c.data, Collective: c.about.Collective, TTL: ttl}
}

func (c *call) proves() proof.Action { return c.req.Proof.proves(c.req.Agent, c.req.Action) }

func (c *call) pace() batch.Pace {
	if c.req.plan != nil {
		return c.req.plan.Plan.Pace
	}
	longest, settle, timeout := demand{c}.limits()
	replies := fleet.ReplyTimeout(c.doc)
	watch := c.proves() == proof.Update // most of its replies are dropped: proof is what is waited for
	if watch {
		replies = max(replies, timeout)
	}
	p := c.req.pace(replies)
	p.LongestDelay, p.Settle, p.VerifyTimeout, p.Watch = longest, settle, timeout, watch
	acts := max(longest, proof.LongestDelay(proof.Of(c.req.Agent, c.req.Action), c.splay())) // it acts with --no-verify, too
	p.SilentHold = c.message().TTL + acts + timeout
	return p
}

func (c *call) rules() batch.Rules {
	r := c.req.Rules
	r.StopWhenNothing, r.NotSince = c.changes(), c.req.Pace.NotSince.D
	if c.req.plan != nil {
		r = c.req.plan.Plan.Rules
		r.TokenMargin = 0
	}
	if watch := (tokenWatch{c}); watch.refuses() {
		r.TokenMargin = watch.margin()
	}
	return r
}

func (c *call) policy() batch.Policy {
	p := c.req.Policy
	_, token := c.action.Inputs["token"]
	p.TakesToken = token && c.req.ReplyTo == ""
	return budgeting{c}.caps(p, 0)
}

// recorded reports whether this run is recorded.
func (c *call) recorded() bool {
	return !c.req.Record.Off && (c.changes() || c.req.Record.On || c.req.Detach || sharing{c}.mirrored())
}

// secretNames are the inputs that a resume of this run needs again.
func (c *call) secretNames() []string {
	if c.req.stored && c.req.DryRun {
		return c.req.secrets // they were not asked for again
	}
	names := make([]string, 0, len(c.inputs.secret))
	for name := range c.inputs.secret {
		names = append(names, name)
	}
	return names
}

// oneFederation refuses to change anything in several federations: a collective that is in two of them would act twice,
// and a node that has answered for one would count for the other.
func (c *call) oneFederation() error {
	if names := c.about.Federations; c.changes() && len(names) > 1 {
		return usage(fmt.Errorf("cannot call %s#%s in %d federations at once (%s): a collective that is in two of them would act twice",
			c.req.Agent, c.req.Action, len(names), strings.Join(names, ", ")), "name one with --federations, and run the command once for each")
	}
	return nil
}

// federationNotes report what a plan in a federation cannot rely on.
func (c *call) federationNotes() []string {
	if len(c.about.Federations) == 0 {
		return nil
	}
	notes := []string{"sent to federation " + strings.Join(c.about.Federations, ", ")}
	switch c.proves() {
	case proof.Restart:
		notes = append(notes, "lifecycle events do not cross federations: restarts are proved by polling alone")
	case proof.Reprovision:
		notes = append(notes, "lifecycle events do not cross federations: only nodes that come back provisioned are proved")
	}
	return notes
}
