package cmd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fleetctl/internal/lab"
	"fleetctl/internal/security"
)

// caller is a caller of a practice fleet of protocol v2: the environment of up=NAME.
func (p *practice) caller(name string) map[string]string {
	p.t.Helper()
	seed := ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize))
	claims := security.ClientClaims{CallerID: "up=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true}}
	claims.PublicKey, claims.ExpiresAt = hex.EncodeToString(seed.Public().(ed25519.PublicKey)), security.At(time.Now().Add(3*time.Hour))
	token, err := security.IssueClient(claims, p.lab.Issuer())
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := os.ReadFile(p.lab.ConfigFile())
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(name+".jwt", token)
	p.write(name+".seed", hex.EncodeToString(seed.Seed()))
	p.write(name+".conf", string(text)+"\nplugin.security.choria.token_file = "+p.path(name+".jwt")+"\nplugin.security.choria.seed_file = "+p.path(name+".seed")+"\n")
	env := p.env()
	env["FLEETCTL_CONFIG"], env["PATH"] = p.path(name+".conf"), "/bin:/usr/bin"
	return env
}

// as runs a command line as one of the callers.
func (p *practice) as(env map[string]string, line string) result {
	p.t.Helper()
	code, out, errs := runApp(p.t, env, append(append([]string{}, patient...), strings.Fields(line)...)...)
	return result{code, out, errs}
}

// wants checks a result, and what it writes on either stream.
func (p *practice) wants(what string, r result, code int, says ...string) {
	p.t.Helper()
	if r.code != code {
		p.t.Errorf("%s: exit %d, want %d\n%s%s", what, r.code, code, r.out, r.err)
	}
	for _, piece := range says {
		if !strings.Contains(r.out+r.err, piece) {
			p.t.Errorf("%s lacks %q:\n%s%s", what, piece, r.out, r.err)
		}
	}
}

// A plan is saved by one operator, approved by another, applied by a third, and is then used up.
func TestAPlanIsSavedApprovedAndAppliedOnce(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 4})
	if err := os.MkdirAll(p.path("fleetctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write("fleetctl/config.yaml", "approvals: [{action: restart, need: 1}, {action: choria_provision#shutdown, nodes_over: 1, need: 2}]\n")
	alice, bob, carol := p.caller("alice"), p.caller("bob"), p.caller("carol")
	plan := p.path("restart.plan")
	const restart = "req choria_provision restart splay=0 --batch 2 --canary 0 --batch-sleep 0 --np"
	p.wants("without a plan", p.as(alice, restart+" --yes"), exitGuard, "cannot restart 4 nodes: 1 approval needed", "--save-plan FILE")
	p.wants("dry run", p.as(alice, restart+" --dry-run"), 0)
	p.wants("save", p.as(alice, restart+" --save-plan "+plan), 0, "4 nodes in 2 batches", "the plan is saved in "+plan)
	p.wants("save again", p.as(alice, restart+" --save-plan "+plan), exitUsage, "a plan replaces no file")
	if text := string(mustRead(t, plan)); strings.Contains(text, "s3cret") || !strings.Contains(text, `"started"`) || !strings.Contains(text, `"owner": "up=alice"`) {
		t.Errorf("saved %s", text)
	}
	p.wants("not approved", p.as(carol, "apply "+plan+" --np"), exitGuard, "1 approval needed", "plan approve FILE")
	p.wants("approve own", p.as(alice, "plan approve "+plan), exitGuard, "up=alice made this plan")
	p.wants("approve", p.as(bob, "plan approve "+plan), 0, "approved as up=bob")
	p.wants("the approver applies", p.as(bob, "apply "+plan+" --np"), exitGuard, "does not count: it is of the operator that applies the plan", "1 approval needed")
	p.wants("another input", p.as(carol, "apply "+plan+" splay=5 --np"), exitUsage, `input "splay" cannot be changed`)
	for _, name := range p.names {
		if n := p.lab.Received(name, "choria_provision", "restart"); n != 0 {
			t.Errorf("%s was restarted %d times before the plan was applied", name, n)
		}
	}
	p.wants("rehearsal", p.as(carol, "apply "+plan+" --dry-run"), 0, "4 nodes in 2 batches")
	edited := p.path("edited.plan")
	p.write("edited.plan", strings.Replace(string(mustRead(t, plan)), `"splay": "0"`, `"splay": "9"`, 1))
	p.wants("edited", p.as(carol, "apply "+edited+" --np"), exitGuard, "it was edited")
	applied := p.as(carol, "apply "+plan+" --np --json")
	p.wants("apply", applied, 0)
	var doc struct{ Run struct{ ID string } }
	if err := json.Unmarshal([]byte(applied.out), &doc); err != nil || !strings.Contains(string(mustRead(t, plan)), `"id": "`+doc.Run.ID+`"`) {
		t.Errorf("the run is %q, %v", doc.Run.ID, err)
	}
	p.wants("apply again", p.as(carol, "apply "+plan+" --np"), exitGuard, "it was applied already, as run "+doc.Run.ID, "fleetctl runs show "+doc.Run.ID)
	for _, name := range p.names {
		if n := p.lab.Received(name, "choria_provision", "restart"); n != 1 {
			t.Errorf("%s was restarted %d times", name, n)
		}
	}
	p.wants("show", p.as(carol, "runs show last --json"), 0, `"apply",`)
}

// Two applies at the same moment run the plan once.
func TestTwoAppliesAtOnce(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2})
	alice := p.caller("alice")
	plan := p.path("restart.plan")
	p.wants("save", p.as(alice, "req choria_provision restart splay=0 --canary 0 --save-plan "+plan), 0)
	codes := make([]int, 4)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = p.as(maps.Clone(alice), "apply "+plan+" --np").code })
	}
	all.Wait()
	done := 0
	for _, code := range codes {
		switch code {
		case 0:
			done++
		case exitGuard:
		default:
			t.Errorf("ended with %d", codes)
		}
	}
	if done != 1 {
		t.Errorf("applied %d times: %d", done, codes)
	}
	for _, name := range p.names {
		if n := p.lab.Received(name, "choria_provision", "restart"); n != 1 {
			t.Errorf("%s was restarted %d times", name, n)
		}
	}
}

