package rpcclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

// tokenIdentity reads tokens such as "good 3600": whether the reply is believed, and when the token ends, in unix seconds.
type tokenIdentity struct{ fakeIdentity }

func (tokenIdentity) OpenReply(r choria.SecureReply, _ string) (string, error) {
	if !strings.HasPrefix(r.Sender, "good") {
		return "", errors.New("not believed")
	}
	return "", nil
}

func (tokenIdentity) TokenEnds(token string) (time.Time, bool) {
	var word string
	var end int64
	if n, _ := fmt.Sscan(token, &word, &end); n != 2 {
		return time.Time{}, false
	}
	return time.Unix(end, 0), true
}

func TestTokensOfReplies(t *testing.T) {
	for _, tt := range []struct {
		name string
		keep bool
		// Replies of one node to one request each.
		tokens []string
		want   Token
		seen   bool
		first  int64 // the end that the first believed reply shows; 0 for none
	}{
		{name: "believed", keep: true, tokens: []string{"good 50"}, want: Token{time.Unix(50, 0), true}, seen: true, first: 50},
		{name: "believed, and not to be kept: it is not even read", tokens: []string{"good 50"}},
		{name: "refused", tokens: []string{"bad 7"}, want: Token{time.Unix(7, 0), false}, seen: true},
		{name: "a believed one counts before a refused one", keep: true, tokens: []string{"bad 7", "good 50"}, want: Token{time.Unix(50, 0), true}, seen: true, first: 50},
		{name: "also afterwards", keep: true, tokens: []string{"good 50", "bad 7"}, want: Token{time.Unix(50, 0), true}, seen: true, first: 50},
		{name: "also where believed ones are not kept", tokens: []string{"bad 7", "good 50"}, want: Token{time.Unix(50, 0), true}, seen: true, first: 50},
		{name: "the latest counts", keep: true, tokens: []string{"good 50", "good 90"}, want: Token{time.Unix(90, 0), true}, seen: true, first: 50},
		{name: "no token", keep: true, tokens: []string{"good", "bad"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newFakeBus()
			c := New(b, tokenIdentity{fakeIdentity{version: choria.V2}})
			if tt.keep {
				c.KeepTokens()
			}
			var first time.Time
			s := openSession(t, c)
			for _, token := range tt.tokens {
				sent, err := s.Send(t.Context(), ping(), []string{"n1"})
				if err != nil {
					t.Fatal(err)
				}
				b.deliver(s.prefix+sent.ID, answer{sender: "n1", id: sent.ID, agent: "rpcutil", token: token}.encode(t, choria.V2))
				settle(t, s)
				select {
				case r := <-s.Replies():
					if first.IsZero() {
						first = r.TokenEnds
					}
				default:
				}
			}
			if got, seen := c.Token("n1"); got != tt.want || seen != tt.seen {
				t.Errorf("got %+v, %t; want %+v", got, seen, tt.want)
			}
			if want := tt.first; want == 0 && !first.IsZero() || want != 0 && first.Unix() != want {
				t.Errorf("the reply's token ends at %v, want %d", first, want)
			}
			// Only refused ones are reported as expired.
			expired := c.Expired(time.Unix(60, 0))
			if bad := tt.seen && !tt.want.Believed; bad != slices.Equal(expired, []string{"n1"}) || !bad && len(expired) > 0 {
				t.Errorf("expired: %q", expired)
			}
			if got := c.Expired(time.Unix(6, 0)); len(got) > 0 {
				t.Errorf("expired before their time: %q", got)
			}
		})
	}
}

// A flood of refused replies with made-up names takes no more memory than a few thousand of them.
func TestRefusedTokensOfStrangersAreBounded(t *testing.T) {
	c := New(newFakeBus(), tokenIdentity{fakeIdentity{version: choria.V2}})
	end := time.Unix(7, 0)
	for i := range maxNamed + 10 {
		c.tokens.refused(fmt.Sprintf("made-up-%d", i), end, false)
	}
	c.tokens.refused(strings.Repeat("x", maxName+1), end, true)
	c.tokens.refused("a b", end, true)
	c.tokens.refused("asked", end, true)
	if got := c.Expired(end); len(got) != maxNamed+1 || got[0] != "asked" {
		t.Errorf("%d names are kept, the first %q", len(got), got[0])
	}
}
