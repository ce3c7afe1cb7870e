package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
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
	Verify string `json:"verify,omitempty"`
	None   bool   `json:"none,omitempty"`
	Expr   string `json:"expr,omitempty"`

	Timeout seconds `json:"-"`
	Settle  seconds `json:"-"`
}

const verifyAuto = "auto"

func (p *proofOptions) add(f *pflag.FlagSet) {
	f.StringVar(&p.Verify, "verify", verifyAuto, "how to prove what nodes did: auto, none, or a read-only AGENT#ACTION")
	f.BoolVar(&p.None, "no-verify", false, "believe the replies")
	f.StringVar(&p.Expr, "verify-expr", "", "what the reply of --verify AGENT#ACTION must satisfy, such as 'data(\"version\") == \"0.29.4\"'")
	f.Var(&p.Timeout, "verify-timeout", "how long to look for proof after the delay that a node announced (60s)")
	f.Var(&p.Settle, "settle", "how long a proof must last (restart 0s, shutdown 5s)")
}

func (p *proofOptions) validate() error {
	if p.Verify == "none" {
		p.None = true
	}
	poll := p.poll() != ""
	switch {
	case p.Verify != verifyAuto && p.Verify != "none" && p.Verify != "" && !poll:
		return usage(fmt.Errorf("cannot verify by %q", p.Verify), "use auto, none, or a read-only action such as rpcutil#daemon_stats")
	case poll && p.Expr == "":
		return usage(fmt.Errorf("--verify %s needs --verify-expr", p.Verify), "")
	case p.None && (p.Expr != "" || poll):
		return usage(errors.New("--no-verify and a way to verify exclude each other"), "")
	case p.Timeout.set && p.Timeout.d == 0:
		return usage(errors.New("--verify-timeout 0 leaves no time for proof"), "use --no-verify to believe the replies")
	}
	if p.Expr != "" {
		if _, err := filter.CompileReply(p.Expr); err != nil {
			return usage(fmt.Errorf("--verify-expr: %w", err), "")
		}
	}
	return nil
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
		Client: client, Collective: j.network.collective, Action: a, Events: j.network.conn, Timeout: timeout, Settle: settle,
		LongestDelay: longest, TTL: j.request().TTL,
	}
	if j.o.proof.Expr != "" {
		expr, err := filter.CompileReply(j.o.proof.Expr)
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
