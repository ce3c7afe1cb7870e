package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

func newShared(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "shared",
		Short: "What runs of several operators share on the brokers' streams",
		Long: `Runs of several operators share locks, and limits of nodes that are down at once, on the fleet's own brokers, where these have streams
(plugin.choria.network.stream.store). They protect from mistakes, not from enemies.`,
		Args: subcommandOnly,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newSharedLocks(a, listLocks), newSharedInit(a, initShared), newSharedLimits(a, sharedLimits))
	return c
}

// sharedListOptions are the flags of the commands below `shared`.
type sharedListOptions struct {
	collective string
	asJSON     bool
}

func newSharedLocks(a *app, do func(context.Context, *app, sharedListOptions) error) *cobra.Command {
	var o sharedListOptions
	c := &cobra.Command{
		Use:   "locks",
		Short: "List the locks that runs hold, and who holds them",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return do(c.Context(), a, o) },
	}
	c.Flags().StringVarP(&o.collective, "target", "T", "", "the `COLLECTIVE` (the main one)")
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	return c
}

// lockLine is a lock as it is listed.
type lockLine struct {
	Lock    string    `json:"lock"`
	Caller  string    `json:"caller"`
	Host    string    `json:"host,omitempty"`
	Run     string    `json:"run,omitempty"`
	Action  string    `json:"action,omitempty"`
	Nodes   int       `json:"nodes,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Renewed float64   `json:"renewed_seconds_ago"`
}

func listLocks(ctx context.Context, a *app, o sharedListOptions) error {
	f, err := fleet.Open(ctx, a.fleetOptions(), o.collective)
	if err != nil {
		return err
	}
	defer f.Close()
	held, err := locksOf(ctx, f)
	if err != nil {
		return run.SharedFailure(err)
	}
	lines := []lockLine{}
	for _, h := range held {
		lines = append(lines, lockLine{h.Name, h.Holder.Caller, h.Holder.Host, h.Holder.Run, h.Holder.Action, h.Holder.Nodes, h.Holder.Since, h.Renewed.Seconds()})
	}
	if o.asJSON {
		return render.IndentedJSON(a.io.out, struct {
			SchemaVersion int        `json:"schema_version"`
			Locks         []lockLine `json:"locks"`
		}{render.SchemaVersion, lines})
	}
	if len(lines) == 0 {
		a.say("no locks are held")
		return nil
	}
	rows := make([][]string, len(lines))
	for i, l := range lines {
		since := ""
		if !l.Since.IsZero() {
			since = l.Since.Local().Format(time.DateTime)
		}
		rows[i] = []string{l.Lock, l.Caller, l.Host, l.Run, l.Action, since, time.Duration(l.Renewed*float64(time.Second)).Round(time.Second).String() + " ago"}
		for j, text := range rows[i] {
			rows[i][j] = plain.Line(text)
		}
	}
	return render.Table(a.io.out, "", []string{"Lock", "Caller", "Host", "Run", "Action", "Since", "Renewed"}, rows)
}

func locksOf(ctx context.Context, f *fleet.Fleet) ([]*lease.HeldError, error) {
	if f.Collective == fleet.ProvisioningCollective {
		return nil, errors.New("the provisioning account has no streams")
	}
	store, err := f.Bucket(ctx, lease.Elections)
	if err != nil {
		return nil, err
	}
	return lease.Locks(ctx, store)
}
