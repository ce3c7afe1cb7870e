package lab

import (
	"time"

	"fleetctl/internal/choria"
)

const (
	aliveEvery   = 30 * time.Minute
	shortestDown = 100 * time.Millisecond // between two processes
	longestDown  = 700 * time.Millisecond

	// How long nodes have run when the lab begins.
	shortestUptime = 24 * time.Hour
	longestUptime  = 90 * 24 * time.Hour
)

// boot begins a new process after the given one, which has ended, and sends a startup event. A node
// whose configuration asks for it, or whose token has expired, starts in provisioning mode.
func (n *node) boot(ended int, why string, about *asked) {
	n.linking.Lock()
	n.mu.Lock()
	if n.process != ended || n.runs() {
		n.mu.Unlock()
		n.linking.Unlock()
		return
	}
	n.begin(n.now(), why, about)
	n.starting = true
	n.mu.Unlock()
	n.relink(why, true)
	n.mu.Lock()
	n.starting = false
	process, state := n.process, n.state
	firstAlive := time.Duration(n.rng.IntN(30)) * time.Minute
	n.mu.Unlock()
	n.linking.Unlock()
	n.lab.changed.announce()
	n.publish("startup")
	n.beat(process, n.event("alive"), firstAlive)
	if state == Provisioning && n.lab.options.ProvisionAfter > 0 {
		n.later(n.lab.options.ProvisionAfter, process, func() { n.provisionItself(process) })
	}
}

// enlist is the start of a node that has run for days when the lab begins. Nothing is
// published: its events were sent long ago.
func (n *node) enlist() {
	n.linking.Lock()
	defer n.linking.Unlock()
	n.mu.Lock()
	age := shortestUptime + time.Duration(n.rng.Int64N(int64(longestUptime-shortestUptime)))
	n.configured = true
	n.begin(n.now().Add(-age), "before the lab", nil)
	n.stats.events = 1
	process := n.process
	firstAlive := time.Duration(n.rng.IntN(30)) * time.Minute
	n.mu.Unlock()
	n.relink("before the lab", false)
	n.beat(process, n.event("alive"), firstAlive)
}

// begin is a process that began at the given time by the node's own clock.
// The caller holds mu.
func (n *node) begin(at time.Time, why string, about *asked) {
	if n.tokenExpired() {
		// The server deletes its token and its seed (docs/protocol.md, expired server tokens).
		n.configured, n.stripped = false, true
	}
	n.state = Up
	if !n.configured || n.stripped {
		n.state = Provisioning
	}
	n.process++
	n.started = time.Unix(at.Unix(), 0).UTC()
	n.born = time.Now().Add(at.Sub(n.now()))
	n.stats = counters{}
	n.busy, n.adopted, n.lock = false, false, provisionLock{}
	n.configured = n.state == Up
	n.machines = newMachines(&n.blueprint, n.started)
	n.note(Started, about, why)
}

// beat publishes the same alive event again and again, as real servers do.
func (n *node) beat(process int, e choria.Event, in time.Duration) {
	timer := n.later(in, process, func() {
		n.publishEvent(e)
		n.beat(process, e, aliveEvery)
	})
	n.mu.Lock()
	n.alive = timer
	n.mu.Unlock()
}

// provisionItself is the built-in provisioner. A node that no other provisioner has taken is upgraded first, when it allows
// that and has another version than the provisioner wants; it then comes back in provisioning mode. Else it is
// configured, and restarted. An upgrade that fails does not keep a node from being configured.
func (n *node) provisionItself(process int) {
	wanted := n.lab.options.ProvisionVersion
	n.mu.Lock()
	// A node that has lost its identity needs a new one, which only a true provisioner gives.
	mine := n.process == process && !n.adopted && !n.busy && !n.stripped
	upgrade := mine && wanted != "" && n.upgradable && n.version != wanted && n.fault != UpdateFail
	if mine {
		n.busy, n.configured = true, !upgrade
	}
	n.mu.Unlock()
	switch {
	case upgrade:
		n.upgrade(wanted)
	case mine:
		n.publish("provisioned")
	default:
		return
	}
	n.restart(process, 2*time.Second, "provisioned", nil)
}

