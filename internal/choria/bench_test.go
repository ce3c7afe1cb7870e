package choria

import (
	"testing"
	"time"
)

// benchReply is a reply as it comes from NATS, of the size of an rpcutil ping.
func benchReply(b *testing.B, lab string) []byte {
	b.Helper()
	for _, v := range readVectors(b, "testdata/vectors") {
		if v.lab == lab && v.Name == "rpcutil_ping" {
			return v.Messages[len(v.Messages)-1].Payload
		}
	}
	b.Fatal("no such vector")
	return nil
}

func decodeChain(payload []byte) (Reply, RPCReply, error) {
	tr, err := DecodeTransport(payload)
	if err != nil {
		return Reply{}, RPCReply{}, err
	}
	secure, err := DecodeSecureReply(tr.Data)
	if err != nil {
		return Reply{}, RPCReply{}, err
	}
	reply, err := DecodeReply(secure.Version, secure.Reply)
	if err != nil {
		return Reply{}, RPCReply{}, err
	}
	rpc, err := DecodeRPCReply(reply.Payload)
	return reply, rpc, err
}

func BenchmarkDecodeReplyChain(b *testing.B) {
	for _, lab := range []string{"v1", "v2"} {
		b.Run(lab, func(b *testing.B) {
			payload := benchReply(b, lab)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if _, rpc, err := decodeChain(payload); err != nil || rpc.Action != "ping" {
					b.Fatal(rpc, err)
				}
			}
		})
	}
}

// BenchmarkOpenReplyChain is BenchmarkDecodeReplyChain as a client does it.
func BenchmarkOpenReplyChain(b *testing.B) {
	for _, lab := range []string{"v1", "v2"} {
		b.Run(lab, func(b *testing.B) {
			payload := benchReply(b, lab)
			work := make([]byte, len(payload))
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			var o Opener
			for b.Loop() {
				copy(work, payload)
				t, err := o.Transport(work)
				if err != nil {
					b.Fatal(err)
				}
				secure, err := DecodeSecureReply(t.Data, &o)
				if err != nil {
					b.Fatal(err)
				}
				o.Known = append(o.Known[:0], t.Sender, "rpcutil")
				reply, err := DecodeReply(t.Version, secure.Reply, &o)
				if err != nil {
					b.Fatal(err)
				}
				o.Known = append(o.Known[:0], "OK", "ping")
				if rpc, err := DecodeRPCReply(reply.Payload, &o); err != nil || rpc.Action != "ping" {
					b.Fatal(rpc, err)
				}
				o.Reset()
			}
		})
	}
}

func BenchmarkEncodeReplyChain(b *testing.B) {
	for _, v := range []Version{V1, V2} {
		b.Run(v.String(), func(b *testing.B) {
			now := time.Unix(1795334371, 0)
			data := []byte(`{"pong":1795334371}`)
			b.ReportAllocs()
			for b.Loop() {
				body, err := EncodeRPCReply(RPCReply{Action: "ping", StatusMsg: "OK", Data: data})
				if err != nil {
					b.Fatal(err)
				}
				reply, err := EncodeReply(Reply{
					Version: v, RequestID: "a5f6b7bb1ea64dd5be6808105e9d5ae7", Sender: "srv-03.example.net", Agent: "rpcutil", Time: now, Payload: body,
				})
				if err != nil {
					b.Fatal(err)
				}
				secure, err := EncodeSecureReply(SecureReply{Version: v, Reply: reply})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := EncodeTransport(Transport{Version: v, Data: secure, Sender: "srv-03.example.net"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	for _, v := range []Version{V1, V2} {
		b.Run(v.String(), func(b *testing.B) {
			r := goodRequest(v)
			r.Filter.Agent = []string{"rpcutil"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := EncodeRequest(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
