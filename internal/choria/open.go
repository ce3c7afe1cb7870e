package choria

// What a client opens by the thousand it opens in place: every layer is decoded over the one around it, and equal names
// are not copied. The results are the same as without an Opener (FuzzOpening).

// Opener makes the functions that decode replies overwrite what they get. It belongs to one goroutine. The zero value is
// ready.
type Opener struct {
	// Known are texts that a reply probably repeats: they are returned instead of copies.
	Known   []string
	scratch []byte
}

// reader reads with one of the openers, if there is one.
func (openers openers) reader() *reader {
	if len(openers) == 0 {
		return new(reader)
	}
	return &reader{own: true, known: openers[0].Known}
}

// openers are one Opener or none.
type openers []*Opener

// Reset makes the memory of earlier payloads free for others.
func (o *Opener) Reset() { o.scratch = o.scratch[:0] }

// Transport is DecodeTransport for a reply that no other code needs: its bytes are overwritten, and of its headers only
// the sender is read.
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

// maxScratch is how much memory of payloads is kept, in bytes.
const maxScratch = 1 << 20

// reply reads a reply whose bytes stay as they are: a signature may have to be checked over them.
func (o *Opener) reply(v Version, data []byte) (Reply, error) {
	if cap(o.scratch)-len(o.scratch) < len(data) && len(data) < maxScratch {
		o.scratch = make([]byte, 0, max(maxScratch/16, min(2*cap(o.scratch), maxScratch), 2*len(data)))
	}
	r := reader{scratch: o.scratch, known: o.Known}
	reply, err := r.reply(v, data)
	o.scratch = r.scratch
	return reply, err
}
