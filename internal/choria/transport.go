package choria

import (
	"encoding/json"
	"fmt"
)

// Transport is the outermost layer: what NATS carries (docs/protocol.md,
// layers). Nothing in it is signed: it routes, and proves nothing.
type Transport struct {
	Version    Version
	Data       []byte      // the secure request or reply, its exact JSON
	ReplyTo    string      // subject for replies; requests only
	Sender     string      // identity that the sender claims
	SeenBy     [][3]string // hops: in, processor, out
	Federation *Federation // nil outside federations
}

// Federation routes a message through federation brokers (docs/protocol.md,
// federation). Targets are full subjects.
type Federation struct {
	RequestID string
	ReplyTo   string // where a broker keeps the client's own reply subject
	Targets   []string
}

type wireTransport struct {
	Protocol string `json:"protocol"`
	Data     []byte `json:"data"`
	Headers  any    `json:"headers"`
}

type wireHeadersV1 struct {
	ReplyTo    string            `json:"reply-to,omitempty"`
	Sender     string            `json:"mc_sender,omitempty"`
	SeenBy     [][3]string       `json:"seen-by,omitempty"`
	Federation *wireFederationV1 `json:"federation,omitempty"`
}

type wireFederationV1 struct {
	RequestID string   `json:"req,omitempty"`
	ReplyTo   string   `json:"reply-to,omitempty"`
	Targets   []string `json:"target,omitempty"`
}

type wireHeadersV2 struct {
	ReplyTo    string            `json:"reply,omitempty"`
	Sender     string            `json:"sender,omitempty"`
	SeenBy     [][3]string       `json:"trace,omitempty"`
	Federation *wireFederationV2 `json:"federation,omitempty"`
}

type wireFederationV2 struct {
	RequestID string   `json:"request,omitempty"`
	ReplyTo   string   `json:"reply,omitempty"`
	Targets   []string `json:"targets,omitempty"`
}

// headerKeys are the names of the transport's headers in one version, in the
// order of the fields of Transport, then of Federation.
type headerKeys struct {
	replyTo, sender, seenBy, request, reply, targets string
}

var (
	headersV1 = headerKeys{"reply-to", "mc_sender", "seen-by", "req", "reply-to", "target"}
	headersV2 = headerKeys{"reply", "sender", "trace", "request", "reply", "targets"}
)

// EncodeTransport returns the bytes to publish.
func EncodeTransport(t Transport) ([]byte, error) {
	layer := t.Version.String() + " transport"
	if len(t.Data) == 0 {
		return nil, fmt.Errorf("%s: data: is empty", layer)
	}
	if !encodable(t.texts()...) {
		return nil, fmt.Errorf("%s: headers: not UTF-8", layer)
	}
	w := wireTransport{Data: t.Data}
	switch t.Version {
	case V1:
		w.Protocol = namesV1.transport
		h := wireHeadersV1{ReplyTo: t.ReplyTo, Sender: t.Sender, SeenBy: t.SeenBy}
		if t.Federation != nil {
			h.Federation = new(wireFederationV1(*t.Federation))
		}
		w.Headers = h
	case V2:
		w.Protocol = namesV2.transport
		h := wireHeadersV2{ReplyTo: t.ReplyTo, Sender: t.Sender, SeenBy: t.SeenBy}
		if t.Federation != nil {
			h.Federation = new(wireFederationV2(*t.Federation))
		}
		w.Headers = h
	default:
		return nil, fmt.Errorf("%s: %w", layer, ErrUnknownProtocol)
	}
	return json.Marshal(w)
}

// texts collects every string of the headers.
func (t Transport) texts() []string {
	all := []string{t.ReplyTo, t.Sender}
	for _, hop := range t.SeenBy {
		all = append(all, hop[:]...)
	}
	if t.Federation != nil {
		all = append(append(all, t.Federation.RequestID, t.Federation.ReplyTo), t.Federation.Targets...)
	}
	return all
}

// DecodeTransport reads a payload of NATS. The version is that of the protocol
// key; ErrUnknownProtocol reports that there is none that we know. A message larger than
// maxMessage is refused unread.
func DecodeTransport(data []byte) (Transport, error) {
	r := reader{layer: "transport"}
	var headers field
	t, keys := r.transport(data, &headers)
	r.headers(&headers, keys, &t)
	if r.err != nil {
		return Transport{}, r.err
	}
	return t, nil
}

// transport reads all but the headers.
func (r *reader) transport(data []byte, headers *field) (t Transport, keys *headerKeys) {
	const protocol, body, rest = 0, 1, 2
	fields := [...]field{protocol: {key: "protocol"}, body: {key: "data"}, rest: {key: "headers"}}
	r.checkSize(data)
	r.scan(data, fields[:])
	switch name := r.value(&fields[protocol]); {
	case r.err != nil:
	case string(name) == namesV1.transport:
		t.Version, keys, r.layer = V1, &headersV1, "v1 transport"
	case string(name) == namesV2.transport:
		t.Version, keys, r.layer = V2, &headersV2, "v2 transport"
	default:
		r.failWith(&fields[protocol], ErrUnknownProtocol)
	}
	t.Data = r.needBase64(&fields[body])
	*headers = fields[rest]
	return t, keys
}

func (r *reader) headers(f *field, keys *headerKeys, t *Transport) {
	if r.err != nil {
		return
	}
	const replyTo, sender, seenBy, federation = 0, 1, 2, 3
	fields := [...]field{
		sender: {key: keys.sender}, replyTo: {key: keys.replyTo},
		seenBy: {key: keys.seenBy}, federation: {key: "federation"},
	}
	r.within(f, fields[:])
	t.ReplyTo, t.Sender = r.text(&fields[replyTo]), r.text(&fields[sender])
	t.SeenBy = r.hops(fields[seenBy])
	switch fields[federation].kind {
	case absent, null:
		return
	}
	inner := [...]field{{key: keys.request}, {key: keys.reply}, {key: keys.targets}}
	r.within(&fields[federation], inner[:])
	t.Federation = &Federation{RequestID: r.text(&inner[0]), ReplyTo: r.text(&inner[1]), Targets: r.targets(inner[2])}
}

func (r *reader) targets(f field) []string {
	r.optionalList(&f)
	var all []string
	for e := range elements(f) {
		e.key = f.key
		all = append(all, r.text(&e))
	}
	return all
}

// hops reads the hop log. Real receivers keep three strings of each hop: what
// is missing is empty, what is too much is ignored.
func (r *reader) hops(f field) [][3]string {
	r.optionalList(&f)
	var all [][3]string
	for e := range elements(f) {
		e.key = f.key
		r.optionalList(&e)
		var hop [3]string
		i := 0
		for part := range elements(e) {
			part.key = f.key
			if i < len(hop) {
				hop[i] = r.text(&part)
			}
			i++
		}
		all = append(all, hop)
	}
	return all
}

// optionalList complains about anything but a list, null or nothing.
func (r *reader) optionalList(f *field) {
	switch f.kind {
	case absent, null, array:
	default:
		r.fail(f, "is not a list")
		f.kind = absent
	}
}
