//go:build unix

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestGateRecipes runs the gates of docs/gates.md between the batches of a run in a lab with 4 load balancers.
func TestGateRecipes(t *testing.T) {
	notRaced(t)
	t.Parallel()
	text, err := os.ReadFile("docs/gates.md")
	if err != nil {
		t.Fatal(err)
	}
	var recipes []string
	for line := range strings.Lines(string(text)) {
		if flag, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    --gate"); ok {
			recipes = append(recipes, "--gate"+flag)
		}
	}
	prometheus, web := [2]string{}, [2]string{}
	for i, status := range []int{http.StatusOK, http.StatusServiceUnavailable} { // the second is that of a bad day
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				w.WriteHeader(status)
			}
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%d"]}]}}`, 1-i)
		}))
		t.Cleanup(server.Close)
		web[i], prometheus[i] = server.URL, " --prometheus "+server.URL
	}
	dir := t.TempDir()
	for i, recipe := range []struct {
		is, bad string // what the recipe has in it, and what stands there on a bad day; "" for the same
		reason  string
	}{
		{"--expect 4", "--expect 99", "expected 99 nodes to answer: 4 did"},
		{"--fail", "", "503"},
		{"%{http_code}", "", "status 503"},
		{"role=lb", "role=none", "inconclusive: .*no nodes*"},
		{"--gate-promql", "", "it is 0"},
	} {
		if len(recipes) != 5 || !strings.Contains(recipes[i], recipe.is) {
			t.Fatalf("recipe %d of docs/gates.md has no %q: %q", i, recipe.is, recipes)
		}
		if _, err := exec.LookPath("curl"); strings.Contains(recipes[i], "curl") && err != nil {
			t.Log("no curl: not played: " + recipes[i])
			continue
		}
		for day, code := range []int{0, 5} {
			flags := strings.ReplaceAll(recipes[i], "https://app.example.net", web[day])
			if strings.HasPrefix(flags, "--gate-promql") {
				flags += prometheus[day]
			}
			script := fmt.Sprintf("exits %d fleetctl lab --nodes 40 -- sh ./run.sh\n", code)
			if code != 0 {
				script += "stdout '^Stopped: .*" + recipe.reason + "'\n"
				if recipe.bad != "" {
					flags = strings.Replace(flags, recipe.is, recipe.bad, 1)
				}
			}
			script += "-- run.sh --\nfleetctl req rpcutil ping -F role=db --journal --batch 4 --batch-sleep 0 --gate-wait 0 --np " + flags + "\n"
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("recipe%d_%d.txtar", i, code)), []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	testscript.Run(t, scripts(dir))
}
