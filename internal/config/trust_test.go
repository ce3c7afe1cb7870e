//go:build unix

package config

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// project makes DIR/a/b with a choria.conf in a, and stands in b. me is who runs it; owners says whose paths are, by what
// stands in the tree; all others belong to me.
func project(t *testing.T, me int, owners map[string]int) (tr *tree, main, file string) {
	t.Helper()
	tr = newTree(t)
	main = tr.write("etc/client.conf", "plugin.choria.middleware_hosts = good:4222")
	file = tr.write("a/choria.conf", "plugin.choria.discovery.external.command = /a/program", "plugin.choria.middleware_hosts = other:4222", "plugin.security.file.key = /a/key")
	tr.env.Dir = filepath.Join(tr.dir, "a", "b")
	if err := os.MkdirAll(tr.env.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tr.env.UID = me
	tr.env.owner = func(path string, _ fs.FileInfo) int {
		in, ok := strings.CutPrefix(path, tr.dir+"/")
		if !ok {
			return 0 // the way to the tree is root's
		}
		if uid, ok := owners[in]; ok {
			return uid
		}
		return me
	}
	return tr, main, file
}

// TestProjectFilesThatCount is the whole rule: whose file and folders count, and who may write them.
func TestProjectFilesThatCount(t *testing.T) {
	const me, root, stranger = 1000, 0, 1001
	chmod := func(name string, mode fs.FileMode) func(*tree) {
		return func(tr *tree) {
			if err := os.Chmod(filepath.Join(tr.dir, name), mode); err != nil {
				tr.t.Fatal(err)
			}
		}
	}
	link := func(target, name string) func(*tree) {
		return func(tr *tree) {
			path := filepath.Join(tr.dir, name)
			if err := os.RemoveAll(path); err != nil {
				tr.t.Fatal(err)
			}
			if err := os.Symlink(strings.ReplaceAll(target, "DIR", tr.dir), path); err != nil {
				tr.t.Fatal(err)
			}
		}
	}
	elsewhere := func(mode fs.FileMode) func(*tree) {
		return func(tr *tree) {
			tr.write("else/where/real.conf", "plugin.choria.middleware_hosts = other:4222")
			chmod("else/where", mode)(tr)
		}
	}
	both := func(steps ...func(*tree)) func(*tree) {
		return func(tr *tree) {
			for _, s := range steps {
				s(tr)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		owners map[string]int
		change func(*tree)
		why    string // "" when it counts; DIR is the tree
	}{
		{"ours", nil, nil, ""},
		{"root's", map[string]int{"a/choria.conf": root, "a": root}, nil, ""},
		{"a stranger's file", map[string]int{"a/choria.conf": stranger}, nil, "DIR/a/choria.conf belongs to user 1001"},
		{"a stranger's folder", map[string]int{"a": stranger}, nil, "DIR/a belongs to user 1001"},
		{"all may write the file", nil, chmod("a/choria.conf", 0o646), "others can write DIR/a/choria.conf"},
		{"a group may write the file", nil, chmod("a/choria.conf", 0o664), "others can write DIR/a/choria.conf"},
		{"all may write the folder", nil, chmod("a", 0o777), "others can write its folder DIR/a"},
		{"a group may write the folder", nil, chmod("a", 0o775), "others can write its folder DIR/a"},
		{"a folder like /tmp holds it", nil, chmod("a", 0o777|fs.ModeSticky), "others can write its folder DIR/a"},
		{"a folder like /tmp on the way", nil, chmod(".", 0o777|fs.ModeSticky), ""},
		{"a folder like /tmp on the way, a stranger's folder in it", map[string]int{"a": stranger}, chmod(".", 0o777|fs.ModeSticky), "DIR/a belongs to user 1001"},
		{"an open folder on the way", nil, chmod(".", 0o777), "others can write its folder DIR"},
		{"below it, all may write", nil, chmod("a/b", 0o777), ""}, // the file is not in there
		{"a link to our file", nil, both(elsewhere(0o755), link("DIR/else/where/real.conf", "a/choria.conf")), ""},
		{"a relative link to our file", nil, both(elsewhere(0o755), link("../else/./where/../where/real.conf", "a/choria.conf")), ""},
		{"a stranger's link to our file", map[string]int{"a/choria.conf": stranger}, both(elsewhere(0o755), link("DIR/else/where/real.conf", "a/choria.conf")), "DIR/a/choria.conf belongs to user 1001"},
		{"a link to a stranger's file", map[string]int{"else/where/real.conf": stranger}, both(elsewhere(0o755), link("../else/where/real.conf", "a/choria.conf")), "DIR/else/where/real.conf belongs to user 1001"},
		{"a link into an open folder", nil, both(elsewhere(0o777), link("DIR/else/where/real.conf", "a/choria.conf")), "others can write its folder DIR/else/where"},
		{"a link into a folder like /tmp", nil, both(elsewhere(0o777|fs.ModeSticky), link("../else/where/real.conf", "a/choria.conf")), "others can write its folder DIR/else/where"},
		{"a link in an open folder", nil, both(elsewhere(0o755), link("DIR/else/where/real.conf", "a/choria.conf"), chmod("a", 0o777|fs.ModeSticky)), "others can write its folder DIR/a"},
		{"a folder that is a stranger's link", map[string]int{"a": stranger}, func(tr *tree) {
			if err := os.Rename(filepath.Join(tr.dir, "a"), filepath.Join(tr.dir, "real")); err != nil {
				tr.t.Fatal(err)
			}
			link("real", "a")(tr)
		}, "DIR/a belongs to user 1001"},
		{"a device", nil, link("/dev/null", "a/choria.conf"), "/dev/null is not a regular file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr, main, file := project(t, me, tc.owners)
			if tc.change != nil {
				tc.change(tr)
			}
			c := tr.load(main)
			counts := len(c.MiddlewareHosts) == 1 && c.MiddlewareHosts[0] == "other:4222"
			if counts != (tc.why == "") {
				t.Errorf("it counts: %v; warnings %q", counts, c.Warnings)
			}
			if tc.why != "" {
				warned(t, c, []string{file + " is passed over: " + strings.ReplaceAll(tc.why, "DIR", tr.dir)})
				if len(c.Files) != 1 {
					t.Errorf("files %q", c.Files)
				}
			}
		})
	}
}

// TestProjectFileNamesItsDangers: a command, a broker and a credential from a choria.conf that counts are named.
func TestProjectFileNamesItsDangers(t *testing.T) {
	tr, main, file := project(t, 1000, nil)
	warned(t, tr.load(main), []string{file + ":1", "discovery.external.command", "/a/program"}, []string{file + ":2", "broker", "other:4222"}, []string{file + ":3", "security", "/a/key"})
}

// TestAStrangersFileIsPassedOver asks the file system itself, which only root can prepare.
func TestAStrangersFileIsPassedOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	tr := newTree(t)
	main := tr.write("etc/client.conf", "ttl = 35")
	file := tr.write("work/choria.conf", "ttl = 36")
	if err := os.Chown(file, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	c := tr.load(main)
	if got := fmt.Sprint(c.TTL); got != "35s" {
		t.Errorf("ttl %s", got)
	}
	warned(t, c, []string{file + " is passed over", "belongs to user 1001"})
}

// TestANamedFileIsTheOperatorsWord: --config and FLEETCTL_CONFIG are not examined.
func TestANamedFileIsTheOperatorsWord(t *testing.T) {
	tr := newTree(t)
	path := tr.write("etc/client.conf", "ttl = 35")
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	c := tr.load(path)
	if got := fmt.Sprint(c.TTL); got != "35s" {
		t.Errorf("ttl %s", got)
	}
	warned(t, c)
}

func TestPluginDirectoryOutsideAHomeThatIsTheRoot(t *testing.T) {
	for home, want := range map[string]string{"/": "36s", "": "36s", "HERE/e": "36s", "HERE/etc": "35s", "HERE/etc/": "35s", "HERE": "35s"} {
		tr := newTree(t)
		main := tr.write("etc/client.conf", "ttl = 35")
		tr.write("etc/plugin.d/choria.cfg", "puppetdb_port = 36")
		tr.env.Home = strings.ReplaceAll(home, "HERE", tr.dir)
		c := tr.load(main)
		if got := fmt.Sprint(c.PuppetDBPort == 36); got != fmt.Sprint(want == "36s") {
			t.Errorf("HOME=%s: the drop-in counts: %s", home, got)
		}
		if want == "35s" {
			warned(t, c, []string{"plugin.d has no effect", "home directory"})
		} else {
			warned(t, c)
		}
	}
}

func TestControlCharactersAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"identity = a\x00b":                  `:2): "a\x00b" holds a control character`,
		"plugin.choria.srv_domain = \x1b[2J": `:2): "\x1b[2J" holds a control character`,
		"identity = \u202eevil":              `:2): "\u202eevil" holds a control character`,
		"libdir = /a\u009b":                  `:2): "/a\u009b" holds a control character`,
		"identity = a\xffb":                  `:2): "a\xffb" holds a control character`,
		"plugin.nats.pass = a\x00b":          `:2): "[redacted]" holds a control character`,
		"# a\x00b":                           "",
		"identity = a\tb":                    "",
		"no.such.key = \x1b[2J":              "", // shown as plain text
	} {
		tr := newTree(t)
		path := tr.write("etc/client.conf", "ttl = 35", line)
		_, err := Load(path, tr.env)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), path+want)) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
	tr := newTree(t)
	tr.setenv("CHORIA_SRV_DOMAIN", "a\x1b[2J")
	if _, err := Load(tr.write("etc/client.conf", "ttl = 35"), tr.env); err == nil || !strings.Contains(err.Error(), "environment CHORIA_SRV_DOMAIN") {
		t.Errorf("a variable: %v", err)
	}
}

