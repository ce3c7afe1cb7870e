package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/lab"
)

// refusal is a command line that is refused, and how.
type refusal struct {
	args string   // split at blanks
	more []string // further arguments, which hold blanks or are empty
	says string
	hint string
	code int // zero: wrong usage
}

// refused holds command lines against their refusals. None of them may get as far as the network.
func refused(t *testing.T, env map[string]string, table []refusal) {
	t.Helper()
	for _, r := range table {
		args := append(strings.Fields(r.args), r.more...)
		want := r.code
		if want == 0 {
			want = exitUsage
		}
		code, out, errs := runApp(t, env, args...)
		if code != want || !strings.Contains(errs, r.says) || !strings.Contains(errs, "hint: ") && r.hint != "" || !strings.Contains(errs, r.hint) {
			t.Errorf("%q: exit %d, want %d, %q and %q\n%s", args, code, want, r.says, r.hint, errs)
		}
		if out != "" {
			t.Errorf("%q: a refusal writes %q on stdout", args, out)
		}
		if strings.Contains(errs, "t0ken") {
			t.Errorf("%q: the refusal shows the token: %s", args, errs)
		}
	}
}

// What cannot be meant is refused before a configuration is looked for: there is none here, and no refusal says so.
func TestFlagsThatCannotBeMeantAreRefusedAtOnce(t *testing.T) {
	const restart, ping = "req choria_provision restart token=t0ken ", "req rpcutil ping "
	refused(t, nil, []refusal{
		{args: restart + "--nodes", more: []string{""}, says: "--nodes has an empty value", hint: "is a variable unset?"},
		{args: restart + "--within", more: []string{" "}, says: "--within has an empty value", hint: "is a variable unset?"},
		{args: restart + "--batch --lock web", says: "--batch got the flag --lock as its value", hint: "is a variable unset?"},
		{args: restart + "--exclude -y", says: "--exclude got the flag -y as its value", hint: "is a variable unset?"},
		{args: restart + "--exclude a --exclude --limit=t0ken", says: "--exclude got the flag --limit as its value", hint: "is a variable unset?"},
		{args: "inventory", more: []string{""}, says: "argument 1 of `fleetctl inventory` is empty", hint: "is a variable unset?"},
		{args: "plan show", more: []string{" "}, says: "argument 1 of `fleetctl plan show` is empty", hint: "is a variable unset?"},
		{args: "req rpcutil", more: []string{""}, says: "argument 2 of `fleetctl req` is empty", hint: "is a variable unset?"},
		{args: restart + "--outside stop", says: "--outside without hours", hint: "add --within HOURS"},
		{args: restart + "--outside sleep --within", more: []string{"01:00-02:00 UTC"}, says: `cannot behave as --outside "sleep"`, hint: "use wait or stop"},
		{args: restart + "--batch", more: []string{" \t"}, says: "--batch has an empty value"},
		{args: restart + "--limit", more: []string{""}, says: "--limit has an empty value"},
		{args: restart + "--batch", more: []string{""}, says: "--batch has an empty value"},
		{args: restart + "--expect-file", more: []string{""}, says: "--expect-file has an empty value"},
		{args: restart + "--max-failed", more: []string{""}, says: "--max-failed"},
		{args: restart + "--max-nodes", more: []string{""}, says: "--max-nodes"},
		{args: restart + "--target", more: []string{""}, says: "--target has an empty value"},
		{args: restart + "-I", more: []string{""}, says: "every node would be meant"},
		{args: restart + "--mode sideways --batch 2", says: `unknown --mode "sideways"`, hint: "use barrier or rolling"},
		{args: restart + "--mode rolling", says: "--mode rolling needs --batch"},
		{args: restart + "--mode rolling --batch 5 --confirm-each", says: "--confirm-each is about batches", hint: "fleetctl runs pause"},
		{args: restart + "--mode rolling --batch 5 --max-failed-batch 2", says: "--max-failed-batch is about batches", hint: "use --max-failed"},
		{args: restart + "--mode rolling --batch 5 --max-no-reply-batch 2", says: "--max-no-reply-batch is about batches", hint: "use --max-no-reply"},
		{args: restart + "--limit 0", says: "leaves no nodes"},
		{args: restart + "--limit 5%%", says: "neither a number nor a percentage"},
		{args: restart + "--max-nodes 0", says: "--max-nodes 0 allows no run", hint: "leave it out for no limit"},
		{args: restart + "--expect -1", says: "not a number of nodes"},
		{args: restart + "--discovery-timeout 0", says: "--discovery-timeout 0 finds no node"},
		{args: restart + "--batch-sleep 1e30", says: "not a time to wait"},
		{args: restart + "--reply-timeout 0", says: "--reply-timeout 0 waits for no reply"},
		{args: restart + "--ttl 1500ms", says: "servers count whole seconds, from 1"},
		{args: restart + "--ttl 0", says: "servers count whole seconds, from 1"},
		{args: restart + "--batch 0%", says: "batch"},
		{args: restart + "--max-per site", says: `--max-per "site" is not FACT=N`},
		{args: restart + "--max-per site=x", says: `--max-per "site=x" is not FACT=N`},
		{args: restart + "--nodes - --expect-file -", says: "--expect-file - and --nodes - all read stdin", hint: "give one of them a file"},
		{args: restart + "--nodes - --resume", says: "--resume cannot know whether --nodes - brings the same nodes", hint: "runs resume RUN"},
		{args: restart + "--no-journal --journal", says: "--no-journal excludes --journal and --resume"},
		{args: restart + "--no-journal --resume", says: "--no-journal excludes --journal and --resume"},
		{args: restart + "--dm carrier-pigeon", says: "carrier-pigeon"},
		{args: restart + "--nosuch", says: "unknown flag: --nosuch", hint: "fleetctl req --help"},
		{args: "req choria_provision restart token=- --nodes -", says: "--nodes - and token=- all read stdin"},
		{args: "req", says: "an agent and an action are needed", hint: "fleetctl req AGENT ACTION"},
		{args: "req rpcutil", says: "an action is missing", hint: "fleetctl req rpcutil ACTION"},
		{args: ping + "x=1 x=2", says: `input "x" is given twice`},
		{args: ping + "word", says: "input 1 is not key=value"},

		{args: ping + "--display some", says: `cannot display "some"`, hint: "use ok, failed, all or none"},
		{args: ping + "--json --output csv", says: "cannot write json and csv at once", hint: "choose one format"},
		{args: ping + "--table --jsonl", says: "cannot write jsonl and table at once"},
		{args: ping + "--output xml", says: `unknown format "xml"`, hint: "use one of text, json, jsonl, table, csv, senders, nodeset, junit, markdown, html"},
		{args: ping + "--filter-replies nope()", says: "--filter-replies: "},
		{args: ping + "--reply-to site.x --filter-replies ok()", says: "--reply-to excludes --filter-replies"},
		{args: ping + "-r site.*", says: `--reply-to "site.*" is not a subject`, hint: "words and dots, no wildcards"},
		{args: ping + "-r", more: []string{"a b"}, says: "is not a subject"},
		{args: ping + "-r x --batch 2", says: "--reply-to excludes batches and stop rules"},
		{args: ping + "-r x --canary 1", says: "--reply-to excludes batches and stop rules"},
		{args: ping + "-r x --confirm-each", says: "--reply-to excludes batches and stop rules"},
		{args: ping + "-r x --fail-fast", says: "--reply-to excludes batches and stop rules"},
		{args: ping + "-r x --journal", says: "--reply-to excludes --journal and --resume"},

		{args: restart + "--verify-version 0.29.4 --no-verify", says: "--verify-version excludes --no-verify and other ways"},
		{args: restart + "--verify-version 0.29.4 --verify rpcutil#daemon_stats --verify-expr ok()", says: "--verify-version excludes"},
		{args: restart + "--verify-version v0.29.4", says: "is not a version", hint: "fleetctl inventory"},
		{args: restart + "--no-verify --verify-expr ok()", says: "--no-verify and a way to verify exclude each other"},
		{args: restart + "--verify hope", says: `cannot verify by "hope"`, hint: "rpcutil#daemon_stats"},
		{args: restart + "--verify rpcutil#ping", says: "--verify rpcutil#ping needs --verify-expr"},
		{args: restart + "--verify-timeout 0", says: "--verify-timeout 0 leaves no time for proof", hint: "--no-verify"},
		{args: restart + "--verify-expr nope()", says: "--verify-expr: "},
		{args: "req choria_provision shutdown --verify-version 0.29.4", says: "nodes do not come back from choria_provision#shutdown"},
		{args: ping + "--verify-version 0.29.4", says: "nodes do not come back from rpcutil#ping"},
		{args: ping + "--verify-expr ok()", says: "which reply is meant?"},

		{args: ping + "-F country!=/x/", says: "country"},
		{args: ping + "-S", more: []string{`fact("country" ==`}, says: "-S"},
		{args: ping + "-S", more: []string{`nofunc("country")`}, says: "nofunc"},
		{args: ping + "-S with(\"a\") -S with(\"b\")", says: "servers let several -S vote"},
		{args: ping + "-S", more: []string{"1 + 1"}, says: "-S"},
		{args: ping + "-I web[1-", says: `-I "web[1-": node set: position`, hint: "web[01-12].example.net"},
		{args: "ping -I /web[01]", says: "regex needs a slash at both ends"},
		{args: "ping --expect -1", says: "--expect -1 is always met", hint: "leave it out"},
		{args: "ping --expect 0", says: "--expect 0 is always met"},
		{args: "ping --expect x", says: `--expect: "x" is not a whole number`},
		{args: "inventory --upgradable=maybe", says: `--upgradable: "maybe" is not true or false`},
		{args: "ping --silent --no-silent", says: "--silent and --no-silent exclude each other"},
		{args: "ping --discovery-timeout 1", says: "unknown flag"},
		{args: "discover --discovery-timeout 0", says: "finds no node"},
		{args: "discover --json --output nodeset", says: "cannot write json and nodeset at once"},
		{args: "discover --output table", says: `unknown format "table"`, hint: "use one of text, json, nodeset"},
		{args: "facts", says: "exactly one fact is needed", hint: "fleetctl facts FACT"},
		{args: "facts a b", says: "exactly one fact is needed"},
		{args: "facts country --json --chart", says: "--table, --json and --chart exclude each other"},
		{args: "facts country --json --table", says: "--table, --json and --chart exclude each other"},
	})
}

