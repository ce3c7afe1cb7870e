//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestUpgradePage runs the commands of docs/upgrade.md against the labs that the page names: a campaign in which one rack fails, and
// whose second half is interrupted; then updates of nodes in provisioning mode.
func TestUpgradePage(t *testing.T) {
	notRaced(t)
	t.Parallel()
	const page = "docs/upgrade.md"
	texts := blocks(t, page, "sh")
	take := func(words string) string {
		t.Helper()
		if len(texts) == 0 || !strings.Contains(texts[0], words) {
			t.Fatalf("%s: the next block has no %q: %q", page, words, texts)
		}
		text := texts[0]
		texts = texts[1:]
		return strings.TrimSpace(text) + "\n"
	}
	short := func(text string) string { // the lab provisions within seconds
		return strings.ReplaceAll(text, "--verify-timeout 10m", "--verify-timeout 20s")
	}
	labLine := func(more string) string {
		return strings.ReplaceAll(strings.TrimSpace(take("fleetctl lab")), "\\\n", "") + more
	}

	first := labLine(" --provision-after 1 -- sh -e ./drive.sh")
	var files strings.Builder
	drive := "echo s3cret > token.txt\n"
	play := func(name, text string, code int) {
		fmt.Fprintf(&files, "-- %s.sh --\n%s", name, short(text))
		drive += fmt.Sprintf("code=0; sh -e ./%s.sh || code=$?; test $code = %d || { echo %s.sh ended with $code; exit 99; }\n", name, code, name)
	}
	for i, s := range []struct {
		words string // that the block has
		code  int    // of its last command
	}{{"fleetctl doctor", 0}, {"--save-plan upgrade.plan", 0}, {"plan approve upgrade.plan", 0}, {"apply upgrade.plan", 5}} {
		play(fmt.Sprintf("step%d", i+1), take(s.words), s.code)
	}
	drive += "grep -q . left-out.txt\n"
	resume := take("runs resume last")
	play("look", take("--output html"), 0)
	rest := take("--save-plan rest.plan")
	apply := "fleetctl apply rest.plan"
	if strings.Count(rest, apply) != 1 {
		t.Fatalf("%s: the block of the rest has no %q", page, apply)
	}
	// The second campaign is interrupted at its beginning.
	play("rest", strings.Replace(rest, apply, `exec env FLEETCTL_SETTINGS=$PWD/cancel.yaml sh -c 'echo $$ > pid; exec "$@"' sh `+apply, 1), 143)
	play("resume", resume, 0)
	play("left", take("<0.29.4"), 0)

	dir := t.TempDir()
	script := "exits 0 " + first + `
stdout 'Stopped: .* [23] unverified, .* not-sent'
stdout '[23] nodes: unverified: started again, but the expression does not hold: version 0.28.0'
stdout 'nodes: version 0.28.0 -> 0.29.4'
stdout '(?s)Interrupted.*Done: .* verified of'
stdout '(?m)^[a-z]+[^ ]*\.fra1\.example\.net$'
! stdout 'ended with'
stderr 'a retry sends nothing to [23] nodes that started again, and not as demanded'
stderr 'approved as choria=bob'
grep 'db01.fra1.example.net' report.html
grep 'version 0.28.0' report.md
exec sh -c '! grep -r s3cret *.plan report.html report.md state'
-- config/fleetctl/config.yaml --
approvals: [{action: reprovision, need: 1}]
-- cancel.yaml --
approvals: [{action: reprovision, need: 1}]
on_event: '[ "$FLEETCTL_EVENT" != begin ] || kill -TERM $(cat pid)'
` + files.String() + "-- drive.sh --\n" + drive
	second := `cp "${FLEETCTL_CONFIG%client.conf}provisioner.conf" .
echo s3cret > token.txt
fleetctl ping --names --expect 8 > names
fleetctl req choria_provision reprovision token=@token.txt --nodes names --canary 0 --display none
` + take("release_update")
	script2 := "exits 3 " + labLine(" --seed 1 --choria-version 0.29.4 -- sh -e ./drive.sh") + `
stdout '(?s)rollback also failed.*release rolled back.*Failed: 2 refused, 6 verified of 8 nodes'
stderr 'a retry cannot help 1 node without a program on the disk'
-- drive.sh --
` + second
	if len(texts) > 0 {
		t.Errorf("%s has blocks that nothing runs: %q", page, texts)
	}
	for name, text := range map[string]string{"campaign": script, "update": script2} {
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, scripts(dir))
}