func TestByteOrderMarkDoesNotHideTheFirstLine(t *testing.T) {
	tr := newTree(t)
	if c := tr.load(tr.write("etc/client.conf", "\ufeffidentity = mark.example", "ttl = 35")); c.Identity != "mark.example" || len(c.Warnings) > 0 {
		t.Errorf("identity %q, warnings %q", c.Identity, c.Warnings)
	}
}

func TestAConfigurationHasABoundedSize(t *testing.T) {
	tr := newTree(t)
	line := "# " + strings.Repeat("x", 1000)
	path := tr.write("etc/client.conf", strings.Split(strings.Repeat(line+"\n", maxFile/1000), "\n")...)
	if _, err := Load(path, tr.env); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%v", err)
	}
	if c := tr.load(tr.write("etc/zero.conf", strings.Repeat("\x00", 70_000))); len(c.Warnings) != 1 {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestSecretKeysAreNotShown(t *testing.T) {
	tr := newTree(t)
	c := tr.load(tr.write("etc/client.conf", "plugin.psk = hunter2", "ldap.bind_pass = hunter2", "api_key = hunter2", "plugin.x.newPassword = hunter2",
		"plugin.security.file.key = certs/key.pem", "plugin.security.choria.token_file = /etc/token", "plugin.other.key = /etc/key"))
	for key, want := range map[string]string{
		"plugin.psk": redacted, "ldap.bind_pass": redacted, "api_key": redacted, "plugin.x.newPassword": redacted,
		"plugin.security.file.key": "certs/key.pem", "plugin.security.choria.token_file": "/etc/token", "plugin.other.key": "/etc/key",
	} {
		if got, _ := c.Get(key); got != want {
			t.Errorf("%s is shown as %q, want %q", key, got, want)
		}
	}
}

func TestTheTimeToLiveThatIsUsedIsShown(t *testing.T) {
	tr := newTree(t)
	c := tr.load(tr.write("etc/client.conf", ""))
	if got, _ := c.Get("ttl"); got != "30" || c.Origin("ttl") != "default" || c.TTL.Seconds() != 30 {
		t.Errorf("ttl is shown as %s (%s), and is %v", got, c.Origin("ttl"), c.TTL)
	}
}
