package lab

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	provisionerUser = "provisioner" // the only user name of the provisioning account
	fleetUser       = "lab-fleet"   // our own nodes, in process only
	nurseryUser     = "lab-nursery" // our own nodes in provisioning mode
)

// doorkeeper decides which clients may connect to the broker, and what they may do there, as a
// Choria broker does (docs/protocol.md, broker rights). It implements
// server.Authentication.
type doorkeeper struct {
	version           choria.Version
	issuer            ed25519.PublicKey
	fleet, provisions string // passwords
	main, nursery     *server.Account
	fips              bool // replies to the SHA-256 of the caller only
	log               *slog.Logger
}

// Check registers the connection's user and permissions, or refuses.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	user, err := d.admit(c)
	if err != nil {
		d.log.Warn("broker refused a connection", "name", c.GetOpts().Name, "error", err)
		return false
	}
	c.RegisterUser(user)
	return true
}

func (d *doorkeeper) admit(c server.ClientAuthentication) (*server.User, error) {
	opts := c.GetOpts()
	remote := c.RemoteAddress()
	pipe := remote != nil && remote.String() == "pipe"
	tlsState := c.GetTLSConnectionState()
	if !pipe && tlsState == nil {
		return nil, errors.New("connection without TLS")
	}
	switch opts.Username {
	case fleetUser, nurseryUser:
		if !pipe || !same(opts.Password, d.fleet) {
			return nil, errors.New("not one of the lab's own connections")
		}
		if opts.Username == nurseryUser {
			return &server.User{Username: opts.Username, Account: d.nursery}, nil
		}
		return &server.User{Username: opts.Username, Account: d.main}, nil
	case provisionerUser:
		return d.admitProvisioner(opts)
	}
	if d.version == choria.V1 {
		if !pipe && len(tlsState.VerifiedChains) == 0 {
			return nil, errors.New("unverified connection without a token")
		}
		return &server.User{Username: opts.Username, Account: d.main}, nil
	}
	return d.admitToken(c)
}

func (d *doorkeeper) admitProvisioner(opts *server.ClientOpts) (*server.User, error) {
	if !same(opts.Password, d.provisions) {
		return nil, errors.New("wrong password for the provisioner")
	}
	if d.version == choria.V2 {
		claims, err := security.ParseClient(opts.Token, time.Now(), d.issuer)
		if err != nil {
			return nil, fmt.Errorf("provisioner's token: %w", err)
		}
		if !claims.Permissions.Provisioner {
			return nil, fmt.Errorf("token of %s has no provisioner permission", claims.CallerID)
		}
	}
	return &server.User{Username: opts.Username, Account: d.nursery}, nil
}

func (d *doorkeeper) admitToken(c server.ClientAuthentication) (*server.User, error) {
	opts := c.GetOpts()
	if opts.Token == "" {
		return nil, errors.New("no token")
	}
	claims, err := security.ParseClient(opts.Token, time.Now(), d.issuer)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if claims.CallerID == "" {
		return nil, errors.New("token has no caller id")
	}
	public, err := hex.DecodeString(claims.PublicKey)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, errors.New("token has no usable public key")
	}
	signature, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil || !ed25519.Verify(public, c.GetNonce(), signature) {
		return nil, fmt.Errorf("nonce is not signed by the key of %s", claims.CallerID)
	}
	return &server.User{Username: claims.CallerID, Account: d.main, Permissions: d.clientRights(claims)}, nil
}

// clientRights are the subjects that a client token opens (docs/protocol.md, broker
// rights given to JWT clients).
func (d *doorkeeper) clientRights(claims *security.ClientClaims) *server.Permissions {
	p := claims.Permissions
	if p.OrgAdmin {
		all := &server.SubjectPermission{Allow: []string{">"}}
		return &server.Permissions{Publish: all, Subscribe: all}
	}
	publish := append([]string{"$SYS.REQ.USER.INFO"}, claims.PubSubjects...)
	subscribe := append([]string{"*.reply." + choria.SHA256.Of(claims.CallerID) + ".>"}, claims.SubSubjects...)
	if !d.fips {
		subscribe = append(subscribe, "*.reply."+choria.MD5.Of(claims.CallerID)+".>")
	}
	if p.FleetManagement || p.SignedFleetManagement {
		publish = append(publish, "*.broadcast.agent.>", "*.broadcast.service.>", "*.node.>", "choria.federation.*.federation")
	}
	if p.EventsViewer {
		subscribe = append(subscribe, "choria.lifecycle.event.>", "choria.machine.watcher.>", "choria.machine.transition")
	}
	if p.StreamsAdmin {
		publish, subscribe = append(publish, "$JS.>"), append(subscribe, "$JS.EVENT.>")
	}
	if p.StreamsUser {
		publish, subscribe = append(publish, streamsUser...), append(subscribe, claims.Organization+".republish.>")
	}
	if p.ElectionUser {
		publish = append(publish, "$JS.API.STREAM.INFO.KV_CHORIA_LEADER_ELECTION", "$KV.CHORIA_LEADER_ELECTION.>")
	}
	if p.Governor && (p.StreamsUser || p.StreamsAdmin) {
		publish = append(publish, "*.governor.*", "choria.lifecycle.event.governor.>")
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
}

// streamsUser are the subjects that the permission streams_user opens: existing streams can
// be used, and none can be made.
var streamsUser = []string{
	"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.MSG.DELETE.*",
	"$JS.API.DIRECT.GET.*", "$JS.API.DIRECT.GET.*.>", "$JS.API.CONSUMER.CREATE.*", "$JS.API.CONSUMER.CREATE.*.>",
	"$JS.API.CONSUMER.DURABLE.CREATE.*.*", "$JS.API.CONSUMER.DELETE.*.*", "$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*",
	"$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$O.>",
}

func same(given, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}
