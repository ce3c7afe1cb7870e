package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/plain"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
)

func newJWT(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "jwt",
		Short: "Make provisioning tokens, and read any Choria token",
		Args:  subcommandOnly,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newJWTProvisioning(a, makeProvisioning), newJWTView(a, viewToken))
	return c
}

// provisioningOptions are the flags of `fleetctl jwt provisioning`, which are upstream's, and --force.
type provisioningOptions struct {
	file, keyFile          string
	token, password        string // where they are, or themselves
	claims                 security.ProvisioningClaims
	urls                   []string
	extensions             string
	insecure, noInsecure   bool
	upgrade, update, vault bool
	validity               validity
	force                  bool
}

// maxToken is the longest token that a request may carry (docs/protocol.md, provisioning actions): no client could send
// a longer one to the servers that demand it.
const maxToken = 128

func newJWTProvisioning(a *app, do func(context.Context, *app, provisioningOptions) error) *cobra.Command {
	o := provisioningOptions{validity: validity(365 * 24 * time.Hour)}
	c := &cobra.Command{
		Use:     "provisioning FILE KEY",
		Aliases: []string{"prov", "provision", "p"},
		Short:   "Make the token that sends servers into provisioning",
		Long: `provisioning writes FILE, a token for /etc/choria/provisioning.jwt of servers: it names the broker for
provisioning, and the token that their choria_provision agent demands. KEY signs it: an RSA key in PEM, or an ed25519 seed.

The provisioning token is asked for without an echo, or given as --token @FILE, --token - (stdin) or --token env:NAME.`,
		Example: `  fleetctl jwt provisioning provisioning.jwt issuer.seed --urls nats://provision.example.net:4222 --default --upgrade
  fleetctl jwt provisioning provisioning.jwt signer.pem --srv example.net --token @/run/secrets/token --protocol-v2`,
		Args: exactArgs("FILE", "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			o.file, o.keyFile = args[0], args[1]
			if err := o.complete(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.token, "token", "", "the token that servers demand: `@FILE`, - for stdin, env:NAME, or itself (asked for when absent)")
	f.Var((*texts)(&o.urls), "urls", "`URL` of a broker for provisioning (repeat)")
	f.StringVar(&o.claims.SRVDomain, "srv", "", "`DOMAIN` whose SRV records name the brokers")
	f.BoolVar(&o.upgrade, "upgrade", false, "servers may be upgraded during provisioning")
	f.BoolVar(&o.update, "update", false, "the older name of --upgrade")
	_ = f.MarkHidden("update")
	f.BoolVar(&o.claims.ProtocolV2, "protocol-v2", false, "provision with protocol and security of version 2")
	f.BoolVar(&o.claims.Default, "default", false, "provision servers that have no configuration")
	f.StringVar(&o.claims.Registration, "registration", "", "`FILE` on the server to publish as registration data during provisioning")
	f.StringVar(&o.claims.Facts, "facts", "", "`FILE` on the server with its facts during provisioning")
	f.StringVar(&o.claims.Username, "username", "", "user `NAME` for the broker")
	f.StringVar(&o.password, "password", "", "password for the broker: `@FILE`, - for stdin, env:NAME, or itself")
	f.StringVar(&o.extensions, "extensions", "", "more data for the token, a `JSON` object")
	f.StringVar(&o.claims.Organization, "org", "choria", "the organization (`NAME`) of the server")
	f.BoolVar(&o.insecure, "insecure", true, "no TLS and signature checks during provisioning")
	f.BoolVar(&o.noInsecure, "no-insecure", false, "TLS and signature checks during provisioning too")
	f.Var(&o.validity, "validity", "how long the token is valid: 1y, 30d, 12h")
	f.BoolVar(&o.force, "force", false, "replace FILE")
	f.BoolVar(&o.vault, "vault", false, "not supported")
	_ = f.MarkHidden("vault")
	return c
}

// exactArgs demands arguments by their names.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage(fmt.Errorf("%s given, %d needed: %s", plain.Count(len(args), "argument"), len(names), strings.Join(names, " ")), "see `"+c.CommandPath()+" --help`")
		}
		return nil
	}
}

// complete checks the flags and fills in the claims, except the secrets.
func (o *provisioningOptions) complete() error {
	c := &o.claims
	c.URLs, c.AllowUpdate, c.Secure = strings.Join(o.urls, ","), o.upgrade || o.update, o.noInsecure || !o.insecure
	switch {
	case o.vault:
		return usage(errors.New("cannot sign with Vault"), "sign with a key file, or with `choria jwt provisioning --vault`")
	case c.URLs == "" && c.SRVDomain == "":
		return usage(errors.New("where are the brokers for provisioning?"), "give --urls or --srv")
	case c.URLs != "" && c.SRVDomain != "":
		return usage(errors.New("cannot put both --urls and --srv into a token: servers want exactly one"), "")
	case o.password != "" && c.Username == "":
		return usage(errors.New("--password needs --username"), "")
	case o.token == secret.Stdin && o.password == secret.Stdin:
		return usage(errors.New("cannot read both secrets from stdin"), "give one as @FILE or env:NAME")
	}
	for url := range strings.SplitSeq(c.URLs, ",") {
		if c.URLs != "" && (strings.TrimSpace(url) == "" || strings.ContainsAny(url, " \t\r\n")) {
			return usage(fmt.Errorf("--urls %q: not a URL", url), "write nats://broker.example.net:4222")
		}
	}
	if o.extensions != "" {
		if err := json.Unmarshal([]byte(o.extensions), &c.Extensions); err != nil || c.Extensions == nil {
			return usage(errors.New("--extensions is not a JSON object"), `write --extensions '{"key":"value"}'`)
		}
	}
	return nil
}

