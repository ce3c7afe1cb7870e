package cmd

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/batch"
	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
)

func newRunsList(a *app, do func(context.Context, *app, runsOptions) error) *cobra.Command {
	var o runsOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List the runs, the newest first",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.filter.validate(); err != nil {
				return err
			}
			return do(c.Context(), a, o)
		},
	}
	o.record.addDir(c.Flags())
	c.Flags().BoolVarP(&o.asJSON, "json", "j", false, "JSON")
	o.filter.add(c.Flags())
	o.addShared(c.Flags())
	c.Flags().BoolVarP(&o.all, "all", "a", false, "all of them, not only the newest 20")
	return c
}

// shownRuns is how many runs a list shows at first.
const shownRuns = 20

func listRuns(ctx context.Context, a *app, o runsOptions) error {
	if o.shared {
		return listShared(ctx, a, o)
	}
	store := a.store(o.record)
	list, err := store.List()
	if err != nil {
		return err
	}
	now, total := time.Now(), len(list)
	filtered := o.filter != runsFilter{}
	if !o.all && !o.asJSON && !filtered {
		list = list[:min(total, shownRuns)]
	}
	lines := make([]report.RunLine, 0, len(list))
	for _, r := range list {
		if l := lineOf(store, r.ID); o.filter.keeps(l, now) {
			lines = append(lines, l)
		}
	}
	if filtered {
		if total = len(lines); !o.all && !o.asJSON {
			lines = lines[:min(total, shownRuns)]
		}
	}
	if o.asJSON {
		return render.IndentedJSON(a.io.out, struct {
			SchemaVersion int              `json:"schema_version"`
			Runs          []report.RunLine `json:"runs"`
		}{render.SchemaVersion, lines})
	}
	if total == 0 && filtered {
		a.say("no such run in %s", store.Dir)
		return nil
	}
	if total == 0 {
		a.say("no runs in %s", store.Dir)
		return nil
	}
	if err := runsTable(a, lines); err != nil {
		return err
	}
	if total > len(lines) {
		a.say("%d more: add --all", total-len(lines))
	}
	return nil
}

// narrowList is the width below which a list of runs has no room for an action beside whole ids.
const narrowList = 50

func runsTable(a *app, lines []report.RunLine) error {
	rows := make([][]string, len(lines))
	for i, l := range lines {
		rows[i] = []string{l.ID, l.Started.Local().Format(time.DateTime), l.Agent + "#" + l.Action, strconv.Itoa(l.Nodes), l.Status}
		if l.Problem != "" {
			rows[i] = []string{l.ID, "", "", "", l.Problem}
		}
	}
	header := []string{"Run", "Started", "Action", "Nodes", "Status"}
	drop := []string{"Started", "Nodes"} // an id begins with the time
	if a.fit() < narrowList {
		drop = append(drop, "Action") // else the ids, which commands need, are cut
	}
	return render.FitTable(a.io.out, header, rows, a.fit(), drop...)
}

func lineOf(store run.Store, id string) report.RunLine {
	r, err := store.Read(id)
	if err == nil {
		return report.LineOf(r)
	}
	status := "damaged"
	if errors.Is(err, batch.ErrNoPlan) {
		status = "nothing sent"
	}
	return report.RunLine{ID: id, Status: status, Problem: err.Error()}
}
