package cmd

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fleetctl/discovery"
	"fleetctl/internal/lab"
)

// result is what a command came to.
type result struct {
	code     int
	out, err string
}

// newApp is an app without the machine's own set-up: its home is an empty folder, and the environment is what is given.
func newApp(t *testing.T, stdin string, env map[string]string) (a *app, out, errs *bytes.Buffer) {
	t.Helper()
	home := t.TempDir()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &app{name: productName, io: streams{strings.NewReader(stdin), out, errs}, env: environment{func(name string) (string, bool) {
		if v, ok := env[name]; ok {
			return v, true
		}
		switch name {
		case "HOME":
			return home, true
		case "USER":
			return "operator", true
		}
		return "", false
	}}}, out, errs
}

// runApp runs a command line as Main does and returns the exit code.
func runApp(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	a, out, errs := newApp(t, "", env)
	code = a.execute(t.Context(), args)
	return code, out.String(), errs.String()
}

// folder is a folder of a test.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// write makes a file that only this user may read, and run; it returns the path.
func (f folder) write(name, content string) string {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o700); err != nil {
		f.t.Fatal(err)
	}
	return f.path(name)
}

// writeFile makes a file in a folder of its own, and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	return folder{t, t.TempDir()}.write(name, content)
}

// writeConfig makes a client configuration that needs no credentials.
func writeConfig(t *testing.T, lines ...string) string {
	t.Helper()
	return writeFile(t, "client.conf",
		"identity = ops.example.net\nplugin.security.provider = file\nplugin.choria.use_srv = false\n"+strings.Join(lines, "\n")+"\n")
}

// unsigned lets a configuration do without credentials and TLS.
var unsigned = map[string]string{"INSECURE_YES_REALLY": "true"}

// noBroker is a configuration whose broker cannot be reached: what ends with another code than 9 was refused before any
// network.
func noBroker(t *testing.T) map[string]string {
	t.Helper()
	return withVariable(unsigned, "FLEETCTL_CONFIG", writeConfig(t, "plugin.choria.middleware_hosts = 127.0.0.1:1"))
}

// patient makes commands wait for a broker of this process, which may be starved: other tests run at the same time.
var patient = []string{"--connect-timeout", "30"}

// practice is a lab in this process, and a home for what its client keeps.
type practice struct {
	folder
	lab   *lab.Lab
	names []string // of the nodes, in natural order
}

func newPractice(t *testing.T, o lab.Options) *practice {
	t.Helper()
	p := &practice{folder: folder{t, t.TempDir()}}
	o.Dir = filepath.Join(p.dir, "lab")
	o.Protocol = cmp.Or(o.Protocol, 2) // protocol 1 makes an RSA key, which takes a while
	l, err := lab.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	p.lab = l
	for _, n := range l.Nodes() {
		p.names = append(p.names, n.Identity)
	}
	p.names = discovery.Sort(p.names)
	return p
}

// env is the environment of the lab's client.
func (p *practice) env() map[string]string {
	return map[string]string{"FLEETCTL_CONFIG": p.lab.ConfigFile(), "FLEETCTL_STATE_DIR": p.path("state"), "FLEETCTL_TOKEN": "s3cret", "XDG_CONFIG_HOME": p.dir}
}

// run runs a command line, split at blanks.
func (p *practice) run(line string, more ...string) result {
	p.t.Helper()
	code, out, errs := runApp(p.t, p.env(), slices.Concat(patient, strings.Fields(line), more)...)
	return result{code, out, errs}
}

// practiceRow is a command line, how it ends, and what it writes. Pieces are looked for in both streams, in any order.
type practiceRow struct {
	line string
	code int
	says []string
}

func (p *practice) check(rows []practiceRow) {
	p.t.Helper()
	for _, row := range rows {
		got := p.run(row.line)
		if got.code != row.code {
			p.t.Errorf("%s: exit %d, want %d\n%s%s", row.line, got.code, row.code, got.out, got.err)
		}
		for _, piece := range row.says {
			if !strings.Contains(got.out+got.err, piece) {
				p.t.Errorf("%s lacks %q:\n%s%s", row.line, piece, got.out, got.err)
			}
		}
	}
}