func makeProvisioning(ctx context.Context, a *app, o provisioningOptions) error {
	// What can go wrong without the token is found before it is asked for.
	if _, err := os.Lstat(o.file); err == nil && !o.force {
		return existsAlready(o.file)
	}
	key, err := security.ReadSigningKey(o.keyFile)
	if err != nil {
		return usage(err, credentialHint(err))
	}
	if err := provisioningSecrets(ctx, a, &o); err != nil {
		return err
	}
	now := time.Now()
	o.claims.IssuedAt = security.At(now)
	o.claims.ExpiresAt = security.At(now.Add(time.Duration(o.validity)))
	token, err := security.IssueProvisioning(o.claims, key)
	if err != nil {
		return err
	}
	if err := security.WriteToken(o.file, token, o.force); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return existsAlready(o.file)
		}
		return err
	}
	_, err = fmt.Fprintf(a.io.out, "Saved the token to %s; `%s jwt view %s` shows it\n", plain.Line(o.file), a.name, plain.Line(o.file))
	return err
}

func existsAlready(path string) error {
	return refuse("--force replaces it", "cannot write %s: it exists", path)
}

func credentialHint(err error) string {
	if c, ok := errors.AsType[*security.CredentialError](err); ok {
		return c.Hint
	}
	return ""
}

// provisioningSecrets reads the two secrets from where they are, or asks for the token.
func provisioningSecrets(ctx context.Context, a *app, o *provisioningOptions) error {
	var err error
	if o.password != "" {
		if o.claims.Password, err = revealed(readSecret(ctx, a, "--password", o.password)); err != nil {
			return err
		}
	}
	if o.token == "" {
		o.claims.Token, err = askToken(ctx, a)
	} else {
		o.claims.Token, err = revealed(readSecret(ctx, a, "--token", o.token))
	}
	if err != nil {
		return err
	}
	a.scrub.Add(secret.New(o.claims.Token), secret.New(o.claims.Password))
	if len(o.claims.Token) > maxToken {
		return usage(fmt.Errorf("the token has %d characters: requests carry %d at most", len(o.claims.Token), maxToken), "")
	}
	return nil
}

func revealed(v secret.Value, err error) (string, error) { return v.Reveal(), err }

// askToken asks twice: with a typing error in it, no operator could reach the servers until the token expires.
func askToken(ctx context.Context, a *app) (string, error) {
	k := newAsker(a)
	if err := k.Reachable(); err != nil {
		return "", usage(fmt.Errorf("the token cannot be asked for: %w", err), "give --token @FILE, --token - or --token env:NAME")
	}
	token, err := k.secret(ctx, "Provisioning token: ")
	if err != nil {
		return "", err
	}
	if token == "" {
		return "", usage(errors.New("no token was typed"), "")
	}
	again, err := k.secret(ctx, "Once more: ")
	if err == nil && again != token {
		err = usage(errors.New("the two tokens differ"), "")
	}
	return token, err
}

// validity is a duration that also knows days, weeks, months and years, as upstream's flag does: 1y, 1Y, 1.5w, 30d12h.
type validity time.Duration

const day = 24 * time.Hour

var longUnits = map[byte]time.Duration{'d': day, 'D': day, 'w': 7 * day, 'W': 7 * day, 'M': 30 * day, 'y': 365 * day, 'Y': 365 * day}

// Set implements pflag.Value.
func (v *validity) Set(text string) error {
	var sum time.Duration
	for rest := strings.TrimSpace(text); rest != ""; {
		part, after := cutDuration(rest)
		d, err := parseValidity(part)
		if err != nil {
			return fmt.Errorf("%q is not a validity: write 1y, 30d or 12h", text)
		}
		if sum += d; sum > maxValidity {
			break
		}
		rest = after
	}
	if sum < time.Second || sum > maxValidity {
		return fmt.Errorf("%q is not between a second and a century", text)
	}
	*v = validity(sum)
	return nil
}

// cutDuration cuts the first number with its unit off: 1.5d of 1.5d12h.
func cutDuration(text string) (part, rest string) {
	const digits = "0123456789."
	unit := strings.TrimLeft(text, digits)
	if next := strings.IndexAny(unit, digits); next >= 0 {
		return text[:len(text)-len(unit)+next], unit[next:]
	}
	return text, ""
}

// parseValidity reads one number with its unit; more than a century is a little more than a century.
func parseValidity(part string) (time.Duration, error) {
	last := len(part) - 1
	unit, long := longUnits[part[last]]
	if !long {
		d, err := time.ParseDuration(part)
		return min(d, maxValidity+1), err
	}
	n, err := strconv.ParseFloat(part[:last], 64)
	if err != nil || n < 0 {
		return 0, errors.New("not a number")
	}
	return time.Duration(min(n*float64(unit), float64(maxValidity)+float64(time.Hour))), nil
}

const maxValidity = 100 * 365 * 24 * time.Hour

// String implements pflag.Value.
func (v *validity) String() string {
	if d := time.Duration(*v); d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return time.Duration(*v).String()
}

// Type implements pflag.Value.
func (v *validity) Type() string { return "DURATION" }
