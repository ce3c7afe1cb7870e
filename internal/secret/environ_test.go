package secret

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChildrenGetNoSecrets(t *testing.T) {
	given := []string{"PATH=/bin", "FLEETCTL_TOKEN=a", "FLEETCTL_PASSWORD=a", "FLEETCTL_USERNAME=me", "PGPASSWORD=a", "API_KEY=a", "NATS_PASS=a",
		"vault_Token=a", "CLIENT_SECRET=a=b", "WIFI_PSK=a", "GPG_PASSPHRASE=a", "PWD=/", "KEYBOARD=us", "PASSAGE=x", "DB_PASSWD=a", "SSH_AUTH_SOCK=/s", "EMPTY=", ""}
	untouched := append([]string(nil), given...)
	want := []string{"PATH=/bin", "FLEETCTL_USERNAME=me", "PWD=/", "KEYBOARD=us", "PASSAGE=x", "SSH_AUTH_SOCK=/s", "EMPTY=", ""}
	if d := cmp.Diff(want, Environment(given)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff(untouched, given); d != "" {
		t.Errorf("the caller's list was changed:\n%s", d)
	}
}
