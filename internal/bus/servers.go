package bus

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Lookup finds SRV records; net.Resolver's LookupSRV fits.
type Lookup func(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)

// Where defines how to find the brokers (docs/protocol.md, connecting).
type Where struct {
	// Hosts are configured host:port entries, with or without a scheme; they win.
	Hosts []string
	// UseSRV allows SRV records, under Domain.
	UseSRV bool
	Domain string
	Lookup Lookup
	// Federated looks for the brokers of federations: by other SRV records, and without a default.
	Federated bool
}

// srvNames are asked in this order; the first that resolves wins.
var (
	srvNames          = []string{"mcollective-server", "x-puppet-mcollective"}
	federatedSRVNames = []string{"mcollective-federation_server", "x-puppet-mcollective_federation"}
)

// defaultServer is where Choria clients look when nothing is configured.
const defaultServer = "nats://puppet:4222"

// Servers returns the brokers' URLs: the configured ones, else those of SRV records, else puppet:4222. An entry
// without a port is an error. Federations have no default: not finding their brokers is a *Problem.
func Servers(ctx context.Context, w Where) ([]string, error) {
	if len(w.Hosts) > 0 {
		out := make([]string, 0, len(w.Hosts))
		for _, h := range w.Hosts {
			u, err := serverURL(h)
			if err != nil {
				return nil, err
			}
			out = append(out, u)
		}
		return out, nil
	}
	names := srvNames
	if w.Federated {
		names = federatedSRVNames
	}
	if w.UseSRV && w.Domain != "" {
		lookup := w.Lookup
		if lookup == nil {
			lookup = net.DefaultResolver.LookupSRV
		}
		for _, name := range names {
			if _, addrs, err := lookup(ctx, name, "tcp", w.Domain); err == nil && len(addrs) > 0 {
				return srvURLs(addrs), nil
			}
		}
	}
	if w.Federated {
		return nil, &Problem{
			What: "no broker of the federation is known", Final: true,
			Hint: "set plugin.choria.federation_middleware_hosts, or publish the SRV record _" + names[0] + "._tcp",
		}
	}
	return []string{defaultServer}, nil
}

func srvURLs(addrs []*net.SRV) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = "nats://" + net.JoinHostPort(strings.TrimSuffix(a.Target, "."), strconv.Itoa(int(a.Port)))
	}
	return out
}

const hintHosts = "plugin.choria.middleware_hosts is host:port, several with commas between them"

func serverURL(entry string) (string, error) {
	text := entry
	if !strings.Contains(text, "://") {
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", &Problem{What: fmt.Sprintf("broker address %q is not host:port", withoutUser(entry)), Hint: hintHosts, Final: true}
	}
	if u.Hostname() == "" || u.Port() == "" {
		return "", &Problem{What: fmt.Sprintf("broker address %q needs a port, such as %s:4222", withoutUser(entry), u.Hostname()), Hint: hintHosts, Final: true}
	}
	return u.String(), nil
}

// withoutUser is an entry as it may be shown.
func withoutUser(entry string) string {
	at := strings.LastIndexByte(entry, '@')
	if at < 0 {
		return entry
	}
	return "[redacted]" + entry[at:]
}
