package security

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Purpose is what a token is for (docs/protocol.md, client JWT claims).
type Purpose string

// The purposes that Choria knows.
const (
	PurposeClient       Purpose = "choria_client_id"
	PurposeServer       Purpose = "choria_server"
	PurposeProvisioning Purpose = "choria_provisioning"
)

// String names the purpose for people.
func (p Purpose) String() string {
	switch p {
	case PurposeClient:
		return "client"
	case PurposeServer:
		return "server"
	case PurposeProvisioning:
		return "provisioning"
	case "":
		return "unknown"
	default:
		return strconv.Quote(string(p))
	}
}

// Timestamp is a time in a token: whole seconds since 1970 on the wire. The zero
// value is an absent claim.
type Timestamp struct{ time.Time }

// At makes a Timestamp, cut to the whole second.
func At(t time.Time) Timestamp { return Timestamp{time.Unix(t.Unix(), 0).UTC()} }

// maxTimestamp is the end of the year 9999, the last that RFC 3339 can write.
const maxTimestamp = 253402300799

// MarshalJSON writes whole seconds.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, t.Unix(), 10), nil
}

// UnmarshalJSON reads a number of seconds, with or without a fraction; null is
// an absent claim.
func (t *Timestamp) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		*t = Timestamp{}
		return nil
	}
	if whole, err := strconv.ParseInt(string(data), 10, 64); err == nil && whole >= 0 && whole <= maxTimestamp {
		t.Time = time.Unix(whole, 0).UTC()
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(data, &n); err != nil || len(data) == 0 || data[0] == '"' {
		return fmt.Errorf("time is not a number of seconds")
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > maxTimestamp {
		return fmt.Errorf("time is out of range")
	}
	t.Time = time.Unix(int64(math.Floor(seconds)), 0).UTC()
	return nil
}

// StandardClaims are in every token.
type StandardClaims struct {
	Purpose    Purpose   `json:"purpose"`
	TrustChain string    `json:"tcs,omitempty"`        // trust chain signature, hex
	PublicKey  string    `json:"public_key,omitempty"` // the holder's ed25519 key, hex
	IssuerEnds Timestamp `json:"issexp,omitzero"`      // expiry of the chain issuer
	Issuer     string    `json:"iss,omitempty"`
	Subject    string    `json:"sub,omitempty"`
	ExpiresAt  Timestamp `json:"exp,omitzero"`
	NotBefore  Timestamp `json:"nbf,omitzero"`
	IssuedAt   Timestamp `json:"iat,omitzero"`
	ID         string    `json:"jti,omitempty"`
}

// Expires returns when the token ends: its own expiry or its issuer's, whichever
// comes first. Zero: it never does.
func (c StandardClaims) Expires() time.Time {
	switch {
	case c.IssuerEnds.IsZero():
		return c.ExpiresAt.Time
	case c.ExpiresAt.IsZero() || c.IssuerEnds.Before(c.ExpiresAt.Time):
		return c.IssuerEnds.Time
	default:
		return c.ExpiresAt.Time
	}
}

// bounds are NotBefore and Expires in unix seconds; 0 where there is none.
func (c StandardClaims) bounds() (begin, end int64) {
	if e := c.Expires(); !e.IsZero() {
		end = e.Unix()
	}
	if !c.NotBefore.IsZero() {
		begin = c.NotBefore.Unix()
	}
	return begin, end
}

// chained reports that the token's claims name a chain of trust.
func (c StandardClaims) chained() bool {
	return strings.HasPrefix(c.Issuer, orgIssuerPrefix) || strings.HasPrefix(c.Issuer, chainIssuerPrefix)
}

// Key returns the holder's public key, or ErrTokenPublicKey.
func (c StandardClaims) Key() (ed25519.PublicKey, error) { return parsePublicKey(c.PublicKey) }

// validAt checks the two times, each with the leeway on its lenient side.
func (c StandardClaims) validAt(now time.Time, leeway time.Duration) error {
	if end := c.Expires(); !end.IsZero() && !now.Before(end.Add(leeway)) {
		return fmt.Errorf("%w: it ended at %s", ErrTokenExpired, end.UTC().Format(time.RFC3339))
	}
	if !c.NotBefore.IsZero() && now.Before(c.NotBefore.Add(-leeway)) {
		return fmt.Errorf("%w: it begins at %s", ErrTokenNotYetValid, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

func parsePublicKey(text string) (ed25519.PublicKey, error) {
	key, err := hex.DecodeString(text)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, ErrTokenPublicKey
	}
	return key, nil
}

// ClientPermissions are the rights of a caller (docs/protocol.md, client JWT claims).
type ClientPermissions struct {
	StreamsAdmin            bool `json:"streams_admin,omitempty"`
	StreamsUser             bool `json:"streams_user,omitempty"`
	EventsViewer            bool `json:"events_viewer,omitempty"`
	ElectionUser            bool `json:"election_user,omitempty"`
	SystemUser              bool `json:"system_user,omitempty"`
	Governor                bool `json:"governor,omitempty"`
	OrgAdmin                bool `json:"org_admin,omitempty"`
	FleetManagement         bool `json:"fleet_management,omitempty"`
	SignedFleetManagement   bool `json:"signed_fleet_management,omitempty"`
	Service                 bool `json:"service,omitempty"`
	AuthenticationDelegator bool `json:"authentication_delegator,omitempty"`
	Provisioner             bool `json:"provisioner,omitempty"`
}

// ClientClaims are a caller's token.
type ClientClaims struct {
	CallerID       string            `json:"callerid"`
	Agents         []string          `json:"agents,omitempty"` // agent.action, agent.*, *
	Organization   string            `json:"ou,omitempty"`
	UserProperties map[string]string `json:"user_properties,omitempty"`
	OPAPolicy      string            `json:"opa_policy,omitempty"`
	Permissions    ClientPermissions `json:"permissions,omitzero"`
	PubSubjects    []string          `json:"pub_subjects,omitempty"`
	SubSubjects    []string          `json:"sub_subjects,omitempty"`
	StandardClaims
}

// ServerPermissions are the rights of a server.
type ServerPermissions struct {
	Submission  bool `json:"submission,omitempty"`
	Streams     bool `json:"streams,omitempty"`
	Governor    bool `json:"governor,omitempty"`
	ServiceHost bool `json:"service_host,omitempty"`
}

// ServerClaims are a server's token.
type ServerClaims struct {
	Identity     string            `json:"identity"`
	Collectives  []string          `json:"collectives"`
	Permissions  ServerPermissions `json:"permissions,omitzero"`
	Organization string            `json:"ou,omitempty"`
	PubSubjects  []string          `json:"pub_subjects,omitempty"`
	StandardClaims
}

// ProvisioningClaims are the token that sends an unconfigured server to a broker
// (docs/protocol.md, provisioning JWT). Token and Password are secrets.
type ProvisioningClaims struct {
	Token        string         `json:"cht"`
	Secure       bool           `json:"chs"`
	URLs         string         `json:"chu,omitempty"` // separated by commas
	SRVDomain    string         `json:"chsrv,omitempty"`
	Default      bool           `json:"chpd"`
	Registration string         `json:"chrd,omitempty"`
	Facts        string         `json:"chf,omitempty"`
	Username     string         `json:"chusr,omitempty"`
	Password     string         `json:"chpwd,omitempty"`
	Extensions   map[string]any `json:"extensions"`
	Organization string         `json:"ou,omitempty"`
	ProtocolV2   bool           `json:"v2,omitempty"`
	AllowUpdate  bool           `json:"update,omitempty"`
	StandardClaims
}

// String keeps the two secrets out of everything that prints claims.
func (c ProvisioningClaims) String() string {
	return fmt.Sprintf("provisioning token %s of %s", c.ID, c.Organization)
}

// GoString does the same for %#v.
func (c ProvisioningClaims) GoString() string { return c.String() }
