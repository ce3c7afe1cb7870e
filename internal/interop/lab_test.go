//go:build unix

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRealClientOnOurLab runs both clients against one practice fleet: the real one must not tell it from servers,
// and must find what ours finds.
func TestRealClientOnOurLab(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		lab := newLabSession(t, version)
		node := "$(head -n 1 find.fleetctl)"
		lab.both("find", "find")
		lab.both("find-json", "find --json")
		lab.wait()
		for i, filter := range []string{"-F country=de", "-C /./", "-A choria_provision", "-I /web/", `-S 'with("choria_util")'`, "-W choria_provision"} {
			lab.both(fmt.Sprint("filter-", i), "find --json "+filter)
			if i%3 == 2 {
				lab.wait()
			}
		}
		lab.both("ping", "ping")
		lab.both("inventory", "inventory "+node)
		lab.wait()
		lab.both("req-ping", "req rpcutil ping --json --np")
		lab.both("req-fact", "req rpcutil get_fact fact=site --json --np")
		lab.both("req-collectives", "req rpcutil collective_info --json --np")
		lab.wait()
		lab.both("req-wrong-token", "req choria_provision restart token=wrong-sauce --json --np --nodes find.fleetctl")
		lab.both("req-not-in-mode", "req choria_provision jwt token=s3cret --json --np")
		lab.wait()
		lab.run()

		nodes := strings.Fields(lab.output("find", "fleetctl"))
		if len(nodes) != labNodes {
			t.Fatalf("our client finds %d nodes, want %d", len(nodes), labNodes)
		}
		lab.same("find-json", func(res result) any { return names(t, res) })
		selecting := 0
		for i := range 6 {
			lab.same(fmt.Sprint("filter-", i), func(res result) any {
				found := names(t, res)
				selecting += min(1, len(found))
				return found
			})
		}
		if selecting < 6 {
			t.Errorf("only %d of 12 filtered discoveries find any node", selecting)
		}
		lab.same("inventory", func(res result) any { return layout(res.Stdout) })
		for _, step := range []string{"req-ping", "req-fact", "req-collectives", "req-wrong-token", "req-not-in-mode"} {
			lab.same(step, func(res result) any { return essence(t, res) })
		}
		for _, node := range nodes {
			if !strings.Contains(lab.output("ping", "choria"), node) {
				t.Errorf("choria ping does not show %s", node)
			}
		}
	})
}

// labNodes is small enough that our client begins without a canary, as upstream always does.
const labNodes = 10

// labSession is a script that runs each step with both clients in a lab, and what the steps printed.
type labSession struct {
	t       *testing.T
	dir     string
	choria  string
	version int
	script  strings.Builder
}

func newLabSession(t *testing.T, version int) *labSession {
	t.Helper()
	return &labSession{t: t, dir: t.TempDir(), choria: choriaBinary(t), version: version}
}

// both adds a step, which runs beside others until the next wait. Its exit code is not judged: the clients are known to
// differ there.
func (s *labSession) both(step, args string) {
	fmt.Fprintf(&s.script, "fleetctl %s >%s.fleetctl 2>%s.fleetctl-err </dev/null &\n", args, step, step)
	fmt.Fprintf(&s.script, "\"$CHORIA\" %s --config \"$FLEETCTL_CONFIG\" >%s.choria 2>%s.choria-err </dev/null &\n", args, step, step)
}

func (s *labSession) wait() { s.script.WriteString("wait\n") }

func (s *labSession) run() {
	s.t.Helper()
	args := []string{"lab", "--nodes", fmt.Sprint(labNodes), "--protocol", fmt.Sprint(s.version), "--", "sh", "-c", s.script.String()}
	env := environment(s.dir, "CHORIA="+s.choria)
	if res := run(s.t, s.dir, env, append([]string{fleetctlBinary(s.t)}, args...)...); res.Code != 0 {
		s.t.Fatalf("lab: exit %d\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
}

func (s *labSession) output(step, client string) string {
	s.t.Helper()
	out, err := os.ReadFile(filepath.Join(s.dir, step+"."+client))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

// same compares what the two clients printed in a step, as read by view.
func (s *labSession) same(step string, view func(result) any) {
	s.t.Helper()
	read := func(client string) any {
		return view(result{Stdout: s.output(step, client), Stderr: s.output(step, client+"-err")})
	}
	if diff := cmp.Diff(read("choria"), read("fleetctl")); diff != "" {
		s.t.Errorf("%s (-choria +fleetctl)\n%s", step, diff)
	}
}
