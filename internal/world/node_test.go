package world

import (
	"fmt"
	"math/rand/v2"
	"time"

	"fleetctl/internal/choria"
)

// traits are what a node is like from the beginning. The zero value is a healthy one.
type traits struct {
	offset      time.Duration // of its clock
	latency     time.Duration
	refuses     bool          // choria_provision: another token
	denies      bool          // rpcutil is not allowed
	mute        bool          // its replies to the action are lost
	replyAfter  time.Duration // what its replies to the action take on their way
	noReturn    bool          // does not start again by itself
	supervisor  time.Duration // what has ended is started again after this; 0: is not
	provisioner time.Duration // in provisioning mode, it is configured and restarted after this; 0: is not
	boot        time.Duration // from the start of a process until it is connected
	announces   string        // instead of the delay: what its reply says
	tokenEnds   time.Duration // after the beginning; 0: never. v2: restarted later, it goes into provisioning
	age         time.Duration // of its first process
	download    time.Duration // what an update takes until the program is swapped
	rollsBack   bool          // an update fails at its end
	installs    string        // the version that an update brings; "": the one asked for
	last        bool          // it goes last
	broker      int
}

// node is one simulated server, with its truth.
type node struct {
	w      *world
	name   string
	traits traits
	rng    *rand.Rand
	offset time.Duration // of its clock, steps included
	steps  int

	up      bool
	gen     int // counts processes
	nursery bool
	began   time.Time // of this process, our clock
	tells   int64     // its start time as it tells it: unix seconds, its own clock
	runs    string    // the version of this process
	disk    string    // and of the next one
	busy    bool      // a pending action holds the agent
	pending string    // the request behind it

	broker     int
	subscribed bool
	joined     time.Time // when this subscription began
	link       int       // changes with every connection
	left       bool      // it is in another account from its next process on
	frozen     bool
	held       []func() // what a frozen process will do
	cut        bool     // its network is silent
	cutIn      []func() // what the network has still to bring to it
	cutOut     []func() // and from it
	outbox     []func() // what its own client has still to send
	freezes    int
	severed    time.Time // when its connection was ended from outside while it was frozen, or its network silent; zero: it was not
	downBy     string    // the request of ours that it is down because of; "": it is up, or went down by itself

	starts   []start
	acts     []act
	received map[string]int // requests of the action that reached its process, by id
	accepted map[string]int
	pledges  []pledge
}

// pledge is a request that a node accepted, to be carried out later.
type pledge struct {
	request string
	at      time.Time
	delay   time.Duration
}

// start is a process of a node: when it began, and why.
type start struct {
	at      time.Time
	why     string
	request string // of ours, when it was the cause
	nursery bool
	version string
}

// act is a request that a node carried out.
type act struct {
	at      time.Time
	request string
}

func (w *world) addNode(tr traits, seed uint64) *node {
	i := len(w.nodes)
	n := &node{
		w: w, name: fmt.Sprintf("n%02d.example.net", i+1), traits: tr, rng: rand.New(rand.NewPCG(seed, uint64(i)+100)),
		offset: tr.offset, broker: tr.broker, received: map[string]int{}, accepted: map[string]int{},
	}
	if n.traits.latency == 0 {
		n.traits.latency = time.Duration(i%7+1)*time.Millisecond + time.Duration(i)*10_007*time.Nanosecond
	}
	if n.traits.boot == 0 {
		n.traits.boot = 700*time.Millisecond + time.Duration(i)*31_013*time.Nanosecond
	}
	if n.traits.age == 0 {
		n.traits.age = 40 * time.Hour
	}
	n.up, n.gen, n.subscribed = true, 1, true
	n.began = time.Now().Add(-n.traits.age)
	n.tells = n.began.Add(n.offset).Unix()
	n.disk = firstVersion(w.action)
	n.runs = n.disk
	n.starts = append(n.starts, start{at: n.began, why: "before the case", version: n.runs})
	w.nodes, w.named[n.name] = append(w.nodes, n), n
	return n
}

func (n *node) clock() time.Time { return time.Now().Add(n.offset) }

func (n *node) logf(format string, args ...any) {
	n.w.logf("%-7s %s", n.name[:3], fmt.Sprintf(format, args...))
}

// later does something in the present process; a frozen one does it when it thaws.
func (n *node) later(d time.Duration, do func()) {
	gen := n.gen
	n.w.after(d, func() { n.run(gen, do) })
}

func (n *node) run(gen int, do func()) {
	switch {
	case !n.up || n.gen != gen:
	case n.frozen:
		n.held = append(n.held, func() { n.run(gen, do) })
	default:
		do()
	}
}

// begin starts a process.
func (n *node) begin(why, request string) {
	if n.up {
		return
	}
	n.gen++
	n.up, n.busy, n.pending, n.frozen, n.held, n.outbox = true, false, "", false, nil, nil
	n.nursery = why == causeReprovision
	if n.w.version == choria.V2 && n.traits.tokenEnds > 0 && time.Since(n.w.begin) > n.traits.tokenEnds && why != causeProvisioner {
		n.nursery = true
		n.w.saw("token expired")
	}
	n.began, n.runs = time.Now(), n.disk
	n.tells = n.clock().Unix()
	n.starts = append(n.starts, start{n.began, why, request, n.nursery, n.runs})
	n.logf("starts: %s", why)
	n.subscribed = false // what a broker may remember of an earlier process reaches nothing
	n.link++
	n.later(n.traits.boot, n.join)
}

const (
	causeReprovision = "reprovisioned"
	causeProvisioner = "provisioner"
)

