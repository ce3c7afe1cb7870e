package detached

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Peril is what ends a process of this session besides itself. The zero value is none.
type Peril struct {
	What   string // completes "the run ends when"
	Remedy string // the commands that start a run without it; "" where there are none
}

// The places of systemd and of containers, below the root of the file system.
const (
	cgroupFile = "proc/self/cgroup"
	lingerDir  = "var/lib/systemd/linger"
)

// logindPlaces hold the configuration of systemd-logind, the weakest first.
var logindPlaces = []string{"usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"}

// containerMarks are files that container engines put into their containers.
var containerMarks = []string{".dockerenv", "run/.containerenv"}

// The control groups in which systemd puts processes.
var groups = sync.OnceValue(func() (g struct{ session, manager, service *regexp.Regexp }) {
	g.session = regexp.MustCompile(`(?m)/session-[^/]+\.scope(/|$)`)
	g.manager = regexp.MustCompile(`(?m)/user@[0-9]+\.service(/|$)`)
	g.service = regexp.MustCompile(`(?m)/system\.slice/(?:.*/)?([^/]+\.service)(/|$)`)
	return g
})

// remedy keeps a run of a session: the scope is not the session's, and lingering keeps the user's systemd alive.
const remedy = "loginctl enable-linger, then put this before the command: systemd-run --user --scope"

// Ends finds what ends a process of this session at the end of the session, or sooner. root is the root of the file
// system, user the name of the user. Where nothing can be read, nothing is known.
func Ends(root fs.FS, user string) Peril {
	group, _ := fs.ReadFile(root, cgroupFile)
	lingers := exists(root, path.Join(lingerDir, user))
	switch g, of := groups(), string(group); {
	case g.session.MatchString(of) && killsUser(root, user):
		return Peril{"you log out (KillUserProcesses of systemd-logind)", remedy}
	case g.manager.MatchString(of) && !lingers:
		return Peril{"your last session ends, because this user does not linger (systemd)", "loginctl enable-linger"}
	case slices.ContainsFunc(containerMarks, func(mark string) bool { return exists(root, mark) }):
		return Peril{What: "this container stops"}
	case g.service.MatchString(of):
		return Peril{What: "the system stops " + g.service.FindStringSubmatch(of)[1]}
	}
	return Peril{}
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

// killsUser reports whether systemd-logind kills the processes of this user's sessions when they end (logind.conf(5)): the
// last assignment of each key wins; a file of a stronger place replaces one of the same name.
func killsUser(root fs.FS, user string) bool {
	files := map[string]string{}
	main := ""
	for _, place := range logindPlaces {
		if name := path.Join(place, "logind.conf"); exists(root, name) {
			main = name
		}
		parts, _ := fs.Glob(root, path.Join(place, "logind.conf.d", "*.conf"))
		for _, part := range parts {
			files[path.Base(part)] = part
		}
	}
	kill, only, never := "no", []string{}, []string{"root"}
	read := func(name string) {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
			switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
			case "KillUserProcesses":
				kill = strings.ToLower(value)
			case "KillOnlyUsers":
				only = strings.Fields(value)
			case "KillExcludeUsers":
				never = strings.Fields(value)
			}
		}
	}
	read(main)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		read(files[name])
	}
	yes := slices.Contains([]string{"yes", "true", "on", "1"}, kill)
	return yes && !slices.Contains(never, user) && (len(only) == 0 || slices.Contains(only, user))
}
