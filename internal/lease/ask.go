package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"
)

// askEvery is how often a driver looks for what is asked of its run.
const askEvery = 2 * time.Second

// The kinds of Ask.
const (
	askStop  = "stop"
	askPause = "pause"
)

var askKinds = []string{askStop, askPause}

// Ask is what an operator asks of a run from elsewhere: to stop it, or to pause it or continue it.
type Ask struct {
	Version int       `json:"v"`
	Stop    bool      `json:"stop,omitempty"`
	Pause   bool      `json:"pause,omitempty"` // without Stop: else continue
	By      string    `json:"by"`
	Host    string    `json:"host,omitempty"`
	Time    time.Time `json:"t"`
	Nonce   string    `json:"nonce"`
}

func (a Ask) kind() string {
	if a.Stop {
		return askStop
	}
	return askPause
}

func askKey(run, kind string) string { return HeadKey(run) + "." + kind }

// Send asks a run. Its driver follows within seconds, if it lives.
func (a Ask) Send(ctx context.Context, store Store, run string) error {
	a.Version, a.Nonce = 1, rand.Text()
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	key := askKey(run, a.kind())
	for range maxTakes {
		var entry Entry
		entry, err = store.Get(ctx, key)
		if err != nil && !errors.Is(err, ErrNoKey) {
			return err
		}
		if _, err = store.Put(ctx, key, value, entry.Revision); err == nil || settled(err) && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return err
}

// listen looks for what is asked of the run. What cannot be read now is read later.
func (m *Mirror) listen(ctx context.Context) {
	for _, kind := range askKinds {
		entry, err := m.store.Get(ctx, askKey(m.head.Run, kind))
		if err != nil || entry.Deleted || entry.Revision == m.asks[kind] {
			continue
		}
		m.asks[kind] = entry.Revision
		var a Ask
		if json.Unmarshal(entry.Value, &a) == nil && a.kind() == kind && m.o.Asked != nil {
			m.o.Asked(a)
		}
	}
}
