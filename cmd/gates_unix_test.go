//go:build unix

package cmd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// What a Prometheus server may answer, between the batches of a real run.
func TestAQueryBetweenBatches(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2, Seed: 1})
	vector := func(series ...string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
	}
	one := func(value string) string {
		return `{"metric":{"job":"` + value + `"},"value":[1435781451.781,"` + value + `"]}`
	}
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for name, tt := range map[string]struct {
		answer  func(w http.ResponseWriter)
		code    int
		verdict string
	}{
		"passes":     {func(w http.ResponseWriter) { fmt.Fprint(w, vector(one("1"))) }, 0, "passed: it is 1"},
		"fails":      {func(w http.ResponseWriter) { fmt.Fprint(w, vector(one("0"))) }, exitStopped, "failed: it is 0"},
		"empty":      {func(w http.ResponseWriter) { fmt.Fprint(w, vector()) }, exitStopped, "inconclusive: no series"},
		"NaN":        {func(w http.ResponseWriter) { fmt.Fprint(w, vector(one("NaN"))) }, exitStopped, "inconclusive: the value is NaN"},
		"two series": {func(w http.ResponseWriter) { fmt.Fprint(w, vector(one("1"), one("2"))) }, exitStopped, "inconclusive: 2 series"},
		"warnings": {func(w http.ResponseWriter) {
			fmt.Fprint(w, strings.Replace(vector(one("1")), `"status"`, `"warnings":["a shard is away"],"status"`, 1))
		}, exitStopped, "inconclusive: .*a shard is away"},
		"500":  {func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, exitStopped, "inconclusive: .*500"},
		"slow": {func(http.ResponseWriter) { <-release }, exitStopped, "inconclusive: no answer within 5s"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("query") != "up==bool 1" {
				t.Errorf("asked %s", r.URL)
			}
			tt.answer(w)
		}))
		t.Cleanup(server.CloseClientConnections)
		got := p.run("req rpcutil ping --journal --np --batch 1 --batch-sleep 0 --gate-wait 0 --gate-timeout 5 --gate-promql", "up==bool 1", "--prometheus", server.URL, "-I", p.names[0])
		if got.code != tt.code || !matches(got.out+got.err, `gate "up==bool 1" `+tt.verdict) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A gate stops the run, is in every output, and is asked again by a resume until that leaves it out.
func TestARecordedGateIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := loadSchemas(t)
	p := newPractice(t, lab.Options{Nodes: 3, Seed: 1})
	p.write("calls", "")
	p.write("check", "#!/bin/sh\necho \"$FLEETCTL_BATCH of $FLEETCTL_BATCHES, batch $(cat)\" >> "+p.path("calls")+"\n[ ! -e "+p.path("bad")+" ] || { echo 3 of 4; exit 1; }\n")
	p.write("bad", "")
	const restart = "req choria_provision restart splay=0 --canary 0 --batch 1 --batch-sleep 0 --np --gate-every 1 --gate "
	all := " -I " + strings.Join(p.names, ",")
	stopped := `gate "` + p.path("check") + `" failed: 3 of 4`
	p.check([]practiceRow{
		{restart + p.path("check") + " --dry-run" + all, 0, []string{`asks gate "` + p.path("check") + `" before the first batch and after each`}},
		{restart + p.path("check") + all, exitStopped, []string{"Stopped: 3 not-sent of 3 nodes; " + stopped, "runs resume"}},
		{"runs show last", 0, []string{"Gates: before the first batch: failed, 1 round in 0s: " + stopped}},
		{"runs resume last --np", exitStopped, []string{stopped}},
	})
	for _, line := range []string{"runs show last --json", "runs list --json"} {
		p.keepsSchema(s, output{strings.Join(strings.Fields(line)[:2], "-"), 0, line})
	}
	p.keepsSchema(s, output{"lines", exitStopped, "runs resume last --jsonl"})
	p.keepsSchema(s, output{"req", exitStopped, "runs resume last --json"})
	if err := os.Remove(p.path("bad")); err != nil {
		t.Fatal(err)
	}
	if got := p.run("runs resume last --jsonl --np"); got.code != 0 || strings.Count(got.out, `{"k":"gate","gate":{"batch":`) != 3 {
		t.Errorf("resumed: %+v", got)
	}
	p.check([]practiceRow{
		{"runs show last", 0, []string{"Gates: passed at once at 3 places", "3 verified"}},
		{"req rpcutil ping --journal --np --gate false" + all, exitStopped, []string{"exit code 1"}},
		{"runs resume last --np --gate none", 0, []string{"3 accepted"}},
	})
	calls, err := os.ReadFile(p.path("calls"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(calls), `2 of 3, batch {"schema_version":1,"run":"`) || !strings.Contains(string(calls), `"batch":2,"batches":3,"nodes":[{"identity":"`+p.names[1]+`","state":"verified"}]`) {
		t.Errorf("the gate got\n%s", calls)
	}
}

