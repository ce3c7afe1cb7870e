package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/bus"
	"fleetctl/internal/choria"
	"fleetctl/rpcclient"
)

// About is what is known of a fleet before anything is dialed.
type About struct {
	ConfigFile     string
	Collective     string
	MainCollective string
	Federations    []string
	TTL            time.Duration // of requests, as configured; zero where the configuration has none
	RequireFilter  bool          // no request may go to every node
	Practice       bool          // the fleet is `fleetctl lab`, whose token is no secret
}

// About returns what is configured.
func (f *Fleet) About() About {
	a := About{ConfigFile: f.Config.File, Collective: f.Collective, MainCollective: f.Config.MainCollective, Federations: f.Federations, RequireFilter: f.Config.RequireFilter, Practice: f.Config.Practice}
	if f.Config.TTLSet {
		a.TTL = f.Config.TTL
	}
	return a
}

// Caller is our caller id.
type Caller struct {
	ID      string
	Version choria.Version
	// ChecksReplies means that replies are accepted only with a valid signature and a valid token of their server.
	ChecksReplies bool
}

// Who opens our credentials.
func (f *Fleet) Who() (Caller, error) {
	id, err := f.Identity()
	if err != nil {
		return Caller{}, err
	}
	return Caller{ID: id.Caller(), Version: id.Version(), ChecksReplies: id.ChecksReplies()}, nil
}

// Events is a source of lifecycle events.
type Events interface {
	// Subscribe returns once the broker has accepted the subscription. Deliver must not block.
	Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error)
}

// Events are the fleet's lifecycle events, nil where none arrive: they do not cross federations.
func (f *Fleet) Events() Events {
	if len(f.Federations) > 0 || f.conn == nil {
		return nil
	}
	return f.conn
}

// Links delivers what happens to the connection, also what happened since Dial; nil before Dial. The caller reports it
// from now on.
func (f *Fleet) Links() <-chan batch.Link {
	f.handed.Store(true)
	return f.links
}

// Private reports whether requests are safe from readers on the network: the connection has TLS, or the broker is on this
// machine. It dials if needed. An error means that the connection is lost; it is rpcclient.ErrLost where it may come back.
func (f *Fleet) Private(ctx context.Context) (private bool, broker string, err error) {
	if _, err := f.Dial(ctx); err != nil {
		return false, "", err
	}
	if err := f.conn.Flush(ctx); err != nil { // a connection that is lost has no TLS either
		return false, "", passing(err)
	}
	broker = f.conn.URL()
	private = f.conn.Encrypted() || loopback(broker)
	if _, down := f.conn.Reconnected(); down && !private {
		return false, "", rpcclient.ErrLost // meanwhile
	}
	return private, broker, nil
}

// passing marks the error of a connection that was lost while it was in use, and may come back, as rpcclient.ErrLost.
func passing(err error) error {
	if p, ok := errors.AsType[*bus.Problem](err); ok && p.Lost && !p.Final && !errors.Is(err, rpcclient.ErrLost) {
		return fmt.Errorf("%w: %w", rpcclient.ErrLost, err)
	}
	return err
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