func TestNodesThatChangedSinceThePlanWasSaved(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 4})
	alice := p.caller("alice")
	const restart = "req choria_provision restart splay=0 --canary 0 --batch-sleep 0 --np"
	plan, all := p.path("all.plan"), p.path("everything.plan")
	p.wants("save", p.as(alice, restart+" --save-plan "+plan), 0)
	p.wants("save another", p.as(alice, restart+" --save-plan "+all), 0)
	p.wants("restart one", p.as(alice, restart+" --yes -I "+p.names[0]), 0)
	p.wants("drift", p.as(alice, "apply "+plan+" --np"), exitGuard, "1 node: restarted: "+p.names[0], "1 node changed since the plan was saved", "--accept-drift 1")
	p.wants("accepted", p.as(alice, "apply "+plan+" --np --accept-drift 25%"), 0, "3 nodes", "left out: restarted since the plan was saved")
	var doc struct {
		Run struct {
			States map[string]int
			Nodes  []struct{ Identity, State, Reason string }
		}
	}
	shown := p.as(alice, "runs show last --json")
	if err := json.Unmarshal([]byte(shown.out), &doc); err != nil {
		t.Fatalf("%v: %s%s", err, shown.out, shown.err)
	}
	if n := doc.Run.Nodes; doc.Run.States["verified"] != 3 || doc.Run.States["not-sent"] != 1 || len(n) != 4 || n[3].Identity != p.names[0] || n[3].Reason != "left out: restarted since the plan was saved" {
		t.Errorf("the record has %+v", doc.Run)
	}
	p.wants("the summary", p.as(alice, "runs show last"), 0, "1 node", "not-sent", "restarted since the plan was saved")
	p.wants("nothing is left to resume", p.as(alice, "runs resume last"), 0, "is finished")
	if n := p.lab.Received(p.names[0], "choria_provision", "restart"); n != 1 {
		t.Errorf("%s was restarted %d times", p.names[0], n)
	}
	p.wants("all have changed", p.as(alice, "apply "+all+" --np --accept-drift 100%"), exitGuard, "every node of the plan has changed")
}