func TestInventoryRefusesWhatCannotBeMeant(t *testing.T) {
	refused(t, nil, []refusal{
		{args: "inventory web1 --upgradable", says: "the flags of a fleet's inventory go with neither an identity", hint: "select it with -I"},
		{args: "inventory --collectives --save f", says: "go with neither an identity nor --collectives"},
		{args: "inventory web1 --collectives", says: "an identity and --collectives exclude each other"},
		{args: "inventory web1.*", says: `cannot address node "web1.*"`},
		{args: "inventory --version new", says: "version range", hint: "'>=0.28 <0.29.4'"},
		{args: "inventory --output xml", says: `unknown format "xml"`, hint: "use one of text, table, json, jsonl, csv, nodeset"},
		{args: "inventory --output table --columns node,uptimes", says: `unknown column "uptimes" (did you mean uptime?): there are node, version`},
		{args: "inventory --output table --columns fact:", says: `unknown column "fact:"`},
		{args: "inventory --output csv --sort uptimes", says: `unknown column "uptimes"`},
		{args: "inventory --columns node", says: "--columns belongs to --output table, csv, markdown or html"},
		{args: "inventory --sort version", says: "--sort belongs to --output table, csv, json, jsonl, markdown or html"},
		{args: "inventory --group-by version --output nodeset", says: "a node set has no groups"},
		{args: "inventory --group-by version --output csv --columns node", says: "--group-by has its own columns and order"},
		{args: "inventory --upgradable --not-upgradable", says: "--upgradable and --not-upgradable exclude each other"},
		{args: "inventory --to a.snap", says: "--to needs --diff"},
		{args: "inventory --diff a --to b --save c", says: "--to compares two files"},
		{args: "inventory --diff a --to b --upgradable", says: "--to compares two files"},
		{args: "inventory --ignore-fact uptime", says: "--ignore-fact needs --diff"},
		{args: "inventory --diff a --group-by version", says: "--diff is shown as text or JSON, and not grouped"},
		{args: "inventory --diff a --output csv", says: "--diff is shown as text or JSON, and not grouped"},
		{args: "inventory --json --output csv", says: "cannot write json and csv at once", hint: "choose one format"},
	})
}

