package lab

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/filter"
	"fleetctl/internal/security"
)

const (
	slowBy = 3 * time.Second
	// Discovery is slower, too, but not so slow that the usual 2 s miss the node.
	slowDiscovery = 1500 * time.Millisecond
	configFile    = "/etc/choria/server.conf"
)

// counters are the figures of daemon_stats; a new process begins with zeros.
type counters struct {
	total, validated, unvalidated, passed, filtered, replies, expired, events int64
}

// requestCount is how many requests for an action have come.
type requestCount struct {
	agent, action string
	n             int
}

// node is one simulated Choria server.
type node struct {
	blueprint
	lab   *Lab
	delay time.Duration // before it handles a request, distinct in the fleet

	linking sync.Mutex // held while the process or its subscriptions change; taken before mu

	mu         sync.Mutex // guards everything below
	rng        *rand.Rand
	state      State
	process    int           // one more with each begin and each end of a process: what an earlier one had begun is void
	started    time.Time     // by the node's clock, whole seconds
	born       time.Time     // the same moment by the machine's clock
	clock      time.Duration // how far the node's clock is ahead of the machine's
	account    *account      // where its subscriptions are; nil: not connected
	starting   bool          // the process is up, its subscriptions are on their way
	ending     bool          // the process is about to end, its subscriptions go first
	cut        bool          // the network is cut
	severed    bool          // the broker has given up a frozen process
	outbox     []outgoing
	stats      counters
	received   []requestCount
	log        []written
	frozen     bool
	freezes    int                   // distinguishes one freeze from the next
	waiting    []func()              // what a frozen node will do
	busy       bool                  // a pending restart or shutdown, or an update, holds the provisioning mutex
	broken     bool                  // an update has left no program behind
	configured bool                  // the configuration on disk does not ask for provisioning
	adopted    bool                  // another provisioner has taken the node on
	stripped   bool                  // token and seed are deleted
	tokenEnd   time.Time             // of the node's token; zero: years away
	signer     *security.ReplySigner // nil: not made yet
	lock       provisionLock
	keys       provisionKeys
	machines   []*machine
	alive      *time.Timer
}

// subscribes reports whether the node's present process would have the subscription:
// the collective must be its own and, unless agent is "", the agent too. Service agents
// are not subscribed for broadcasts.
func (n *node) subscribes(collective, agent string, a *arrival) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.account == nil || n.account.nursery != a.nursery || !n.runs() || (n.state == Provisioning) != a.nursery {
		return false
	}
	return slices.Contains(n.collectives(), collective) && (agent == "" || slices.Contains(n.agents(), agent) && !n.offers(agent))
}

// deliver is the moment at which a request reaches the node.
func (n *node) deliver(a *arrival) {
	n.mu.Lock()
	process := n.process
	agent, action := a.action()
	n.count(agent, action)
	n.note(Received, &a.asked, "")
	n.mu.Unlock()
	n.lab.changed.announce()
	delay := n.delay
	if n.fault == Slow {
		delay += slowBy
		if agent == "discovery" {
			delay += slowDiscovery - slowBy
		}
	}
	n.lab.wheel.put(n.lab, delay, due{n, process, a})
}

// count counts a request. The caller holds mu.
func (n *node) count(agent, action string) {
	for i := range n.received {
		if t := &n.received[i]; t.agent == agent && t.action == action {
			t.n++
			return
		}
	}
	n.received = append(n.received, requestCount{agent, action, 1})
}

// take handles a request that is due, unless the process has ended; a frozen one does when
// it thaws.
func (n *node) take(d due) {
	n.mu.Lock()
	gone := n.process != d.process
	if n.frozen && !gone {
		n.waiting = append(n.waiting, func() { n.take(d) })
		gone = true
	}
	n.mu.Unlock()
	if !gone {
		n.handle(d.arrival)
	}
}

