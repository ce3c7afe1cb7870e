// Command floor is what the least possible client of NATS costs: it publishes one signed request to every node of a list,
// and counts the replies without looking at one. `make perf` measures the others against it.
//
//	FLEETCTL_CONFIG=... floor NODES-FILE
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(list string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	file, err := os.Open(list)
	if err != nil {
		return err
	}
	defer file.Close()
	var subjects []string
	f, err := fleet.Open(ctx, fleet.Options{Getenv: os.LookupEnv, Settings: func() (config.Settings, error) { return config.Settings{}, nil }}, "")
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		subjects = append(subjects, choria.NodeSubject(f.Collective, lines.Text()))
	}
	return ask(ctx, f, subjects)
}

func ask(ctx context.Context, f *fleet.Fleet, subjects []string) error {
	id, err := f.Identity()
	if err != nil {
		return err
	}
	replyTo := choria.ReplyPrefix(f.Collective, id.Caller(), choria.MD5) + ".floor"
	request, err := letter(ctx, f, replyTo)
	if err != nil {
		return err
	}
	servers, err := f.Servers(ctx)
	if err != nil {
		return err
	}
	secure, err := id.TLS(servers...)
	if err != nil {
		return err
	}
	options := []nats.Option{nats.Secure(secure)}
	if token := id.Token(); token != "" {
		options = append(options, nats.Token(token), nats.UserJWT(func() (string, error) { return token, nil }, id.SignNonce))
	}
	conn, err := nats.Connect(servers[0], options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	replies, all := 0, make(chan struct{})
	sub, err := conn.Subscribe(replyTo, func(*nats.Msg) {
		if replies++; replies == len(subjects) {
			close(all)
		}
	})
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	for _, subject := range subjects {
		if err := conn.Publish(subject, request); err != nil {
			return err
		}
	}
	if err := conn.FlushWithContext(ctx); err != nil {
		return err
	}
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("not all of %d replies came: %w", len(subjects), context.Cause(ctx))
	}
}

// letter is the request that every client of the comparison sends: rpcutil#ping.
func letter(ctx context.Context, f *fleet.Fleet, replyTo string) ([]byte, error) {
	id, err := f.Identity()
	if err != nil {
		return nil, err
	}
	body, err := choria.EncodeRPCRequest(choria.RPCRequest{Agent: "rpcutil", Action: "ping"})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	request, err := choria.EncodeRequest(choria.Request{
		Version: id.Version(), ID: choria.NewRequestID(id.Version(), now), Sender: id.Sender(), Caller: id.Caller(), Collective: f.Collective,
		Agent: "rpcutil", TTL: time.Minute, Time: now, Filter: choria.Filter{Agent: []string{"rpcutil"}}, Payload: body,
	})
	if err != nil {
		return nil, err
	}
	sealed, err := id.Seal(ctx, request)
	if err != nil {
		return nil, err
	}
	return choria.EncodeTransport(choria.Transport{Version: id.Version(), Data: sealed, ReplyTo: replyTo, Sender: id.Sender()})
}
