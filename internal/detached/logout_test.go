package detached

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestWhatEndsARunAtLogout(t *testing.T) {
	const (
		session = "0::/user.slice/user-1000.slice/session-3.scope\n"
		manager = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-1.scope\n"
		service = "0::/system.slice/gitlab-runner.service\n"
	)
	for _, tt := range []struct {
		name, user string
		files      map[string]string
		what       string // "" is nothing
		remedy     string
	}{
		{"nothing can be read", "op", nil, "", ""},
		{"a session that is not killed", "op", map[string]string{cgroupFile: session}, "", ""},
		{"killed", "op", map[string]string{cgroupFile: session, "etc/systemd/logind.conf": "[Login]\n#KillUserProcesses=no\nKillUserProcesses=yes\n"}, "you log out", "systemd-run --user --scope"},
		{"lingering does not help a session", "op", map[string]string{cgroupFile: session, "usr/lib/systemd/logind.conf": "KillUserProcesses = true", lingerDir + "/op": ""}, "you log out", "enable-linger"},
		{"a drop-in wins", "op", map[string]string{cgroupFile: session, "etc/systemd/logind.conf": "KillUserProcesses=yes", "usr/lib/systemd/logind.conf.d/x.conf": "KillUserProcesses=no"}, "", ""},
		{"a stronger drop-in of the same name", "op", map[string]string{cgroupFile: session, "usr/lib/systemd/logind.conf.d/x.conf": "KillUserProcesses=no", "etc/systemd/logind.conf.d/x.conf": "KillUserProcesses=yes"}, "you log out", "enable-linger"},
		{"a stronger file", "op", map[string]string{cgroupFile: session, "usr/lib/systemd/logind.conf": "KillUserProcesses=yes", "etc/systemd/logind.conf": "KillUserProcesses=no"}, "", ""},
		{"root is excluded", "root", map[string]string{cgroupFile: session, "etc/systemd/logind.conf": "KillUserProcesses=yes"}, "", ""},
		{"root is not excluded", "root", map[string]string{cgroupFile: session, "etc/systemd/logind.conf": "KillUserProcesses=yes\nKillExcludeUsers=ann"}, "you log out", "enable-linger"},
		{"only others", "op", map[string]string{cgroupFile: session, "etc/systemd/logind.conf": "KillUserProcesses=yes\nKillOnlyUsers=ann bob"}, "", ""},
		{"the user's own systemd", "op", map[string]string{cgroupFile: manager}, "your last session ends", "loginctl enable-linger"},
		{"the user's own systemd lingers", "op", map[string]string{cgroupFile: manager, lingerDir + "/op": ""}, "", ""},
		{"another user lingers", "op", map[string]string{cgroupFile: manager, lingerDir + "/ann": ""}, "your last session ends", "loginctl enable-linger"},
		{"a service", "op", map[string]string{cgroupFile: service}, "the system stops gitlab-runner.service", ""},
		{"a container", "op", map[string]string{cgroupFile: "0::/\n", ".dockerenv": ""}, "this container stops", ""},
		{"another kind of container", "op", map[string]string{"run/.containerenv": ""}, "this container stops", ""},
		{"several hierarchies", "op", map[string]string{cgroupFile: "12:pids:/x\n1:name=systemd:/user.slice/user-1.slice/session-c2.scope\n0::/\n", "etc/systemd/logind.conf": "KillUserProcesses=1"}, "you log out", "enable-linger"},
	} {
		root := fstest.MapFS{}
		for name, text := range tt.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		got := Ends(root, tt.user)
		if (tt.what == "") != (got.What == "") || !strings.Contains(got.What, tt.what) || (tt.remedy == "") != (got.Remedy == "") || !strings.Contains(got.Remedy, tt.remedy) {
			t.Errorf("%s: %+v, want %q and %q", tt.name, got, tt.what, tt.remedy)
		}
	}
}
