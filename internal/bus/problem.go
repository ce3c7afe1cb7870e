package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// Problem describes why the broker cannot be reached, or what it did not allow.
type Problem struct {
	// What happened, for the operator.
	What string
	// Hint is what to do about it; may be empty.
	Hint string
	// Final means that another try would fail in the same way.
	Final bool
	// Lost means that the connection broke while it was in use.
	Lost bool
	// Denied means that the broker did not allow a subject: what was published there had no effect.
	Denied bool
	Err    error
}

func (p *Problem) Error() string {
	if p.Err == nil {
		return p.What
	}
	return p.What + ": " + p.Err.Error()
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// dialer remembers why each address failed: nats.go reports a refused connection only as "no servers available".
type dialer struct {
	hurry  *hurry
	mu     sync.Mutex // guards ctx and failed
	ctx    context.Context
	failed map[string]error
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx := d.ctx
	d.mu.Unlock()
	nd := net.Dialer{Timeout: dialTimeout}
	conn, err := nd.DialContext(ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		// When the budget ends, the last error of the address is more useful than the timeout. The dial may notice the end
		// before the context does.
		end, limited := ctx.Deadline()
		over := ctx.Err() != nil || limited && !time.Now().Before(end)
		if _, told := d.failed[address]; !told || !over {
			d.failed[address] = err
		}
	} else {
		delete(d.failed, address)
		conn = &restingConn{Conn: conn, hurry: d.hurry}
	}
	return conn, err
}

// connected frees later reconnects from the context of the first connect.
func (d *dialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = context.WithoutCancel(d.ctx)
	clear(d.failed)
}

// reasons lists what each address answered, sorted.
func (d *dialer) reasons() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for address, err := range d.failed {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		out = append(out, fmt.Sprintf("%s: %v", address, err))
	}
	slices.Sort(out)
	return out
}

// explain turns the error of a first connect into words.
func (c *Conn) explain(err error, o Options) *Problem {
	var addresses []string
	for _, server := range o.Servers {
		addresses = append(addresses, addressOf(server))
	}
	where := "the broker at " + strings.Join(addresses, ", ")
	p := &Problem{What: "cannot connect to " + where, Err: plain(err)}
	switch {
	case tlsProblem(err, p):
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthRevoked):
		p.What, p.Final, p.Err = where+" refused us", true, nil
		p.Hint = "check that the certificate or token is of this organization and that its owner may connect"
	case errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAccountAuthExpired):
		p.What, p.Final, p.Err = where+" refused us: the credentials have expired", true, nil
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		p.What, p.Final = where+" and fleetctl do not agree on TLS", true
		p.Hint = "a Choria broker needs TLS; set INSECURE_DISABLE_TLS only for a NATS server without TLS"
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, context.DeadlineExceeded):
		p.What = "no broker answers"
		if reasons := c.dials.reasons(); len(reasons) > 0 {
			p.Err = errors.New(strings.Join(reasons, "; "))
		} else {
			p.What, p.Err = where+" does not answer in time", nil
		}
		p.Hint = "check that the broker runs and that plugin.choria.middleware_hosts or the SRV records name it"
	default:
		if dns, ok := errors.AsType[*net.DNSError](err); ok {
			p.What, p.Err = fmt.Sprintf("cannot find the broker %q", dns.Name), err
			p.Hint = "check plugin.choria.middleware_hosts and the name server"
		}
	}
	return p
}

// tlsProblem recognizes what is wrong with either side's certificate.
func tlsProblem(err error, p *Problem) bool {
	var hint string
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		p.What = "the broker does not accept our certificate"
		hint = "is it of the broker's certificate authority, and still valid?"
		p.Err = alert
	} else if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		p.What = "the broker does not accept our certificate"
		hint = "is it of the broker's certificate authority, and still valid?"
	} else if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		p.What = "the broker's certificate is of another certificate authority"
		hint = "check the configured CA file; --insecure-broker accepts any broker that answers"
	} else if _, ok := errors.AsType[x509.HostnameError](err); ok {
		p.What = "the broker's certificate is for another name"
		hint = "connect by a name that the certificate has"
	} else if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		p.What = "the broker's certificate is not valid"
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		p.What = "the broker's certificate does not verify"
		hint = "check the configured CA file"
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		p.What = "the broker does not speak TLS"
	} else if errors.Is(err, nats.ErrTLS) {
		// The broker has ended a finished handshake, and we were too quick to read why. Another try may.
		p.What, p.Hint = "the broker does not accept our certificate", "is it of the broker's certificate authority, and still valid?"
		return true
	} else {
		return false
	}
	p.Hint, p.Final = hint, true
	return true
}

// denied words a permission violation.
func denied(err error) *Problem {
	return &Problem{
		What: "the broker does not allow it", Err: errors.New(words(err)), Final: true, Denied: true,
		Hint: "the token needs the permission fleet_management, and replies must be under our own reply prefix",
	}
}

// ours are our words for errors of nats.go that an operator may meet.
var ours = []struct {
	err  error
	text string
}{
	{nats.ErrAuthorization, "the broker refuses our credentials"},
	{nats.ErrAuthExpired, "our credentials have expired"},
	{nats.ErrAuthRevoked, "our credentials are revoked"},
	{nats.ErrAccountAuthExpired, "the account's credentials have expired"},
	{nats.ErrStaleConnection, "the broker has stopped answering"},
	{nats.ErrMaxConnectionsExceeded, "the broker has no room for another connection"},
	{nats.ErrMaxPayload, "the message is larger than the broker allows"},
	{nats.ErrConnectionClosed, "the connection is closed"},
	{nats.ErrReconnectBufExceeded, "the connection is down"},
	{nats.ErrConnectionReconnecting, "the connection is down"},
	{nats.ErrSecureConnWanted, "the broker offers no TLS"},
	{nats.ErrNoServers, "no broker answers"},
	{nats.ErrTimeout, "no answer in time"},
	{io.EOF, "the broker has closed it"},
	{syscall.ECONNRESET, "the broker has closed it"},
	{syscall.EPIPE, "the broker has closed it"},
}

// words is an error of nats.go without what only its programmers understand.
func words(err error) string {
	for _, o := range ours {
		if errors.Is(err, o.err) {
			return o.text
		}
	}
	text := strings.TrimPrefix(err.Error(), "nats: ")
	return strings.TrimPrefix(text, "permissions violation: ")
}

// plain is the error itself where it is not one of nats.go's.
func plain(err error) error {
	if text := words(err); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// lostWhile is the problem of an act that needs a connection which is down.
func lostWhile(act string) *Problem {
	return &Problem{What: "the connection to the broker is lost", Err: during(act), Lost: true}
}

// during is what failed, nil when that is obvious.
func during(act string) error {
	if act == "" {
		return nil
	}
	return errors.New(act)
}

// asProblem words an error of a connection in use.
func (c *Conn) asProblem(err error, act string) error {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return denied(err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrReconnectBufExceeded),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrStaleConnection):
		return lostWhile(act)
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{What: "the broker does not answer in time", Err: during(act), Lost: true}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", act, err)
	}
	return &Problem{What: "the broker connection failed", Err: fmt.Errorf("%s: %s", act, words(err))}
}
