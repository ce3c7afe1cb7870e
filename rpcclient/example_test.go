package rpcclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fleetctl/internal/bus"
	"fleetctl/rpcclient"
)

// connected is a client of the broker at an address. Requests of plain are not signed: use an identity of
// internal/security instead.
func connected(ctx context.Context, address string) (client *rpcclient.Client, closeIt func(), err error) {
	conn, err := bus.Connect(ctx, bus.Options{Servers: []string{address}})
	if err != nil {
		return nil, nil, err
	}
	return rpcclient.New(conn, plain{}), conn.Close, nil
}

// One request to known nodes. The loop ends when all have replied, are absent, or the wait is over.
func ExampleClient_Call() {
	ctx := context.Background()
	client, closeIt, err := connected(ctx, "nats://broker.example.net:4222")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closeIt()
	request := rpcclient.Request{
		Agent: "rpcutil", Action: "get_fact", Data: json.RawMessage(`{"fact":"country"}`), Collective: "mcollective", Wait: 4 * time.Second,
	}
	for reply, err := range client.Call(ctx, request, []string{"web1.example.net", "web2.example.net"}) {
		switch {
		case err != nil:
			fmt.Println(err)
		case reply.Absent:
			fmt.Println(reply.Node, "is not connected")
		case !reply.OK():
			fmt.Println(reply.Node, "refused:", reply.Message)
		default:
			fmt.Println(reply.Node, string(reply.Data))
		}
	}
}
