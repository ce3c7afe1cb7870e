package choria

// What a client opens by the thousand it opens where it stands: every layer is decoded over the one around it, and equal
// names are not copied. The results are those of the functions that decode (TestOpeningInPlaceIsDecoding).

// Opener opens replies. It belongs to one goroutine. The zero value is ready.
type Opener struct{ scratch []byte }

// Reset makes the memory of earlier payloads free for others.
func (o *Opener) Reset() { o.scratch = o.scratch[:0] }

// Transport is DecodeTransport for a reply that nobody else needs: its bytes are overwritten, and of its headers only the
// sender is read.
func (o *Opener) Transport(data []byte) (Transport, error) {
	r := reader{layer: "transport", own: true}
	var headers field
	t, keys := r.transport(data, &headers)
	if r.err == nil {
		fields := [...]field{{key: keys.sender}}
		r.within(&headers, fields[:])
		t.Sender = r.text(&fields[0])
	}
	if r.err != nil {
		return Transport{}, r.err
	}
	return t, nil
}

// SecureReply is DecodeSecureReply over data that is overwritten, such as Transport's.
func (o *Opener) SecureReply(data []byte) (SecureReply, error) {
	r := reader{own: true}
	return r.secureReply(data)
}

// maxScratch is how much memory of payloads is kept.
const maxScratch = 1 << 20

// Reply is DecodeReply. Data stays as it is: a signature may have to be checked over it. The payload is good until Reset.
// known are texts that the reply probably repeats; they are returned in place of copies.
func (o *Opener) Reply(v Version, data []byte, known ...string) (Reply, error) {
	if cap(o.scratch)-len(o.scratch) < len(data) && len(data) < maxScratch {
		o.scratch = make([]byte, 0, max(maxScratch/16, min(2*cap(o.scratch), maxScratch), 2*len(data)))
	}
	r := reader{scratch: o.scratch, known: known}
	reply, err := r.reply(v, data)
	o.scratch = r.scratch
	return reply, err
}

// RPCReply is DecodeRPCReply over a body that is overwritten, such as Reply's payload.
func (o *Opener) RPCReply(body []byte, known ...string) (RPCReply, error) {
	r := reader{own: true, known: known}
	return r.rpcReply(body)
}
