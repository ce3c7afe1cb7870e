package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	return &app{io: streams{strings.NewReader(stdin), out, errs}, env: environment{func(name string) (string, bool) {
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

// writeFile makes a file in a folder of the test, and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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
