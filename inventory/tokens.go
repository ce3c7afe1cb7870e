package inventory

import (
	"fmt"
	"time"

	"fleetctl/rpcclient"
)

// ErrExpired means that a node answers, but its replies are rejected, because its token has expired. It is a kind of
// ErrNoReply, too.
var ErrExpired error = expiredError{}

type expiredError struct{}

func (expiredError) Error() string        { return "not believed: its token has ended" }
func (expiredError) Is(target error) bool { return target == ErrNoReply }

// tokens may be implemented by a Caller that knows why a node seems silent.
type tokens interface {
	Token(node string) (rpcclient.Token, bool)
}

// silence is the error of a node without an accepted reply.
func silence(caller Caller, node, action string) error {
	if c, ok := caller.(tokens); ok {
		if t, seen := c.Token(node); seen && !t.Believed && !t.Ends.After(time.Now()) {
			return fmt.Errorf("%s is %w", node, ErrExpired)
		}
	}
	return fmt.Errorf("%w to rpcutil#%s from %s", ErrNoReply, action, node)
}

// endless is the year in which tokens without an end end.
const endless = 9999

// expiry is when a node's token ends, as columns show it.
func expiry(n Node) string {
	switch end := n.TokenExpires; {
	case end.IsZero():
		return ""
	case end.Year() >= endless:
		return "never"
	default:
		return end.UTC().Format(time.RFC3339)
	}
}

// buckets are how far off the end of a token is, at most.
var buckets = []struct {
	name   string
	within time.Duration
}{{"expired", 0}, {"1 day", 24 * time.Hour}, {"1 week", 7 * 24 * time.Hour}, {"1 month", 30 * 24 * time.Hour}}

// expiryBucket is the bucket of a node's token; none where it has no token.
func expiryBucket(n Node, now time.Time) []string {
	if n.TokenExpires.IsZero() {
		return nil
	}
	for _, b := range buckets {
		if !n.TokenExpires.After(now.Add(b.within)) {
			return []string{b.name}
		}
	}
	return []string{"later"}
}
