package choria

import (
	"bytes"
	"reflect"
	"testing"
)

// Opening a layer where it stands comes to the same as decoding it, in values and in errors; what must not be overwritten
// is not.
func FuzzOpening(f *testing.F) {
	c := captured(f)
	seed(f, c.transports, c.secureReplies, c.replies[V1], c.replies[V2], c.rpcReplies)
	for _, text := range []string{
		`{"protocol":"choria:secure:reply:1","message":"\u00e9\ud83d\ude00\/\"\n","hash":"x"}`, "{\"statuscode\":1,\"statusmsg\":\"a\xff\\n\xffb\xff\xff\"}",
		`{"protocol":"choria:transport:1","data":"YWJj\nZGVm","headers":{"mc_sender":"\u0061"}}`, "{\"protocol\":\"choria:reply:1\",\"message\":\"\xff\xff\xff\\n\",\"envelope\":{\"senderid\":\"x\"}}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := Opener{Known: []string{"web1.example.net", "OK", "ping"}}
		for range 2 { // the second time the scratch memory has been used
			checkOpening(t, &o, data)
			o.Reset()
		}
	})
}

func checkOpening(t *testing.T, o *Opener, data []byte) {
	t.Helper()
	want, err := DecodeTransport(bytes.Clone(data))
	got, openErr := o.Transport(bytes.Clone(data))
	if err == nil && (openErr != nil || got.Version != want.Version || got.Sender != want.Sender || !bytes.Equal(got.Data, want.Data)) {
		t.Fatalf("transport: got %+v, %v, want %+v", got, openErr, want)
	}
	secure, err := DecodeSecureReply(bytes.Clone(data))
	opened, openErr := DecodeSecureReply(bytes.Clone(data), o)
	sameOpening(t, "secure reply", opened, openErr, secure, err)
	for _, v := range []Version{V1, V2} {
		plain, err := DecodeReply(v, bytes.Clone(data))
		document := bytes.Clone(data)
		reply, openErr := DecodeReply(v, document, o)
		sameOpening(t, "reply", reply, openErr, plain, err)
		if !bytes.Equal(document, data) {
			t.Fatal("the reply was overwritten, and its signature may still have to be checked")
		}
		if err == nil {
			body, err := DecodeRPCReply(bytes.Clone(plain.Payload))
			rpc, openErr := DecodeRPCReply(reply.Payload, o)
			sameOpening(t, "body of a reply", rpc, openErr, body, err)
		}
	}
	body, err := DecodeRPCReply(bytes.Clone(data))
	rpc, openErr := DecodeRPCReply(bytes.Clone(data), o)
	sameOpening(t, "body", rpc, openErr, body, err)
}

func sameOpening(t *testing.T, what string, got any, openErr error, want any, err error) {
	t.Helper()
	if !reflect.DeepEqual(got, want) || (openErr == nil) != (err == nil) || err != nil && openErr.Error() != err.Error() {
		t.Fatalf("%s: got %+v, %v\nwant %+v, %v", what, got, openErr, want, err)
	}
}

// Payloads of one group do not disturb each other.
func TestPayloadsOfAGroupStayApart(t *testing.T) {
	var o Opener
	var payloads [][]byte
	for i := range 600 {
		data := []byte(`{"protocol":"choria:reply:1","message":"\"` + string(bytes.Repeat([]byte{byte('a' + i%26)}, i)) + `\"","envelope":{"senderid":"x"}}`)
		r, err := DecodeReply(V1, data, &o)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, r.Payload)
	}
	for i, p := range payloads {
		if want := `"` + string(bytes.Repeat([]byte{byte('a' + i%26)}, i)) + `"`; string(p) != want {
			t.Fatalf("payload %d is %q", i, p)
		}
	}
}
