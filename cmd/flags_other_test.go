package cmd

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"fleetctl/internal/lab"
	"fleetctl/internal/report"
	"fleetctl/internal/security"
)

func labFlags() flagTable[labOptions] {
	return flagTable[labOptions]{
		command: "lab",
		build: func(a *app, see func(labOptions)) *cobra.Command {
			return newLab(a, func(_ context.Context, _ *app, o labOptions) error {
				if len(o.command) == 0 {
					o.command = nil
				}
				see(o)
				return nil
			})
		},
		plain: labOptions{provision: true, lab: lab.Options{Nodes: 50, Protocol: 1, Brokers: 1, Token: "s3cret", Seed: 1, Upgradable: lab.Amount{N: 40, Percent: true}}},
		rows: []flagRow[labOptions]{
			{"--nodes 7", func(o *labOptions) { o.lab.Nodes = 7 }},
			{"--protocol 2", func(o *labOptions) { o.lab.Protocol = 2 }},
			{"--token t", func(o *labOptions) { o.lab.Token, o.tokenGiven = "t", true }},
			{"--token s3cret", func(o *labOptions) { o.tokenGiven = true }},
			{"--upgradable 3", func(o *labOptions) { o.lab.Upgradable = lab.Amount{N: 3} }},
			{"--port 4222", func(o *labOptions) { o.lab.Port = 4222 }},
			{"--dir d", func(o *labOptions) { o.lab.Dir = "d" }},
			{"--seed 9", func(o *labOptions) { o.lab.Seed = 9 }},
			{"--choria-version 0.28.0", func(o *labOptions) { o.lab.Version = "0.28.0" }},
			{"--provision-after 1", func(o *labOptions) { o.provAfter, o.lab.ProvisionAfter = waiting(time.Second), time.Second }},
			{"--provisioner=false", func(o *labOptions) { o.provision, o.lab.ProvisionAfter = false, -1 }},
			{"--provision-version 0.29.4", func(o *labOptions) { o.lab.ProvisionVersion = "0.29.4" }},
			{"--silent 2%", func(o *labOptions) { o.lab.Faults.Silent = lab.Amount{N: 2, Percent: true} }},
			{"--silent rack=fra1-r01", func(o *labOptions) { o.lab.Faults.Silent = lab.Amount{Fact: "rack", Value: "fra1-r01"} }},
			{"--refuse 1", func(o *labOptions) { o.lab.Faults.Refuse = lab.Amount{N: 1} }},
			{"--slow 1", func(o *labOptions) { o.lab.Faults.Slow = lab.Amount{N: 1} }},
			{"--no-return 1", func(o *labOptions) { o.lab.Faults.NoReturn = lab.Amount{N: 1} }},
			{"--duplicate 1", func(o *labOptions) { o.lab.Faults.Duplicate = lab.Amount{N: 1} }},
			{"--forge 1", func(o *labOptions) { o.lab.Faults.Forge = lab.Amount{N: 1} }},
			{"--gone 1", func(o *labOptions) { o.lab.Faults.Gone = lab.Amount{N: 1} }},
			{"--protocol 2 --expiring 1", func(o *labOptions) { o.lab.Protocol, o.lab.Faults.Expiring = 2, lab.Amount{N: 1} }},
			{"--protocol 2 --expiring 1 --expiring-in 9", func(o *labOptions) {
				o.lab.Protocol, o.lab.Faults.Expiring, o.expiringIn, o.lab.ExpiringIn = 2, lab.Amount{N: 1}, waiting(9*time.Second), 9*time.Second
			}},
			{"--streams --brokers 3", func(o *labOptions) { o.lab.Streams, o.lab.Brokers = true, 3 }},
			{"--protocol 2 --fips", func(o *labOptions) { o.lab.Protocol, o.lab.FIPS = 2, true }},
			{"--update-late 1", func(o *labOptions) { o.lab.Faults.UpdateLate = lab.Amount{N: 1} }},
			{"--update-fail 1", func(o *labOptions) { o.lab.Faults.UpdateFail = lab.Amount{N: 1} }},
			{"--update-broken 1", func(o *labOptions) { o.lab.Faults.UpdateBroken = lab.Amount{N: 1} }},
			{"-- sh -c true", func(o *labOptions) { o.command = []string{"sh", "-c", "true"} }},
		},
	}
}

