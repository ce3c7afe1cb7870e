package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// settled are the fields of Config that say nothing of what a key does.
var settled = cmp.Options{cmpopts.IgnoreUnexported(Config{}, Security{}), cmpopts.IgnoreFields(Config{}, "File", "Files", "Warnings"), cmpopts.EquateEmpty()}

// unchanged are documented names that change no field here and are shown by no test yet, with the reason.
var unchanged = map[string]string{
	"NO_COLOR": "read where output is opened: the test at a terminal belongs there",
	"TERM":     "as NO_COLOR",
}

// turned is a value of a key that is not its default.
func turned(name string, f *field) string {
	byKind := map[kind]string{
		kindText: "text", kindPath: "/some/path", kindSecret: "hunter2", kindInt: "17", kindSeconds: "17",
		kindDuration: "17s", kindComma: "a, b", kindPaths: "/a:/b", kindLines: "k=v", kindBool: "yes",
	}
	switch {
	case name == "default_discovery_method":
		return "external"
	case name == "rpclimitmethod":
		return "random"
	case name == keyProvider:
		return "file"
	case f.kind == kindBool && f.def == "true":
		return "no"
	}
	return byKind[f.kind]
}

// surroundings are the lines without which a key has nothing to do.
func surroundings(name string) []string {
	issuers := []string{"plugin.security.issuer.a.public = 00", "plugin.security.issuer.b.public = 00", "plugin.security.issuer.NAME.public = 00"}
	switch {
	case strings.HasPrefix(name, "plugin.security.file."):
		return []string{"plugin.security.provider = file"}
	case strings.HasPrefix(name, "plugin.security.choria."):
		return []string{"plugin.security.provider = choria"}
	case name == keyAnonTLS:
		return []string{"plugin.choria.security.request_signer.service = true"}
	case name == "plugin.security.issuer.NAME.public":
		return []string{keyIssuerNames + " = NAME"}
	}
	return issuers
}

// TestEveryDocumentedKeyChangesTheConfiguration turns each key of the table.
func TestEveryDocumentedKeyChangesTheConfiguration(t *testing.T) {
	fields := fieldsOf(new(Config))
	for _, d := range documentedNames {
		for _, name := range d.Names {
			if d.Place != Key {
				continue
			}
			f := fields[name]
			value := "00ff"
			if f != nil {
				value = turned(name, f)
			} else if name != "plugin.security.issuer.NAME.public" {
				t.Errorf("%s is documented and not known", name)
				continue
			}
			tr := newTree(t)
			before := tr.load(tr.write("etc/before.conf", surroundings(name)...))
			after := tr.load(tr.write("etc/after.conf", append(surroundings(name), name+" = "+value)...))
			if cmp.Equal(before, after, settled) {
				t.Errorf("%s = %s changes nothing", name, value)
			}
		}
	}
}

// TestEveryDocumentedVariableIsShown turns those that change the configuration, and looks for the tests of the others.
func TestEveryDocumentedVariableIsShown(t *testing.T) {
	values := map[string]string{"INSECURE_ANON_TLS": "true", "INSECURE_DISABLE_TLS": "true", "INSECURE_YES_REALLY": "true"}
	lines := []string{
		"plugin.choria.security.request_signer.service = true", "plugin.nats.user = file", "plugin.nats.pass = file", "plugin.nats.credentials = /file",
		"plugin.choria.services.registry.cache = /file",
	}
	for _, d := range documentedNames {
		for _, name := range d.Names {
			if d.Place != Variable || unchanged[name] != "" {
				continue
			}
			if d.Shown != "" {
				text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(d.Shown)))
				if err != nil || !strings.Contains(string(text), name) {
					t.Errorf("%s: its test %s does not name it (%v)", name, d.Shown, err)
				}
				continue
			}
			value := values[name]
			if value == "" {
				value = "turned"
			}
			tr := newTree(t)
			path := tr.write("etc/c.conf", lines...)
			before := tr.load(path)
			tr.setenv(name, value)
			if after := tr.load(path); cmp.Equal(before, after, settled) && before.NatsPass.Equal(after.NatsPass) {
				t.Errorf("%s=%s changes nothing, and no test is named", name, value)
			}
		}
	}
	for name, reason := range unchanged {
		if !slices.ContainsFunc(documentedNames, func(d documented) bool { return slices.Contains(d.Names, name) }) || reason == "" {
			t.Errorf("the exception %s is not documented, or has no reason", name)
		}
	}
}

// TestEverySettingIsDocumentedAndChangesTheSettings walks both tables.
func TestEverySettingIsDocumentedAndChangesTheSettings(t *testing.T) {
	values := map[string]string{"max_nodes": "5", "signer_ca": "/ca", "on_event": "cat", "lock": "web", "max_down": "5", "prometheus": "http://p.example.net", "approvals": "[{action: shutdown, need: 1}]", "collectives": "{production: {lock: production}}", "sites": "{ams: {config: /etc/ams.conf}}"}
	var documented, known []string
	for _, d := range documentedNames {
		if d.Place == Own {
			documented = append(documented, d.Names...)
		}
	}
	for _, k := range settingKeys {
		known = append(known, k.name)
		value := values[k.name]
		if value == "" {
			value = "true"
		}
		if s, err := parseSettings([]byte(k.name + ": " + value)); err != nil || s.IsZero() {
			t.Errorf("%s: %s gives %+v, %v", k.name, value, s, err)
		}
	}
	if d := cmp.Diff(documented, known); d != "" {
		t.Errorf("documented and known settings: %s", d)
	}
}

// TestConfigurationPageShowsTheTable: docs/configuration.md has the rows of the table, in its order, and no others.
func TestConfigurationPageShowsTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for place, head := range map[Place]string{Key: "| Key | Default | Means |\n", Variable: "| Variable | Effect |\n", Own: "| Setting | Effect |\n"} {
		_, rest, ok := strings.Cut(string(page), head)
		if !ok {
			t.Errorf("the page has no table %q", head)
			continue
		}
		_, rest, _ = strings.Cut(rest, "\n") // the rule below the head
		body, _, _ := strings.Cut(rest, "\n\n")
		var want []string
		for _, d := range documentedNames {
			if d.Place == place {
				want = append(want, d.Line())
			}
		}
		if d := cmp.Diff(want, strings.Split(body, "\n")); d != "" {
			t.Errorf("table %q: -want +page:\n%s", head, d)
		}
	}
}

func TestNamesAreDocumentedOnce(t *testing.T) {
	type place struct {
		own  bool // in our own file: Choria has a key collectives, too
		name string
	}
	seen := map[place]bool{}
	for _, d := range documentedNames {
		for _, name := range d.Names {
			at := place{d.Place == Own, name}
			if seen[at] {
				t.Errorf("%s is documented twice", name)
			}
			seen[at] = true
		}
	}
}
