package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/plain"
	"fleetctl/internal/secret"
	"fleetctl/internal/security"
)

// loginOptions are the flags of `fleetctl login`.
type loginOptions struct {
	username string
	password string // where it is, never itself
	builtin  bool
}

const (
	usernameVariable = "FLEETCTL_USERNAME"
	passwordVariable = "FLEETCTL_PASSWORD"
	// externalLogin is a program of the site that logs in its own way; upstream runs it in place of its own login.
	externalLogin = "choria-login"
)

func newLogin(a *app, do func(context.Context, *app, loginOptions) error) *cobra.Command {
	var o loginOptions
	c := &cobra.Command{
		Use:   "login",
		Short: "Get a token from the site's login service",
		Long: `login asks for a user name and a password, sends them to the site's login service (plugin.login.aaasvc.login.url) and
saves the token that it gives, with a new key, where the configuration has them. What is there stays until the new token
has come. Scripts give the user in ` + usernameVariable + ` and the password in ` + passwordVariable + `, or with the flags.

A program choria-login on the PATH is run in its place, as choria does; --builtin does without it.`,
		Example: `  fleetctl login
  fleetctl login --username rip --password @/run/secrets/choria`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.username, "username", "", "the user's `NAME` (or "+usernameVariable+"; else asked for)")
	f.StringVar(&o.password, "password", "", "where the password is: @`FILE`, - for stdin, env:NAME (or "+passwordVariable+"; else asked for)")
	f.BoolVar(&o.builtin, "builtin", false, "do not run "+externalLogin)
	return c
}

func (o loginOptions) validate() error {
	if p := o.password; p != "" && p != secret.Stdin && !strings.HasPrefix(p, "@") && !strings.HasPrefix(p, "env:") {
		return usage(errors.New("cannot take a password from the command line, where every user of this machine can read it"),
			"write --password @FILE, --password - or --password env:NAME, or set "+passwordVariable)
	}
	return nil
}

func runLogin(ctx context.Context, a *app, o loginOptions) error {
	if program, err := exec.LookPath(externalLogin); err == nil && !o.builtin {
		return external(ctx, a, program)
	}
	cfg, err := a.fleetOptions().LoadConfig(ctx)
	if err != nil {
		return err
	}
	a.warn(cfg.Warnings)
	if len(cfg.Security.LoginURLs) == 0 {
		return usage(errors.New("no login service is configured"), "set plugin.login.aaasvc.login.url in "+cfg.File)
	}
	options, err := a.fleetOptions().Security(cfg)
	if err != nil {
		return err
	}
	if options.InsecureSigner {
		a.warn([]string{"the login service's certificate is not verified"})
	}
	user, password, err := whoLogsIn(ctx, a, o)
	if err != nil {
		return err
	}
	line := a.wait(0, "asking the login service")
	session, err := security.LogIn(ctx, options, security.Login{URLs: cfg.Security.LoginURLs, Username: user, Password: password.Reveal()}, time.Now())
	line.end()
	if r, ok := errors.AsType[*security.RemoteError](err); ok {
		return &exitError{code: exitNetwork, err: fmt.Errorf("log in as %s: %w", user, err), hint: r.Hint}
	}
	if err != nil {
		return err
	}
	until := ""
	if !session.Expires.IsZero() {
		until = ", valid until " + session.Expires.Local().Format(time.RFC3339)
	}
	a.say("logged in as %s%s", session.Caller, until)
	_, err = fmt.Fprintln(a.io.out, "Token saved to "+plain.Line(session.TokenFile))
	return err
}

// external runs the site's own login. Only its exit code is known here.
func external(ctx context.Context, a *app, program string) error {
	args := []string{"login"}
	if a.flags.config != "" || a.fleetOptions().SiteName() != "" {
		path, err := a.fleetOptions().ConfigPath()
		if err != nil {
			return err
		}
		args = append(args, "--config", path)
	}
	a.say("running %s", program)
	c := exec.CommandContext(ctx, program, args...)
	a.io.lend(c)
	c.Env = secret.Environment(os.Environ())
	err := c.Run()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return &exitError{code: exitNetwork, err: fmt.Errorf("%s: %w", program, err), hint: "--builtin logs in without it"}
	}
	return nil
}

// whoLogsIn takes user and password from the flags, the environment or the terminal.
func whoLogsIn(ctx context.Context, a *app, o loginOptions) (user string, password secret.Value, err error) {
	fromVariable, _ := a.env.getenv(usernameVariable)
	user = cmp.Or(o.username, fromVariable)
	if user == "" {
		if user, err = askUser(ctx, a); err != nil {
			return "", password, err
		}
	}
	password, err = passwordOf(ctx, a, o, user)
	if err != nil {
		return "", password, err
	}
	a.scrub.Add(password)
	return user, password, nil
}

func passwordOf(ctx context.Context, a *app, o loginOptions, user string) (secret.Value, error) {
	if o.password != "" {
		return readSecret(ctx, a, "password", o.password)
	}
	if text, ok := a.env.getenv(passwordVariable); ok && text != "" {
		return secret.New(text), nil
	}
	k, err := loginAsker(a)
	if err != nil {
		return secret.Value{}, err
	}
	text, err := k.secret(ctx, "Password of "+user+": ")
	if err == nil && text == "" {
		err = usage(errors.New("no password was typed"), "")
	}
	return secret.New(text), err
}

func askUser(ctx context.Context, a *app) (string, error) {
	k, err := loginAsker(a)
	if err != nil {
		return "", err
	}
	me, _ := a.env.getenv("USER")
	question := "Username: "
	if me != "" {
		question = fmt.Sprintf("Username [%s]: ", me)
	}
	text, err := k.Line(ctx, question)
	if err != nil {
		return "", err
	}
	if text = cmp.Or(text, me); text == "" {
		return "", usage(errors.New("no user name was typed"), "")
	}
	return text, nil
}

func loginAsker(a *app) (*asker, error) {
	k := newAsker(a)
	if err := k.Reachable(); err != nil {
		return k, usage(errors.New("user name and password cannot be asked for: "+err.Error()),
			"set "+usernameVariable+" and "+passwordVariable+", or give --username and --password @FILE")
	}
	return k, nil
}