// finish ends the process.
func (n *node) finish(why string) {
	if !n.up {
		return
	}
	n.up, n.busy, n.subscribed, n.frozen, n.held = false, false, false, false, nil
	n.cutIn, n.cutOut, n.outbox = nil, nil, nil
	n.link++
	n.logf("ends: %s", why)
}

// join connects to a broker that is up, or tries again with a backoff of 0.5 to 20 s.
func (n *node) join() {
	if n.subscribed || n.cut || n.left {
		return
	}
	b := n.w.standing(n.traits.broker)
	if b == nil {
		n.later(n.backoff(), n.join)
		return
	}
	n.broker = b.index
	n.link++
	component := "server"
	if n.nursery {
		component = "provision_mode_server"
		if n.traits.provisioner > 0 {
			n.later(n.traits.provisioner, func() {
				n.finish("configured by the provisioner")
				n.w.after(300*time.Millisecond, func() { n.begin(causeProvisioner, "") })
			})
		}
	} else {
		n.subscribed, n.joined, n.severed, n.downBy = true, time.Now(), time.Time{}, ""
	}
	n.logf("is connected to broker %d", b.index)
	if time.Since(n.began) < n.traits.boot+time.Second {
		n.publishStartup(component)
	}
	for _, out := range n.outbox {
		out()
	}
	n.outbox = nil
}

func (n *node) backoff() time.Duration {
	return 500*time.Millisecond + time.Duration(n.rng.Float64()*float64(19*time.Second))
}

// leave is the end of its connection; the process lives on and reconnects.
func (n *node) leave(why string) {
	if !n.subscribed {
		return
	}
	if n.subscribed = false; n.frozen || n.cut {
		n.severed = time.Now()
	}
	n.link++
	n.logf("is disconnected: %s", why)
	if n.up {
		n.later(n.backoff(), n.join)
	}
}

func (n *node) publishStartup(component string) {
	data, err := choria.EncodeEvent(choria.Event{
		Type: "startup", ID: "01234567-89ab-cdef-0123-456789abcdef", Identity: n.name, Component: component, Version: n.runs, Time: time.Unix(n.tells, 0),
	}, false)
	if err != nil {
		panic(err)
	}
	n.w.broadcast(message{subject: choria.LifecycleSubject("startup", component), data: data})
}

// What happens to nodes, apart from requests.

func (n *node) freeze() {
	if !n.up || n.frozen {
		return
	}
	n.frozen = true
	n.freezes++
	n.logf("is frozen")
	gen, freezes := n.gen, n.freezes
	n.w.after(pingsGiveUp(n.rng.Float64()), func() {
		if n.frozen && n.gen == gen && n.freezes == freezes && n.subscribed {
			n.subscribed = false
			n.link++
			n.logf("is frozen for long: its broker ends the connection")
			n.w.saw("pings gave up")
		}
	})
}

func (n *node) thaw() {
	if !n.frozen {
		return
	}
	n.frozen = false
	n.logf("thaws, with %d things to do", len(n.held))
	held := n.held
	n.held = nil
	for _, do := range held {
		do()
	}
	if n.up && !n.subscribed && !n.nursery {
		n.later(n.backoff(), n.join)
	}
}

// crash ends the process; a supervisor may start it again.
func (n *node) crash() {
	n.finish("crash")
	n.supervise()
}

func (n *node) supervise() {
	if n.traits.supervisor > 0 {
		n.w.after(n.traits.supervisor, func() { n.begin("supervisor", "") })
	}
}

// byHand is a restart by a user of the host.
func (n *node) byHand(takes time.Duration) {
	n.finish("restarted by hand")
	n.w.after(takes, func() { n.begin("by hand", "") })
}

// losePower ends the host: its broker notices late.
func (n *node) losePower(forHow time.Duration) {
	if !n.up {
		return
	}
	subscribed := n.subscribed
	n.finish("power lost")
	if n.subscribed = subscribed; subscribed {
		link := n.link
		n.w.after(pingsGiveUp(n.rng.Float64()), func() {
			if n.link == link {
				n.subscribed = false
				n.w.saw("pings gave up")
			}
		})
	}
	n.w.after(forHow, func() { n.begin("power is back", "") })
}

// silence cuts its network: what is on its way gets there late, or never.
func (n *node) silence(d time.Duration) {
	if n.cut || !n.up {
		return
	}
	n.cut = true
	n.logf("its network is silent")
	link := n.link
	n.w.after(pingsGiveUp(n.rng.Float64()), func() {
		if n.cut && n.link == link && n.subscribed {
			n.subscribed = false
			n.link++
			n.logf("is silent for long: its broker ends the connection")
			n.w.saw("pings gave up")
		}
	})
	n.w.after(d, n.heard)
}

func (n *node) heard() {
	if !n.cut {
		return
	}
	n.cut = false
	n.logf("its network is back")
	in, out := n.cutIn, n.cutOut
	n.cutIn, n.cutOut = nil, nil
	if n.subscribed {
		for _, do := range append(out, in...) {
			do()
		}
		return
	}
	if n.up && !n.nursery {
		n.later(n.backoff(), n.join)
	}
}

func (n *node) step(d time.Duration) {
	n.offset += d
	n.steps++
	n.logf("its clock steps by %v", d)
}

// heal brings the node back, unless a request of ours shut it down.
func (n *node) heal() {
	n.thaw()
	n.heard()
	n.traits.noReturn = false
	if n.up {
		if !n.subscribed && !n.nursery {
			n.join()
		}
		return
	}
	if len(n.acts) > 0 && n.w.action == "shutdown" {
		return
	}
	n.begin("by hand, when the world healed", "")
}
