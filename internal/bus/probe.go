package bus

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
)

// Probe takes the steps of reaching one broker one at a time, so that each of them can be reported as passed or failed; Connect
// takes them all at once. Every step is bounded by its context alone and leaves no connection behind. The errors are
// Problems.
type Probe struct {
	// Server is the broker's URL, as Servers returns it.
	Server string
	// TLS is what Connect would be given; nil for a connection without TLS.
	TLS *tls.Config
}

// Greeting is what a broker sends before the client authenticates.
type Greeting struct {
	Name    string
	Version string
	// TLS is the connection's state after the handshake; nil without TLS.
	TLS *tls.ConnectionState
	// Certificates are the broker's, its own first, also when they did not verify.
	Certificates []*x509.Certificate
}

// ErrWebSocket reports that a broker is reached over a web socket, which has no greeting before the upgrade.
var ErrWebSocket = errors.New("web sockets are not looked into")

// Address is host:port, without the user that the URL may name.
func (p Probe) Address() string { return addressOf(p.Server) }

func addressOf(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return "the broker" // no part of an unreadable address is repeated: it may hold a password
	}
	return u.Host
}

// Resolve returns the addresses of the broker's name; an IP address is its own.
func (p Probe) Resolve(ctx context.Context) ([]string, error) {
	u, err := url.Parse(p.Server)
	if err != nil {
		return nil, &Problem{What: "the broker's address cannot be read", Final: true}
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, &Problem{
			What: fmt.Sprintf("cannot find the broker %q", u.Hostname()), Err: short(err), Hint: "check plugin.choria.middleware_hosts and the name server",
		}
	}
	return addresses, nil
}

// Dial opens a TCP connection and returns the address that took it.
func (p Probe) Dial(ctx context.Context) (string, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.RemoteAddr().String(), nil
}

func (p Probe) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address())
	if err == nil {
		return conn, nil
	}
	problem := &Problem{What: "nothing accepts connections at " + p.Address(), Err: short(err), Hint: "check that the broker runs, and its port"}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		problem.What, problem.Hint = p.Address()+" does not answer in time", "check the route to it, and the firewalls on the way"
	}
	return nil, problem
}

// short is a network error without the parts that the caller prints already.
func short(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return errors.New(dns.Err)
	}
	return err
}

// serverInfo is what we need of a broker's first line.
type serverInfo struct {
	Name         string `json:"server_name"`
	Version      string `json:"version"`
	TLSRequired  bool   `json:"tls_required"`
	TLSAvailable bool   `json:"tls_available"`
}

// Greet reads the broker's greeting and does the TLS handshake that it or we want. The greeting is as complete as it
// came, also with an error. ErrWebSocket: there is nothing to read.
func (p Probe) Greet(ctx context.Context) (Greeting, error) {
	if strings.HasPrefix(p.Server, "ws") {
		return Greeting{}, ErrWebSocket
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return Greeting{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // ends reads and writes under way
	defer stop()
	info, err := readInfo(conn)
	g := Greeting{Name: info.Name, Version: info.Version}
	if err != nil {
		return g, p.slow(ctx, err, "what answers at "+p.Address()+" is no Choria broker")
	}
	switch offered := info.TLSRequired || info.TLSAvailable; {
	case p.TLS == nil && info.TLSRequired:
		return g, &Problem{What: "the broker demands TLS, and ours is off", Hint: "unset INSECURE_DISABLE_TLS", Final: true}
	case p.TLS == nil:
		return g, nil
	case !offered:
		return g, &Problem{What: "the broker offers no TLS, and we demand it", Final: true,
			Hint: "is this the Choria broker? set INSECURE_DISABLE_TLS only for a NATS server without TLS"}
	}
	err = p.handshake(ctx, conn, &g)
	return g, err
}

// maxInfo bounds the broker's first line.
const maxInfo = 1 << 20

func readInfo(conn net.Conn) (serverInfo, error) {
	var info serverInfo
	line, err := bufio.NewReader(io.LimitReader(conn, maxInfo)).ReadString('\n')
	if err != nil {
		return info, err
	}
	text, ok := strings.CutPrefix(line, "INFO ")
	if !ok {
		return info, errors.New("it does not greet as NATS does")
	}
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		return info, errors.New("its greeting is damaged")
	}
	return info, nil
}

// slow distinguishes a timeout from an answer that makes no sense.
func (p Probe) slow(ctx context.Context, err error, otherwise string) *Problem {
	if ctx.Err() != nil {
		return &Problem{What: p.Address() + " accepts connections and then sends nothing", Err: context.Cause(ctx), Hint: "is it the broker's port, and does the broker still work?"}
	}
	return &Problem{What: otherwise, Err: short(err), Hint: "check the port"}
}

// handshake upgrades the connection, and keeps the broker's certificates also when they do not verify.
func (p Probe) handshake(ctx context.Context, conn net.Conn, g *Greeting) error {
	config := p.TLS.Clone()
	if config.ServerName == "" {
		if u, err := url.Parse(p.Server); err == nil {
			config.ServerName = u.Hostname()
		}
	}
	verify := config.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		g.Certificates = cs.PeerCertificates
		if verify != nil {
			return verify(cs)
		}
		return nil
	}
	secured := tls.Client(conn, config)
	err := secured.HandshakeContext(ctx)
	if err == nil {
		g.TLS = new(secured.ConnectionState())
		return nil
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		g.Certificates = cert.UnverifiedCertificates
	}
	problem := &Problem{Err: err}
	if tlsProblem(err, problem) {
		return problem
	}
	return p.slow(ctx, err, "the TLS handshake with "+p.Address()+" failed")
}