func TestOtherCommandsRefuseWhatCannotBeMeant(t *testing.T) {
	refused(t, nil, []refusal{
		{args: "lab --nodes 0", says: "a lab of 0 nodes", hint: "--nodes 1 or more"},
		{args: "lab true", says: `unexpected argument "true"`, hint: "-- COMMAND ARGS"},
		{args: "lab --protocol 3", says: "protocol"},
		{args: "lab --provisioner=false --provision-version 0.29.4", says: "without the provisioner"},
		{args: "lab -- /nowhere/at/all", says: "run /nowhere/at/all"},
		{args: "login --password hunter2", says: "cannot take a password from the command line", hint: "--password @FILE"},
		{args: "jwt provisioning f", says: "1 argument given, 2 needed: FILE KEY", hint: "fleetctl jwt provisioning --help"},
		{args: "jwt provisioning f k --vault --srv b", says: "cannot sign with Vault", hint: "choria jwt provisioning --vault"},
		{args: "jwt provisioning f k", says: "where are the brokers", hint: "--urls or --srv"},
		{args: "jwt provisioning f k --urls a --srv b", says: "servers want exactly one"},
		{args: "jwt provisioning f k --urls a,", says: "not a URL"},
		{args: "jwt provisioning f k --srv b --password x", says: "--password needs --username"},
		{args: "jwt provisioning f k --srv b --username u --password - --token -", says: "cannot read both secrets from stdin"},
		{args: "jwt provisioning f k --srv b --extensions []", says: "--extensions is not a JSON object"},
		{args: "jwt provisioning f k --srv b --extensions null", says: "--extensions is not a JSON object"},
		{args: "jwt provisioning f k --srv b --validity soon", says: "write 1y, 30d or 12h"},
		{args: "jwt provisioning f k --srv b --validity 999999y", says: "is not between a second and a century"},
		{args: "jwt provisioning f k --srv b --validity 101y", says: "is not between a second and a century"},
		{args: "jwt provisioning f k --srv b --validity 1ms", says: "not between a second and a century"},
		{args: "jwt view", says: "0 arguments given, 1 needed: FILE"},
		{args: "jwt view f k --key k", says: "the key is given twice"},
		{args: "jwt view /nowhere/f", says: "/nowhere/f"},
		{args: "runs report last --output junit --by site", says: "--by excludes --output junit"},
		{args: "runs show last --facts f", says: "--facts needs --by"},
		{args: "runs show last --state=", says: "--state has an empty value"},
		{args: "runs show last --by a --state", more: []string{""}, says: "--state has an empty value", hint: "is a variable unset?"},
		{args: "inventory --columns=", says: "--columns has an empty value"},
		{args: "ping --federations=", says: "--federations has an empty value"},
		{args: "runs report last --output html --facts f", says: "--facts needs --by"},
		{args: "runs report last --output csv", says: `unknown format "csv"`, hint: "use one of text, json, nodeset, junit, markdown, html"},
		{args: "runs retry last", says: "no kind of nodes to retry is chosen", hint: "--failed, --no-reply, --absent, --not-sent or --unknown"},
		{args: "runs resume last x", says: "input 1 is not key=value"},
		{args: "runs resume last --batch 1", says: "unknown flag: --batch"},
		{args: "runs list --state broken", says: `no run is ever "broken"`, hint: "use one of running"},
		{args: "runs list --since yesterday", says: "neither a duration"},
		{args: "runs show last", says: `no run "last"`, hint: "fleetctl runs list"},
		{args: "runs stop 2026", says: `no run "2026"`},
		{args: "runs diff last", says: "which two runs?", hint: "runs diff RUN RUN"},
		{args: "runs diff last last last", says: `unexpected argument "last"`},
		{args: "runs diff last", more: []string{"2026"}, says: `no run "last"`},
		{args: "bogus", says: `unknown command "bogus"`, hint: "fleetctl --help"},
		{args: "restart", says: `unknown command "restart"`, hint: "write `fleetctl req choria_provision restart`"},
		{args: "ping extra", says: `unexpected argument "extra"`, hint: "fleetctl ping -I NAME"},
		{args: "discover web1", says: `unexpected argument "web1"`, hint: "fleetctl discover -I NAME"},
		{args: "version web1", says: `unexpected argument "web1"`, hint: "fleetctl version --help"},
		{args: "inventory web1 web2", says: "one identity at a time", hint: "-I NAME -I NAME"},
		{args: "runs show", says: "the name of a run is missing", hint: "fleetctl runs show RUN"},
		{args: "runs stop", says: "the name of a run is missing", hint: "fleetctl runs stop RUN"},
		{args: "runs resume", says: "the name of a run is missing", hint: "fleetctl runs resume RUN"},
		{args: "runs retry --failed", says: "the name of a run is missing", hint: "fleetctl runs retry RUN"},
		{args: "runs show a b", says: `unexpected argument "b"`, hint: "fleetctl runs show --help"},
		{args: "runs nosuch", says: `unknown command "nosuch"`, hint: "fleetctl runs --help"},
		{args: "version --log-file /nowhere/at/all.log", says: "open the log"},
	})
}

