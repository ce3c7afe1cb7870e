//go:build !nolab

package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/lab"
	"fleetctl/internal/plain"
)

// withLab says that this build has a practice fleet; see lab_none.go.
const withLab = true

// labOptions are the flags of `fleetctl lab`.
type labOptions struct {
	lab        lab.Options
	command    []string
	provAfter  seconds
	expiringIn seconds
	provision  bool
	tokenGiven bool
}

// stopGrace is how long a command may take to end after a signal, before the lab closes.
const stopGrace = 10 * time.Minute

func newLab(a *app, do func(context.Context, *app, labOptions) error) *cobra.Command {
	var o labOptions
	c := &cobra.Command{
		Use:   "lab [flags] [-- COMMAND ARGS...]",
		Short: "A practice fleet inside this program, on loopback",
		Long: `lab runs a broker and a fleet of simulated Choria servers in this process, on loopback only, with throwaway
certificates (protocol 1) or an organization issuer and tokens (protocol 2). They speak the real protocol, and do what
real servers do: check tokens and signatures, reply first and act later, restart, go into provisioning, stay down.
Faults take a count, a share, or all nodes with a fact: --silent 3, --silent 5%, --silent rack=fra1-r01.

With a command, lab runs it against the fleet and ends with its exit code: FLEETCTL_CONFIG names the fleet's client
configuration, and ` + "`fleetctl`" + ` on the command's PATH is this very program. Without one, lab stays up until Ctrl-C.`,
		Example: `  fleetctl lab -- fleetctl req choria_provision restart token=s3cret --batch 20 --batch-sleep 3
  fleetctl lab --protocol 2 --nodes 200 --silent 2% --no-return 1%
  fleetctl lab --choria-version 0.28.0 --provision-version 0.29.4 -- sh upgrade-drill.sh`,
		RunE: func(c *cobra.Command, args []string) error {
			o.command = args
			if at := c.ArgsLenAtDash(); at != 0 && len(args) > 0 {
				return usage(fmt.Errorf("unexpected argument %q", args[0]), "write `fleetctl lab [flags] -- COMMAND ARGS...`")
			}
			o.tokenGiven = c.Flags().Changed("token")
			if o.lab.ProvisionAfter = o.provAfter.d; !o.provision {
				o.lab.ProvisionAfter = -1 // never
			}
			if o.lab.Nodes < 1 {
				return usage(fmt.Errorf("a lab of %d nodes", o.lab.Nodes), "use --nodes 1 or more")
			}
			if o.expiringIn.set && o.lab.Faults.Expiring == (lab.Amount{}) {
				return usage(errors.New("--expiring-in without --expiring"), "")
			}
			o.lab.ExpiringIn = o.expiringIn.d
			if err := o.lab.Validate(); err != nil {
				return usage(err, "")
			}
			return do(c.Context(), a, o)
		},
	}
	f := c.Flags()
	f.IntVar(&o.lab.Nodes, "nodes", 50, "a fleet of `N` nodes")
	f.IntVar(&o.lab.Protocol, "protocol", 1, "Choria protocol: `1|2`, x509 or issuer and tokens")
	completeWith(f, "protocol", "1", "2")
	f.StringVar(&o.lab.Token, "token", "s3cret", "the provisioning token, `TEXT`")
	f.Var(&o.lab.Upgradable, "upgradable", "nodes that may be upgraded during provisioning (40%)")
	f.IntVar(&o.lab.Port, "port", 0, "the broker's port `N`; 0 means any free one")
	f.StringVar(&o.lab.Dir, "dir", "", "`FOLDER` for the client's files, kept; else a temporary one")
	f.Uint64Var(&o.lab.Seed, "seed", 1, "the same `SEED` makes the same fleet")
	f.StringVar(&o.lab.Version, "choria-version", "", "the `VERSION` that every node reports; else a mix")
	f.Var(&o.provAfter, "provision-after", "how long a node stays in provisioning mode (5s)")
	f.BoolVar(&o.provision, "provisioner", true, "configure nodes in provisioning mode; without it they stay there")
	f.StringVar(&o.lab.ProvisionVersion, "provision-version", "", "the `VERSION` that the provisioner upgrades nodes to, where they allow it")
	f.BoolVar(&o.lab.Streams, "streams", false, "a broker with JetStream, for locks, budgets and shared runs")
	f.IntVar(&o.lab.Brokers, "brokers", 1, "a cluster of `N` brokers, with --streams")
	f.BoolVar(&o.lab.FIPS, "fips", false, "a broker in FIPS mode, which knows SHA-256 reply subjects only (protocol 2)")
	f.Var(&o.lab.Faults.Silent, "silent", "nodes that never answer choria_provision")
	f.Var(&o.lab.Faults.Refuse, "refuse", "nodes that refuse every provisioning action")
	f.Var(&o.lab.Faults.Slow, "slow", "nodes that reply late")
	f.Var(&o.lab.Faults.NoReturn, "no-return", "nodes that never come back from a restart")
	f.Var(&o.lab.Faults.Duplicate, "duplicate", "nodes that send each reply twice")
	f.Var(&o.lab.Faults.Forge, "forge", "nodes that also send forged replies")
	f.Var(&o.lab.Faults.Gone, "gone", "nodes that answer one discovery and are disconnected then")
	f.Var(&o.lab.Faults.Expiring, "expiring", "nodes with a token that ends soon (protocol 2)")
	f.Var(&o.expiringIn, "expiring-in", "how long after the start the tokens of --expiring end (2m)")
	f.Var(&o.lab.Faults.UpdateLate, "update-late", "nodes whose release_update takes longer than its reply may")
	f.Var(&o.lab.Faults.UpdateFail, "update-fail", "nodes whose release_update fails and is rolled back")
	f.Var(&o.lab.Faults.UpdateBroken, "update-broken", "nodes whose release_update fails, and the rollback too")
	for _, rare := range []string{"update-late", "update-fail", "update-broken"} {
		_ = f.MarkHidden(rare) // the flag exists
	}
	o.lab.Upgradable = lab.Amount{N: 40, Percent: true}
	return c
}