// A shutdown cannot be taken back: the plan alone is no consent.
func TestAShutdownNeedsMoreThanItsPlan(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 1})
	alice, bob := p.caller("alice"), p.caller("bob")
	plan := p.path("shutdown.plan")
	p.wants("save", p.as(alice, "req choria_provision shutdown --no-verify --save-plan "+plan+" --plan-expires 2h"), 0)
	p.wants("apply", p.as(alice, "apply "+plan+" --np"), exitGuard, "cannot shut down 1 node without an approval of the plan")
	p.wants("approve", p.as(bob, "plan approve "+plan), 0)
	p.wants("apply", p.as(alice, "apply "+plan+" --np"), 0)
}

// An applied plan that was interrupted is resumed with the approvals that it had; another run would be refused.
func TestAnAppliedPlanIsResumed(t *testing.T) {
	t.Parallel()
	p := newPractice(t, lab.Options{Nodes: 2})
	if err := os.MkdirAll(p.path("fleetctl"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.write("fleetctl/config.yaml", "approvals: [{action: restart, need: 1}]\n")
	alice, bob := p.caller("alice"), p.caller("bob")
	plan := p.path("slow.plan")
	p.wants("save", p.as(alice, "req choria_provision restart splay=0 --batch 1 --canary 0 --batch-sleep 300 --save-plan "+plan), 0)
	p.wants("approve", p.as(bob, "plan approve "+plan), 0)
	ctx, signal := context.WithCancelCause(t.Context())
	a, _, errs := newApp(t, "", alice)
	ended := make(chan int, 1)
	go func() { ended <- a.execute(ctx, []string{"apply", plan, "--np"}) }()
	if err := awaitRestarts(p, ended, 1); err != nil {
		t.Fatal(err, errs)
	}
	p.wants("apply while it runs", p.as(alice, "apply "+plan+" --np"), exitGuard, "it was applied already")
	signal(signalError{syscall.SIGINT})
	if code := <-ended; code != exitInt {
		t.Fatalf("exit %d: %s", code, errs)
	}
	p.wants("apply again", p.as(alice, "apply "+plan+" --np"), exitGuard, "it was applied already")
	p.wants("another run", p.as(alice, "req choria_provision restart splay=0 --np -I "+p.names[0]), exitGuard, "1 approval needed")
	p.wants("a retry", p.as(alice, "runs retry last --not-sent --np"), exitGuard, "1 approval needed")
	p.wants("resume", p.as(alice, "runs resume last --batch-sleep 0 --np"), 0)
	for _, name := range p.names {
		if n := p.lab.Received(name, "choria_provision", "restart"); n != 1 {
			t.Errorf("%s was restarted %d times", name, n)
		}
	}
}

func TestSavePlanRefusals(t *testing.T) {
	const ping, away = "req rpcutil ping ", "/nowhere/none/x.plan"
	refused(t, nil, []refusal{
		{args: ping + "--plan-expires 1h", says: "--plan-expires is for --save-plan"},
		{args: ping + "--save-plan x --plan-expires 25h", says: "24h0m0s at most"},
		{args: ping + "--save-plan x --plan-expires 1s", says: "a minute at least"},
		{args: ping + "--save-plan x --reply-to y", says: "--save-plan excludes"},
		{args: ping + "--save-plan x --no-journal", says: "--save-plan excludes"},
		{args: ping + "--save-plan x --detach", says: "--save-plan excludes", hint: "`fleetctl apply FILE --detach`"},
		{args: ping + "--save-plan=", says: "--save-plan has an empty value"},
		{args: ping + "--save-plan " + filepath.Dir(t.TempDir()), says: "a plan replaces no file"},
		{args: "apply", says: "0 arguments given, 1 needed: PLAN"},
		{args: ping + "--save-plan " + away, says: "no file can be made in folder", hint: "a folder that exists"},
		{args: ping + "--save-plan apply_test.go/x", says: "no file can be made in folder apply_test.go", hint: "a folder that exists"},
		{args: "apply " + away, says: away, hint: "`fleetctl req ... --save-plan FILE` saves a plan"},
		{args: "apply apply_test.go", says: "not a saved plan", hint: "`fleetctl req ... --save-plan FILE` saves a plan"},
		{args: "plan show " + away, says: away, hint: "`fleetctl req ... --save-plan FILE` saves a plan"},
		{args: "apply " + away + " x", says: "input 1 is not key=value"},
	})
}