// later runs f after the delay, if the process still lives then; a frozen node runs it
// when it thaws.
func (n *node) later(delay time.Duration, process int, f func()) *time.Timer {
	return n.lab.after(delay, func() { n.run(process, f) })
}

func (n *node) run(process int, f func()) {
	n.mu.Lock()
	gone := n.process != process
	if n.frozen && !gone {
		n.waiting = append(n.waiting, func() { n.run(process, f) })
		gone = true
	}
	n.mu.Unlock()
	if !gone {
		f()
	}
}

// handle is a server's receive pipeline, in its order (docs/protocol.md, server receive
// pipeline). What fails gets no reply.
func (n *node) handle(a *arrival) {
	n.mu.Lock()
	refusal := n.refuse(a, n.now())
	if refusal != "" {
		n.note(Dropped, &a.asked, refusal)
	}
	n.mu.Unlock()
	if refusal == "" {
		n.respond(a)
	}
}

// respond asks the agent, sends its reply and lets the node act.
func (n *node) respond(a *arrival) {
	n.mu.Lock()
	out := n.answer(a)
	if out.payload == nil && out.then == nil {
		n.note(Dropped, &a.asked, "no answer")
	}
	n.finish(a, out)
	if n.fault == Gone && a.request.Agent == "discovery" && out.payload != nil {
		n.disconnect("gone")
	}
}

// finish sends what an agent answered and does what follows. It needs the lock and gives
// it back.
func (n *node) finish(a *arrival, out answer) {
	if out.payload != nil {
		n.stats.replies++
		n.note(Replied, &a.asked, out.text)
	}
	process, nursery := n.process, n.state == Provisioning
	now := n.now()
	n.mu.Unlock()
	if out.payload != nil {
		n.reply(a, out, nursery, now)
	}
	if out.then != nil {
		out.then(process)
	}
}

// refuse judges everything before the agent, and reports why a request is dropped; "" lets
// it through. The caller holds mu.
func (n *node) refuse(a *arrival, now time.Time) string {
	n.stats.total++
	if a.unreadable && !a.rejected {
		return "unreadable"
	}
	if a.rejected {
		n.stats.unvalidated++
		return "not validated"
	}
	n.stats.validated++
	if a.unmatched || !a.matcher.Match(n.view(a.compound)) {
		n.stats.filtered++
		return "filtered"
	}
	n.stats.passed++
	if !slices.Contains(n.collectives(), a.request.Collective) {
		return "another collective"
	}
	sent := a.request.Time
	if !sent.After(now.Add(-a.request.TTL)) || !sent.Before(now.Add(a.request.TTL)) {
		n.stats.expired++
		return "beyond its TTL"
	}
	return ""
}

// view is the node as filters see it.
func (n *node) view(plugins bool) filter.Node {
	v := filter.Node{Identity: n.identity, Agents: n.agents(), Classes: n.classes, Facts: n.facts}
	if n.state == Provisioning {
		v.Classes, v.Facts = nil, []byte("{}")
	} else if plugins {
		v.Data = n.dataFunctions()
	}
	return v
}

// answer is what an agent makes of a request: a reply's payload, and what the node does
// once the reply is on its way.
type answer struct {
	payload []byte // nil: no reply
	text    string // for the log
	rpc     bool
	then    func(process int)
}

var pong = choria.DiscoveryPong()

// answer finds the agent and asks it. The caller holds mu.
func (n *node) answer(a *arrival) answer {
	agent := a.request.Agent
	if agent == "discovery" {
		if !choria.IsDiscoveryPing(a.body) {
			return answer{}
		}
		return answer{payload: pong, text: "pong"}
	}
	actions, known := agentTable[agent]
	if !known || !slices.Contains(n.agents(), agent) {
		return answer{}
	}
	return n.encodeResult(a, n.perform(a, actions))
}

