package lab

import (
	"time"

	"fleetctl/internal/choria"

	"github.com/nats-io/nats.go"
)

const (
	aliveEvery   = 30 * time.Minute
	shortestDown = 100 * time.Millisecond // between two processes
	longestDown  = 700 * time.Millisecond
)

// boot begins a new process in state Up or Provisioning, and says so. The very first
// boot is silent: nobody can have been listening.
func (n *node) boot(state State, first bool) {
	n.mu.Lock()
	n.process++
	process := n.process
	now := time.Unix(time.Now().Unix(), 0).UTC()
	// Start times have whole seconds; proof of a restart is a later one.
	if !now.After(n.started) {
		now = n.started.Add(time.Second)
	}
	n.state, n.started = state, now
	n.stats = counters{}
	n.busy, n.adopted, n.lock = false, false, provisionLock{}
	n.configured = state == Up
	n.machines = newMachines(&n.blueprint, now)
	if first {
		n.stats.events = 1
	}
	firstAlive := time.Duration(n.rng.IntN(30)) * time.Minute
	n.mu.Unlock()
	n.lab.changed.announce()
	if !first {
		n.publish("startup")
	}
	n.beat(process, n.event("alive"), firstAlive)
	if state == Provisioning && n.lab.options.ProvisionAfter > 0 {
		n.later(n.lab.options.ProvisionAfter, process, func() { n.provisionItself(process) })
	}
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

// provisionItself is the built-in provisioner. A node that nobody else has taken on is upgraded first, when it allows
// that and has another version than the provisioner wants; it then comes back in provisioning mode. Else it is
// configured, and restarted.
func (n *node) provisionItself(process int) {
	wanted := n.lab.options.ProvisionVersion
	n.mu.Lock()
	mine := n.process == process && !n.adopted && !n.busy
	upgrade := mine && wanted != "" && n.upgradable && n.version != wanted
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
	n.restart(process, 2*time.Second)
}

// upgrade swaps the program, and says so; the new one runs after the next restart.
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
func (n *node) restart(process int, delay time.Duration) {
	n.publish("shutdown")
	n.later(delay, process, func() {
		n.mu.Lock()
		next := Up
		if !n.configured {
			next = Provisioning
		}
		down := shortestDown + time.Duration(n.rng.Int64N(int64(longestDown-shortestDown)))
		n.mu.Unlock()
		if n.fault == NoReturn {
			n.stop(Down)
			return
		}
		n.stop(Restarting)
		n.lab.after(down, func() { n.boot(next, false) })
	})
}

// stop ends the present process, and with it all that it had begun.
func (n *node) stop(state State) {
	n.mu.Lock()
	n.process++
	n.state, n.waiting = state, nil
	alive := n.alive
	n.mu.Unlock()
	if alive != nil {
		alive.Stop()
	}
	n.lab.changed.announce()
}

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
		Time: time.Unix(time.Now().Unix(), 0).UTC(),
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
	conn := n.conn()
	n.stats.events++
	n.mu.Unlock()
	n.send(conn, choria.LifecycleSubject(e.Type, e.Component), data)
}

// conn is the connection of the account that the process is in. The caller holds mu.
func (n *node) conn() *nats.Conn {
	if n.state == Provisioning {
		return n.lab.broker.nursery
	}
	return n.lab.broker.main
}

func (n *node) send(conn *nats.Conn, subject string, data []byte) {
	if err := conn.Publish(subject, data); err != nil {
		n.lab.log.Debug("publish", "node", n.identity, "subject", subject, "error", err)
	}
}
