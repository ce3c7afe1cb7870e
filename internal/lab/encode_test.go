package lab

import (
	"testing"
	"time"

	"fleetctl/internal/choria"
)

// slowly encodes a reply with package choria.
func slowly(t *testing.T, r choria.Reply, broker string, sign func([]byte) ([]byte, string)) []byte {
	t.Helper()
	inner, err := choria.EncodeReply(r)
	if err != nil {
		t.Fatal(err)
	}
	secure := choria.SecureReply{Version: r.Version, Reply: inner}
	if sign != nil && r.Version == choria.V2 {
		secure.Signature, secure.Sender = sign(inner)
	}
	data, err := choria.EncodeSecureReply(secure)
	if err != nil {
		t.Fatal(err)
	}
	data, err = choria.EncodeTransport(choria.Transport{
		Version: r.Version, Data: data, Sender: r.Sender, SeenBy: [][3]string{{broker, r.Sender, broker}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzRepliesAreEncodedAsPackageChoriaDoes(f *testing.F) {
	f.Add("pong", "web01.mla1.example.net", int64(1_700_000_000_123_456_789))
	f.Add(`{"statuscode":0,"statusmsg":"OK <&> \\ \"x\""}`, "a", int64(1))
	f.Add("tab\tline\nÄ\u2028\u007f", "b", int64(-5))
	var p pages
	f.Fuzz(func(t *testing.T, payload, sender string, nanos int64) {
		for _, version := range []choria.Version{choria.V1, choria.V2} {
			r := choria.Reply{Version: version, RequestID: "0123", Sender: sender, Agent: "rpcutil", Time: time.Unix(0, nanos).UTC(), Payload: []byte(payload)}
			if _, err := choria.EncodeReply(r); err != nil {
				continue
			}
			sign := func(reply []byte) ([]byte, string) { return reply[:8], "a.b.c" }
			for _, sign := range []func([]byte) ([]byte, string){nil, sign} {
				want := slowly(t, r, "nats://b:1", sign)
				if got := p.fill(r, "nats://b:1", sign); string(got) != string(want) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		}
	})
}
