package lab

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/security"
)

// arrival is one request, decoded and judged once, however many nodes it reaches: a
// direct request comes as equal bytes for every node (docs/protocol.md, RPC flow).
// It is not changed after decode.
type arrival struct {
	transport  choria.Transport
	request    choria.Request
	caller     security.Caller
	nursery    bool // came in the provisioning account
	unreadable bool // transport, secure layer or request do not decode
	rejected   bool // signature, chain or caller are not accepted
	body       []byte
	rpc        choria.RPCRequest
	rpcErr     error
	matcher    *filter.Matcher
	unmatched  bool // a compound filter that no server can run
	compound   bool
	asked      asked           // for the logs
	nonce      *security.Nonce // of the signatures of all replies; nil in v1
}

// decoder turns messages into arrivals. It remembers the last few, so that a request to
// thousands of nodes is verified once. One goroutine uses it.
type decoder struct {
	lab     *Lab
	nursery bool
	recent  [8]struct {
		payload []byte
		arrival *arrival
	}
	next int
}

func (d *decoder) decode(payload []byte) *arrival {
	for i := range d.recent {
		if d.recent[i].arrival != nil && bytes.Equal(d.recent[i].payload, payload) {
			return d.recent[i].arrival
		}
	}
	a := &arrival{nursery: d.nursery}
	if err := d.read(a, payload); err != nil {
		a.unreadable = true
		d.lab.log.Debug("request does not decode", "error", err)
	}
	a.asked = asked{a.request.ID, a.request.Agent, a.rpc.Action, a.request.Caller}
	d.recent[d.next].payload, d.recent[d.next].arrival = payload, a
	d.next = (d.next + 1) % len(d.recent)
	return a
}

var errOtherProtocol = errors.New("request of the other protocol version")

func (d *decoder) read(a *arrival, payload []byte) error {
	var err error
	if a.transport, err = choria.DecodeTransport(payload); err != nil {
		return err
	}
	if a.transport.Version != d.lab.creds.version {
		return errOtherProtocol
	}
	secure, err := choria.DecodeSecureRequest(a.transport.Data)
	if err != nil {
		return err
	}
	// Servers in provisioning mode with protocol v2 check no signatures
	// (docs/protocol.md, provisioning).
	if !d.nursery || a.transport.Version == choria.V1 {
		if a.caller, err = d.lab.verifier.Verify(secure, time.Now()); err != nil {
			a.rejected = true
			d.lab.log.Warn("request refused", "error", err)
		}
	}
	if a.request, err = choria.DecodeRequest(secure.Version, secure.Request); err != nil {
		return err
	}
	a.body = a.request.Body()
	if secure.Version == choria.V2 {
		a.nonce = security.NewNonce()
	}
	if a.request.Agent != "discovery" {
		a.rpc, a.rpcErr = choria.DecodeRPCRequest(a.body)
	}
	a.prepareFilter()
	return nil
}

func (a *arrival) prepareFilter() {
	wire := a.request.Filter
	f := filter.Filter{Classes: wire.Class, Agents: wire.Agent, Identities: wire.Identity}
	for _, fact := range wire.Fact {
		f.Facts = append(f.Facts, filter.Fact{Name: fact.Fact, Operator: fact.Operator, Value: fact.Value})
	}
	for _, group := range wire.Compound {
		if len(group) != 1 || group[0].Expr == "" {
			a.unmatched = true
			return
		}
		f.Compound = append(f.Compound, group[0].Expr)
	}
	a.compound = len(f.Compound) > 0
	a.matcher = f.Matcher()
}

// action is the name under which the arrival is counted.
func (a *arrival) action() (agent, action string) { return a.request.Agent, a.rpc.Action }

// listen hands everything that arrives in an account to its nodes, until the lab is closed.
func (l *Lab) listen(account *account) {
	d := &decoder{lab: l, nursery: account.nursery}
	for {
		select {
		case m := <-account.inbox:
			// The NATS reply subject is not looked at: servers answer to the transport's.
			l.route(m.Subject, d.decode(m.Data))
		case <-l.done:
			return
		}
	}
}

func (l *Lab) route(subject string, a *arrival) {
	collective, rest, _ := strings.Cut(subject, ".")
	if identity, ok := strings.CutPrefix(rest, "node."); ok {
		l.routeNode(collective, identity, a)
	} else if agent, ok := strings.CutPrefix(rest, "broadcast.agent."); ok {
		l.routeBroadcast(collective, agent, a)
	} else if agent, ok := strings.CutPrefix(rest, "broadcast.service."); ok {
		l.routeService(collective, agent, a)
	}
}

// routeBroadcast delivers to the nodes of a collective that have the agent.
func (l *Lab) routeBroadcast(collective, agent string, a *arrival) {
	for _, n := range l.nodes {
		if n.subscribes(collective, agent, a) {
			n.deliver(a)
		}
	}
}

// routeService delivers to one node that offers the service, as a queue group does.
func (l *Lab) routeService(collective, agent string, a *arrival) {
	for _, n := range l.nodes {
		if n.offers(agent) && n.subscribes(collective, "", a) {
			n.deliver(a)
			return
		}
	}
}

func (l *Lab) routeNode(collective, identity string, a *arrival) {
	if n, ok := l.byName[identity]; ok && n.subscribes(collective, "", a) {
		n.deliver(a)
	}
}
