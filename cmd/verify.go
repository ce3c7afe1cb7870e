package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fleetctl/internal/filter"
	"fleetctl/internal/proof"
	"fleetctl/rpcclient"
)

// proofOptions say how it is proved that nodes did what they accepted. They go into the journal, so that a resumed run
// proves the same.
type proofOptions struct {
	Verify  string `json:"verify,omitempty"`
	None    bool   `json:"none,omitempty"`
	Expr    string `json:"expr,omitempty"`
	Version string `json:"version,omitempty"` // the one that nodes have to come back with

	Timeout seconds `json:"-"`
	Settle  seconds `json:"-"`
}

const verifyAuto = "auto"

func (p *proofOptions) add(f *pflag.FlagSet) {
	f.StringVar(&p.Verify, "verify", verifyAuto, "`HOW` to prove what nodes did: auto, none, or a read-only AGENT#ACTION")
	f.BoolVar(&p.None, "no-verify", false, "believe the replies")
	f.StringVar(&p.Expr, "verify-expr", "", "`EXPR` that the reply of --verify AGENT#ACTION (restart, reprovision: of rpcutil#daemon_stats) must satisfy, such as 'data(\"version\") == \"0.29.4\"'")
	f.StringVar(&p.Version, "verify-version", "", "restart and reprovision: nodes have to come back with version `V`; provisioning takes long, so give --verify-timeout enough (5m)")
	f.Var(&p.Timeout, "verify-timeout", "how long to look for proof after the delay that a node announced (60s)")
	f.Var(&p.Settle, "settle", "how long a proof must last (restart 0s, shutdown 25s)")
}

// versionText is what a version looks like; it goes into an expression.
var versionText = regexp.MustCompile(`^[0-9][0-9A-Za-z.+~-]*$`)

// validate checks the options for an action.
func (p *proofOptions) validate(agent, action string) error {
	if p.Verify == "none" {
		p.None = true
	}
	poll := p.poll() != ""
	switch {
	case p.Verify != verifyAuto && p.Verify != "none" && p.Verify != "" && !poll:
		return usage(fmt.Errorf("cannot verify by %q", p.Verify), "use auto, none, or a read-only action such as rpcutil#daemon_stats")
	case p.Version != "" && (p.None || p.Expr != "" || poll):
		return usage(errors.New("--verify-version excludes --no-verify and other ways to verify"), "")
	case p.None && (p.Expr != "" || poll):
		return usage(errors.New("--no-verify and a way to verify exclude each other"), "")
	case poll && p.Expr == "":
		return usage(fmt.Errorf("--verify %s needs --verify-expr", p.Verify), "")
	case p.Timeout.set && p.Timeout.d == 0:
		return usage(errors.New("--verify-timeout 0 leaves no time for proof"), "use --no-verify to believe the replies")
	case p.Version != "" && !versionText.MatchString(p.Version):
		return usage(fmt.Errorf("--verify-version %q is not a version", p.Version), "write it as `fleetctl inventory` shows it, such as 0.29.4")
	}
	return p.validateExpr(agent, action)
}

func (p *proofOptions) validateExpr(agent, action string) error {
	if p.expression() == "" {
		return nil
	}
	if acts := proof.Of(agent, action); p.poll() == "" && acts != proof.Restart && acts != proof.Reprovision {
		if p.Version != "" {
			return usage(fmt.Errorf("--verify-version: nodes do not come back from %s#%s", agent, action), "it is for choria_provision restart and reprovision")
		}
		return usage(errors.New("--verify-expr needs --verify AGENT#ACTION: which reply is meant?"), "")
	}
	if _, err := filter.CompileReply(p.expression()); err != nil {
		return usage(fmt.Errorf("--verify-expr: %w", err), "")
	}
	return nil
}

// expression is what the reply to a poll has to satisfy; "" for nothing.
func (p *proofOptions) expression() string {
	if p.Version != "" {
		return `data("version") == ` + strconv.Quote(p.Version)
	}
	return p.Expr
}

// poll is the agent#action that --verify names, "" for none.
func (p *proofOptions) poll() string {
	agent, action, ok := strings.Cut(p.Verify, "#")
	if !ok || agent == "" || action == "" {
		return ""
	}
	return p.Verify
}

// proves tells what is proved, 0 for nothing.
func (j *job) proves() proof.Action {
	p := &j.o.proof
	switch {
	case p.None:
		return 0
	case p.poll() != "":
		return proof.Expression
	}
	return proof.Of(j.o.agent, j.o.action)
}

// proofLimits are the times of the proof, for the pace and for the verifier.
func (j *job) proofLimits() (longest, settle, timeout time.Duration) {
	a := j.proves()
	if a == 0 {
		return 0, 0, 0
	}
	acts := proof.Of(j.o.agent, j.o.action)
	return proof.LongestDelay(acts, j.splay()), j.o.proof.Settle.or(proof.DefaultSettle(a)), j.o.proof.Timeout.or(proof.DefaultTimeout)
}

// splay reads the checked input.
func (j *job) splay() time.Duration {
	var in struct {
		Splay float64 `json:"splay"`
	}
	if json.Unmarshal(j.data, &in) != nil {
		return 0
	}
	return time.Duration(in.Splay) * time.Second
}

// verifier makes the verifier of this action, nil when nothing is proved. The same one probes nodes whose fate is open.
func (j *job) verifier(client *rpcclient.Client) (*proof.Verifier, error) {
	a := j.proves()
	if a == 0 {
		return nil, nil
	}
	longest, settle, timeout := j.proofLimits()
	o := proof.Options{
		Client: client, Collective: j.network.collective, Action: a, Events: j.events(), Timeout: timeout, Settle: settle,
		LongestDelay: longest, TTL: j.request().TTL,
	}
	if text := j.o.proof.expression(); text != "" {
		expr, err := filter.CompileReply(text)
		if err != nil {
			return nil, usage(fmt.Errorf("--verify-expr: %w", err), "")
		}
		o.Expr = expr
	}
	if name := j.o.proof.poll(); name != "" {
		o.Poll.Agent, o.Poll.Action, _ = strings.Cut(name, "#")
	}
	return proof.New(o), nil
}
