package secret

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesOfSecrets(t *testing.T) {
	for name, want := range map[string]bool{
		"token": true, "TOKEN": true, "Token": true, "tokens": true, "FLEETCTL_TOKEN": true, "authtoken": true, "accessToken": true,
		"password": true, "new_password": true, "newPassword": true, "FLEETCTL_PASSWORD": true, "db-password-2": true, "passwd": true,
		"passphrase": true, "key_passphrase": true, "secret": true, "clientSecret": true, "secrets": true,
		"key": true, "api_key": true, "apiKey": true, "APIKey": true, "api-key": true, "private.key": true, "key2": false, "key_2": true,
		"pass": true, "ldap.bind_pass": true, "bindPass": true, "psk": true, "plugin.psk": true, "PSK": true,
		"monkey": false, "keyring": false, "compass": false, "passed": false, "bypass": false, "apikeys": false,
		"splay": false, "name": false, "": false, "identity": false, "user": false, "...": false, "ключ": false, "pässword": false,
	} {
		if got := Name(name); got != want {
			t.Errorf("Name(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestConfigurationKeysOfSecrets(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		want       bool
	}{
		{"plugin.nats.pass", "hunter2", true},
		{"plugin.psk", "abc", true},
		{"ldap.bind_pass", "abc", true},
		{"api_key", "abc", true},
		{"plugin.x.token", "eyJ.x.y", true},
		{"plugin.security.choria.token_file", "abc", false},
		{"plugin.x.secret_path", "abc", false},
		{"plugin.x.secretDir", "abc", false},
		{"plugin.security.choria.key", "/etc/choria/key.pem", false},
		{"plugin.security.choria.key", "~/key.pem", false},
		{"plugin.security.choria.key", "../key.pem", false},
		{"plugin.security.choria.key", `C:\choria\key.pem`, false},
		{"plugin.security.choria.key", "key.pem", true}, // as likely a secret as a file: hidden
		{"plugin.x.token", "/etc/choria/token", false},
		{"plugin.nats.pass", "/etc/choria/pass", true}, // a password may look like a path
		{"plugin.psk", "/a/b", true},
		{"api_key", "/9j4AAQSkZJRgABAQAAAQ==", true},
		{"api_key", "/9j/4AAQ+kZJRgABAQAAAQ", true},
		{"api_key", "/short", true},
		{"file_password", "x", true},
		{"collectives", "a", false},
		{"", "x", false},
	} {
		if got := Key(tc.key, tc.value); got != tc.want {
			t.Errorf("Key(%q, %q) = %v, want %v", tc.key, tc.value, got, tc.want)
		}
	}
}

// FuzzName: case of a whole name does not matter where it has separators, and a secret word stays one whatever is put
// around it with separators.
func FuzzName(f *testing.F) {
	f.Add("plugin", "pass", "file")
	f.Add("a.b", "apiKey", "x")
	f.Fuzz(func(t *testing.T, before, name, after string) {
		if !utf8.ValidString(before + name + after) {
			return
		}
		if Name(name) && !Name(before+"."+name+"."+after) {
			t.Errorf("%q is secret, within %q and %q it is not", name, before, after)
		}
		if Key(name, before) && !Name(name) {
			t.Errorf("key %q is secret and the name is not", name)
		}
		if strings.Contains(strings.ToLower(name), "password") && strings.ToLower(name) == name && !Name(name) {
			t.Errorf("%q is not secret", name)
		}
	})
}
