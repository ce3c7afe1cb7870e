package cmd

import (
	"strings"
	"time"

	"fleetctl/batch"
)

// steered holds what a run writes that has gates, hours, nodes that go last and nodes that are left out, and what is written of
// a saved plan, to the schemas. The fleet has a node that refuses and a silent one.
func (p *practice) steered(s *schemas) {
	p.t.Helper()
	shown := func(schema string, code int, line string, more ...string) {
		p.t.Helper()
		r := p.run(line+" --np --state-dir "+p.path("f"), more...)
		if r.code != code {
			p.t.Errorf("%s: exit code %d, want %d\n%s", line, r.code, code, r.err)
		}
		if schema != "lines" {
			s.check(p.t, schema, r.out)
			return
		}
		for text := range strings.Lines(r.out) {
			s.check(p.t, schema, text)
		}
	}
	restart := "req choria_provision restart splay=1 --canary 0 --reply-timeout 1 --verify-timeout 4 --batch-sleep 0 --batch 5 --nodes " + p.path("all")
	steer := []string{"--gate", "echo ok", "--gate-for", "1", "--gate-every", "1", "--within", "00:00-24:00 UTC", "--last-if", `fact("country") == "mt"`, "--lock", "web"}
	shown("plan", 0, restart+" --dry-run --json", steer...)
	shown("req", 3, restart+" --json", steer...)
	shown("runs-show", 0, "runs show last --json")
	shown("lines", 5, restart+" --jsonl --not-since 10h", steer...) // only the node that refuses is sent to
	shown("runs-show", 0, "runs show last --json")
	plan := p.path("steered.plan")
	if r := p.run(restart+" --np --save-plan "+plan, steer[:6]...); r.code != 0 {
		p.t.Errorf("save: exit code %d: %s", r.code, r.err)
	}
	if r := p.run("req choria_provision restart splay=0 --np --yes -I " + p.names[0] + "," + p.names[1] + "," + p.names[2] + " --reply-timeout 1 --verify-timeout 4"); r.code > 4 {
		p.t.Errorf("drift: exit code %d: %s", r.code, r.err)
	}
	shown("plan", 0, "apply "+plan+" --dry-run --json --accept-drift 4")
	shown("req", 3, "apply "+plan+" --json --accept-drift 4")
	shown("runs-show", 0, "runs show last --json")

	until := time.Now().Add(time.Hour)
	live := record(p.t, p.path("g"), "20260101-000000-aaaaa", pinging(), batch.Record{Kind: batch.KindHours, Until: until, Reason: "outside"})
	defer live.Close()
	r := p.run("runs show last --json --state-dir " + p.path("g"))
	if s.check(p.t, "runs-show", r.out); !strings.Contains(r.out, `"held": "`+until.UTC().Format("2006-01-02T15:04")) || !strings.Contains(r.out, `"status": "waiting"`) {
		p.t.Errorf("a run that waits for its hours: %s", r.out)
	}
}
