package rpcclient

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// DefaultTTL is how long a request may be executed after it was made, when the caller names no other time. It is
// half of upstream's minute: a server that wakes from a long sleep within the TTL still acts. Protocol v1 allows no
// shorter one (docs/protocol.md, layers).
const DefaultTTL = 30 * time.Second

// Conn is the message bus as this package needs it. Deliver functions of one subscription are called one after
// another, in the order of arrival, and own the bytes they get.
type Conn interface {
	// Publish queues a message; reply is its NATS reply subject, "" for none. It fails at once while the connection is
	// down: nothing is kept to be sent later.
	Publish(subject, reply string, data []byte) error
	// Subscribe returns once the broker has accepted the subscription. Stop ends it and is safe to call twice.
	Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error)
	// Flush returns when the broker has taken everything published before, or says why it did not.
	Flush(ctx context.Context) error
	// URL is the broker's address, for the hop that every message records.
	URL() string
	// Reconnected is when the connection came back after it was last lost; zero when it was never lost. Down: it is away now.
	Reconnected() (at time.Time, down bool)
}

// Identity is who we are: it seals requests and opens replies.
type Identity interface {
	Version() choria.Version
	// Caller is the caller id, such as choria=rip.mcollective.
	Caller() string
	// Sender is the name of this host.
	Sender() string
	// Seal makes the secure request of a request's bytes, with one signature.
	Seal(ctx context.Context, request []byte) ([]byte, error)
	// OpenReply checks a reply's signature. It returns the proven sender, or "" where signatures are not checked.
	OpenReply(reply choria.SecureReply, collective string) (sender string, err error)
}

// Client sends requests over one connection as one identity. It is safe for concurrent use.
type Client struct {
	conn        Conn
	id          Identity
	federations []string // none: the broker's own collectives

	mu      sync.Mutex      // guards reports
	reports map[string]bool // by collective: does the broker report absent nodes
}

// Reconnected is the connection's: see Conn.
func (c *Client) Reconnected() (at time.Time, down bool) { return c.conn.Reconnected() }

// reportTime is how long a broker may take to report that a node is absent.
const reportTime = 2 * time.Second

// ReportsAbsence asks one random node name, once a client and collective: a broker that reports no subscriber reports
// absent nodes. It is false in federations.
func (c *Client) ReportsAbsence(ctx context.Context, collective string) (bool, error) {
	if len(c.federations) > 0 {
		return false, nil
	}
	c.mu.Lock()
	known, asked := c.reports[collective]
	c.mu.Unlock()
	if asked {
		return known, nil
	}
	ask, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	name := "absent-" + strings.ToLower(rand.Text())
	reports := false
	for r, err := range c.Call(ask, Request{Agent: "rpcutil", Action: "ping", Collective: collective}, []string{name}) {
		if err != nil {
			return false, err
		}
		reports = r.Absent
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reports == nil {
		c.reports = map[string]bool{}
	}
	c.reports[collective] = reports
	return reports, nil
}

// New returns a client. It neither owns nor closes the connection.
func New(conn Conn, id Identity) *Client { return &Client{conn: conn, id: id} }

// Request is one RPC request, whoever it goes to.
type Request struct {
	Agent, Action string
	// Data holds the action's inputs as a JSON object; nil is the empty object.
	Data json.RawMessage
	// Collective is where the nodes are addressed and where they reply.
	Collective string
	// TTL is sent in whole seconds; zero is DefaultTTL.
	TTL time.Duration
	// ID is the request's id, made by NewID; empty makes a new one.
	ID string
}

// Reply is one believed reply.
type Reply struct {
	// Node is the identity of the server that answered; proven where reply signatures are checked.
	Node string
	// RequestID is the id of the request that it answers.
	RequestID string
	Agent     string
	Action    string
	Code      choria.StatusCode
	Message   string
	// Data is the reply's data as it came. The receiver owns it.
	Data json.RawMessage
	// Time is the server's clock when it replied: whole seconds in protocol v1.
	Time time.Time
	// Received is our clock.
	Received time.Time
	// Absent: the broker had no subscriber for the node when the request was published. Then only Node, RequestID and
	// Received are set, and Code is choria.Absent.
	Absent bool
	// Protocol is the protocol's own reply document, as it was hashed.
	Protocol json.RawMessage
}

// Sent tells what became of a request on its way out.
type Sent struct {
	ID string
	// Start is when publishing began, Took how long it lasted until the broker had taken everything.
	Start time.Time
	Took  time.Duration
}

// SendError says that a request did not leave for all of its nodes.
type SendError struct {
	// Unsent are the nodes whose copy was never handed to the connection: they got nothing and never will.
	Unsent []string
	// Certain tells that all the others' copies were flushed. Else nobody knows which of them left.
	Certain bool
	Err     error
}

func (e *SendError) Error() string {
	if e.Certain {
		return fmt.Sprintf("%d nodes were not sent to: %v", len(e.Unsent), e.Err)
	}
	return fmt.Sprintf("send: %v", e.Err)
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// NewID makes a request id of our protocol version.
func (c *Client) NewID() string { return choria.NewRequestID(c.id.Version(), time.Now()) }

// envelope fills in what every request of this client has in common.
func (c *Client) envelope(id, collective, agent string) choria.Request {
	return choria.Request{
		Version: c.id.Version(), ID: id, Sender: c.id.Sender(), Caller: c.id.Caller(),
		Collective: collective, Agent: agent, TTL: DefaultTTL, Time: time.Now(),
	}
}

// rpc is the request with an RPC body.
func (c *Client) rpc(req Request) (choria.Request, error) {
	body, err := choria.EncodeRPCRequest(choria.RPCRequest{Agent: req.Agent, Action: req.Action, Data: req.Data})
	if err != nil {
		return choria.Request{}, fmt.Errorf("make body of %s#%s: %w", req.Agent, req.Action, err)
	}
	r := c.envelope(cmp.Or(req.ID, c.NewID()), req.Collective, req.Agent)
	r.Payload = body
	if req.TTL > 0 {
		r.TTL = req.TTL
	}
	return r, nil
}
