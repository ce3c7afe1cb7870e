package rpcclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
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
	// Publish queues a message; reply is its NATS reply subject, "" for none. Fails at once while the connection is down:
	// nothing is kept to be sent later.
	Publish(subject, reply string, data []byte) error
	// Subscribe returns once the broker has accepted the subscription. deliver must be quick: it is called in order of
	// arrival. Stop ends it and is safe to call twice.
	Subscribe(ctx context.Context, subject string, deliver func(choria.Message)) (stop func(), err error)
	// Flush returns when the broker has taken everything published before, or the error that prevented it.
	Flush(ctx context.Context) error
	// URL is the broker's address, for the hop that every message records.
	URL() string
	// Reconnected is when the connection came back after it was last lost, or was made after the broker was away at first;
	// zero when neither happened. Down: it is away now. A reconnect shows before anything can be published after it.
	Reconnected() (at time.Time, down bool)
}

// Unhurried lets replies and events that come one by one wait unread for up to 50 ms, so that they are read together, until
// end is called; they count as received when they are read. A connection without a method Unhurried of its own does not. End
// may be called twice.
func (c *Client) Unhurried() (end func()) {
	if conn, ok := c.conn.(interface{ Unhurried() func() }); ok {
		return conn.Unhurried()
	}
	return func() {}
}

// Identity is our identity on the network: it seals requests and opens replies.
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
	ttl         time.Duration
	hash        choria.CallerHash // of our caller id, in reply subjects
	settling    time.Duration     // shorter in tests
	workers     int               // of a session
	flying      int               // see keepStep; smaller in tests
	tokens      tokenBook
	log         *slog.Logger
	crowded     atomic.Bool // see Crowded

	mu      sync.Mutex      // guards reports
	reports map[string]bool // by collective, see ReportsAbsence
}

// New returns a client. It neither owns nor closes the connection.
func New(conn Conn, id Identity) *Client {
	return &Client{conn: conn, id: id, ttl: DefaultTTL, settling: settling, workers: max(runtime.GOMAXPROCS(0)-1, 1), flying: maxFlying, reports: map[string]bool{}, log: slog.New(slog.DiscardHandler)}
}

// WithTTL makes d the time to live of every request that names none, discovery included, in place of DefaultTTL; zero
// keeps it. It is for the moment after New, and returns its client.
func (c *Client) WithTTL(d time.Duration) *Client {
	c.ttl = cmp.Or(d, c.ttl)
	return c
}

// WithHash chooses the hash of our caller id in the subjects that replies go to: the broker may allow only some. It is for
// the moment after New, and returns its client.
func (c *Client) WithHash(h choria.CallerHash) *Client {
	c.hash = h
	return c
}

// ReplyPrefix is what the subjects of replies in a collective begin with.
func (c *Client) ReplyPrefix(collective string) (prefix string, h choria.CallerHash) {
	return choria.ReplyPrefix(collective, c.id.Caller(), c.hash), c.hash
}

// WithLogger logs every request and every reply, without their data; nil logs nothing. It is for the moment after New, and
// returns its client.
func (c *Client) WithLogger(l *slog.Logger) *Client {
	if l != nil {
		c.log = l
	}
	return c
}

// Request is one RPC request to any number of nodes.
type Request struct {
	Agent, Action string
	// Data holds the action's inputs as a JSON object; nil is the empty object.
	Data json.RawMessage
	// Collective is where the nodes are addressed and where they reply.
	Collective string
	// TTL is sent in whole seconds; zero is the client's default.
	TTL time.Duration
	// ID is the request's id, made by NewID; empty makes a new one.
	ID string
	// Wait is how long Call waits for replies, from the moment when the request has left; zero waits until the context
	// ends. Sessions do not use it.
	Wait time.Duration
	// Patience is how long Session.Send waits for the broker to confirm that it has taken the request, while the connection
	// stands; zero is the connection's own limit.
	Patience time.Duration
	// Sealed is asked by Session.Send once the request is dated and signed, before any copy leaves: an error keeps it here,
	// and is returned as it is. A lease that is checked here cannot run out between the check and the date. Nil: not asked.
	Sealed func() error
}

// Reply is one accepted reply, or the broker's notice that a node is absent.
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
	// Delay is how long after its reply a provisioning server will act, as it announces; zero when it announces nothing.
	Delay time.Duration
	// Sent is when publishing of the request began, Received when the reply arrived, both by our clock.
	Sent, Received time.Time
	// Protocol is the protocol's own reply document, as it was hashed.
	Protocol json.RawMessage
	// TokenEnds is when the server's token ends, which came with the reply; zero in protocol v1, where there was none, and
	// where signatures are not checked unless KeepTokens was called. It is as good as the reply: proven where they are.
	TokenEnds time.Time
	// Absent: the broker had no subscriber for the node when the request was published, so nothing received it. Then only
	// Node, RequestID, Sent and Received are set, and Code is choria.Absent.
	Absent bool
}

// Sent is the result of sending a request.
type Sent struct {
	ID string
	// Start is when publishing began, Took how long it lasted until the broker had taken everything.
	Start time.Time
	Took  time.Duration
}

// SendError reports that a request was not sent to all of its nodes.
type SendError struct {
	// Unsent are the nodes whose copy was never handed to the connection: they will never receive it.
	Unsent []string
	// Certain reports that the copies for all other nodes were flushed. Without it, it is unknown which of them were sent.
	Certain bool
	// Lost means that the connection was lost meanwhile, or that the broker did not answer.
	Lost bool
	Err  error
}

func (e *SendError) Error() string {
	if e.Certain {
		return fmt.Sprintf("request not sent to %d of the nodes: %v", len(e.Unsent), e.Err)
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
		Collective: collective, Agent: agent, TTL: c.ttl, Time: time.Now(),
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
