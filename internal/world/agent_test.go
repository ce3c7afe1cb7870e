package world

import (
	"crypto/sha256"
	"fmt"
	"time"

	"fleetctl/internal/choria"
)

// What a node does with requests (docs/protocol.md, choria_provision and utility agents).

// arrive is a request on its way from the broker to the node.
func (n *node) arrive(req asked) {
	link := n.link
	n.w.after(hop+n.traits.latency, func() {
		bring := func() {
			if n.link != link {
				return
			}
			n.run(n.gen, func() { n.handle(req) })
		}
		switch {
		case n.link != link || !n.up:
		case n.cut:
			n.cutIn = append(n.cutIn, bring)
		default:
			if req.acts && n.frozen {
				n.logf("gets %s, frozen (%s)", req.action, short(req.id))
				n.w.saw("action reaches a frozen node")
			}
			bring()
		}
	})
}

func (n *node) handle(req asked) {
	now := n.clock()
	if req.acts {
		n.received[req.id]++
	}
	if !req.Time.After(now.Add(-req.TTL)) || !req.Time.Before(now.Add(req.TTL)) {
		if req.acts {
			n.logf("drops %s: too old (%s)", req.action, short(req.id))
			n.w.saw("too old for a node")
		}
		return
	}
	if req.acts && n.w.common != nil {
		n.w.common.received(n, req.id)
	}
	switch {
	case req.acts:
		n.provision(req)
	case n.traits.denies:
		n.answer(req, choria.Aborted, "You are not authorized to call this agent or action", nil)
	case req.Agent == "rpcutil" && req.action == "get_facts":
		n.answer(req, choria.OK, "OK", fmt.Appendf(nil, `{"values":{"rack":%q}}`, n.w.rack[n.name]))
	case req.Agent == "rpcutil":
		n.answer(req, choria.OK, "OK", fmt.Appendf(nil, `{"starttime":%d,"version":%q,"pong":%d}`, n.tells, n.runs, now.Unix()))
	}
}

// provision is the agent that restarts and so on: it replies first and acts later.
func (n *node) provision(req asked) {
	switch {
	case n.busy:
		n.logf("does not answer %s: an action is pending (%s)", req.action, short(req.id))
		n.w.saw("second action while one is pending")
		return
	case n.traits.refuses:
		n.logf("refuses %s (%s)", req.action, short(req.id))
		n.w.saw("refused")
		n.answer(req, choria.Aborted, "Incorrect provision token supplied", nil)
		return
	case req.action == update:
		n.update(req)
		return
	}
	delay := time.Duration(2+n.rng.IntN(10)) * time.Second
	text := fmt.Sprintf("Restarting Choria Server after %v", delay)
	if req.action == "shutdown" {
		delay -= 2 * time.Second
		text = fmt.Sprintf("Shutting Choria Server down after %v", delay)
	}
	if n.traits.announces != "" {
		text = n.traits.announces
	}
	n.accept(req.id, req.action, delay)
	n.answer(req, choria.OK, "OK", fmt.Appendf(nil, `{"message":%q}`, text))
}

// accept begins an action; request is that of another operator when the world knows no intent of it.
func (n *node) accept(request, action string, delay time.Duration) {
	n.busy, n.pending = true, request
	n.accepted[request]++
	n.pledges = append(n.pledges, pledge{request, time.Now(), delay})
	n.w.judgeAccepted(request)
	n.logf("accepts %s, will act in %v (%s)", action, delay, short(request))
	n.later(delay+time.Duration(n.rng.IntN(90))*time.Millisecond, func() { n.act(request, action) })
}

func (n *node) act(request, action string) {
	if n.w.intents[request] != nil {
		n.acts = append(n.acts, act{time.Now(), request})
		n.w.saw("acted: " + action)
		n.w.judgeAct(n)
	}
	n.finish(fmt.Sprintf("%s (%s)", action, short(request)))
	soon := 50*time.Millisecond + time.Duration(n.rng.IntN(800))*time.Millisecond
	switch {
	case action == "shutdown":
		n.supervise()
	case n.traits.noReturn:
		n.w.saw("does not come back")
		n.supervise()
	case action == "reprovision":
		n.w.after(soon, func() { n.begin(causeReprovision, request) })
	default:
		n.w.after(soon, func() { n.begin("restarted by "+short(request), request) })
	}
}

// byOther is a request of another operator.
func (n *node) byOther(action string) {
	if !n.up || n.frozen || n.busy || n.traits.refuses || !n.subscribed {
		return
	}
	n.accept(fmt.Sprintf("another-operator-%d", n.gen), action, time.Duration(2+n.rng.IntN(10))*time.Second)
}

