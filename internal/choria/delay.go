package choria

import (
	"fmt"
	"regexp"
	"sync"
	"time"
)

// MaxDelay is the longest time between a reply and its act that a provisioning server can announce: the longest splay, and
// the seconds that it adds (docs/protocol.md, the choria_provision agent).
const MaxDelay = 600*time.Second + 11*time.Second

// delayText is how a provisioning server announces when it will act.
var delayText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bafter ([0-9]+[a-z0-9.]*)"`) })

// AnnouncedDelay reads from the outputs of a provisioning action when the server will act; zero without an announcement. An
// error means that no server announces such a delay: the reply is malformed.
func AnnouncedDelay(data []byte) (time.Duration, error) {
	m := delayText().FindSubmatch(data)
	if m == nil {
		return 0, nil
	}
	text := m[1][:min(len(m[1]), 40)]
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		return 0, fmt.Errorf("RPC reply: the delay %q is not a duration", text)
	}
	if d > MaxDelay {
		return 0, fmt.Errorf("RPC reply: the delay %q is longer than %v", text, MaxDelay)
	}
	return d, nil
}
