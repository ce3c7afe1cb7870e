package config

import (
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBadValuesHaveChoriasEffect(t *testing.T) {
	tests := []struct {
		line string
		get  func(*Config) any
		want any
		warn []string // parts of the only warning; nil for none
	}{
		{"ttl = abc", func(c *Config) any { return c.TTL }, 30 * time.Second, []string{":1: ttl", `"abc"`, `"30" is used`}},
		{"ttl = 1.5", func(c *Config) any { return c.TTL }, 30 * time.Second, []string{`"1.5"`}},
		{"ttl = 99999999999999", func(c *Config) any { return c.TTL }, 30 * time.Second, []string{"too many"}},
		{"ttl = +45", func(c *Config) any { return c.TTL }, 45 * time.Second, nil},
		{"ttl = 0", func(c *Config) any { return c.TTL }, time.Duration(0), []string{"ttl is 0s"}},
		{"discovery_timeout = -1", func(c *Config) any { return c.DiscoveryTimeout }, -time.Second, []string{"discovery_timeout is -1s"}},
		{"default_discovery_method = bogus", func(c *Config) any { return c.DiscoveryMethod }, "bogus", []string{`"bogus" is not one of mc, broadcast`, "anyway"}},
		{"plugin.security.provider = nope", func(c *Config) any { return c.Security.Provider }, "nope", []string{`"nope"`}},
		{"color = maybe", func(c *Config) any { return c.Color }, false, []string{`"maybe"`, `"false" is used`}},
		{"color = N", func(c *Config) any { return c.Color }, false, nil},
		{"plugin.choria.puppetdb_port = x", func(c *Config) any { return c.PuppetDBPort }, 8081, []string{"whole number", `"8081"`}},
		{"plugin.choria.network.connect_timeout = soon", func(c *Config) any { return c.ConnectTimeout }, 2 * time.Second, []string{"duration", `"2s"`}},
		{"plugin.choria.middleware_hosts = a:1,, b:2,", func(c *Config) any { return c.MiddlewareHosts }, []string{"a:1", "b:2"}, []string{"empty element", `"a:1,b:2" is used`}},
		{"libdir = /a::/b", func(c *Config) any { return c.LibDirs }, []string{"/a", "/b"}, []string{"empty element"}},
		{"collectives = ,", func(c *Config) any { return c.Collectives }, []string{"mcollective"}, []string{"empty element"}},
		{"color =", func(c *Config) any { return c.Color }, true, []string{":1 is not of the form"}},
		{"collor = false", func(c *Config) any { return c.Color }, true, nil},
		{"libdir = /a:/b\nlibdir = /c", func(c *Config) any { return c.LibDirs }, []string{"/a", "/b", "/c"}, nil},
		{"collectives = a,b\ncollectives = c", func(c *Config) any { return c.Collectives }, []string{"c"}, nil},
		{"default_discovery_options = a=b,c\ndefault_discovery_options = d=e", func(c *Config) any { return c.DiscoveryOptions }, []string{"a=b,c", "d=e"}, nil},
		{"ttl = 90\nttl = x", func(c *Config) any { return c.TTL }, 90 * time.Second, []string{":2: ttl", `"90" is used`}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			tr := newTree(t)
			c := tr.load(tr.write("etc/c.conf", tt.line))
			if d := cmp.Diff(tt.want, tt.get(c)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if tt.warn == nil {
				warned(t, c)
			} else {
				warned(t, c, tt.warn)
			}
		})
	}
}

func TestListsKeepEveryOrigin(t *testing.T) {
	tr := newTree(t)
	path := tr.write("etc/c.conf", "libdir = /a", "ttl = 1", "libdir = /b")
	c := tr.load(path)
	if got, want := c.Origin("libdir"), path+":1, "+path+":3"; got != want {
		t.Errorf("Origin(libdir) = %q, want %q", got, want)
	}
}

func TestTildeNeedsHome(t *testing.T) {
	tr := newTree(t)
	tr.env.Home = ""
	c := tr.load(tr.write("etc/c.conf", "plugin.security.choria.token_file = ~/token"))
	if c.Security.TokenFile != "~/token" {
		t.Errorf("token file %q", c.Security.TokenFile)
	}
	warned(t, c, []string{"HOME"})
}

func TestLongLineEndsTheFile(t *testing.T) {
	tr := newTree(t)
	path := tr.write("etc/c.conf", "ttl = 35", "# "+strings.Repeat("x", 1<<16), "ttl = 40")
	c := tr.load(path)
	if c.TTL != 35*time.Second {
		t.Errorf("ttl %v: Choria reads nothing after a line of 64 KiB", c.TTL)
	}
	warned(t, c, []string{path + ":2", "ignored"})
}

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"30", 30 * time.Second, true},
		{"1m30s", 90 * time.Second, true},
		{"250ms", 250 * time.Millisecond, true},
		{"1d", 24 * time.Hour, true},
		{"1.5D", 36 * time.Hour, true},
		{"2w", 14 * 24 * time.Hour, true},
		{"1M", 30 * 24 * time.Hour, true},
		{"1y", 365 * 24 * time.Hour, true},
		{"0.01d", 0, true}, // Choria cuts to whole hours
		{"-1h", -time.Hour, true},
		{"99999999999999999999", 0, false},
		{"1000000y", 0, false},
		{"NaNd", 0, false},
		{"Infw", 0, false},
		{"1H", 0, false},
		{"d", 0, false},
		{"1x", 0, false},
		{"-0", 0, false},
	}
	for _, tt := range tests {
		got, err := parseTime(kindDuration, tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("parseTime(%q) = %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}

// FuzzSplitLine compares with the expression that defines the format in Choria.
func FuzzSplitLine(f *testing.F) {
	for _, s := range []string{"a = b", "= = b", "==", "#a=b", " a\v=\u0085 b ", "a=b=c", "\xff=\xff", "a\r=b"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`(.+?)\s*=\s*(.+)`)
	f.Fuzz(func(t *testing.T, line string) {
		line = strings.ReplaceAll(line, "\n", " ")
		key, value, ok := splitLine(line)
		var want []string
		if !skipped(line) {
			want = form.FindStringSubmatch(strings.TrimSpace(line))
		}
		if ok != (want != nil) || ok && (key != want[1] || value != want[2]) {
			t.Errorf("splitLine(%q) = %q, %q, %v; want %q", line, key, value, ok, want)
		}
	})
}

// FuzzConfigLines reads whole files: a value is either in force or named in a warning, and the password is never shown.
func FuzzConfigLines(f *testing.F) {
	f.Add("ttl = 5\ncolor = x\nplugin.nats.pass = p4ssw0rd\nlibdir=/a:/b\n")
	f.Add("plugin.choria.network.connect_timeout = 1.5d\ncollectives = a,,b\ndefault_discovery_options = =")
	f.Add("identity = \x00\nplugin.choria.middleware_hosts = x://u:p@h\n= =\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader(Environment{Getenv: noVariable, Hostname: func() (string, error) { return "h", nil }})
		if err := l.readLines(strings.NewReader(text), source{path: "f", typed: true}); err != nil {
			t.Fatal(err)
		}
		l.line(source{path: "f", typed: true}, "plugin.nats.pass", "p4ssw0rd-x", "f:0")
		c := l.c
		for _, key := range c.Keys() {
			value, ok := c.Get(key)
			if !ok || c.Origin(key) == "" {
				t.Errorf("%q has a value %q and no origin", key, value)
			}
		}
		if v, _ := c.Get("plugin.nats.pass"); v != redacted {
			t.Errorf("the password is shown as %q", v)
		}
		if c.TTL%time.Second != 0 || c.ConnectTimeout == math.MinInt64 {
			t.Errorf("ttl %v, connect timeout %v", c.TTL, c.ConnectTimeout)
		}
		for _, list := range [][]string{c.Collectives, c.LibDirs, c.MiddlewareHosts, c.Security.Privileged} {
			if slices.Contains(list, "") {
				t.Errorf("an empty element in %q", list)
			}
		}
	})
}

func noVariable(string) (string, bool) { return "", false }

// failing is a file that breaks off.
type failing struct{ io.Reader }

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A file that breaks off is not half a configuration; one with a line that is too long is, as it is for Choria.
func TestReadErrorEndsLoading(t *testing.T) {
	l := newLoader(Environment{Getenv: noVariable})
	if err := l.readLines(failing{strings.NewReader("ttl = 30\n")}, source{path: "f", typed: true}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
	long := "ttl = 35\nidentity = " + strings.Repeat("x", 70_000) + "\n"
	if err := l.readLines(strings.NewReader(long), source{path: "f", typed: true}); err != nil || l.c.TTL != 35*time.Second {
		t.Errorf("ttl %v, %v", l.c.TTL, err)
	}
	warned(t, l.c, []string{"f:2 cannot be read"})
}
