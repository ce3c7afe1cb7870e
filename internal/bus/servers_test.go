package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestServers(t *testing.T) {
	records := map[string][]*net.SRV{
		"mcollective-server.both":             {{Target: "a.example.net.", Port: 4222}, {Target: "b.example.net.", Port: 4223}},
		"x-puppet-mcollective.both":           {{Target: "wrong.example.net.", Port: 1}},
		"x-puppet-mcollective.old":            {{Target: "c.example.net.", Port: 4222}},
		"mcollective-federation_server.fed":   {{Target: "f.example.net.", Port: 4222}},
		"x-puppet-mcollective_federation.old": {{Target: "g.example.net.", Port: 4222}},
	}
	lookup := func(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
		if proto != "tcp" {
			t.Errorf("asked for %s records", proto)
		}
		if r, ok := records[service+"."+name]; ok {
			return "", r, nil
		}
		return "", nil, errors.New("no such host")
	}
	tests := []struct {
		name  string
		where Where
		want  []string
		err   string
	}{
		{name: "configured hosts win", where: Where{Hosts: []string{"h:4222", "tls://i:1"}, UseSRV: true, Domain: "both"}, want: []string{"nats://h:4222", "tls://i:1"}},
		{name: "the first SRV name wins", where: Where{UseSRV: true, Domain: "both"}, want: []string{"nats://a.example.net:4222", "nats://b.example.net:4223"}},
		{name: "the old SRV name", where: Where{UseSRV: true, Domain: "old"}, want: []string{"nats://c.example.net:4222"}},
		{name: "SRV switched off", where: Where{Domain: "both"}, want: []string{"nats://puppet:4222"}},
		{name: "no records", where: Where{UseSRV: true, Domain: "none"}, want: []string{"nats://puppet:4222"}},
		{name: "no domain", where: Where{UseSRV: true}, want: []string{"nats://puppet:4222"}},
		{name: "a federation's brokers", where: Where{Federated: true, UseSRV: true, Domain: "fed"}, want: []string{"nats://f.example.net:4222"}},
		{name: "a federation's old SRV name", where: Where{Federated: true, UseSRV: true, Domain: "old"}, want: []string{"nats://g.example.net:4222"}},
		{name: "a federation's configured hosts", where: Where{Federated: true, Hosts: []string{"h:4222"}}, want: []string{"nats://h:4222"}},
		{name: "a federation has no default", where: Where{Federated: true, UseSRV: true, Domain: "both"}, err: "no broker of the federation is known"},
		{name: "a port is needed", where: Where{Hosts: []string{"broker.example.net"}}, err: "needs a port"},
		{name: "not an address", where: Where{Hosts: []string{"nats://a b:1"}}, err: "not host:port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.where.Lookup = lookup
			got, err := Servers(t.Context(), tt.where)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// A password in a configured address logs in, and is in nothing that is sent, shown or logged.
func TestAPasswordInAnAddressIsNotShown(t *testing.T) {
	s := broker(t, server.Options{Username: "op", Password: "pa55word"})
	address := strings.Replace(s.ClientURL(), "nats://", "nats://op:pa55word@", 1)
	var log bytes.Buffer
	c := connect(t, Options{Servers: []string{address}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if got := c.URL(); got != s.ClientURL() {
		t.Errorf("the URL is %q", got)
	}
	if text := log.String(); !strings.Contains(text, `msg="connected to the broker" server=`+s.ClientURL()+" tls=false") || strings.Contains(text, "pa55word") {
		t.Errorf("logged: %s", text)
	}
	_, err := Connect(t.Context(), Options{Servers: []string{strings.Replace(address, "pa55word", "wr0ng", 1)}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil || strings.Contains(err.Error()+log.String(), "wr0ng") {
		t.Errorf("a refusal says %v", err)
	}
}