// answer sends a reply, with whatever the network makes of it.
func (n *node) answer(req asked, code choria.StatusCode, text string, data []byte) {
	out := n.encode(req, n.name, code, text, data)
	send := func() { n.w.carry(n, req, out) }
	if req.acts && n.traits.replyAfter > 0 {
		send = func() { n.w.after(n.traits.replyAfter, func() { n.w.carry(n, req, out) }) }
	}
	switch {
	case n.traits.mute && req.acts:
		n.logf("its reply is lost")
	case n.cut:
		n.cutOut = append(n.cutOut, send)
	case !n.subscribed && n.rng.IntN(2) == 0:
		n.outbox = append(n.outbox, send)
	case n.subscribed:
		send()
	}
}

func (n *node) encode(req asked, sender string, code choria.StatusCode, text string, data []byte) []byte {
	payload, err := choria.EncodeRPCReply(choria.RPCReply{Action: req.action, StatusCode: code, StatusMsg: text, Data: data})
	if err != nil {
		panic(err)
	}
	reply, err := choria.EncodeReply(choria.Reply{
		Version: n.w.version, RequestID: req.id, Sender: sender, Agent: req.Agent, Time: n.clock(), Payload: payload,
	})
	if err != nil {
		panic(err)
	}
	return n.seal(reply, sender, nil)
}

func (n *node) seal(reply []byte, sender string, hash []byte) []byte {
	secure := choria.SecureReply{Version: n.w.version, Reply: reply, Hash: hash}
	if n.w.sign != nil {
		secure.Signature, secure.Sender = n.w.sign(n, reply)
	}
	sealed, err := choria.EncodeSecureReply(secure)
	if err != nil {
		panic(err)
	}
	data, err := choria.EncodeTransport(choria.Transport{Version: n.w.version, Data: sealed, Sender: sender})
	if err != nil {
		panic(err)
	}
	return data
}

// carry brings a reply to the listeners, through the network's noise.
func (w *world) carry(n *node, req asked, data []byte) {
	genuine := message{subject: req.replyTo, data: data}
	expired := w.sign != nil && n.traits.tokenEnds > 0 && time.Since(w.begin) > n.traits.tokenEnds // its signature is not accepted
	if req.acts && !expired {
		genuine.node, genuine.request = n.name, req.id
	}
	pass := func(d time.Duration, m message) { w.after(d, func() { w.broadcast(m) }) }
	roll := n.rng.Float64
	if roll() < w.noise.forged {
		w.saw("forged reply")
		for i, forged := range n.forge(req) {
			pass(time.Duration(i+1)*time.Millisecond, message{subject: req.replyTo, data: forged})
		}
	}
	switch {
	case roll() < w.noise.lost:
		w.saw("reply lost")
	case roll() < w.noise.late:
		w.saw("reply late")
		pass(time.Duration(roll()*float64(90*time.Second)), genuine)
	case roll() < w.noise.duplicate:
		w.saw("reply duplicated")
		pass(hop, genuine)
		pass(time.Duration(roll()*float64(5*time.Second)), genuine)
	default:
		pass(hop, genuine)
	}
}

// forge makes replies that are not to be believed: of a stranger, of another request, with a wrong hash, and where
// replies are signed, of another node with the forger's own signature.
func (n *node) forge(req asked) [][]byte {
	other := req
	other.id = choria.NewRequestID(n.w.version, time.Now())
	data := []byte(`{"starttime":4102444800,"message":"Restarting Choria Server after 2s"}`)
	wrong := sha256.Sum256([]byte("something else"))
	payload, err := choria.EncodeRPCReply(choria.RPCReply{Action: req.action, Data: data})
	if err != nil {
		panic(err)
	}
	reply, err := choria.EncodeReply(choria.Reply{Version: n.w.version, RequestID: req.id, Sender: n.name, Agent: req.Agent, Time: n.clock(), Payload: payload})
	if err != nil {
		panic(err)
	}
	out := [][]byte{
		n.encode(req, "stranger.example.net", choria.OK, "OK", data), n.encode(other, n.name, choria.OK, "OK", data),
		n.seal(reply, n.name, wrong[:]),
	}
	if n.w.sign != nil {
		victim := n.w.nodes[n.rng.IntN(len(n.w.nodes))]
		if victim != n {
			out = append(out, n.encode(req, victim.name, choria.OK, "OK", data))
		}
	}
	return out
}