func provisioningFlags() flagTable[provisioningOptions] {
	const url = "nats://a:4222"
	return flagTable[provisioningOptions]{
		command: "jwt provisioning", words: "out.jwt key --urls " + url,
		build: func(a *app, see func(provisioningOptions)) *cobra.Command {
			return newJWTProvisioning(a, func(_ context.Context, _ *app, o provisioningOptions) error { see(o); return nil })
		},
		plain: provisioningOptions{
			file: "out.jwt", keyFile: "key", urls: []string{url}, insecure: true, validity: validity(365 * 24 * time.Hour),
			claims: security.ProvisioningClaims{URLs: url, Organization: "choria"},
		},
		rows: []flagRow[provisioningOptions]{
			{"--token @f", func(o *provisioningOptions) { o.token = "@f" }},
			{"--urls nats://b:1", func(o *provisioningOptions) { o.urls, o.claims.URLs = []string{url, "nats://b:1"}, url+",nats://b:1" }},
			{"--upgrade", func(o *provisioningOptions) { o.upgrade, o.claims.AllowUpdate = true, true }},
			{"--update", func(o *provisioningOptions) { o.update, o.claims.AllowUpdate = true, true }},
			{"--protocol-v2", func(o *provisioningOptions) { o.claims.ProtocolV2 = true }},
			{"--default", func(o *provisioningOptions) { o.claims.Default = true }},
			{"--registration f", func(o *provisioningOptions) { o.claims.Registration = "f" }},
			{"--facts f", func(o *provisioningOptions) { o.claims.Facts = "f" }},
			{"--username u", func(o *provisioningOptions) { o.claims.Username = "u" }},
			{"--username u --password @p", func(o *provisioningOptions) { o.claims.Username, o.password = "u", "@p" }},
			{`--extensions {"a":1}`, func(o *provisioningOptions) {
				o.extensions, o.claims.Extensions = `{"a":1}`, map[string]any{"a": 1.0}
			}},
			{"--org o", func(o *provisioningOptions) { o.claims.Organization = "o" }},
			{"--insecure=false", func(o *provisioningOptions) { o.insecure, o.claims.Secure = false, true }},
			{"--no-insecure", func(o *provisioningOptions) { o.noInsecure, o.claims.Secure = true, true }},
			{"--validity 2w", func(o *provisioningOptions) { o.validity = validity(14 * 24 * time.Hour) }},
			{"--force", func(o *provisioningOptions) { o.force = true }},
		},
	}
}

// srvFlags names the brokers by DNS, which excludes --urls.
func srvFlags() flagTable[provisioningOptions] {
	ft := provisioningFlags()
	ft.words = "out.jwt key --srv example.net"
	ft.plain.urls, ft.plain.claims.URLs, ft.plain.claims.SRVDomain = nil, "", "example.net"
	ft.rows = nil
	return ft
}

func viewFlags() flagTable[viewOptions] {
	return flagTable[viewOptions]{
		command: "jwt view", words: "f.jwt",
		build: func(a *app, see func(viewOptions)) *cobra.Command {
			return newJWTView(a, func(_ context.Context, _ *app, o viewOptions) error { see(o); return nil })
		},
		plain: viewOptions{file: "f.jwt"},
		rows: []flagRow[viewOptions]{
			{"k.pem", func(o *viewOptions) { o.key = "k.pem" }},
			{"--key k.pem", func(o *viewOptions) { o.key = "k.pem" }},
			{"--show-secrets", func(o *viewOptions) { o.showSecrets = true }},
			{"--json", func(o *viewOptions) { o.asJSON = true }},
			{"-j", func(o *viewOptions) { o.asJSON = true }},
		},
	}
}

