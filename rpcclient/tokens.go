package rpcclient

import (
	"maps"
	"slices"
	"sync"
	"time"

	"fleetctl/internal/choria"
)

// tokenReader may be implemented by an Identity: TokenEnds reads when the token of a reply ends. Nothing is verified; ok is
// false for what is no token.
type tokenReader interface {
	TokenEnds(token string) (end time.Time, ok bool)
}

// Token is what replies have shown of a node's token.
type Token struct {
	Ends time.Time
	// Believed means that it came with an accepted reply. Otherwise the reply was rejected, for its age or its signature,
	// and any program that reaches our reply subject may have sent it: that is enough for a warning, never for a restart.
	Believed bool
}

// tokenBook is what is known of the nodes' tokens.
type tokenBook struct {
	mu    sync.Mutex // guards what follows
	keep  bool       // those of believed replies, too
	nodes map[string]Token
	open  int // refused ones of senders that were not asked by name
}

// KeepTokens makes the client remember, from now on, the end of the token of every accepted reply, for Token. Those of
// replies that were refused are always kept. It costs some 100 bytes a node.
func (c *Client) KeepTokens() {
	c.tokens.mu.Lock()
	defer c.tokens.mu.Unlock()
	c.tokens.keep = true
}

// Token is what replies to this client have shown of a node's token, the latest; false where none has. A token of an accepted
// reply comes before all others.
func (c *Client) Token(node string) (t Token, seen bool) {
	c.tokens.mu.Lock()
	defer c.tokens.mu.Unlock()
	t, seen = c.tokens.nodes[node]
	return t, seen
}

// Expired lists, sorted, the nodes without an accepted reply whose token, as a rejected reply showed it, has expired.
func (c *Client) Expired(now time.Time) []string {
	c.tokens.mu.Lock()
	defer c.tokens.mu.Unlock()
	var nodes []string
	for _, node := range slices.Sorted(maps.Keys(c.tokens.nodes)) {
		if t := c.tokens.nodes[node]; !t.Believed && !t.Ends.After(now) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// wants reports that the token of an accepted reply of this node is to be noted.
func (b *tokenBook) wants(node string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, refused := b.nodes[node]
	return b.keep || refused
}

// believed keeps the token of an accepted reply.
func (b *tokenBook) believed(node string, ends time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch _, refused := b.nodes[node]; {
	case ends.IsZero():
	case b.keep || refused: // the content of a rejected reply does not count any more
		b.put(node, Token{Ends: ends, Believed: true})
	}
}

// refused keeps the token of a rejected reply. asked means that the node was asked by name; how many others
// are kept is bounded: the names may be made up.
func (b *tokenBook) refused(node string, ends time.Time, asked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.nodes[node]
	switch {
	case ends.IsZero(), before.Believed, len(node) > maxName, choria.CheckIdentity(node) != nil:
		return
	case known || asked:
	case b.open >= maxNamed:
		return
	default:
		b.open++
	}
	b.put(node, Token{Ends: ends})
}

// put needs the lock.
func (b *tokenBook) put(node string, t Token) {
	if b.nodes == nil {
		b.nodes = map[string]Token{}
	}
	b.nodes[node] = t
}

// tokenEnds reads the token of a reply, zero where there is none.
func (c *Client) tokenEnds(secure choria.SecureReply) time.Time {
	reader, ok := c.id.(tokenReader)
	if !ok || secure.Version != choria.V2 || secure.Sender == "" {
		return time.Time{}
	}
	ends, _ := reader.TokenEnds(secure.Sender)
	return ends
}
