package cmd

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/fleet"
	"fleetctl/internal/report"
)

// about makes rows about the targets, wherever the options have them.
func about[O any](targets func(*O) *fleet.Targets) func(args string, set func(*fleet.Targets)) flagRow[O] {
	return func(args string, set func(*fleet.Targets)) flagRow[O] {
		return flagRow[O]{args, func(o *O) { set(targets(o)) }}
	}
}

func filterRows[O any](targets func(*O) *fleet.Targets) []flagRow[O] {
	row := about(targets)
	return []flagRow[O]{
		row("--wf a=b -F c=d", func(t *fleet.Targets) { t.Filter.Facts = []string{"a=b", "c=d"} }),
		row("--wc a -C /b/", func(t *fleet.Targets) { t.Filter.Classes = []string{"a", "/b/"} }),
		row("--wa a -A b", func(t *fleet.Targets) { t.Filter.Agents = []string{"a", "b"} }),
		row("--wi a,b -I c", func(t *fleet.Targets) { t.Filter.Identities = []string{"a,b", "c"} }),
		row("--with a -W b=c", func(t *fleet.Targets) { t.Filter.With = []string{"a", "b=c"} }),
		row("--select a -S b", func(t *fleet.Targets) { t.Filter.Select = []string{"a", "b"} }),
		row("--target t", func(t *fleet.Targets) { t.Collective = "t" }),
		row("-T t", func(t *fleet.Targets) { t.Collective = "t" }),
	}
}

func sourceRows[O any](targets func(*O) *fleet.Targets) []flagRow[O] {
	row := about(targets)
	return []flagRow[O]{
		row("--nodes f", func(t *fleet.Targets) { t.NodesFile = "f" }),
		row("--exclude a,b --exclude @f", func(t *fleet.Targets) { t.Exclude = []string{"a,b", "@f"} }),
		row("--dm external", func(t *fleet.Targets) { t.Method = "external" }),
		row("--do command=x --do y=z", func(t *fleet.Targets) { t.Do = []string{"command=x", "y=z"} }),
		row("--discovery-window", func(t *fleet.Targets) { t.Window = true }),
		row("--known f", func(t *fleet.Targets) { t.Known = "f" }),
	}
}

func limitOfNodesRows[O any](targets func(*O) *fleet.Targets) []flagRow[O] {
	row := about(targets)
	return []flagRow[O]{
		row("--limit 5%", func(t *fleet.Targets) { t.Limit = "5%" }),
		row("--limit-seed 7", func(t *fleet.Targets) { t.LimitSeed = 7 }),
	}
}

func discoverFlags() flagTable[discoverOptions] {
	targets := func(o *discoverOptions) *fleet.Targets { return &o.Targets }
	return flagTable[discoverOptions]{
		command: "discover",
		build: func(a *app, see func(discoverOptions)) *cobra.Command {
			return newDiscover(a, func(_ context.Context, _ *app, o discoverOptions) error { see(o); return nil })
		},
		plain: discoverOptions{kind: report.Text},
		rows: slices.Concat(filterRows(targets), sourceRows(targets), limitOfNodesRows(targets), []flagRow[discoverOptions]{
			{"--discovery-timeout 3", func(o *discoverOptions) { o.timeout = waiting(3 * time.Second) }},
			{"--output json", func(o *discoverOptions) { o.output, o.kind = "json", report.JSON }},
			{"--output nodeset", func(o *discoverOptions) { o.output, o.kind = "nodeset", report.Nodeset }},
			{"--json", func(o *discoverOptions) { o.asJSON, o.kind = true, report.JSON }},
			{"-j --output json", func(o *discoverOptions) { o.asJSON, o.output, o.kind = true, "json", report.JSON }},
			{"--verbose", func(o *discoverOptions) { o.verbose = true }},
			{"-v", func(o *discoverOptions) { o.verbose = true }},
			{"--silent", func(o *discoverOptions) { o.silent = true }},
		}),
	}
}

func pingFlags() flagTable[pingOptions] {
	return flagTable[pingOptions]{
		command: "ping",
		build: func(a *app, see func(pingOptions)) *cobra.Command {
			return newPing(a, func(_ context.Context, _ *app, o pingOptions) error { see(o); return nil })
		},
		plain: pingOptions{workers: 3},
		rows: slices.Concat(filterRows(func(o *pingOptions) *fleet.Targets { return &o.Targets }), []flagRow[pingOptions]{
			{"--silent", func(o *pingOptions) { o.silent = true }},
			{"--names", func(o *pingOptions) { o.names = true }},
			{"--graph", func(o *pingOptions) { o.graph = true }},
			{"--expect 4", func(o *pingOptions) { o.expect = 4 }},
			{"--timeout 4", func(o *pingOptions) { o.timeout = waiting(4 * time.Second) }},
			{"--workers 4", func(o *pingOptions) { o.workers = 4 }},
			{"--no-silent", func(o *pingOptions) { o.loud = true }},
		}),
	}
}