func loginFlags() flagTable[loginOptions] {
	return flagTable[loginOptions]{
		command: "login",
		build: func(a *app, see func(loginOptions)) *cobra.Command {
			return newLogin(a, func(_ context.Context, _ *app, o loginOptions) error { see(o); return nil })
		},
		rows: []flagRow[loginOptions]{
			{"--username u", func(o *loginOptions) { o.username = "u" }},
			{"--password @p", func(o *loginOptions) { o.password = "@p" }},
			{"--password -", func(o *loginOptions) { o.password = "-" }},
			{"--password env:P", func(o *loginOptions) { o.password = "env:P" }},
			{"--builtin", func(o *loginOptions) { o.builtin = true }},
		},
	}
}

// runsFlags are the commands that share runsOptions.
func runsFlags() []flagTable[runsOptions] {
	see := func(see func(runsOptions)) func(context.Context, *app, runsOptions) error {
		return func(_ context.Context, _ *app, o runsOptions) error { see(o); return nil }
	}
	dir := flagRow[runsOptions]{"--state-dir d", func(o *runsOptions) { o.record.dir = "d" }}
	asJSON := []flagRow[runsOptions]{{"--json", func(o *runsOptions) { o.asJSON = true }}, {"-j", func(o *runsOptions) { o.asJSON = true }}}
	all := []flagRow[runsOptions]{{"--all", func(o *runsOptions) { o.all = true }}, {"-a", func(o *runsOptions) { o.all = true }}}
	shared := flagRow[runsOptions]{"--shared", func(o *runsOptions) { o.shared = true }}
	chosen := []flagRow[runsOptions]{
		{"--user ann", func(o *runsOptions) { o.filter.user = "ann" }},
		{"--action restart", func(o *runsOptions) { o.filter.action = "restart" }},
		{"--state died", func(o *runsOptions) { o.filter.state = "died" }},
		{"--since 24h", func(o *runsOptions) { o.filter.since = moment{text: "24h", ago: 24 * time.Hour} }},
		{"--since 2026-01-31T22:00:00Z", func(o *runsOptions) {
			o.filter.since = moment{text: "2026-01-31T22:00:00Z", date: time.Date(2026, 1, 31, 22, 0, 0, 0, time.UTC)}
		}},
	}
	return []flagTable[runsOptions]{
		{command: "runs list", rows: slices.Concat(asJSON, []flagRow[runsOptions]{dir, shared}, all, chosen),
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsList(a, see(o)) }},
		{command: "runs show", words: "r", plain: runsOptions{name: "r"}, rows: append(asJSON, dir, shared,
			flagRow[runsOptions]{"--by site,rack --facts f", func(o *runsOptions) { o.shown = factOptions{[]string{"site", "rack"}, "f"} }},
			flagRow[runsOptions]{"--state refused,no-reply", func(o *runsOptions) { o.states = []string{"refused", "no-reply"} }}),
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsShow(a, see(o)) }},
		{command: "runs watch", plain: runsOptions{name: "last"}, rows: []flagRow[runsOptions]{dir, shared, {"r", func(o *runsOptions) { o.name = "r" }}},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsWatch(a, see(o)) }},
		{command: "runs wait", words: "r", plain: runsOptions{name: "r"}, rows: []flagRow[runsOptions]{dir, shared},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsWait(a, see(o)) }},
		{command: "runs settle", words: "r", plain: runsOptions{name: "r"}, rows: []flagRow[runsOptions]{dir, shared},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsSettle(a, see(o)) }},
		{command: "runs stop", words: "r", plain: runsOptions{name: "r"}, rows: []flagRow[runsOptions]{dir, shared},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsStop(a, see(o)) }},
		{command: "runs pause", words: "r", plain: runsOptions{name: "r"}, rows: []flagRow[runsOptions]{dir, shared},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsPause(a, pausing(o)) }},
		{command: "runs continue", words: "r", plain: runsOptions{name: "r"}, rows: []flagRow[runsOptions]{dir, shared},
			build: func(a *app, o func(runsOptions)) *cobra.Command { return newRunsContinue(a, pausing(o)) }},
	}
}

func pausing(see func(runsOptions)) func(context.Context, *app, runsOptions, bool) error {
	return func(_ context.Context, _ *app, o runsOptions, _ bool) error { see(o); return nil }
}