// What the configuration and the agents' documents say is held against the command before anything is dialed.
func TestInputsAndConfigurationAreRefusedBeforeTheNetwork(t *testing.T) {
	const restart = "req choria_provision restart "
	refused(t, noBroker(t), []refusal{
		{args: restart, says: "token", hint: " "},
		{args: restart + "token=t0ken --lock-wait 1m", says: "--lock-wait without a lock", hint: "add --lock NAME, or --share or --max-down, whose run has a lock of its own"},
		{args: restart + "token=", says: "token"},
		{args: restart + "token=t0ken splay=-1", says: "splay"},
		{args: restart + "token=t0ken splay=601", says: "splay"},
		{args: restart + "token=t0ken splay=1.5", says: "splay"},
		{args: restart + "token=t0ken bogus=1", says: "bogus"},
		{args: restart + "token=@/nowhere/token", says: `input "token"`},
		{args: restart + "token=env:NOWHERE", says: "the variable NOWHERE is not set"},
		{args: restart + "token=-", says: "stdin: it is empty"},
		{args: "req choria_provision restrat token=t0ken", says: "unknown action choria_provision#restrat", hint: "did you mean choria_provision#restart?"},
		{args: "req rpcutil zzzzzz", says: "unknown action rpcutil#zzzzzz", hint: "rpcutil has agent_inventory, collective_info, daemon_stats"},
		{args: "req nosuchagent ping", says: "nosuchagent", hint: "choria_provision, choria_registry"},
		{args: restart + "token=t0ken --reply-to x", says: "would not be recorded", hint: "confirm with --no-journal", code: exitGuard},
		{args: "req choria_registry names plugin_type=agent -I web1", says: "choria_registry is a service", hint: "drop the filter"},
		{args: "facts", says: "exactly one fact is needed"},
		{args: "discover -T moon", says: `collective "moon" is not one of ours: mcollective`, hint: "add it to `collectives`"},
		{args: "discover -T provisioning", says: `collective "provisioning"`, hint: "plugin.nats.user"},
		{args: "ping --federations a,*", says: "cannot be the name of a federation", hint: "CHORIA_FED_COLLECTIVE"},
		{args: "discover --nodes /nowhere/nodes", says: "/nowhere/nodes"},
		{args: "login --builtin", says: "no login service is configured", hint: "plugin.login.aaasvc.login.url"},
		{args: "req rpcutil ping -o /nowhere/at/all", says: "write the result"},
	})
}

