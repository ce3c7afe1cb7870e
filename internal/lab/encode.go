package lab

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"sync"

	"fleetctl/internal/choria"
)

// A fleet of 100,000 nodes answers one broadcast, so good replies are written by hand
// here, into buffers that are used again. A test holds the result against the encoders of
// package choria.

// pages are the buffers of one reply: the reply itself, the secure reply around it, and
// the transport around that.
type pages struct{ reply, secure, transport []byte }

var pagePool = sync.Pool{New: func() any { return new(pages) }}

// fill writes the reply's layers and returns the transport, which is good until the pages
// are used again. sign is nil where the node does not sign.
func (p *pages) fill(r choria.Reply, broker string, sign func([]byte) ([]byte, string)) []byte {
	if r.Version == choria.V1 {
		p.replyV1(r)
		p.secureV1()
	} else {
		p.replyV2(r)
		p.secureV2(sign)
	}
	out := p.transport[:0]
	if r.Version == choria.V1 {
		out = append(out, `{"protocol":"choria:transport:1","data":"`...)
	} else {
		out = append(out, `{"protocol":"io.choria.protocol.v2.transport","data":"`...)
	}
	out = base64.StdEncoding.AppendEncode(out, p.secure)
	sender, hops := `","headers":{"mc_sender":`, `,"seen-by":[[`
	if r.Version != choria.V1 {
		sender, hops = `","headers":{"sender":`, `,"trace":[[`
	}
	out = appendText(append(out, sender...), r.Sender)
	out = appendText(append(out, hops...), broker)
	out = appendText(append(out, ','), r.Sender)
	out = appendText(append(out, ','), broker)
	p.transport = append(out, `]]}}`...)
	return p.transport
}

func (p *pages) replyV1(r choria.Reply) {
	out := append(p.reply[:0], `{"protocol":"choria:reply:1","message":`...)
	out = appendText(out, r.Payload)
	out = appendText(append(out, `,"envelope":{"requestid":`...), r.RequestID)
	out = appendText(append(out, `,"senderid":`...), r.Sender)
	out = appendText(append(out, `,"agent":`...), r.Agent)
	out = strconv.AppendInt(append(out, `,"time":`...), r.Time.Unix(), 10)
	p.reply = append(out, `}}`...)
}

func (p *pages) secureV1() {
	out := append(p.secure[:0], `{"protocol":"choria:secure:reply:1","message":`...)
	out = appendText(out, p.reply)
	p.secure = append(p.appendHash(out), '}')
}

func (p *pages) replyV2(r choria.Reply) {
	out := append(p.reply[:0], `{"protocol":"io.choria.protocol.v2.reply","message":"`...)
	out = base64.StdEncoding.AppendEncode(out, r.Payload)
	out = appendText(append(out, `","request":`...), r.RequestID)
	out = appendText(append(out, `,"sender":`...), r.Sender)
	out = appendText(append(out, `,"agent":`...), r.Agent)
	out = strconv.AppendInt(append(out, `,"time":`...), r.Time.UnixNano(), 10)
	p.reply = append(out, '}')
}

func (p *pages) secureV2(sign func([]byte) ([]byte, string)) {
	out := append(p.secure[:0], `{"protocol":"io.choria.protocol.v2.secure_reply","reply":"`...)
	out = base64.StdEncoding.AppendEncode(out, p.reply)
	out = p.appendHash(append(out, '"'))
	if sign != nil {
		signature, token := sign(p.reply)
		out = base64.StdEncoding.AppendEncode(append(out, `,"signature":"`...), signature)
		out = appendText(append(out, `","sender":`...), token)
	}
	p.secure = append(out, '}')
}

func (p *pages) appendHash(out []byte) []byte {
	sum := sha256.Sum256(p.reply)
	return append(base64.StdEncoding.AppendEncode(append(out, `,"hash":"`...), sum[:]), '"')
}

// appendText appends text as encoding/json writes a string. Text beyond ASCII, and control
// characters, are left to that package.
func appendText[T string | []byte](out []byte, text T) []byte {
	begin := len(out)
	out = append(out, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			continue
		}
		if c != '"' && c != '\\' {
			// A string always marshals.
			quoted, _ := json.Marshal(string(text))
			return append(out[:begin], quoted...)
		}
		out = append(append(out, text[from:i]...), '\\', c)
		from = i + 1
	}
	return append(append(out, text[from:]...), '"')
}