func reportFlags() flagTable[reportOptions] {
	ft := flagTable[reportOptions]{
		command: "runs report", words: "r",
		build: func(a *app, see func(reportOptions)) *cobra.Command {
			return newRunsReport(a, func(_ context.Context, _ *app, o reportOptions) error { see(o); return nil })
		},
		plain: reportOptions{runsOptions: runsOptions{name: "r"}, kind: report.Text},
		rows: []flagRow[reportOptions]{
			{"--state-dir d", func(o *reportOptions) { o.record.dir = "d" }},
			{"--output-file f", func(o *reportOptions) { o.file = "f" }},
			{"-o f", func(o *reportOptions) { o.file = "f" }},
			{"--output html --by site,rack", func(o *reportOptions) { o.output, o.kind, o.shown.by = "html", report.HTML, []string{"site", "rack"} }},
			{"--output markdown --by site --facts f", func(o *reportOptions) {
				o.output, o.kind, o.shown = "markdown", report.Markdown, factOptions{[]string{"site"}, "f"}
			}},
		},
	}
	for _, f := range report.StoredFormats[1:] {
		ft.rows = append(ft.rows, flagRow[reportOptions]{"--output " + f.String(), func(o *reportOptions) { o.output, o.kind = f.String(), f }})
	}
	return ft
}

// planFlags are the commands about saved plans.
func planFlags() []flagTable[planOptions] {
	see := func(see func(planOptions)) func(context.Context, *app, planOptions) error {
		return func(_ context.Context, _ *app, o planOptions) error { see(o); return nil }
	}
	plain := planOptions{file: "f"}
	return []flagTable[planOptions]{
		{command: "plan show", words: "f", plain: plain, rows: []flagRow[planOptions]{
			{"--json", func(o *planOptions) { o.asJSON = true }}, {"-j", func(o *planOptions) { o.asJSON = true }}, {"--verbose", func(o *planOptions) { o.all = true }}, {"-v", func(o *planOptions) { o.all = true }},
		}, build: func(a *app, o func(planOptions)) *cobra.Command { return newPlanShow(a, see(o)) }},
		{command: "plan check", words: "f", plain: plain, build: func(a *app, o func(planOptions)) *cobra.Command { return newPlanCheck(a, see(o)) }},
		{command: "plan approve", words: "f", plain: plain, rows: []flagRow[planOptions]{{"--yes", func(o *planOptions) { o.yes = true }}, {"-y", func(o *planOptions) { o.yes = true }}},
			build: func(a *app, o func(planOptions)) *cobra.Command { return newPlanApprove(a, see(o)) }},
	}
}

func diffFlags() flagTable[diffOptions] {
	return flagTable[diffOptions]{
		command: "runs diff", words: "a b", plain: diffOptions{from: "a", to: "b"},
		build: func(a *app, see func(diffOptions)) *cobra.Command {
			return newRunsDiff(a, func(_ context.Context, _ *app, o diffOptions) error { see(o); return nil })
		},
		rows: []flagRow[diffOptions]{
			{"--state-dir d", func(o *diffOptions) { o.record.dir = "d" }},
			{"--json", func(o *diffOptions) { o.asJSON = true }}, {"-j", func(o *diffOptions) { o.asJSON = true }},
		},
	}
}

func sharedLocksFlags() flagTable[sharedListOptions] {
	return flagTable[sharedListOptions]{
		command: "shared locks",
		build: func(a *app, see func(sharedListOptions)) *cobra.Command {
			return newSharedLocks(a, func(_ context.Context, _ *app, o sharedListOptions) error { see(o); return nil })
		},
		rows: []flagRow[sharedListOptions]{
			{"--target c", func(o *sharedListOptions) { o.collective = "c" }}, {"-T c", func(o *sharedListOptions) { o.collective = "c" }},
			{"--json", func(o *sharedListOptions) { o.asJSON = true }}, {"-j", func(o *sharedListOptions) { o.asJSON = true }},
		},
	}
}