func runLab(ctx context.Context, a *app, o labOptions) error {
	if a.flags.debug {
		o.lab.Logger = a.logger()
	}
	// A second signal must not end the process before its keys are removed: the lab handles signals until then.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endingSignals()...)
	defer signal.Stop(signals)
	l, err := lab.Start(ctx, o.lab)
	if err != nil {
		return err
	}
	var by os.Signal
	if len(o.command) > 0 {
		err = runInLab(a, l, o.command, signals)
	} else {
		if err = labBanner(a, l, o); err == nil {
			by = awaitEnd(ctx, signals)
		}
	}
	if cerr := l.Close(); cerr != nil && err == nil {
		err = fmt.Errorf("close the lab: %w", cerr)
	}
	if s, ok := by.(syscall.Signal); ok && s != syscall.SIGINT && err == nil {
		err = ended(128 + int(s))
	}
	return err
}

// awaitEnd waits for the signal that ends the lab. It returns nil when the context ends first.
func awaitEnd(ctx context.Context, signals <-chan os.Signal) os.Signal {
	select {
	case by := <-signals:
		return by
	case <-ctx.Done():
		if s, ok := errors.AsType[signalError](context.Cause(ctx)); ok {
			return s.signal
		}
	}
	return nil
}

// labBanner prints what runs and how to use it. It does not repeat a token that was given.
func labBanner(a *app, l *lab.Lab, o labOptions) error {
	token := "token=s3cret"
	if o.tokenGiven {
		token = "token=@FILE"
	}
	nodes := l.Nodes()
	var text strings.Builder
	fmt.Fprintf(&text, "%d simulated Choria servers (protocol %d) behind %s; Ctrl-C ends them.\n\n", len(nodes), o.lab.Protocol, l.URL())
	fmt.Fprintf(&text, "In another terminal:\n\n    export FLEETCTL_CONFIG=%s\n%s    fleetctl discover\n", plain.Line(l.ConfigFile()), pathLine(a.name))
	if len(nodes) > 0 {
		fmt.Fprintf(&text, "    fleetctl inventory %s\n", nodes[0].Identity)
	}
	fmt.Fprintf(&text, "    fleetctl req choria_provision restart %s --batch 20 --batch-sleep 3\n", token)
	_, err := io.WriteString(a.io.out, renamed(a.name, text.String()))
	return err
}

// pathLine is what a shell needs to find this program by its name, as after `go run . lab`; "" when it does.
func pathLine(name string) string {
	self, err := os.Executable()
	if err != nil || filepath.Base(self) != name {
		return ""
	}
	if found, err := exec.LookPath(name); err == nil {
		a, err1 := os.Stat(found)
		b, err2 := os.Stat(self)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return ""
		}
	}
	return "    export PATH=" + plain.Line(filepath.Dir(self)) + ":$PATH\n"
}

// runInLab runs a command with the lab's environment and passes signals on to it. The terminal's own Ctrl-C reaches
// the command anyway, since it is of the same process group; then only the wait is ours. Without a terminal the command has
// a group of its own, so that signals reach its children, too. Where the system can do that, it ends with a lab that is killed.
func runInLab(a *app, l *lab.Lab, command []string, signals <-chan os.Signal) error {
	bin, err := selfDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	name := command[0]
	if name == productName || name == secondName {
		name = filepath.Join(bin, name+executableSuffix)
	}
	c := exec.Command(name, command[1:]...)
	a.io.lend(c)
	c.Env = append(os.Environ(), "FLEETCTL_CONFIG="+l.ConfigFile(), "FLEETCTL_SITE=", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	defer bindToLab(c)()
	if err := c.Start(); err != nil {
		return usage(fmt.Errorf("run %s: %w", command[0], err), "")
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	return awaitCommand(isTerminal(a.io.in), c, signals, done)
}

// awaitCommand waits for the end of the command. shared: Ctrl-C reaches it without us.
func awaitCommand(shared bool, c *exec.Cmd, signals <-chan os.Signal, done <-chan error) error {
	var giveUp <-chan time.Time
	for {
		select {
		case s := <-signals:
			if !shared || s != os.Interrupt {
				signalCommand(c, s)
			}
			giveUp = time.After(stopGrace)
		case <-giveUp:
			signalCommand(c, os.Kill)
		case err := <-done:
			return commandEnd(err)
		}
	}
}

// commandEnd turns a command's end into our exit code: its own, or 128 and the signal that killed it.
func commandEnd(err error) error {
	if err == nil {
		return nil
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Errorf("run command: %w", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return ended(128 + int(status.Signal()))
	}
	return ended(exit.ExitCode())
}

// selfDir makes a folder in which this very binary has both of its names: links where the system has them, else copies.
func selfDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "fleetctl-bin-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{productName, secondName} {
		target := filepath.Join(dir, name+executableSuffix)
		if os.Symlink(self, target) == nil {
			continue
		}
		if err := copyProgram(self, target); err != nil {
			os.RemoveAll(dir)
			return "", err
		}
	}
	return dir, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
