package fleet

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/choria"
	"fleetctl/internal/lab"
	"fleetctl/rpcclient"
)

func TestWhichHashesAreTriedInWhichOrder(t *testing.T) {
	for _, tt := range []struct {
		version        choria.Version
		fips, enforced bool
		want           []choria.CallerHash
	}{
		{choria.V2, false, false, []choria.CallerHash{choria.MD5, choria.SHA256}},
		{choria.V2, true, false, []choria.CallerHash{choria.SHA256, choria.MD5}},
		{choria.V2, true, true, []choria.CallerHash{choria.SHA256}}, // MD5 is not to be had
		{choria.V1, false, false, []choria.CallerHash{choria.MD5}},  // brokers of v1 limit nothing
		{choria.V1, true, false, []choria.CallerHash{choria.SHA256}},
	} {
		if got := hashes(tt.version, tt.fips, tt.enforced); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

// A broker in FIPS mode is used as any other: discovery and requests get their replies.
func TestABrokerInFIPSMode(t *testing.T) {
	for _, fips := range []bool{false, true} {
		l, err := lab.Start(t.Context(), lab.Options{Nodes: 3, Protocol: 2, FIPS: fips, Dir: filepath.Join(t.TempDir(), "lab"), Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		f := placeOf(t, l.ConfigFile(), nil).open(t, "")
		client, err := f.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := choria.MD5
		if fips {
			want = choria.SHA256
		}
		prefix, hash := client.ReplyPrefix("choria")
		if hash != want || prefix != f.Conn().ReplyPrefix() {
			t.Errorf("FIPS %t: %s by %s, the inbox is %s", fips, prefix, hash, f.Conn().ReplyPrefix())
		}
		found, err := discovery.Broadcast(t.Context(), client, discovery.Query{Collective: "choria", Timeout: time.Second})
		if err != nil || len(found.Nodes) != 3 {
			t.Fatalf("FIPS %t: %d nodes, %v", fips, len(found.Nodes), err)
		}
		answers := 0
		req := rpcclient.Request{Agent: "rpcutil", Action: "ping", Collective: "choria", Wait: 10 * time.Second}
		for r, err := range client.Call(t.Context(), req, found.Nodes) {
			if err != nil || !r.OK() {
				t.Fatal(r, err)
			}
			answers++
		}
		if answers != 3 {
			t.Errorf("FIPS %t: %d answers", fips, answers)
		}
	}
}