// The network is the first thing that fails when nothing is wrong with the command.
func TestWhatIsRightFailsAtTheNetworkOnly(t *testing.T) {
	env := noBroker(t)
	for _, args := range []string{
		"req rpcutil ping", "req choria_provision restart token=x -I web1", "req choria_registry names plugin_type=agent",
		"req rpcutil ping --reply-to x", "discover", "ping", "facts country", "inventory", "inventory web1", "inventory --collectives", "doctor",
	} {
		if code, _, errs := runApp(t, env, append(strings.Fields(args), "--connect-timeout", "0.05")...); code != exitNetwork {
			t.Errorf("%s: exit %d, %s", args, code, errs)
		}
	}
}

// An error that comes before anything else is a line, too, where lines were asked for.
func TestAnEarlyErrorIsAJSONLine(t *testing.T) {
	env := noBroker(t)
	for args, want := range map[string]string{
		"req rpcutil ping --jsonl --filter-replies nope()": `{"k":"error","err":"--filter-replies: `,
		"req rpcutil ping --jsonl --ttl 0":                 `{"k":"error","err":"--ttl 0s: `,
		"req rpcutil ping --jsonl -F x!=/y/":               `{"k":"error","err":"`,
		"req rpcutil ping --jsonl -T moon":                 `{"k":"error","err":"collective \"moon\"`,
		"req rpcutil pong --jsonl":                         `{"k":"error","err":"unknown action rpcutil#pong"}`,
		"runs resume nothing --jsonl":                      `{"k":"error","err":"no run \"nothing\""}`,
		"runs resume nothing x --jsonl":                    `{"k":"error","err":"input 1 is not key=value"}`,
		"runs retry nothing --failed --jsonl":              `{"k":"error","err":"no run \"nothing\""}`,
	} {
		code, out, errs := runApp(t, env, strings.Fields(args)...)
		if code != exitUsage || !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 1 || !strings.Contains(errs, "fleetctl: ") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", args, code, out, errs)
		}
	}
	// With a file for the result, stdout is left alone.
	if _, out, _ := runApp(t, env, "req", "rpcutil", "ping", "--jsonl", "--ttl", "0", "-o", filepath.Join(t.TempDir(), "f")); out != "" {
		t.Errorf("stdout is %q", out)
	}
}