func factsFlags() flagTable[factsOptions] {
	targets := func(o *factsOptions) *fleet.Targets { return &o.Targets }
	return flagTable[factsOptions]{
		command: "facts", words: "country",
		build: func(a *app, see func(factsOptions)) *cobra.Command {
			return newFacts(a, func(_ context.Context, _ *app, o factsOptions) error { see(o); return nil })
		},
		plain: factsOptions{fact: "country"},
		rows: slices.Concat(filterRows(targets), sourceRows(targets), limitOfNodesRows(targets), []flagRow[factsOptions]{
			{"--discovery-timeout 3", func(o *factsOptions) { o.timeout = waiting(3 * time.Second) }},
			{"--table", func(o *factsOptions) { o.table = true }},
			{"-t", func(o *factsOptions) { o.table = true }},
			{"--json", func(o *factsOptions) { o.asJSON = true }},
			{"-j", func(o *factsOptions) { o.asJSON = true }},
			{"--chart", func(o *factsOptions) { o.chart = true }},
			{"--show-nodes", func(o *factsOptions) { o.showNodes = true }},
			{"-n", func(o *factsOptions) { o.showNodes = true }},
			{"--reverse", func(o *factsOptions) { o.reverse = true }},
			{"-r", func(o *factsOptions) { o.reverse = true }},
			{"--verbose", func(o *factsOptions) { o.verbose = true }},
			{"-v", func(o *factsOptions) { o.verbose = true }},
			{"--reply-timeout 9", func(o *factsOptions) { o.replyTimeout = waiting(9 * time.Second) }},
		}),
	}
}

func inventoryFlags() flagTable[inventoryOptions] {
	targets := func(o *inventoryOptions) *fleet.Targets { return &o.Targets }
	return flagTable[inventoryOptions]{
		command: "inventory",
		build: func(a *app, see func(inventoryOptions)) *cobra.Command {
			return newInventory(a, func(_ context.Context, _ *app, o inventoryOptions) error { see(o); return nil })
		},
		plain: inventoryOptions{facts: true},
		rows: slices.Concat(filterRows(targets), sourceRows(targets), limitOfNodesRows(targets), inventoryFleetRows(), []flagRow[inventoryOptions]{
			{"web1", func(o *inventoryOptions) { o.identity = "web1" }},
			{"--discovery-timeout 3", func(o *inventoryOptions) { o.timeout = waiting(3 * time.Second) }},
			{"--collectives", func(o *inventoryOptions) { o.collectives = true }},
			{"--facts", func(o *inventoryOptions) { o.fleet.withFacts = true }},
			{"--facts=false", func(o *inventoryOptions) { o.facts = false }},
			{"--no-facts", func(o *inventoryOptions) { o.noFacts = true }},
			{"--facts --no-facts", func(o *inventoryOptions) { o.noFacts = true }},
			{"--json", func(o *inventoryOptions) { o.asJSON, o.fleet.output, o.fleet.kind = true, "json", report.JSON }},
			{"web1 -j", func(o *inventoryOptions) { o.identity, o.asJSON = "web1", true }},
			{"--reply-timeout 9", func(o *inventoryOptions) { o.replyTimeout = waiting(9 * time.Second) }},
		}),
	}
}

func inventoryFleetRows() []flagRow[inventoryOptions] {
	row := func(args string, set func(*fleetOptions)) flagRow[inventoryOptions] {
		return flagRow[inventoryOptions]{args, func(o *inventoryOptions) { set(&o.fleet) }}
	}
	rows := []flagRow[inventoryOptions]{
		row("--upgradable", func(o *fleetOptions) { o.Upgradable = true }),
		row("--not-upgradable", func(o *fleetOptions) { o.NotUpgradable = true }),
		row("--version <0.29", func(o *fleetOptions) { o.Version = "<0.29" }),
		row("--group-by os.family", func(o *fleetOptions) { o.groupBy = "os.family" }),
		row("--sort -version,node --output csv", func(o *fleetOptions) {
			o.sort, o.output, o.kind = []string{"-version", "node"}, "csv", report.CSV
		}),
		row("--columns node,fact:a.b --output table", func(o *fleetOptions) {
			o.columns, o.output, o.kind = []string{"node", "fact:a.b"}, "table", report.Table
		}),
		row("--agent-versions", func(o *fleetOptions) { o.agentVersions = true }),
		row("--save f", func(o *fleetOptions) { o.save = "f" }),
		row("--diff f", func(o *fleetOptions) { o.diff = "f" }),
		row("--diff f --to g", func(o *fleetOptions) { o.diff, o.to = "f", "g" }),
		row("--diff f --ignore-fact a --ignore-fact b", func(o *fleetOptions) { o.diff, o.ignoreFacts = "f", []string{"a", "b"} }),
	}
	for _, f := range report.FleetFormats {
		rows = append(rows, row("--output "+f.String(), func(o *fleetOptions) { o.output, o.kind = f.String(), f }))
	}
	return rows
}

func doctorFlags() flagTable[doctorOptions] {
	return flagTable[doctorOptions]{
		command: "doctor",
		build: func(a *app, see func(doctorOptions)) *cobra.Command {
			return newDoctor(a, func(_ context.Context, _ *app, o doctorOptions) error { see(o); return nil })
		},
		rows: []flagRow[doctorOptions]{
			{"--target t", func(o *doctorOptions) { o.collective = "t" }},
			{"-T t", func(o *doctorOptions) { o.collective = "t" }},
			{"--json", func(o *doctorOptions) { o.asJSON = true }},
			{"-j", func(o *doctorOptions) { o.asJSON = true }},
			{"--verbose", func(o *doctorOptions) { o.verbose = true }},
			{"-v", func(o *doctorOptions) { o.verbose = true }},
			{"--discovery-timeout 6", func(o *doctorOptions) { o.discoveryTimeout = waiting(6 * time.Second) }},
		},
	}
}

func checkFleetFlags(t *testing.T, set setFlags) {
	discover, ping, facts, inventory, doctor := discoverFlags(), pingFlags(), factsFlags(), inventoryFlags(), doctorFlags()
	discover.check(t, set)
	ping.check(t, set)
	facts.check(t, set)
	inventory.check(t, set)
	doctor.check(t, set)
	discover.checkFederations(t, set)
	ping.checkFederations(t, set)
	facts.checkFederations(t, set)
	inventory.checkFederations(t, set)
	doctor.checkFederations(t, set)
}
