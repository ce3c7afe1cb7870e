package lab

import (
	"slices"
	"strings"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"
)

// forgery is what is false about a reply.
type forgery uint8

const (
	genuine     forgery = iota
	otherSender         // claims to come from another node
	otherID             // answers a request that no client made
	badHash             // the reply was changed after hashing
	badSigning          // v2: the signature is another's
)

var forgeries = []forgery{otherSender, otherID, badHash, badSigning}

// forgedText is in every forged reply, so that a test sees when one is accepted.
const forgedText = "Forged by the lab"

// reply sends what an agent answered, and what the node's fault adds to it. Replies of
// one node leave in this order: forged ones, the good one, its duplicate.
func (n *node) reply(a *arrival, out answer, nursery bool, now time.Time) {
	if a.transport.ReplyTo == "" || !n.mayReply(a.transport.ReplyTo, nursery) {
		return
	}
	if n.fault == Forge && out.rpc {
		lie, err := choria.EncodeRPCReply(choria.RPCReply{Action: a.rpc.Action, StatusCode: choria.Aborted, StatusMsg: forgedText, Data: []byte("{}")})
		for _, f := range forgeries {
			if err == nil && (f != badSigning || n.signs(nursery)) {
				n.write(a, lie, f, nursery, now)
			}
		}
	}
	n.write(a, out.payload, genuine, nursery, now)
	if n.fault == Duplicate {
		n.write(a, out.payload, genuine, nursery, now)
	}
}

// mayReply is the broker's rule for servers with a token, and for all in provisioning
// mode: replies only into the collectives of the server.
func (n *node) mayReply(subject string, nursery bool) bool {
	collective, _, _ := strings.Cut(subject, ".")
	if nursery {
		return strings.HasPrefix(subject, "provisioning.reply.")
	}
	if n.lab.creds.version == choria.V1 {
		return true
	}
	return strings.HasPrefix(subject, collective+".reply.") &&
		slices.Contains(n.blueprint.collectives(n.lab.creds.mainCollective()), collective)
}

// signs reports whether the node's replies carry a signature.
func (n *node) signs(nursery bool) bool { return n.lab.creds.version == choria.V2 && !nursery }

func (n *node) write(a *arrival, payload []byte, f forgery, nursery bool, now time.Time) {
	if f == genuine && a.transport.Federation == nil {
		n.writeGenuine(a, payload, nursery, now)
		return
	}
	data, sender, err := n.encode(a, payload, f, nursery, now)
	if err == nil {
		broker := n.lab.brokerName()
		data, err = choria.EncodeTransport(choria.Transport{
			Version: a.transport.Version, Data: data, Sender: sender,
			SeenBy: [][3]string{{broker, n.identity, broker}}, Federation: a.transport.Federation,
		})
	}
	if err != nil {
		n.lab.log.Error("reply does not encode", "node", n.identity, "error", err)
		return
	}
	n.send(nursery, a.transport.ReplyTo, data)
}

// writeGenuine is write for the good replies of a fleet that is not in a federation.
func (n *node) writeGenuine(a *arrival, payload []byte, nursery bool, now time.Time) {
	r := choria.Reply{
		Version: a.transport.Version, RequestID: a.request.ID, Sender: n.identity, Agent: a.request.Agent, Time: now, Payload: payload,
	}
	var sign func([]byte) ([]byte, string)
	if n.signs(nursery) {
		signer, err := n.replySigner()
		if err != nil {
			n.lab.log.Error("reply is not signed", "node", n.identity, "error", err)
			return
		}
		sign = func(reply []byte) ([]byte, string) { return signer.SignWith(a.nonce, reply) }
	}
	p := pagePool.Get().(*pages)
	n.send(nursery, a.transport.ReplyTo, p.fill(r, n.lab.brokerName(), sign))
	pagePool.Put(p)
}

// encode makes the secure reply, false in the way of f.
func (n *node) encode(a *arrival, payload []byte, f forgery, nursery bool, now time.Time) (data []byte, sender string, err error) {
	version := a.transport.Version
	r := choria.Reply{
		Version: version, RequestID: a.request.ID, Sender: n.identity, Agent: a.request.Agent, Time: now, Payload: payload,
	}
	switch f {
	case otherSender:
		// Without signatures a reply in another node's name cannot be distinguished from a true
		// one, so in v1 the name is a stranger's.
		r.Sender = "intruder." + n.site.name + ".example.org"
		if n.signs(nursery) {
			r.Sender = n.lab.neighbor(n).identity
		}
	case otherID:
		r.RequestID = choria.NewRequestID(version, r.Time)
	}
	inner, err := choria.EncodeReply(r)
	if err != nil {
		return nil, "", err
	}
	secure := choria.SecureReply{Version: version, Reply: inner}
	if f == badHash {
		secure.Hash = make([]byte, 32)
	}
	if n.signs(nursery) {
		signer, err := n.replySigner()
		if err != nil {
			return nil, "", err
		}
		secure.Signature, secure.Sender = signer.Sign(inner)
		if f == badSigning {
			secure.Signature = slices.Clone(secure.Signature)
			secure.Signature[0] ^= 0xff
		}
	}
	data, err = choria.EncodeSecureReply(secure)
	return data, r.Sender, err
}

// replySigner makes the node's key and token when they are first needed.
func (n *node) replySigner() (security.ReplySigner, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.signer == nil {
		collectives := n.blueprint.collectives(n.lab.creds.mainCollective())
		end := n.tokenEnd
		if end.IsZero() {
			end = time.Now().Add(validity)
		}
		signer, err := n.lab.creds.serverSigner(n.lab.options.Seed, n.identity, collectives, end)
		if err != nil {
			return security.ReplySigner{}, err
		}
		n.signer = &signer
	}
	return *n.signer, nil
}
