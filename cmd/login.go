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

	"fleetctl/internal/config"
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

func (a *app) newLogin() *cobra.Command {
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
			return a.runLogin(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.username, "username", "", "the user's `NAME` (or "+usernameVariable+"; else asked for)")
	f.StringVar(&o.password, "password", "", "where the password is: @`FILE`, - for stdin, env:NAME (or "+passwordVariable+"; else asked for)")
	f.BoolVar(&o.builtin, "builtin", false, "do not run "+externalLogin)
	return c
}

func (o loginOptions) validate() error {
	if p := o.password; p != "" && p != stdinValue && !strings.HasPrefix(p, "@") && !strings.HasPrefix(p, "env:") {
		return usage(errors.New("cannot take a password from the command line, where everybody on this machine sees it"),
			"write --password @FILE, --password - or --password env:NAME, or set "+passwordVariable)
	}
	return nil
}

func (a *app) runLogin(ctx context.Context, o loginOptions) error {
	if program, err := exec.LookPath(externalLogin); err == nil && !o.builtin {
		return a.external(ctx, program)
	}
	cfg, err := a.loadConfig(ctx)
	if err != nil {
		return err
	}
	a.warn(cfg.Warnings)
	if len(cfg.Security.LoginURLs) == 0 {
		return usage(errors.New("no login service is configured"), "set plugin.login.aaasvc.login.url in "+cfg.File)
	}
	options, err := a.signingOptions(a.securityOptions(cfg))
	if err != nil {
		return err
	}
	if options.InsecureSigner {
		a.warn([]string{"the login service's certificate is not verified"})
	}
	user, password, err := a.whoLogsIn(ctx, o)
	if err != nil {
		return err
	}
	session, err := security.LogIn(ctx, options, security.Login{URLs: cfg.Security.LoginURLs, Username: user, Password: password.Reveal()}, time.Now())
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
	fmt.Fprintf(a.err, "logged in as %s%s\n", session.Caller, until)
	_, err = fmt.Fprintln(a.out, "Token saved to "+session.TokenFile)
	return err
}

// external runs the site's own login. Its result is not known here: only whether it was content.
func (a *app) external(ctx context.Context, program string) error {
	args := []string{"login"}
	if a.flags.config != "" {
		args = append(args, "--config", a.flags.config)
	}
	fmt.Fprintf(a.err, "running %s\n", program)
	c := exec.CommandContext(ctx, program, args...)
	c.Stdin, c.Stdout, c.Stderr = a.in, a.out, a.err
	c.Env = childEnvironment(os.Environ())
	err := c.Run()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return &exitError{code: exitNetwork, err: fmt.Errorf("%s: %w", program, err), hint: "--builtin logs in without it"}
	}
	return nil
}

// whoLogsIn finds out user and password: from the flags, the environment, or the terminal.
func (a *app) whoLogsIn(ctx context.Context, o loginOptions) (user string, password config.Secret, err error) {
	fromVariable, _ := a.getenv(usernameVariable)
	user = cmp.Or(o.username, fromVariable)
	if user == "" {
		if user, err = a.askUser(ctx); err != nil {
			return "", password, err
		}
	}
	password, err = a.passwordOf(ctx, o, user)
	if err != nil {
		return "", password, err
	}
	a.scrub.add(inputs{secret: map[string]config.Secret{"password": password}})
	return user, password, nil
}

func (a *app) passwordOf(ctx context.Context, o loginOptions, user string) (config.Secret, error) {
	if o.password != "" {
		text, err := a.readSecret(ctx, "password", o.password)
		if err != nil {
			return config.Secret{}, usage(err, "")
		}
		return config.NewSecret(text), nil
	}
	if text, ok := a.getenv(passwordVariable); ok && text != "" {
		return config.NewSecret(text), nil
	}
	k, err := a.loginAsker()
	if err != nil {
		return config.Secret{}, err
	}
	defer k.close()
	text, err := k.secret(ctx, "Password of "+user+": ")
	if err == nil && text == "" {
		err = usage(errors.New("no password was typed"), "")
	}
	return config.NewSecret(text), err
}

func (a *app) askUser(ctx context.Context) (string, error) {
	k, err := a.loginAsker()
	if err != nil {
		return "", err
	}
	defer k.close()
	me, _ := a.getenv("USER")
	question := "Username: "
	if me != "" {
		question = fmt.Sprintf("Username [%s]: ", me)
	}
	text, err := k.line(ctx, question)
	if err != nil {
		return "", err
	}
	if text = cmp.Or(text, me); text == "" {
		return "", usage(errors.New("no user name was typed"), "")
	}
	return text, nil
}

func (a *app) loginAsker() (*asker, error) {
	k, err := a.asker()
	if err != nil {
		return nil, usage(errors.New("user name and password cannot be asked for: "+err.Error()),
			"set "+usernameVariable+" and "+passwordVariable+", or give --username and --password @FILE")
	}
	return k, nil
}
