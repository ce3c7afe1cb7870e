package fleet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetctl/internal/config"
	"fleetctl/internal/lab"
)

// place is a fleet's configuration, and what was said on the way to it.
type place struct {
	Options
	said []string
}

// newPlace is a configuration without credentials, with these lines; nothing is read of this machine.
func newPlace(t *testing.T, lines ...string) *place {
	t.Helper()
	text := "identity = ops.example.net\nplugin.security.provider = file\nplugin.choria.use_srv = false\n" + strings.Join(lines, "\n") + "\n"
	return placeOf(t, writeFile(t, "client.conf", text), map[string]string{"INSECURE_YES_REALLY": "true"})
}

func placeOf(t *testing.T, configFile string, env map[string]string) *place {
	p := &place{}
	p.Options = Options{
		ConfigFile: configFile, Home: t.TempDir(), Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Settings: func() (config.Settings, error) { return config.Settings{}, nil },
		Tell:     func(line string) { p.said = append(p.said, line) },
	}
	return p
}

func (p *place) open(t *testing.T, collective string) *Fleet {
	t.Helper()
	f, err := Open(t.Context(), p.Options, collective)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// practice is the way to a lab.
func practice(t *testing.T) (*lab.Lab, *place) {
	t.Helper()
	l, err := lab.Start(t.Context(), lab.Options{Nodes: 3, Protocol: 2, Dir: filepath.Join(t.TempDir(), "lab"), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, placeOf(t, l.ConfigFile(), nil)
}