// encodeResult makes a reply of what an action returned.
func (n *node) encodeResult(a *arrival, r result) answer {
	if r.quiet {
		return answer{then: r.then}
	}
	data := []byte("{}")
	if r.data != nil {
		// Agents return plain values: they always marshal.
		data, _ = json.Marshal(r.data)
	}
	message := r.message
	if message == "" {
		message = "OK"
	}
	payload, err := choria.EncodeRPCReply(choria.RPCReply{Action: a.rpc.Action, StatusCode: r.code, StatusMsg: message, Data: data})
	if err != nil {
		n.lab.log.Error("reply does not encode", "node", n.identity, "error", err)
		return answer{}
	}
	return answer{payload: payload, text: fmt.Sprintf("%d %s", r.code, message), rpc: true, then: r.then}
}

// perform runs the checks that lead to error replies, then the action. The caller
// holds mu.
func (n *node) perform(a *arrival, actions map[string]action) result {
	if n.fault == Silent && a.request.Agent == "choria_provision" {
		return result{quiet: true}
	}
	if a.rpcErr != nil {
		return result{code: choria.InvalidData, message: "Could not process request: could not parse incoming message as a MCollective SimpleRPC Request: " + a.rpcErr.Error()}
	}
	act, known := actions[a.rpc.Action]
	if !known {
		return result{code: choria.UnknownAction, message: "Unknown action " + a.rpc.Action + " for agent " + a.request.Agent}
	}
	if !n.authorized(a) {
		return result{code: choria.Aborted, message: "You are not authorized to call this agent or action"}
	}
	data := a.rpc.Data
	if len(data) == 0 {
		data = []byte("{}")
	}
	return act(&call{node: n, arrival: a, data: data, now: n.now()})
}

// authorized is the aaasvc authorizer of a v2 fleet. A v1 fleet has authorization off,
// and so has every node in provisioning mode. The caller holds mu.
func (n *node) authorized(a *arrival) bool {
	if n.state == Provisioning {
		return true
	}
	if n.fault == Refuse && a.request.Agent == "choria_provision" {
		return false
	}
	if a.caller.Token == nil {
		return true
	}
	agent := a.request.Agent
	return a.rpc.Agent == agent && slices.ContainsFunc(a.caller.Token.Agents, func(allowed string) bool {
		return allowed == "*" || allowed == agent+".*" || allowed == agent+"."+a.rpc.Action
	})
}

// collectives of the present process. The caller holds mu.
func (n *node) collectives() []string { return n.collectivesIn(n.state == Provisioning) }

func (n *node) collectivesIn(nursery bool) []string {
	if nursery {
		return []string{"provisioning"}
	}
	return n.blueprint.collectives(n.lab.creds.mainCollective())
}

var (
	agentNames        = []string{"choria_provision", "choria_util", "discovery", "rpcutil", "scout"}
	nurseryAgentNames = []string{"choria_provision", "choria_util", "discovery", "rpcutil"}
	registryNames     = []string{"choria_provision", "choria_registry", "choria_util", "discovery", "rpcutil", "scout"}
)

// agents of the present process, sorted. The caller holds mu.
func (n *node) agents() []string { return n.agentsIn(n.state == Provisioning) }

func (n *node) agentsIn(nursery bool) []string {
	switch {
	case nursery:
		return nurseryAgentNames
	case n.offers("choria_registry"):
		return registryNames
	default:
		return agentNames
	}
}

// registries is how many nodes serve agent documents.
const registries = 3

// offers reports whether the node runs a service agent. Its rank decides, so that the
// few that do are spread over the fleet.
func (n *node) offers(service string) bool {
	return service == "choria_registry" && n.rank < registries
}

func (n *node) info() NodeInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	state := n.state
	if n.starting {
		state = Restarting
	}
	return NodeInfo{
		Identity: n.identity, Country: n.site.country, Site: n.site.name, Rack: n.rack, Role: n.role, Version: n.version,
		Upgradable: n.upgradable, Fault: n.fault, State: state, Frozen: n.frozen, Connected: n.account != nil && !n.starting, Started: n.started,
	}
}
