package choria

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Request is what a caller asks of the nodes that its filter matches.
type Request struct {
	Version    Version
	ID         string        // V1: exactly 32 characters; see NewRequestID
	Sender     string        // identity of the client's host; may be empty in V1
	Caller     string        // provider=name
	Collective string        // nodes drop a request for a collective that they are not in
	Agent      string        // name of the agent
	TTL        time.Duration // whole seconds; at least 30 in V1, 1 in V2
	Time       time.Time     // UTC; whole seconds in V1
	Filter     Filter
	Payload    []byte // what the agent gets, but see Body: RPC JSON or DiscoveryPing
}

// Body returns the payload as the agent on a server sees it: servers undo
// base64 when the payload happens to be base64 (docs/protocol.md, payload
// encoding). JSON never is.
func (r Request) Body() []byte {
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(r.Payload)))
	n, err := base64.StdEncoding.Decode(decoded, r.Payload)
	if err != nil {
		return r.Payload
	}
	return decoded[:n:n]
}

type wireRequestV1 struct {
	Protocol string       `json:"protocol"`
	Message  string       `json:"message"`
	Envelope wireEnvelope `json:"envelope"`
}

type wireEnvelope struct {
	RequestID  string `json:"requestid"`
	Sender     string `json:"senderid"`
	Caller     string `json:"callerid"`
	Collective string `json:"collective"`
	Agent      string `json:"agent"`
	TTL        int64  `json:"ttl"`
	Time       int64  `json:"time"`
	Filter     Filter `json:"filter"`
}

type wireRequestV2 struct {
	Protocol   string `json:"protocol"`
	Message    []byte `json:"message"`
	ID         string `json:"id"`
	Sender     string `json:"sender"`
	Caller     string `json:"caller"`
	Collective string `json:"collective"`
	Agent      string `json:"agent"`
	TTL        int64  `json:"ttl"`
	Time       int64  `json:"time"`
	Filter     Filter `json:"filter"`
}

// EncodeRequest returns the exact bytes to sign and to send. It refuses what
// a server would drop silently for its form (docs/protocol.md, schema
// constraints).
func EncodeRequest(r Request) ([]byte, error) {
	layer := r.Version.String() + " request"
	switch {
	case r.TTL%time.Second != 0:
		return nil, fmt.Errorf("%s: ttl: %v is not in whole seconds", layer, r.TTL)
	case r.Time.IsZero():
		return nil, fmt.Errorf("%s: time: is not set", layer)
	case !encodable(r.ID, r.Sender, r.Caller, r.Collective, r.Agent) || !encodable(r.Filter.texts()...):
		return nil, fmt.Errorf("%s: not UTF-8", layer)
	}
	var w any
	seconds := int64(r.TTL / time.Second)
	switch r.Version {
	case V1:
		if !utf8.Valid(r.Payload) {
			return nil, fmt.Errorf("%s: message: not UTF-8", layer)
		}
		w = wireRequestV1{Protocol: namesV1.request, Message: string(r.Payload), Envelope: wireEnvelope{
			RequestID: r.ID, Sender: r.Sender, Caller: r.Caller, Collective: r.Collective, Agent: r.Agent,
			TTL: seconds, Time: r.Time.Unix(), Filter: r.Filter,
		}}
	case V2:
		nanos, err := unixNano(r.Time)
		if err != nil {
			return nil, fmt.Errorf("%s: time: %w", layer, err)
		}
		w = wireRequestV2{Protocol: namesV2.request, Message: r.Payload,
			ID: r.ID, Sender: r.Sender, Caller: r.Caller, Collective: r.Collective, Agent: r.Agent,
			TTL: seconds, Time: nanos, Filter: r.Filter,
		}
	default:
		return nil, fmt.Errorf("%s: %w", layer, ErrUnknownProtocol)
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layer, err)
	}
	if _, err := DecodeRequest(r.Version, data); err != nil {
		return nil, fmt.Errorf("cannot encode: %w", err)
	}
	return data, nil
}

// unixNano returns the time of V2, which cannot express every year.
func unixNano(t time.Time) (int64, error) {
	nanos := t.UnixNano()
	if !time.Unix(0, nanos).Equal(t) {
		return 0, fmt.Errorf("year %d is out of range", t.Year())
	}
	return nanos, nil
}

// DecodeRequest reads a request as strictly as a server does (docs/protocol.md,
// schema constraints). Its age and its addressee are not checked.
func DecodeRequest(v Version, data []byte) (Request, error) {
	r := reader{layer: v.String() + " request"}
	var req Request
	switch v {
	case V1:
		req = r.requestV1(data)
	case V2:
		req = r.requestV2(data)
	default:
		r.err = fmt.Errorf("%s: %w", r.layer, ErrUnknownProtocol)
	}
	if r.err != nil {
		return Request{}, r.err
	}
	return req, nil
}

func (r *reader) requestV1(data []byte) Request {
	outer := [...]field{{key: "protocol"}, {key: "message"}, {key: "envelope"}}
	inner := [...]field{
		{key: "requestid"}, {key: "senderid"}, {key: "callerid"}, {key: "collective"},
		{key: "agent"}, {key: "ttl"}, {key: "time"}, {key: "filter"},
	}
	r.scan(data, outer[:])
	r.protocol(&outer[0], namesV1.request)
	req := Request{Version: V1, Payload: []byte(r.needText(&outer[1]))}
	r.must(&outer[2])
	r.within(&outer[2], inner[:])
	if req.ID = r.needText(&inner[0]); utf8.RuneCountInString(req.ID) != 32 {
		r.fail(&inner[0], "is not 32 characters long")
	}
	r.must(&inner[1])
	req.Sender = r.text(&inner[1])
	r.addressed(&req, inner[2:])
	req.TTL = r.ttl(&inner[5], 30)
	r.must(&inner[6])
	req.Time = time.Unix(r.integer(&inner[6]), 0).UTC()
	req.Filter = r.filter(&inner[7])
	return req
}

func (r *reader) requestV2(data []byte) Request {
	fields := [...]field{
		{key: "protocol"}, {key: "message"}, {key: "id"}, {key: "sender"}, {key: "caller"}, {key: "collective"},
		{key: "agent"}, {key: "ttl"}, {key: "time"}, {key: "filter"},
	}
	r.scan(data, fields[:])
	r.protocol(&fields[0], namesV2.request)
	req := Request{Version: V2, Payload: r.needBase64(&fields[1]), ID: r.needText(&fields[2]), Sender: r.needText(&fields[3])}
	r.addressed(&req, fields[4:])
	req.TTL = r.ttl(&fields[7], 1)
	r.must(&fields[8])
	nanos := r.integer(&fields[8])
	if nanos < 1 {
		r.fail(&fields[8], "is below 1")
	}
	req.Time = time.Unix(0, nanos).UTC()
	if fields[9].kind != absent {
		req.Filter = r.filter(&fields[9])
	}
	return req
}

// addressed reads caller, collective and agent, which both versions have in
// this order.
func (r *reader) addressed(req *Request, fields []field) {
	req.Caller, req.Collective, req.Agent = r.needText(&fields[0]), r.needText(&fields[1]), r.needText(&fields[2])
}

func (r *reader) ttl(f *field, least int64) time.Duration {
	r.must(f)
	seconds := r.integer(f)
	switch {
	case seconds < least:
		r.fail(f, fmt.Sprintf("is below %d seconds", least))
	case seconds > math.MaxInt64/int64(time.Second):
		r.fail(f, "is out of range")
	}
	return time.Duration(seconds) * time.Second
}
