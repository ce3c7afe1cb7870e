package choria

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Reply is what a node answers. Nothing in it is more trustworthy than the
// secure reply around it.
type Reply struct {
	Version   Version
	RequestID string
	Sender    string    // identity of the node
	Agent     string    // name of the agent
	Time      time.Time // UTC; whole seconds in V1; zero when the reply has none
	Payload   []byte    // RPC JSON or DiscoveryPong; never in base64
}

type wireReplyV1 struct {
	Protocol string            `json:"protocol"`
	Message  string            `json:"message"`
	Envelope wireReplyEnvelope `json:"envelope"`
}

type wireReplyEnvelope struct {
	RequestID string `json:"requestid"`
	Sender    string `json:"senderid"`
	Agent     string `json:"agent"`
	Time      int64  `json:"time"`
}

type wireReplyV2 struct {
	Protocol  string `json:"protocol"`
	Message   []byte `json:"message"`
	RequestID string `json:"request"`
	Sender    string `json:"sender"`
	Agent     string `json:"agent"`
	Time      int64  `json:"time"`
}

// EncodeReply returns the exact bytes to hash, to sign and to send.
func EncodeReply(r Reply) ([]byte, error) {
	layer := r.Version.String() + " reply"
	switch {
	case r.Sender == "":
		return nil, fmt.Errorf("%s: sender: is empty", layer)
	case r.Time.IsZero():
		return nil, fmt.Errorf("%s: time: is not set", layer)
	case !encodable(r.RequestID, r.Sender, r.Agent):
		return nil, fmt.Errorf("%s: not UTF-8", layer)
	}
	switch r.Version {
	case V1:
		if !utf8.Valid(r.Payload) {
			return nil, fmt.Errorf("%s: message: not UTF-8", layer)
		}
		return json.Marshal(wireReplyV1{Protocol: namesV1.reply, Message: string(r.Payload), Envelope: wireReplyEnvelope{
			RequestID: r.RequestID, Sender: r.Sender, Agent: r.Agent, Time: r.Time.Unix(),
		}})
	case V2:
		nanos, err := unixNano(r.Time)
		if err != nil {
			return nil, fmt.Errorf("%s: time: %w", layer, err)
		}
		payload := r.Payload
		if payload == nil {
			payload = []byte{} // nil would become null
		}
		return json.Marshal(wireReplyV2{Protocol: namesV2.reply, Message: payload,
			RequestID: r.RequestID, Sender: r.Sender, Agent: r.Agent, Time: nanos,
		})
	default:
		return nil, fmt.Errorf("%s: %w", layer, ErrUnknownProtocol)
	}
}

// DecodeReply reads the content of a secure reply of the same version. It
// insists on the protocol, the message and a sender; the rest may be absent.
// Names and times out of bounds (docs/protocol.md, bounds) are errors.
//
// With an Opener the payload is good until its Reset; data stays as it is.
func DecodeReply(v Version, data []byte, o ...*Opener) (Reply, error) {
	if len(o) > 0 {
		return o[0].reply(v, data)
	}
	return new(reader).reply(v, data)
}

func (r *reader) reply(v Version, data []byte) (Reply, error) {
	var reply Reply
	switch v {
	case V1:
		r.layer = "v1 reply"
		reply = r.replyV1(data)
	case V2:
		r.layer = "v2 reply"
		reply = r.replyV2(data)
	default:
		r.err = fmt.Errorf("%s reply: %w", v, ErrUnknownProtocol)
	}
	if r.err != nil {
		return Reply{}, r.err
	}
	return reply, nil
}

func (r *reader) replyV1(data []byte) Reply {
	outer := [...]field{{key: "protocol"}, {key: "message"}, {key: "envelope"}}
	inner := [...]field{{key: "requestid"}, {key: "senderid"}, {key: "agent"}, {key: "time"}}
	r.scan(data, outer[:])
	r.protocol(&outer[0], namesV1.reply)
	r.must(&outer[1])
	r.must(&outer[2])
	r.within(&outer[2], inner[:])
	reply := Reply{
		Version: V1, Payload: r.value(&outer[1]), RequestID: r.name(&inner[0]),
		Sender: r.needText(&inner[1]), Agent: r.name(&inner[2]),
	}
	if seconds := r.integer(&inner[3]); inner[3].kind == number {
		reply.Time = r.boundTime(&inner[3], time.Unix(seconds, 0))
	}
	return reply
}

func (r *reader) replyV2(data []byte) Reply {
	fields := [...]field{
		{key: "protocol"}, {key: "message"}, {key: "request"}, {key: "sender"}, {key: "agent"}, {key: "time"},
	}
	r.scan(data, fields[:])
	r.protocol(&fields[0], namesV2.reply)
	r.must(&fields[1])
	reply := Reply{
		Version: V2, Payload: r.base64(&fields[1]), RequestID: r.name(&fields[2]),
		Sender: r.needText(&fields[3]), Agent: r.name(&fields[4]),
	}
	if nanos := r.integer(&fields[5]); fields[5].kind == number {
		reply.Time = r.boundTime(&fields[5], time.Unix(0, nanos))
	}
	return reply
}
