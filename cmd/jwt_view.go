package cmd

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/render"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
	"fleetctl/inventory"
)

// viewOptions are the flags of `fleetctl jwt view`.
type viewOptions struct {
	file, key   string
	showSecrets bool
	asJSON      bool
}

func newJWTView(a *app, do func(context.Context, *app, viewOptions) error) *cobra.Command {
	var o viewOptions
	c := &cobra.Command{
		Use:     "view FILE [KEY]",
		Aliases: []string{"show", "v", "s"},
		Short:   "Show the content of a token, and check its signature when a key is given",
		Long: `view shows a client, server or provisioning token: its holder, permissions and validity. Secrets in it are redacted.
With a key it checks the signature; without one it prints that nothing was checked. The exit code is 3 when the
signature is wrong or the token is not valid now.`,
		Example: `  fleetctl jwt view provisioning.jwt
  fleetctl jwt view client.jwt --key issuer.public --json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return exactArgs("FILE")(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.file = args[0]
			if len(args) == 2 { // as upstream has it
				if o.key != "" {
					return usage(errors.New("the key is given twice"), "")
				}
				o.key = args[1]
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "check the signature with this key: a `FILE` (PEM or ed25519) or 64 hexadecimal characters")
	f.BoolVar(&o.showSecrets, "show-secrets", false, "show the secrets in the token")
	f.BoolVarP(&o.asJSON, "json", "j", false, "JSON, with all claims")
	return c
}

// The results of checking a signature.
const (
	signatureUnchecked = "unchecked"
	signatureFits      = "fits"
	signatureMisfits   = "misfits"
)

func viewToken(_ context.Context, a *app, o viewOptions) error {
	var keys []crypto.PublicKey
	if o.key != "" {
		var err error
		if keys, err = publicKeys(o.key); err != nil {
			return usage(err, credentialHint(err))
		}
	}
	token, err := security.ReadToken(o.file)
	if err != nil {
		return usage(err, credentialHint(err))
	}
	now := time.Now()
	shown, err := describeToken(token, o)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", o.file, err), "")
	}
	shown.Signature = signatureUnchecked
	if keys != nil {
		shown.Signature = signatureFits
		if token.CheckSignature(keys...) != nil {
			shown.Signature = signatureMisfits
		}
	}
	shown.Valid = true
	switch err := token.CheckTimes(now); {
	case errors.Is(err, security.ErrTokenExpired):
		shown.Valid, shown.Problem = false, "it has EXPIRED"
	case err != nil:
		shown.Valid, shown.Problem = false, "it is not valid yet"
	}
	if o.asJSON {
		err = render.TokenJSON(a.io.out, shown)
	} else {
		err = render.WriteToken(a.io.out, shown, now)
	}
	if err == nil && (!shown.Valid || shown.Signature == signatureMisfits) {
		return ended(exitRefused)
	}
	return err
}

// publicKeys reads a key from the command line or a file.
func publicKeys(text string) ([]crypto.PublicKey, error) {
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == 32 {
		key, err := security.ParsePublicKey(text)
		return []crypto.PublicKey{key}, err
	}
	return security.ReadPublicKeys(text)
}

// describeToken lists the claims that matter for the token's purpose.
func describeToken(t *security.Token, o viewOptions) (render.Token, error) {
	r := render.Token{
		File: o.file, Purpose: t.Purpose.String(), Algorithm: t.Algorithm, Claims: t.Claims,
		IssuedAt: t.IssuedAt.Time, NotBefore: t.NotBefore.Time, ExpiresAt: t.Expires(),
	}
	if !o.showSecrets {
		var err error
		if r.Claims, err = t.Redacted(secret.Redacted); err != nil {
			return r, err
		}
	}
	var err error
	switch t.Purpose {
	case security.PurposeClient:
		err = describeClient(&r, t)
	case security.PurposeServer:
		err = describeServer(&r, t)
	case security.PurposeProvisioning:
		err = describeProvisioning(&r, t, o.showSecrets)
	default:
		return r, fmt.Errorf("a token with purpose %s is not a Choria token", t.Purpose)
	}
	r.Details = append(r.Details, [2]string{"Public Key", t.PublicKey}, [2]string{"Issuer", t.Issuer}, [2]string{"Token ID", t.ID})
	return r, err
}

func describeClient(r *render.Token, t *security.Token) error {
	c, err := t.Client()
	if err != nil {
		return err
	}
	r.Holder, r.Organization, r.Permissions = c.CallerID, c.Organization, notNil(c.Permissions.Names())
	r.Details = [][2]string{
		{"Agents", strings.Join(c.Agents, ", ")}, {"Publish Subjects", strings.Join(c.PubSubjects, ", ")},
		{"Subscribe Subjects", strings.Join(c.SubSubjects, ", ")}, {"OPA Policy", c.OPAPolicy},
	}
	if len(c.UserProperties) > 0 {
		r.Details = append(r.Details, [2]string{"User Properties", jsonText(c.UserProperties)})
	}
	return nil
}

func describeServer(r *render.Token, t *security.Token) error {
	c, err := t.Server()
	if err != nil {
		return err
	}
	r.Holder, r.Organization, r.Permissions = c.Identity, c.Organization, notNil(c.Permissions.Names())
	r.Details = [][2]string{{"Collectives", strings.Join(c.Collectives, ", ")}, {"Publish Subjects", strings.Join(c.PubSubjects, ", ")}}
	return nil
}

func describeProvisioning(r *render.Token, t *security.Token, secrets bool) error {
	c, err := t.Provisioning()
	if err != nil {
		return err
	}
	hide := func(text string) string {
		if text == "" || secrets {
			return text
		}
		return secret.Redacted
	}
	r.Holder, r.Organization = "unconfigured servers", c.Organization
	token := hide(c.Token)
	if token == "" {
		token = "NONE: servers do not take a token without it"
	}
	version := "1"
	if c.ProtocolV2 {
		version = "2"
	}
	r.Details = [][2]string{
		{"Provisioning Token", token}, {"Brokers", strings.ReplaceAll(c.URLs, ",", ", ")}, {"SRV Domain", c.SRVDomain},
		{"Protocol", version}, {"TLS and Signatures Checked", inventory.YesNo(c.Secure)}, {"Provisioning by Default", inventory.YesNo(c.Default)},
		{"Upgrades Allowed", inventory.YesNo(c.AllowUpdate)}, {"Registration Data", c.Registration}, {"Facts File", c.Facts},
		{"Broker User", c.Username}, {"Broker Password", hide(c.Password)},
	}
	if len(c.Extensions) > 0 {
		r.Details = append(r.Details, [2]string{"Extensions", jsonText(c.Extensions)})
	}
	return nil
}

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
