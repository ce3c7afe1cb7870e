package cmd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/fleet"
	"fleetctl/internal/lease"
	"fleetctl/internal/plain"
	"fleetctl/internal/render"
	"fleetctl/internal/run"
)

// sharedLimitsOptions are the flags of `shared limits`.
type sharedLimitsOptions struct {
	sharedListOptions
	maxDown []string
}

func newSharedLimits(a *app, do func(context.Context, *app, sharedLimitsOptions) error) *cobra.Command {
	var o sharedLimitsOptions
	c := &cobra.Command{
		Use:   "limits",
		Short: "Show, or set, how many nodes may be down at once, and which runs have nodes down",
		Long: `limits shows the limits that bind every run that restarts, updates, shuts down or reprovisions nodes, and the nodes of each run that
count as down. With --max-down it sets limits, for all operators. A run whose process has died keeps its nodes: see
` + "`fleetctl runs settle RUN`" + `.`,
		Example: "  fleetctl shared limits --max-down rack=2 --max-down 500\n  fleetctl shared limits --max-down rack=0   # no limit",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return do(c.Context(), a, o) },
	}
	c.Flags().StringVarP(&o.collective, "target", "T", "", "the `COLLECTIVE` (the main one)")
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	c.Flags().Var((*texts)(&o.maxDown), "max-down", "set the limit `N` of nodes in all, or with FACT=N of nodes with one value of a fact; 0 for none")
	return c
}

// limitLine is a limit as it is listed.
type limitLine struct {
	Fact string `json:"fact,omitempty"`
	Max  int    `json:"max"`
}

// downLine is a run that has nodes down, as it is listed.
type downLine struct {
	Run     string         `json:"run"`
	Caller  string         `json:"caller"`
	Host    string         `json:"host,omitempty"`
	Action  string         `json:"action,omitempty"`
	Written time.Time      `json:"written"`
	Down    int            `json:"down"`
	By      map[string]int `json:"by,omitempty"`
	Words   []string       `json:"words,omitempty"`
}

func sharedLimits(ctx context.Context, a *app, o sharedLimitsOptions) error {
	wish, err := lease.ParseLimits(o.maxDown, true)
	if err != nil {
		return usage(err, "")
	}
	f, err := fleet.Open(ctx, a.fleetOptions(), o.collective)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Collective == fleet.ProvisioningCollective {
		return run.BucketFailure(errors.New("the provisioning account has no streams"))
	}
	store, err := f.Bucket(ctx, lease.Shared)
	if err != nil {
		return run.BucketFailure(err)
	}
	if len(wish) > 0 {
		if _, err := lease.SetLimits(ctx, store, f.Collective, wish); err != nil {
			return run.BucketFailure(err)
		}
	}
	l, err := lease.ReadLedger(ctx, store, f.Collective)
	if err != nil {
		return run.BucketFailure(err)
	}
	return showLedger(a, l, o.asJSON)
}

func showLedger(a *app, l lease.Ledger, asJSON bool) error {
	limits, runs := []limitLine{}, []downLine{}
	if n, ok := l.Limits[lease.All]; ok {
		limits = append(limits, limitLine{Max: n})
	}
	for _, fact := range l.Limits.Facts() {
		limits = append(limits, limitLine{fact, l.Limits[fact]})
	}
	for _, id := range slices.Sorted(maps.Keys(l.Runs)) {
		p := l.Runs[id]
		by := maps.Clone(p.Down)
		delete(by, lease.All)
		runs = append(runs, downLine{id, p.Caller, p.Host, p.Action, p.At, p.Down[lease.All], by, p.Words})
	}
	if asJSON {
		return render.IndentedJSON(a.io.out, struct {
			SchemaVersion int         `json:"schema_version"`
			Limits        []limitLine `json:"limits"`
			Runs          []downLine  `json:"runs"`
		}{render.SchemaVersion, limits, runs})
	}
	if len(limits) == 0 {
		a.say("no limits bind all runs")
	}
	for _, limit := range limits {
		text := "at most " + strconv.Itoa(limit.Max) + " down at once"
		if limit.Fact != "" {
			text += " with one value of " + limit.Fact
		}
		a.say("%s", plain.Line(text))
	}
	if len(runs) == 0 {
		a.say("no nodes count as down")
		return nil
	}
	rows := make([][]string, len(runs))
	for i, r := range runs {
		var by []string
		for _, key := range slices.Sorted(maps.Keys(r.By)) {
			by = append(by, key+": "+strconv.Itoa(r.By[key]))
		}
		rows[i] = []string{r.Run, r.Caller, r.Host, r.Action, r.Written.Local().Format(time.DateTime), strconv.Itoa(r.Down), strings.Join(by, ", "), strings.Join(r.Words, "; ")}
		for j, text := range rows[i] {
			rows[i][j] = plain.Line(text)
		}
	}
	return render.Table(a.io.out, "", []string{"Run", "Caller", "Host", "Action", "Written", "Down", "By", "Forgotten"}, rows)
}