func assetsFlags() flagTable[assetOptions] {
	return flagTable[assetOptions]{
		command: "assets", words: "dir",
		build: func(_ *app, see func(assetOptions)) *cobra.Command {
			return newAssets(func(o assetOptions) error { see(o); return nil })
		},
		plain: assetOptions{dir: "dir", names: []string{productName, secondName}},
		rows: []flagRow[assetOptions]{
			{"--names choria-fleetctl", func(o *assetOptions) { o.names = []string{secondName} }},
			{"--release 1.2.3", func(o *assetOptions) { o.release = "1.2.3" }},
			{"--date 2026-11-26", func(o *assetOptions) { o.date = "2026-11-26" }},
			{"--gzip", func(o *assetOptions) { o.gzip = true }},
		},
	}
}

func sharedInitFlags() flagTable[sharedInitOptions] {
	return flagTable[sharedInitOptions]{
		command: "shared init",
		build: func(a *app, see func(sharedInitOptions)) *cobra.Command {
			return newSharedInit(a, func(_ context.Context, _ *app, o sharedInitOptions) error { see(o); return nil })
		},
		rows: []flagRow[sharedInitOptions]{
			{"--target c", func(o *sharedInitOptions) { o.collective = "c" }}, {"-T c", func(o *sharedInitOptions) { o.collective = "c" }},
			{"--replicas 3", func(o *sharedInitOptions) { o.replicas = nodeCount{3, true} }},
		},
	}
}

func sharedLimitsFlags() flagTable[sharedLimitsOptions] {
	return flagTable[sharedLimitsOptions]{
		command: "shared limits",
		build: func(a *app, see func(sharedLimitsOptions)) *cobra.Command {
			return newSharedLimits(a, func(_ context.Context, _ *app, o sharedLimitsOptions) error { see(o); return nil })
		},
		rows: []flagRow[sharedLimitsOptions]{
			{"--target c", func(o *sharedLimitsOptions) { o.collective = "c" }}, {"-T c", func(o *sharedLimitsOptions) { o.collective = "c" }},
			{"--json", func(o *sharedLimitsOptions) { o.asJSON = true }}, {"-j", func(o *sharedLimitsOptions) { o.asJSON = true }},
			{"--max-down 5 --max-down rack=1", func(o *sharedLimitsOptions) { o.maxDown = []string{"5", "rack=1"} }},
		},
	}
}

func forgetFlags() flagTable[forgetOptions] {
	return flagTable[forgetOptions]{
		command: "runs forget", words: "r n1 n[2-3]", plain: forgetOptions{runsOptions: runsOptions{name: "r"}, nodes: []string{"n1", "n[2-3]"}},
		build: func(a *app, see func(forgetOptions)) *cobra.Command {
			return newRunsForget(a, func(_ context.Context, _ *app, o forgetOptions) error { see(o); return nil })
		},
		rows: []flagRow[forgetOptions]{
			{"--state-dir d", func(o *forgetOptions) { o.record.dir = "d" }},
			{"--reason broken", func(o *forgetOptions) { o.reason = "broken" }},
			{"--shared", func(o *forgetOptions) { o.shared = true }},
		},
	}
}

func checkOtherFlags(t *testing.T, set setFlags) {
	sharedLimitsFlags().check(t, set)
	forgetFlags().check(t, set)
	sharedInitFlags().check(t, set)
	sharedLocksFlags().check(t, set)
	labFlags().check(t, set)
	provisioningFlags().check(t, set)
	srvFlags().check(t, set)
	viewFlags().check(t, set)
	loginFlags().check(t, set)
	for _, ft := range runsFlags() {
		ft.check(t, set)
	}
	reportFlags().check(t, set)
	diffFlags().check(t, set)
	for _, ft := range planFlags() {
		ft.check(t, set)
	}
	versionFlags().check(t, set)
	assetsFlags().check(t, set)
	sitesFlags().check(t, set)
	// What is understood only to be refused: the refusal names it.
	if code, _, errs := runApp(t, nil, "jwt", "provisioning", "f", "k", "--srv", "d", "--vault"); code == exitUsage && errs != "" {
		set["fleetctl jwt provisioning --vault"] = true
	}
}