// An inconclusive gate pauses the run until it passes.
func TestAnInconclusiveGatePausesTheRun(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2, Seed: 1})
	p.write("check", "#!/bin/sh\n[ -e "+p.path("data")+" ] || { touch "+p.path("data")+"; echo no data; exit 75; }\n")
	began := time.Now()
	got := p.run("req choria_provision restart splay=0 --canary 0 --np --gate-every 1 --gate "+p.path("check"), "-I", p.names[0], "--on-event", `echo "$FLEETCTL_TEXT" >> `+p.path("events"))
	if got.code != 0 || !matches(got.err, `(?s)inconclusive: no data; the gates are asked again until .*paused by a gate: nothing new is sent.*passed.*continued: no gate is inconclusive`) || time.Since(began) < time.Second {
		t.Errorf("%+v", got)
	}
	if got := p.run("runs show last"); !matches(got.out, `Gates: before the first batch: passed, 2 rounds in \d+s`) {
		t.Errorf("shown %s", got.out)
	}
	events, err := os.ReadFile(p.path("events"))
	if err != nil || !matches(string(events), `(?s)pauses: gate ".*" inconclusive: no data .*continues: continued: no gate is inconclusive`) {
		t.Errorf("events %s, %v", events, err)
	}
}

// Another node restarts while the run pauses for a gate: one start or end too much.
func TestCollateralStopsTheRun(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 3, Seed: 1})
	p.write("check", "#!/bin/sh\n[ \"$FLEETCTL_BATCH\" = 0 ] || [ -e "+p.path("data")+" ] || { cat "+p.path("asked")+"; exit 75; }\n")
	if err := syscall.Mkfifo(p.path("asked"), 0o600); err != nil {
		t.Fatal(err)
	}
	const restart = "req choria_provision restart splay=0 --canary 0 --batch 1 --batch-sleep 0 --np --gate-every 1 --max-collateral "
	done := make(chan result, 1)
	go func() {
		done <- p.run(restart+"0 --gate-timeout 5m --gate "+p.path("check"), "-I", p.names[0]+","+p.names[1])
	}()
	asked, err := os.OpenFile(p.path("asked"), os.O_WRONLY, 0) // waits for the gate
	if err != nil {
		t.Fatal(err)
	}
	if err := p.lab.Restart(p.names[2]); err != nil {
		t.Fatal(err)
	}
	if err := p.lab.Await(t.Context(), p.names[2], lab.Up); err != nil {
		t.Fatal(err)
	}
	p.write("data", "")
	if err := asked.Close(); err != nil {
		t.Error(err)
	}
	if got := <-done; got.code != exitStopped || !matches(got.out, `Stopped: 1 verified, 1 not-sent of 2 nodes; gate "--max-collateral" failed: nodes that were not sent to started or ended [12] times?, and 0 are allowed: `+p.names[2]) {
		t.Errorf("%+v", got)
	}
	if got := p.run("runs resume last --np"); got.code != 0 || !strings.Contains(p.run("runs show last --json").out, `"gate": "--max-collateral"`) {
		t.Errorf("resumed: %+v", got)
	}
}

func TestGateRefusals(t *testing.T) {
	const ping = "req rpcutil ping -I web1 "
	refused(t, nil, []refusal{
		{args: ping + "--gate-for 1m", says: "are for gates"},
		{args: ping + "--gate=", says: "a gate is empty"},
		{args: ping + "--gate none", says: "--gate none is for resumes"},
		{args: ping + "--gate true --gate-every 0.1", says: "1s is the shortest time"},
		{args: ping + "--gate true --gate-timeout 0", says: "lets no gate answer"},
		{args: ping + "--gate true --reply-to x", says: "--reply-to excludes gates"},
	})
	refused(t, noBroker(t), []refusal{
		{args: ping + "--gate-promql up", says: "needs the address of a Prometheus server"},
		{args: ping + "--gate-promql up --prometheus ftp://x", says: "not a URL"},
		{args: ping + "--gate-promql up --prometheus http://[::1", says: "not a URL"},
		{args: ping + "--gate-promql up --prometheus http://me:secret@x", says: "put the address into the settings"},
		{args: "req choria_registry names plugin_type=agent --gate true", says: "is a service"},
	})
}

func matches(text, pattern string) bool { return regexp.MustCompile(pattern).MatchString(text) }
