package lab

import (
	"fmt"
	"net/url"
	"time"
)

const (
	// agentTime is after how long a server drops the reply of choria_provision.
	agentTime = 20 * time.Second
	// How long the download and the swap of a release take.
	shortestUpdate, longestUpdate = time.Second, 4 * time.Second
	// And when it is late: the reply is dropped, the update happens.
	shortestLate, longestLate = agentTime + 2*time.Second, agentTime + 20*time.Second

	program = "/usr/sbin/choria"
)

// provisionUpdate pretends: a release is taken to exist where the repository is a URL of
// the web. The agent answers when the update has ended, one way or another, and holds its
// mutex until then (docs/protocol.md, choria_provision).
func provisionUpdate(c *call) result {
	if bad := c.inMode("Cannot update a server that is not in provisioning mode"); bad != nil {
		return *bad
	}
	n := c.node
	if !n.upgradable {
		return *aborted("Version updates is not enabled in the configuration")
	}
	var args struct {
		Token      string `json:"token"`
		Repository string `json:"repository"`
		Version    string `json:"version"`
	}
	if bad := c.begin(&args, &args.Token); bad != nil {
		return *bad
	}
	if problem := findRelease(args.Repository, args.Version); problem != "" {
		return *aborted("Update to version %s failed, release rolled back: %s", args.Version, problem)
	}
	shortest, longest := shortestUpdate, longestUpdate
	if n.fault == UpdateLate {
		shortest, longest = shortestLate, longestLate
	}
	takes := shortest + time.Duration(n.rng.Int64N(int64(longest-shortest)))
	n.busy = true
	return result{quiet: true, then: func(process int) {
		n.later(takes, process, func() { n.updated(c.arrival, args.Version, takes <= agentTime) })
	}}
}

// findRelease returns the updater's words for what it cannot look for.
func findRelease(repository, version string) string {
	switch u, err := url.Parse(repository); {
	case repository == "":
		return "invalid updater configuration: no source repo given, please use SourceRepo()"
	case version == "":
		return "invalid updater configuration: no version given, please use Version()"
	case err != nil:
		return fmt.Sprintf("release %s not found: could not download release spec: %v", version, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Sprintf("release %s not found: could not download release spec: Get %q: unsupported protocol scheme %q",
			version, repository+"/"+version+"/linux/amd64/release.json", u.Scheme)
	default:
		return ""
	}
}

// updated is the end of an update.
func (n *node) updated(a *arrival, version string, inTime bool) {
	about := &a.asked
	var r result
	switch n.fault {
	case UpdateFail:
		r = *aborted("Update to version %s failed, release rolled back: downloaded file had an invalid checksum", version)
	case UpdateBroken:
		r = *aborted("Update to version %s failed, rollback also failed, server in broken state: rename %s.backup %s: no such file or directory", version, program, program)
	default:
		n.upgrade(version)
	}
	n.mu.Lock()
	switch n.fault {
	case UpdateFail, UpdateBroken:
		n.busy, n.broken = false, n.fault == UpdateBroken
	default:
		n.note(Acted, about, "updated to "+version)
		r = n.restartAfter(2*time.Second, "Restarting Choria Server after %v", about)
	}
	r.quiet = r.quiet || !inTime
	n.finish(a, n.encodeResult(a, r))
}
