package cmd

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/lab"
)

// A shared run that ended before all nodes were sent to: completion offers it for what it is, and hints name what works here.
func TestASharedRunThatIsLeftIsOfferedAndHintedAt(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 3, Streams: true, Hasty: true})
	const noBucket = "hint: make it once, for the whole fleet: `fleetctl shared init`"
	p.check([]practiceRow{
		{"runs list --shared", exitNetwork, []string{"the brokers have no bucket FLEETCTL", noBucket}},
		{"runs show 2026 --shared", exitNetwork, []string{"the brokers have no bucket FLEETCTL", noBucket}},
	})
	if r := p.run("shared init"); r.code != 0 {
		t.Fatalf("shared init: %+v", r)
	}
	if r := p.run("req choria_provision restart token=s3cret --share --batch 1 --canary 0 --batch-sleep 0 --deadline 0.1 --verify-timeout 5 --np"); r.code != exitStopped {
		t.Fatalf("the run: %+v", r)
	}
	id := strings.Fields(p.run("runs list").out)
	at := slices.IndexFunc(id, func(word string) bool { return strings.HasPrefix(word, "20") })
	if at < 0 {
		t.Fatalf("runs list prints %q", id)
	}
	run := id[at]
	elsewhere := " --state-dir " + p.path("elsewhere")
	p.check([]practiceRow{
		{"runs wait " + run, exitStopped, []string{"to resume: fleetctl runs resume " + run + " token=@FILE; if another operator has adopted the run: fleetctl runs watch " + run + " --shared"}},
		{"runs stop last --shared", exitUsage, []string{"may be that of another operator: its id is needed", "fleetctl runs list --shared"}},
		{"runs watch --shared", exitUsage, []string{"may be that of another operator: its id is needed"}},
		{"runs adopt last token=x", exitUsage, []string{"may be that of another operator: its id is needed"}},
		{"runs wait --shared " + run, exitStopped, []string{"left; to continue the run here: fleetctl runs resume " + run}},
		{"runs wait --shared " + run + elsewhere, exitStopped, []string{"left; to continue the run here: fleetctl runs adopt " + run}},
		{"runs settle --shared " + run + elsewhere, 0, []string{"no node of run " + run + " counts as down"}},
	})
	// A busy machine may need longer than completion waits: then nothing is offered, and the next try has it.
	offered := func(words ...string) (got []string, directive string) {
		for end := time.Now().Add(time.Minute); len(got) == 0 && time.Now().Before(end); {
			got, directive = complete(t, p.env(), words...)
		}
		return got, directive
	}
	offers := map[bool][]string{true: {run}}
	for line, want := range map[string]bool{"show": true, "settle": true, "forget": true, "watch": false, "wait": false, "stop": false, "pause": false, "continue": false} {
		try := offered
		if !want {
			try = func(words ...string) ([]string, string) { return complete(t, p.env(), words...) }
		}
		if got, directive := try("runs", line, "--shared", ""); !slices.Equal(got, offers[want]) || directive[1:] != "36" && directive != noFiles {
			t.Errorf("runs %s --shared offers %q %s", line, got, directive)
		}
	}
	if got, _ := offered("runs", "adopt", ""); !slices.Equal(got, offers[true]) {
		t.Errorf("runs adopt offers %q", got)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	env := map[string]string{"FLEETCTL_CONFIG": writeConfig(t, "plugin.choria.middleware_hosts = "+silent.Addr().String()), "FLEETCTL_STATE_DIR": p.path("empty"), "INSECURE_YES_REALLY": "true"}
	for _, words := range [][]string{{"runs", "adopt", ""}, {"runs", "show", "--shared", ""}, {"runs", "show", ""}} {
		began := time.Now()
		if got, _ := complete(t, env, words...); len(got) > 0 || time.Since(began) > 10*sharedPatience {
			t.Errorf("%q offers %q after %s, and no broker answers", words, got, time.Since(began))
		}
	}
}
