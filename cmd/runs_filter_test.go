package cmd

import (
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
)

func TestAListIsChosen(t *testing.T) {
	dir := t.TempDir()
	other := pinging()
	other.User, other.Action = "ann", "restart"
	for id, m := range map[string]struct {
		records []batch.Record
		ann     bool
	}{
		"20260102-030405-aaaaa": {half(), false},
		"20260102-030406-bbbbb": {half(), true},
		"20260102-030407-ccccc": {[]batch.Record{{Kind: batch.KindIntent, Batch: 1}}, true},
	} {
		meta := pinging()
		if m.ann {
			meta = other
		}
		if err := record(t, dir, id, meta, m.records...).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for flags, want := range map[string]string{
		"":                                    "ccccc bbbbb aaaaa",
		"--user ann":                          "ccccc bbbbb",
		"--user operator":                     "aaaaa",
		"--action restart":                    "ccccc bbbbb",
		"--action rpcutil#ping":               "aaaaa",
		"--action rpcutil":                    "",
		"--state interrupted":                 "bbbbb aaaaa",
		"--state died --user ann":             "ccccc",
		"--state died --user operator":        "",
		"--since 2026-01-02T03:04:05Z":        "ccccc bbbbb aaaaa", // when all of them began
		"--since 2026-01-02T03:04:06Z":        "",
		"--since 2026-01-01":                  "ccccc bbbbb aaaaa",
		"--since 1h":                          "",
		"--since 876000h --state interrupted": "bbbbb aaaaa",
	} {
		got := runs(t, dir, "list "+flags)
		var ids []string
		for line := range strings.Lines(got.out) {
			for _, id := range []string{"aaaaa", "bbbbb", "ccccc"} {
				if strings.Contains(line, id) {
					ids = append(ids, id)
				}
			}
		}
		if list := strings.Join(ids, " "); got.code != 0 || list != want || want == "" && !strings.Contains(got.err, "no such run in") {
			t.Errorf("runs list %s: %q, want %q; %+v", flags, list, want, got)
		}
	}
}

func TestAMomentIsADateOrHowLongAgo(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "90": now.Add(-90 * time.Second), "2026-04-30": time.Date(2026, 4, 30, 0, 0, 0, 0, time.Local),
		"2026-04-30T10:00:00+02:00": time.Date(2026, 4, 30, 8, 0, 0, 0, time.UTC), "2026-04-30T10:00": time.Date(2026, 4, 30, 10, 0, 0, 0, time.Local),
	} {
		var m moment
		if err := m.Set(text); err != nil || !m.at(now).Equal(want) {
			t.Errorf("%s is %s, %v, want %s", text, m.at(now), err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "-1h", "2026-13-01"} {
		if err := new(moment).Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
