//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"

	"fleetctl/internal/lab"
)

// blocks returns the fenced blocks of a page in one language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?\n)```\n").FindAllStringSubmatch(string(text), -1) {
		out = append(out, m[1])
	}
	return out
}

// pipeline is what the jobs of a CI server execute, by the name of the job. Each entry is run by a shell of its own.
type pipeline map[string][]string

func githubJobs(t *testing.T, text string) pipeline {
	var file struct {
		Env  map[string]string
		Jobs map[string]struct{ Steps []struct{ Run string } }
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	if file.Env["FLEETCTL_TOKEN"] == "" {
		t.Error("the workflow sets no FLEETCTL_TOKEN")
	}
	out := pipeline{}
	for name, job := range file.Jobs {
		for _, step := range job.Steps {
			if step.Run != "" {
				out[name] = append(out[name], step.Run)
			}
		}
	}
	return out
}

func gitlabJobs(t *testing.T, text string) pipeline {
	var file map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	out := pipeline{}
	for name, node := range file {
		var job struct{ Script []string }
		if node.Kind == yaml.MappingNode && node.Decode(&job) == nil && job.Script != nil {
			out[name] = []string{strings.Join(job.Script, "\n")} // GitLab runs the lines in one shell
		}
	}
	return out
}

func jenkinsJobs(t *testing.T, text string) pipeline {
	out, stage := pipeline{}, ""
	for _, m := range regexp.MustCompile(`stage\('(\w+)'\)|sh '([^']+)'`).FindAllStringSubmatch(text[:strings.Index(text, "post {")], -1) {
		if m[1] != "" {
			stage = m[1]
			continue
		}
		out[stage] = append(out[stage], m[2])
	}
	return out
}

// TestCIPages runs the script and the pipelines of docs/ci.md against a lab: on a good day, and with a job that is canceled and
// resumed in another workspace.
func TestCIPages(t *testing.T) {
	notRaced(t)
	t.Parallel()
	const page = "docs/ci.md"
	texts, pages, jenkins := blocks(t, page, "sh"), blocks(t, page, "yaml"), blocks(t, page, "groovy")
	if len(texts) != 1 || len(pages) != 2 || len(jenkins) != 1 {
		t.Fatalf("%s has %d scripts, %d pages of YAML and %d of Groovy, want 1, 2 and 1", page, len(texts), len(pages), len(jenkins))
	}
	dir := t.TempDir()
	write := func(name string, texts [2]string) {
		for i, day := range []string{"good", "canceled"} {
			if err := os.WriteFile(filepath.Join(dir, name+"_"+day+".txtar"), []byte(texts[i]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	script := texts[0]
	for _, e := range [][2]string{{"--batch-sleep 10", "--batch-sleep 0"}, {"lab --nodes 8", "lab --nodes 2"}} {
		if !strings.Contains(script, e[0]) {
			t.Fatalf("the script of %s has no %s", page, e[0])
		}
		script = strings.Replace(script, e[0], e[1], 1)
	}
	for name, jobs := range map[string]pipeline{"github": githubJobs(t, pages[0]), "gitlab": gitlabJobs(t, pages[1]), "jenkins": jenkinsJobs(t, jenkins[0])} {
		for _, job := range []string{"plan", "apply", "resume"} {
			if !strings.Contains(strings.Join(jobs[job], "\n"), "./fleet.sh "+job) {
				t.Fatalf("%s: the job %s does not run ./fleet.sh %s: %q", name, job, job, jobs[job])
			}
		}
		write(name, ciScripts(script, name == "gitlab", jobs))
	}
	write("shell", ciScripts(script, true, pipeline{"plan": {"./fleet.sh check", "./fleet.sh drill", "test -f drill/junit.xml", "./fleet.sh plan"}, "apply": {"./fleet.sh apply"}, "resume": {"./fleet.sh resume"}}))
	params := scripts(dir)
	whole := params.Setup
	params.Setup = func(e *testscript.Env) error {
		if err := whole(e); err != nil {
			return err
		}
		// Nodes act as soon as real ones may. The resume of a copied record waits for the time to live of its requests, which
		// is shorter here.
		f := newFleet(t, lab.Options{Nodes: 8, Protocol: 2, Hasty: true})
		config, err := os.ReadFile(f.lab.ConfigFile())
		if err != nil {
			return err
		}
		e.Setenv("FLEETCTL_CONFIG", e.WorkDir+"/client.conf")
		return os.WriteFile(e.WorkDir+"/client.conf", append(config, "ttl = 5\n"...), 0o600)
	}
	testscript.Run(t, params)
}

// ciScripts play the jobs of a pipeline on a good day, and with a canceled job, in workspaces of their own. Artifacts are copies
// without their modes.
func ciScripts(script string, tokenFile bool, jobs pipeline) [2]string {
	var files strings.Builder
	play := func(job string) string {
		var line strings.Builder
		line.WriteString("job " + job)
		for i, step := range jobs[job] {
			name := fmt.Sprintf("%s%d.sh", job, i+1)
			line.WriteString(" " + name)
			fmt.Fprintf(&files, "-- %s --\n%s\n", name, strings.TrimRight(step, "\n"))
		}
		return line.String() + "\n"
	}
	start := "export FLEETCTL_TOKEN=s3cret\n"
	if tokenFile {
		start = "echo s3cret > token; export TOKEN_FILE=$PWD/token\n"
	}
	start += `export PATH="$PWD/bin:$PATH" GITHUB_STEP_SUMMARY="$PWD/step-summary" ARTIFACTS="$PWD/canceled/out" PIDS="$PWD/pid"
chmod 755 fleet.sh bin/curl bin/unzip
for job in plan apply canceled resume; do mkdir $job; cp fleet.sh $job; done
job() { cd "$1"; shift; for step; do sh -e "../$step"; done; cd ..; }
hand() { cp -R "$1/out" "$2/out"; find "$2/out" -type f -exec chmod 644 {} +; }
`
	good := start + play("plan") + "hand plan apply\n" + play("apply")
	canceled := start + `cd canceled
code=0
FLEETCTL_SETTINGS=../cancel.yaml sh -c 'echo $$ > "$PIDS"; exec ./fleet.sh restart' || code=$?
test $code = 143 || exit 99
test -f out/junit.xml || exit 98
cd ..
`
	if !slices.ContainsFunc(jobs["resume"], func(step string) bool { return strings.Contains(step, "unzip") }) {
		canceled += "hand canceled resume\n"
	}
	canceled += play("resume")
	more := `-- cancel.yaml --
on_event: '[ "$FLEETCTL_EVENT" != begin ] || kill -TERM $(cat "$PIDS")'
-- bin/curl --
#!/bin/sh
touch out.zip
-- bin/unzip --
#!/bin/sh
cp -R "$ARTIFACTS" out
-- fleet.sh --
` + script + files.String() + "-- drive.sh --\n"
	const check = `exits 0 sh -e ./drive.sh
stdout 'Done: 4 verified of 4 nodes'
grep 'testsuite' %[1]s/out/junit.xml
grep '4 verified of 4 nodes' %[1]s/out/summary.md
grep '4 verified of 4 nodes' %[1]s/out/report.html
exec sh -c '! grep -r s3cret */out'
`
	return [2]string{fmt.Sprintf(check, "apply") + more + good, fmt.Sprintf(check, "resume") + more + canceled}
}
