package run

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/filter"
	"fleetctl/internal/proof"
	"fleetctl/rpcclient"
)

// Proof defines how it is proved that nodes did what they accepted. It goes into the record, so that a resumed run proves
// the same.
type Proof struct {
	Verify  string `json:"verify,omitempty"` // VerifyAuto, VerifyNone or AGENT#ACTION
	None    bool   `json:"none,omitempty"`
	Expr    string `json:"expr,omitempty"`
	Version string `json:"version,omitempty"` // the version that nodes must come back with

	Timeout Wait `json:"-"`
	Settle  Wait `json:"-"`
}

// The words of Proof.Verify.
const (
	VerifyAuto = "auto"
	VerifyNone = "none"
)

// versionText is what a version looks like; it goes into an expression.
var versionText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9][0-9A-Za-z.+~-]*$`) })

// validate checks the options for an action.
func (p *Proof) validate(agent, action string) error {
	none, poll := p.none(), p.poll() != ""
	switch {
	case p.Verify != VerifyAuto && p.Verify != VerifyNone && p.Verify != "" && !poll:
		return usage(fmt.Errorf("cannot verify by %q", p.Verify), "use auto, none, or a read-only action such as rpcutil#daemon_stats")
	case p.Version != "" && (none || p.Expr != "" || poll):
		return usage(errors.New("--verify-version excludes --no-verify and other ways to verify"), "")
	case none && (p.Expr != "" || poll):
		return usage(errors.New("--no-verify and a way to verify exclude each other"), "")
	case poll && p.Expr == "":
		return usage(fmt.Errorf("--verify %s needs --verify-expr", p.Verify), "")
	case p.Timeout.Set && p.Timeout.D == 0:
		return usage(errors.New("--verify-timeout 0 leaves no time for proof"), "use --no-verify to believe the replies")
	case p.Version != "" && !versionText().MatchString(p.Version):
		return usage(fmt.Errorf("--verify-version %q is not a version", p.Version), "write it as `fleetctl inventory` shows it, such as 0.29.4")
	}
	return p.validateExpr(agent, action)
}

func (p *Proof) validateExpr(agent, action string) error {
	if p.expression() == "" {
		return nil
	}
	if acts := proof.Of(agent, action); p.poll() == "" && acts != proof.Restart && acts != proof.Reprovision && acts != proof.Update {
		if p.Version != "" {
			return usage(fmt.Errorf("--verify-version: nodes do not come back from %s#%s", agent, action), "it is for choria_provision restart, reprovision and release_update")
		}
		return usage(errors.New("--verify-expr needs --verify AGENT#ACTION: which reply is meant?"), "")
	}
	if _, err := filter.CompileReply(p.expression()); err != nil {
		return usage(fmt.Errorf("--verify-expr: %w", err), "")
	}
	return nil
}

func (p *Proof) none() bool { return p.None || p.Verify == VerifyNone }

// expression is what the reply to a poll has to satisfy; "" for nothing.
func (p *Proof) expression() string {
	if p.Version != "" {
		return `data("version") == ` + strconv.Quote(p.Version)
	}
	return p.Expr
}

// poll is the agent#action that Verify names, "" for none.
func (p *Proof) poll() string {
	agent, action, ok := strings.Cut(p.Verify, "#")
	if !ok || agent == "" || action == "" {
		return ""
	}
	return p.Verify
}

// proves is the proof of an action, 0 for none.
func (p Proof) proves(agent, action string) proof.Action {
	switch {
	case p.none():
		return 0
	case p.poll() != "":
		return proof.Expression
	}
	return proof.Of(agent, action)
}

// limits are the times of the proof, for the pace and for the verifier.
func (p Proof) limits(agent, action string, splay time.Duration) (longest, settle, timeout time.Duration) {
	a := p.proves(agent, action)
	if a == 0 {
		return 0, 0, 0
	}
	longest, settle, timeout = proof.LongestDelay(proof.Of(agent, action), splay), p.Settle.or(proof.DefaultSettle(a)), p.Timeout.or(proof.DefaultTimeout(a))
	if a == proof.Update { // it may act as long as proof is looked for
		longest = max(longest, timeout)
	}
	return longest, settle, timeout
}

// demand is the proof that a call asks for.
type demand struct{ *call }

// limits are the longest delay of the action, how long a proved node is followed, and how long proof may take.
func (c demand) limits() (longest, settle, timeout time.Duration) {
	return c.req.Proof.limits(c.req.Agent, c.req.Action, c.splay())
}

// wanted is the version that nodes have to come back with: the one that was named for the proof, else the one that an
// update installs; "" for none.
func (c demand) wanted() string {
	if p := c.req.Proof; p.Version == "" && p.Expr == "" && c.proves() == proof.Update {
		return c.req.Inputs["version"]
	}
	return c.req.Proof.Version
}

// checkVersion refuses an update whose version cannot be proved.
func (c demand) checkVersion() error {
	if version := c.wanted(); version != "" && !versionText().MatchString(version) {
		return usage(fmt.Errorf("cannot prove an update to %q: that is not a version", version), "name the version with --verify-version, or use --no-verify")
	}
	return nil
}

// verifier makes the verifier of this action, nil when nothing is proved. The same one probes nodes whose state is open.
func (c demand) verifier(client *rpcclient.Client) (*proof.Verifier, error) {
	a := c.proves()
	if a == 0 {
		return nil, nil
	}
	longest, settle, timeout := c.limits()
	o := proof.Options{
		Client: client, Collective: c.about.Collective, Action: a, Events: c.fleet.Events(), Timeout: timeout, Settle: settle,
		LongestDelay: longest, TTL: c.message().TTL, Elapsed: c.elapsed, Tokens: tokenWatch(c).refuses(),
	}
	wanted := c.req.Proof
	wanted.Version = c.wanted()
	if text := wanted.expression(); text != "" {
		expr, err := filter.CompileReply(text)
		if err != nil {
			return nil, usage(fmt.Errorf("--verify-expr: %w", err), "")
		}
		o.Expr = expr
	}
	if name := c.req.Proof.poll(); name != "" {
		o.Poll.Agent, o.Poll.Action, _ = strings.Cut(name, "#")
	}
	return proof.New(o), nil
}