func TestSettingsThatCannotBeReadAreRefused(t *testing.T) {
	env := noBroker(t)
	refused(t, withVariable(env, "FLEETCTL_SETTINGS", writeFile(t, "s.yaml", "read_onyl: true\n")), []refusal{
		{args: "req rpcutil ping", says: "read_onyl", hint: "FLEETCTL_SETTINGS"},
	})
	refused(t, withVariable(env, "FLEETCTL_SETTINGS", "/nowhere/s.yaml"), []refusal{{args: "req rpcutil ping", says: "/nowhere/s.yaml", hint: "fix /nowhere/s.yaml"}})
}

// A folder in place of a configuration is no empty configuration.
func TestAFolderIsNoConfiguration(t *testing.T) {
	refused(t, nil, []refusal{{args: "discover --config " + t.TempDir(), says: "directory"}, {args: "ping --config /nowhere/f", says: "/nowhere/f", hint: "fleetctl lab"}})
}

// Without HOME, as under a system's timer, records and settings are the user's anyway, not the present folder's.
func TestHomeIsKnownWithoutItsVariable(t *testing.T) {
	e := environment{func(string) (string, bool) { return "", false }}
	if dir := e.runsFolder(""); !filepath.IsAbs(dir) {
		t.Errorf("records go to %q", dir)
	}
	if path := e.settingsFile(); !filepath.IsAbs(path) {
		t.Errorf("settings come from %q", path)
	}
	if e.user() == "" {
		t.Error("the record has no user")
	}
}

