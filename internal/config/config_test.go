package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// tree is a directory with files, one of them a main configuration.
type tree struct {
	t   *testing.T
	dir string
	env Environment
}

func newTree(t *testing.T) *tree {
	t.Helper()
	dir := t.TempDir()
	return &tree{t: t, dir: dir, env: Environment{
		Hostname: func() (string, error) { return "admin.site.example.net", nil },
		Home:     filepath.Join(dir, "home"),
		Dir:      filepath.Join(dir, "work"),
		UID:      os.Geteuid(),
	}}
}

// write puts a file into the tree and returns its path.
func (tr *tree) write(name string, lines ...string) string {
	tr.t.Helper()
	path := filepath.Join(tr.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		tr.t.Fatal(err)
	}
	return path
}

func (tr *tree) setenv(pairs ...string) {
	tr.env.Getenv = func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func (tr *tree) load(path string) *Config {
	tr.t.Helper()
	c, err := Load(path, tr.env)
	if err != nil {
		tr.t.Fatalf("Load: %v", err)
	}
	return c
}

// warned fails unless exactly the wanted warnings, each given by parts that it contains, were given.
func warned(t *testing.T, c *Config, want ...[]string) {
	t.Helper()
	ok := len(c.Warnings) == len(want)
	for i := 0; ok && i < len(want); i++ {
		for _, part := range want[i] {
			ok = ok && strings.Contains(c.Warnings[i], part)
		}
	}
	if !ok {
		t.Errorf("warnings:\n got %q\nwant %q", c.Warnings, want)
	}
}

// TestDefaultsAreChorias, except the time to live.
func TestDefaultsAreChorias(t *testing.T) {
	tr := newTree(t)
	c := tr.load(tr.write("etc/client.conf", "# nothing"))
	want := &Config{
		File: c.File, Files: []string{c.File},
		Identity: "admin.site.example.net", Collectives: []string{"mcollective"}, MainCollective: "mcollective",
		Color: true, LogFile: "stdout", LogLevel: "info",
		DiscoveryTimeout: 2 * time.Second, DiscoveryMethod: "mc", LimitMethod: "first",
		TTL: 30 * time.Second, UseSRV: true, ConnectTimeout: 2 * time.Second, SoftShutdownTimeout: 2 * time.Second,
		PuppetDBPort: 8081, PuppetServerHost: "puppet", PuppetServerPort: 8140, PuppetCAHost: "puppet", PuppetCAPort: 8140,
		Security: Security{
			Provider: "puppet", SSLDir: filepath.Join(tr.env.Home, ".puppetlabs/etc/puppet/ssl"), SignReplies: true,
			CertnameAllow: []string{`\.mcollective$`, `\.choria$`},
			Privileged:    []string{`\.privileged.mcollective$`, `\.privileged.choria$`},
		},
	}
	opts := cmp.Options{cmpopts.IgnoreUnexported(Config{}, Security{}), cmpopts.EquateEmpty()}
	if d := cmp.Diff(want, c, opts); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, key := range c.Keys() {
		if got := c.Origin(key); got != "default" {
			t.Errorf("Origin(%q) = %q, want default", key, got)
		}
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	values := map[kind]string{
		kindText: "text", kindPath: "/some/path", kindSecret: "hunter2", kindInt: "17", kindSeconds: "17",
		kindDuration: "17s", kindComma: "a, b", kindPaths: "/a:/b", kindLines: "k=v",
	}
	enums := map[string]string{"loglevel": "warn", "default_discovery_method": "external", "rpclimitmethod": "random", keyProvider: "file"}
	for key, f := range fieldsOf(new(Config)) {
		text := values[f.kind]
		if f.kind == kindBool {
			text = "yes"
			if f.def == "true" {
				text = "no"
			}
		}
		if e, ok := enums[key]; ok {
			text = e
		}
		tr := newTree(t)
		lines := []string{key + " = " + text, "plugin.security.issuer.a.public = 00", "plugin.security.issuer.b.public = 00"}
		if key == keyAnonTLS {
			lines = append(lines, "plugin.choria.security.request_signer.service = true")
		}
		path := tr.write("etc/client.conf", lines...)
		c := tr.load(path)
		before := tr.load(tr.write("etc/empty.conf", ""))
		if got := c.Origin(key); got != path+":1" {
			t.Errorf("Origin(%q) = %q, want %q", key, got, path+":1")
		}
		was, _ := before.Get(key)
		if got, ok := c.Get(key); !ok || got == was {
			t.Errorf("Get(%q) = %q, %v; the default is %q too", key, got, ok, was)
		}
		warned(t, c)
	}
}

func TestLineFormat(t *testing.T) {
	tests := []struct {
		line, key, value string
		ok               bool
	}{
		{"ttl=60", "ttl", "60", true},
		{"  ttl \t=   60  ", "ttl", "60", true},
		{"a=b=c", "a", "b=c", true},
		{"a = = b", "a", "= b", true},
		{"a = 1 # not a comment", "a", "1 # not a comment", true},
		{`a = "1"`, "a", `"1"`, true},
		{"two words = 1", "two words", "1", true},
		{"== b", "=", "b", true},
		{"= = b", "=", "b", true},
		{"a = \u00a0b", "a", "\u00a0b", true},
		{"é=b", "é", "b", true},
		{"= b", "", "", false},
		{"a =", "", "", false},
		{"a", "", "", false},
		{"# a = b", "", "", false},
		{"   # a = b", "", "", false},
		{"", "", "", false},
	}
	for _, tt := range tests {
		key, value, ok := splitLine(tt.line)
		if ok != tt.ok || ok && (key != tt.key || value != tt.value) {
			t.Errorf("splitLine(%q) = %q, %q, %v; want %q, %q, %v", tt.line, key, value, ok, tt.key, tt.value, tt.ok)
		}
	}
}

func TestLaterFilesWin(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/client.conf", "ttl = 35", "discovery_timeout = 3", "plugin.choria.puppetdb_port = 1", "main_collective = one")
	dropIn := tr.write("etc/plugin.d/choria.cfg", "puppetdb_port = 2", "puppetdb_host = dropin")
	top := tr.write("choria.conf", "plugin.choria.puppetdb_port = 3", "main_collective = two")
	near := tr.write("work/choria.conf", "main_collective = three")
	c := tr.load(main)
	got := []any{c.TTL, c.TTLSet, c.DiscoveryTimeout, c.PuppetDBPort, c.PuppetDBHost, c.MainCollective}
	if d := cmp.Diff([]any{35 * time.Second, true, 3 * time.Second, 3, "dropin", "three"}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff([]string{main, dropIn, top, near}, c.Files); d != "" {
		t.Errorf("files -want +got:\n%s", d)
	}
	for key, want := range map[string]string{
		"ttl": main + ":1", "plugin.choria.puppetdb_port": top + ":1", "plugin.choria.puppetdb_host": dropIn + ":2",
		"main_collective": near + ":1", "color": "default", "no.such.key": "",
	} {
		if got := c.Origin(key); got != want {
			t.Errorf("Origin(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestPluginDirectory(t *testing.T) {
	files := func(tr *tree, base string) string {
		tr.write(base+"/plugin.d/choria.cfg", "use_srv = no")
		tr.write(base+"/plugin.d/nats.cfg", "user = bob")
		tr.write(base+"/plugin.d/security.cfg", "issuer.acme.public = abcd", "provider = file")
		tr.write(base+"/plugin.d/lone.conf", "x = 1")
		tr.write(base+"/plugin.d/pair.cfg", "x = cfg")
		tr.write(base+"/plugin.d/pair.conf", "x = conf")
		tr.write(base+"/plugin.d/other.txt", "x = 1")
		return tr.write(base+"/client.conf", "plugin.security.issuer.names = acme")
	}
	t.Run("beside the main file", func(t *testing.T) {
		tr := newTree(t)
		c := tr.load(files(tr, "etc"))
		got := []any{c.UseSRV, c.NatsUser, c.Security.Provider, c.Security.Issuers}
		if d := cmp.Diff([]any{false, "", "puppet", map[string]string{"acme": "abcd"}}, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		if v, _ := c.Get("plugin.pair.x"); v != "cfg" {
			t.Errorf("plugin.pair.x = %q, want cfg", v)
		}
		if v, ok := c.Get("plugin.lone.x"); ok {
			t.Errorf("plugin.lone.x = %q: a lone .conf must have no effect", v)
		}
		warned(t, c, []string{"lone.conf", "no effect"}, []string{"nats.cfg:1", "plugin.nats.user"},
			[]string{"pair.conf", "no effect"}, []string{"security.cfg:2", "plugin.security.provider"})
	})
	t.Run("skipped under HOME", func(t *testing.T) {
		tr := newTree(t)
		c := tr.load(files(tr, "home/sub"))
		if _, ok := c.Get("plugin.pair.x"); ok || !c.UseSRV {
			t.Error("plugin.d was read for a main file under HOME")
		}
	})
	t.Run("without HOME", func(t *testing.T) {
		tr := newTree(t)
		tr.env.Home = ""
		if c := tr.load(files(tr, "home/sub")); c.UseSRV {
			t.Error("plugin.d was not read")
		}
	})
}

func TestSearchOrder(t *testing.T) {
	want := []string{"/h/.choriarc", "/h/.mcollective", "/etc/choria/client.conf", "/usr/local/etc/choria/client.conf", "/etc/puppetlabs/mcollective/client.cfg"}
	if d := cmp.Diff(want, searchPlaces("/h", "linux")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff(want[2:], searchPlaces("", "linux")); d != "" {
		t.Errorf("without HOME -want +got:\n%s", d)
	}
	tr := newTree(t)
	second := tr.write("home/.mcollective", "ttl = 31")
	if c := tr.load(""); c.File != second || c.TTL != 31*time.Second {
		t.Errorf("loaded %s with ttl %v, want %s", c.File, c.TTL, second)
	}
	first := tr.write("home/.choriarc", "ttl = 32")
	if c := tr.load(""); c.File != first || c.TTL != 32*time.Second {
		t.Errorf("loaded %s with ttl %v, want %s", c.File, c.TTL, first)
	}
}

func TestNoConfiguration(t *testing.T) {
	tr := newTree(t)
	_, err := Load("missing.conf", tr.env)
	nf, ok := errors.AsType[*NotFoundError](err)
	if !ok || !slices.Equal(nf.Places, []string{"missing.conf"}) || !errors.Is(err, ErrNotFound) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %#v", err)
	}
	if !strings.Contains(err.Error(), "missing.conf") {
		t.Errorf("the message %q does not name the place", err)
	}
	if path := filepath.Join(tr.dir, "work"); os.Mkdir(path, 0o755) == nil {
		tr.write("work/rel.conf", "ttl = 33")
		if c := tr.load("rel.conf"); c.TTL != 33*time.Second || c.File != filepath.Join(path, "rel.conf") {
			t.Errorf("relative path: %s, ttl %v", c.File, c.TTL)
		}
	}
}

func TestProjectFileThatRedirectsIsWarnedAbout(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/client.conf", "plugin.choria.middleware_hosts = good:4222", "plugin.nats.pass = one", "ttl = 60", "plugin.security.provider = file")
	project := tr.write("work/choria.conf",
		"plugin.choria.middleware_hosts = nats://me:pw@evil:4222",
		"plugin.security.provider = file",
		"plugin.choria.discovery.external.command = /tmp/run",
		"plugin.security.issuer.acme.public = 00",
		"plugin.nats.pass = two",
		"color = false",
		"ttl = 90",
	)
	c := tr.load(main)
	if got := c.MiddlewareHosts; !slices.Equal(got, []string{"nats://me:pw@evil:4222"}) {
		t.Errorf("the project file must count, as in Choria: %q", got)
	}
	warned(t, c,
		[]string{project + ":1", "broker", `"good:4222"`, "evil:4222"},
		[]string{project + ":3", "discovery", "/tmp/run"},
		[]string{project + ":4", "security", "plugin.security.issuer.acme.public"},
		[]string{project + ":5", "broker", "plugin.nats.pass", redacted},
	)
	if all := strings.Join(c.Warnings, "\n"); strings.Contains(all, "me:pw") || strings.Contains(all, "two") {
		t.Errorf("a password is in the warnings:\n%s", all)
	}
}

func TestProjectFileThatCannotBeOpenedIsAnError(t *testing.T) {
	tr := newTree(t)
	main := tr.write("etc/client.conf", "ttl = 60")
	link := filepath.Join(tr.dir, "choria.conf")
	if err := os.Symlink(link, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(main, tr.env); err == nil || !strings.Contains(err.Error(), link) {
		t.Errorf("Load = %v, want an error that names %s", err, link)
	}
}