// upgrade swaps the program, and logs it; the new program runs after the next restart.
func (n *node) upgrade(version string) {
	e := n.event("upgraded")
	e.NewVersion = version
	n.publishEvent(e)
	n.mu.Lock()
	n.version = version
	n.mu.Unlock()
}

// restart is what a server does after it has accepted a restart: the shutdown event at
// once, a new process after the delay. Meanwhile the provisioning agent is stalled; the
// caller has set busy.
func (n *node) restart(process int, delay time.Duration, why string, about *asked) {
	n.publish("shutdown")
	n.later(delay, process, func() {
		n.mu.Lock()
		down := shortestDown + time.Duration(n.rng.Int64N(int64(longestDown-shortestDown)))
		broken := n.broken
		if broken {
			// There is no program to execute: the old process stays.
			n.busy = false
			n.note(Acted, about, why+": the program is missing, the process stays")
		} else {
			n.note(Acted, about, why)
		}
		n.mu.Unlock()
		switch {
		case broken:
		case n.fault == NoReturn:
			n.end(process, Down, why, about)
		case n.end(process, Restarting, why, about):
			n.lab.after(down, func() { n.boot(process+1, why, about) })
		}
	})
}

// end ends a process, and with it all that it had begun. It reports false when that
// process had ended before. Process numbers grow by one with each beginning and each end.
func (n *node) end(process int, state State, why string, about *asked) bool {
	n.linking.Lock()
	defer n.linking.Unlock()
	n.mu.Lock()
	if n.process != process {
		n.mu.Unlock()
		return false
	}
	n.ending = true
	n.mu.Unlock()
	n.relink(why, true) // first, so that a node that is seen down has no subscription left
	n.mu.Lock()
	n.process++
	n.state, n.ending, n.frozen, n.severed = state, false, false, false
	n.waiting, n.outbox = nil, nil
	alive := n.alive
	n.note(Ended, about, why)
	n.mu.Unlock()
	if alive != nil {
		alive.Stop()
	}
	n.lab.changed.announce()
	return true
}

// kill ends whatever process the node has, at once and silently. A node between two
// processes does not come back either.
func (n *node) kill() { n.end(n.generation(), Down, "killed by hand", nil) }

// restartByHand is `systemctl restart`: the process ends with its event, a frozen one
// without, and the next one begins. A node that is down starts.
func (n *node) restartByHand() {
	const why = "by hand"
	n.mu.Lock()
	process, says := n.process, n.runs() && !n.frozen
	down := shortestDown + time.Duration(n.rng.Int64N(int64(longestDown-shortestDown)))
	n.mu.Unlock()
	if says {
		n.publish("shutdown")
	}
	if n.end(process, Restarting, why, nil) {
		n.lab.after(down, func() { n.boot(process+1, why, nil) })
	}
}

func (n *node) generation() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process
}

// now is the node's own clock. The caller holds mu.
func (n *node) now() time.Time { return time.Now().Add(n.clock) }

// tokenExpired reports whether the node's token has ended by its own clock. The caller
// holds mu.
func (n *node) tokenExpired() bool { return !n.tokenEnd.IsZero() && !n.now().Before(n.tokenEnd) }

// event makes a lifecycle event of the present process.
func (n *node) event(kind string) choria.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	component := "server"
	if n.state == Provisioning {
		component = "provision_mode_server"
	}
	return choria.Event{
		Type: kind, ID: newID(), Identity: n.identity, Component: component, Version: n.version,
		Time: time.Unix(n.now().Unix(), 0).UTC(),
	}
}

func (n *node) publish(kind string) { n.publishEvent(n.event(kind)) }

func (n *node) publishEvent(e choria.Event) {
	switch e.Type {
	case "startup", "alive", "upgraded":
	default:
		e.Version = ""
	}
	data, err := choria.EncodeEvent(e, false)
	if err != nil {
		n.lab.log.Error("event does not encode", "node", n.identity, "error", err)
		return
	}
	n.mu.Lock()
	nursery := n.state == Provisioning
	n.stats.events++
	n.mu.Unlock()
	n.send(nursery, choria.LifecycleSubject(e.Type, e.Component), data)
}