func TestALostLogIsReported(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	if code, _, said := runApp(t, nil, "version", "--log-file", "/dev/full"); code != exitOK || !strings.Contains(said, "the log is not complete") {
		t.Errorf("exit %d, %s", code, said)
	}
}

// plugin.choria.require_client_filter holds for every command that asks nodes. An agent is no filter, /./ is one.
func TestEveryCommandNeedsAFilterWhereOneIsRequired(t *testing.T) {
	env := withVariable(unsigned, "FLEETCTL_CONFIG", writeConfig(t, "plugin.choria.middleware_hosts = 127.0.0.1:1", "plugin.choria.require_client_filter = true"))
	for _, command := range []string{
		"discover", "ping", "facts country", "inventory", "inventory --collectives", "inventory --output table", "req rpcutil ping", "req choria_provision restart token=x",
	} {
		for targets, want := range map[string]int{"": exitGuard, " -A rpcutil": exitGuard, " -I /./": exitNetwork, " -F a=b": exitNetwork} {
			code, _, said := runApp(t, env, strings.Fields(command+targets+" --connect-timeout 0.2")...)
			if code != want || want == exitGuard && (!strings.Contains(said, "plugin.choria.require_client_filter is set") || !strings.Contains(said, "-I /./ is one")) {
				t.Errorf("%s%s: exit %d, want %d: %s", command, targets, code, want, said)
			}
		}
	}
}

// A share above the whole is refused once, in one sentence.
func TestAnImpossibleShareIsRefusedOnce(t *testing.T) {
	for _, flag := range []string{"--max-failed", "--max-no-reply", "--max-absent"} {
		code, _, said := runApp(t, nil, "req", "rpcutil", "ping", flag, "200%")
		if code != exitUsage || strings.Count(said, "200%") != 1 || strings.Count(said, "\n") != 2 {
			t.Errorf("%s: exit %d: %s", flag, code, said)
		}
	}
}

// The record of another user names brokers, programs and credentials of its own: its configuration is not used.
func TestTheConfigurationOfAForeignRecordIsNotUsed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	p := newPractice(t, lab.Options{Nodes: 2})
	if got := p.run("req rpcutil ping --journal -I nosuch.example.net"); got.code != exitNoReply {
		t.Fatalf("%+v", got)
	}
	list, err := filepath.Glob(filepath.Join(p.path("state"), "runs", "*.journal"))
	if err != nil || len(list) != 1 {
		t.Fatalf("%q, %v", list, err)
	}
	if err := os.Chown(list[0], 12345, 12345); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(list[0])
	if err != nil {
		t.Fatal(err)
	}
	p.check([]practiceRow{
		{"runs show last", 0, []string{"nosuch.example.net"}},
		{"runs resume last", exitGuard, []string{"cannot use the configuration that the record of run", "it belongs to another user"}},
		{"runs retry last --absent", exitGuard, []string{"it belongs to another user"}},
		{"runs resume last --config " + p.lab.ConfigFile(), exitGuard, []string{"it belongs to another user"}},
		{"runs pause last", exitGuard, nil},
	})
	if after, err := os.ReadFile(list[0]); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the record was touched: %v", err)
	}
}
