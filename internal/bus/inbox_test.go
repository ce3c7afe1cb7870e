package bus

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"fleetctl/internal/choria"
)

// logged keeps what is logged, from any goroutine.
type logged struct {
	slog.Handler
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { l.text.WriteString(" " + a.String()); return true })
	return nil
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Brokers say only by a refused subscription which of the reply prefixes they allow. That question is no trouble of the
// operator's: it is not reported.
func TestTheFirstReplyPrefixThatTheBrokerAllowsIsTaken(t *testing.T) {
	for _, tt := range []struct {
		name              string
		allowed, prefixes []string
		want              string
	}{
		{"the first", []string{"c.reply.md5.>", "c.reply.sha256.>"}, []string{"c.reply.md5", "c.reply.sha256"}, "c.reply.md5"},
		{"the second", []string{"c.reply.sha256.>"}, []string{"c.reply.md5", "c.reply.sha256"}, "c.reply.sha256"},
		{"none", []string{"else"}, []string{"c.reply.md5", "c.reply.sha256"}, "c.reply.md5"},
		{"one alone is not tried", []string{"else"}, []string{"c.reply.md5"}, "c.reply.md5"},
		{"no prefix", []string{"_INBOX.>"}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := broker(t, server.Options{Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: tt.allowed}}}}})
			log := &logged{Handler: slog.DiscardHandler}
			c := connect(t, Options{Servers: []string{s.ClientURL()}, User: "u", Password: "p", ReplyPrefixes: tt.prefixes, Logger: slog.New(log)})
			inbox := c.nc.NewInbox()
			if c.ReplyPrefix() != tt.want || tt.want != "" && !strings.HasPrefix(inbox, tt.want+".") {
				t.Errorf("took %q, an inbox is %q; want %q", c.ReplyPrefix(), inbox, tt.want)
			}
			// What it took is what it may subscribe to, and a refusal is still told.
			stop, err := c.Subscribe(t.Context(), c.ReplyPrefix()+".x", func(choria.Message) {})
			if allowed := tt.name == "the first" || tt.name == "the second"; (err == nil) != allowed {
				t.Errorf("subscribe: %v", err)
			} else if allowed {
				stop()
			}
			c.Close()
			if strings.Contains(log.String(), inboxProbe+`"`) { // as the broker's refusal quotes it
				t.Errorf("the refusal is logged: %s", log.String())
			}
		})
	}
}
