package run

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/journal"
	"fleetctl/internal/lease"
)

// Retention: a finished run is deleted when it is older than this and not among the newest (docs/runs.md).
const (
	keepAge  = 90 * 24 * time.Hour
	keepRuns = 200
)

// Meta is the part of the record that the engine does not write: enough to resume the run, and nothing secret.
type Meta struct {
	Agent       string            `json:"agent"`
	Action      string            `json:"action"`
	Inputs      map[string]string `json:"inputs,omitempty"`
	Secrets     []string          `json:"secrets,omitempty"` // names of inputs that have to be given again
	Collective  string            `json:"collective"`
	Federations []string          `json:"federations,omitempty"`
	Caller      string            `json:"caller"`
	Config      string            `json:"config"`
	Proof       Proof             `json:"proof,omitzero"`
	Timeout     time.Duration     `json:"verify_timeout,omitempty"`
	Settle      time.Duration     `json:"settle,omitempty"`
	SettleSet   bool              `json:"settle_set,omitempty"`
	TTL         time.Duration     `json:"ttl"`
	Locks       []string          `json:"locks,omitempty"`    // that the run holds
	Share       bool              `json:"share,omitempty"`    // its record is shared
	MaxDown     lease.Limits      `json:"max_down,omitempty"` // of nodes that are down at once
	// BudgetWait and ShareTimeout are as they were given; nil is the default.
	BudgetWait   *time.Duration `json:"budget_wait,omitempty"`
	ShareTimeout *time.Duration `json:"share_timeout,omitempty"`
	Command      []string       `json:"command"`
	Mark         string         `json:"mark"`               // the same command has the same mark
	Plan         string         `json:"plan,omitempty"`     // the digest of the saved plan that this run applies
	Approved     int            `json:"approved,omitempty"` // how many approvals of that plan counted
	Site         string         `json:"site,omitempty"`
	User         string         `json:"user,omitempty"`
	Host         string         `json:"host,omitempty"`
	Version      string         `json:"version,omitempty"`
	// Facts are the values that the plan asked the nodes for, by fact, in the order of the plan; "" where a node has none.
	// Those of a window are in its plan.
	Facts map[string][]string `json:"facts,omitempty"`
}

// entry is a call as its record describes it.
type entry struct{ *call }

func (c entry) meta() Meta {
	p := c.req.Proof
	m := Meta{
		Agent: c.req.Agent, Action: c.req.Action, Inputs: c.inputs.plain, Secrets: c.secretNames(),
		Collective: c.about.Collective, Federations: c.about.Federations, Config: c.about.ConfigFile,
		Proof: p, Timeout: p.Timeout.D, Settle: p.Settle.D, SettleSet: p.Settle.Set, TTL: c.message().TTL, Locks: sharing(c).lockNames(), Share: sharing(c).mirrored(),
		MaxDown: budgeting(c).asked(), BudgetWait: c.req.Shared.BudgetWait.recorded(), ShareTimeout: c.req.Shared.Timeout.recorded(),
		Command: c.command, Mark: c.mark(), User: c.User, Host: c.Host, Version: c.Version,
	}
	m.Site, m.Approved = c.Settings.Site, c.req.approved
	if c.req.plan != nil {
		m.Plan, m.Mark = c.req.plan.Digest, c.req.plan.Digest[:16] // no command line means the same nodes
	}
	slices.Sort(m.Secrets)
	if who, err := c.fleet.Who(); err == nil {
		m.Caller = who.ID
	}
	return m
}

// header is what the engine writes about the run. With a record the run has a name, and can be found again.
func (c entry) header(parent string, plan batch.Plan) (batch.Header, error) {
	m := c.meta()
	m.Facts = c.factsOf(plan)
	meta, err := json.Marshal(m)
	if err != nil {
		return batch.Header{}, fmt.Errorf("describe the run: %w", err)
	}
	return batch.Header{Run: c.runID(), Parent: parent, Created: c.start.UTC(), Meta: meta}, nil
}

// factsOf returns what is known of the nodes of a plan that does not hold their facts itself; nil for nothing.
func (c entry) factsOf(plan batch.Plan) map[string][]string {
	if len(c.known) == 0 || len(plan.Facts) > 0 {
		return nil
	}
	facts := map[string][]string{}
	for _, fact := range plan.Policy.Facts() {
		for _, node := range plan.AllNames() {
			facts[fact] = append(facts[fact], c.known[node][fact])
		}
	}
	return facts
}

// mark identifies the same command, whatever its secrets and its output flags.
func (c entry) mark() string {
	t := c.req.Targets
	text, err := json.Marshal([]any{
		c.req.Agent, c.req.Action, c.inputs.plain, t.Filter, c.about.Collective, t.NodesFile, t.Exclude, t.Limit, c.about.ConfigFile, c.about.Federations,
		t.Method, t.Do, t.LimitSeed,
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// newID is a name that sorts by time and that two processes do not share.
func newID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:5])
}

// Store is the folder of the runs' records.
type Store struct {
	Dir   string
	Typed string // Dir's folder as the operator typed it, "" where that was not so; commands that are offered name it
	// Machine has the clocks that date and judge the records; nil is this machine.
	Machine *journal.Machine
}

func (s Store) machine() journal.Machine {
	if s.Machine != nil {
		return *s.Machine
	}
	return journal.ThisMachine()
}

// Stored is a run that was read from its record.
type Stored struct {
	ID       string
	Meta     Meta
	Progress batch.Progress
	Live     bool // a process is at work on it
	Owner    journal.Owner
	Torn     int64  // bytes at the record's end that are not whole
	Ours     bool   // the record belongs to this user
	Copied   string // why the record may be an outdated copy; "" when nothing hints at one
	clock    journal.Clock
	size     int64      // of the record's whole lines, in bytes
	shared   *SharedRun // where it was read, when that is no record of this machine
	folder   string     // Store.Typed
}

// Status is the run's state in one word or two, for lists.
func (s Stored) Status() string {
	sum := s.Progress.Summary()
	switch {
	case s.Live && sum.Paused:
		return "paused"
	case s.Live && s.Progress.Waits():
		return "waiting"
	case s.Live:
		return "running"
	case sum.Ended.IsZero():
		return "died"
	}
	return sum.Verdict.String()
}

// Proves reports whether more than the nodes' replies counts.
func (s Stored) Proves() bool { return s.Meta.Proof.proves(s.Meta.Agent, s.Meta.Action) != 0 }

// Facts are the recorded facts of the nodes, by fact, in the order of the plan. The maps and slices belong to the record.
func (s Stored) Facts() map[string][]string {
	if facts := s.Progress.Plan().Facts; len(facts) > 0 {
		return facts
	}
	return s.Meta.Facts
}

// values are the recorded facts, by fact and by node.
func (s Stored) values() map[string]map[string]string {
	return valuesOf(s.Progress.Plan().AllNames(), s.Facts())
}

// valuesOf reads the values of facts that are in the order of nodes; those of further nodes may be missing.
func valuesOf(names []string, facts map[string][]string) map[string]map[string]string {
	out := make(map[string]map[string]string, len(facts))
	for fact, values := range facts {
		out[fact] = make(map[string]string, len(values))
		for i, value := range values[:min(len(values), len(names))] {
			out[fact][names[i]] = value
		}
	}
	return out
}

// create makes the record of a new run, and deletes what is long finished.
func (s Store) create(id string, report Reporter) (*journal.Journal, error) {
	gone, err := s.machine().Prune(s.Dir, journal.Retention{MaxAge: keepAge, Keep: keepRuns, Finished: batch.Finished}, time.Now())
	for _, old := range gone {
		for n := 1; os.Remove(s.outputFile(old, n)) == nil; n++ { // most runs have none
		}
	}
	if err != nil {
		_ = report.Report(Noted{Warning, err.Error()}) // the run itself is not concerned
	}
	file, err := s.machine().Create(s.Dir, id)
	if err != nil {
		return nil, &RecordError{
			Err:  fmt.Errorf("cannot record the run: %w", err),
			Hint: "nothing was sent; name another --state-dir, or run without a record: --no-journal",
		}
	}
	return file, nil
}

// outputFile is the name of a file with what a background run prints; the second is of its first resume in the background.
func (s Store) outputFile(id string, n int) string {
	if n > 1 {
		id += "." + strconv.Itoa(n)
	}
	return filepath.Join(s.Dir, id+".log")
}

// CreateOutput makes a file, of mode 0600 and beside its record, for what a background run prints. It is deleted with the
// record.
func (s Store) CreateOutput(id string) (*os.File, error) {
	f, err := s.machine().CreateBeside(s.outputFile(id, 1))
	for n := 2; errors.Is(err, fs.ErrExist) && n < 1000; n++ {
		f, err = s.machine().CreateBeside(s.outputFile(id, n))
	}
	if err != nil {
		return nil, &RecordError{Err: fmt.Errorf("cannot keep what a background run prints: %w", err), Hint: "nothing was sent; name another --state-dir"}
	}
	return f, nil
}

// raw returns the bytes of a record's whole lines.
func (s Store) raw(id string) ([]byte, error) {
	c, err := s.machine().Read(s.Dir, id)
	if err != nil {
		return nil, recordError(err)
	}
	defer c.Close()
	return c.Raw(c.Size())
}

// Live reports whether a process drives the run.
func (s Store) Live(id string) (bool, error) {
	live, err := s.machine().Held(s.Dir, id)
	return live, recordError(err)
}

// Read reads a run without taking it. A live run is returned as recorded, a dead one as a resume would see it.
func (s Store) Read(id string) (Stored, error) {
	c, err := s.machine().Read(s.Dir, id)
	if err != nil {
		return Stored{}, recordError(err)
	}
	defer c.Close()
	run := Stored{ID: id, Live: c.Live(), Owner: c.Owner(), Torn: c.Torn(), Ours: c.Owner().Ours, clock: c.Clock(), size: c.Size(), folder: s.Typed}
	_, run.Copied = c.Copy()
	replay := batch.Replay
	if run.Live {
		replay = batch.Follow
	}
	if c.Empty() && !run.Live {
		return run, refuse("type the command again", "run %s: its process ended before it had a plan: %w", id, batch.ErrNoPlan)
	}
	if run.Progress, err = replay(c.Lines()); err != nil {
		return run, fmt.Errorf("run %s: %w", id, err)
	}
	return run, run.describe()
}

// describe reads what the record says of the run besides its engine's records.
func (s *Stored) describe() error {
	if err := json.Unmarshal(s.Progress.Header().Meta, &s.Meta); err != nil {
		return fmt.Errorf("run %s: its description cannot be read: %w", s.ID, err)
	}
	maps.DeleteFunc(s.Meta.Facts, func(_ string, values []string) bool { return len(values) != s.Progress.Counts().Total() })
	return nil
}

// recordError gives the journal's refusals the types that decide about exit codes.
func recordError(err error) error {
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return usage(err, "see `fleetctl runs list`")
	case errors.Is(err, journal.ErrForeign):
		return refuse("its own user can resume or stop it; a new run of yours needs no record of others", "%w", err)
	case errors.Is(err, journal.ErrBusy):
		return refuse("see `fleetctl runs list`, follow it with `fleetctl runs watch RUN`, or end it with `fleetctl runs stop RUN`", "%v", err)
	}
	return err
}

// List returns the runs, the newest first.
func (s Store) List() ([]journal.Info, error) {
	list, err := s.machine().List(s.Dir)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b journal.Info) int { return strings.Compare(b.ID, a.ID) })
	return list, nil
}

// lastRun is the name of the run that was active last.
const lastRun = "last"

// Find completes an id: a whole one, a beginning that only one run has, or Last.
func (s Store) Find(name string) (string, error) {
	if name == "" {
		return "", usage(errors.New("the name of the run is empty"), "is a variable unset? `fleetctl runs list` has the names")
	}
	list, err := s.List()
	if err != nil {
		return "", err
	}
	if name == lastRun && len(list) > 0 {
		return slices.MaxFunc(list, func(a, b journal.Info) int { return a.Modified.Compare(b.Modified) }).ID, nil
	}
	var found []string
	for _, r := range list {
		if r.ID == name {
			return name, nil
		}
		if strings.HasPrefix(r.ID, name) {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", usage(fmt.Errorf("no run %q", name), "see `fleetctl runs list`")
	}
	return "", ambiguous(name, found)
}

// Named reads the run that the operator named, as Find completes names.
func (s Store) Named(name string) (Stored, error) {
	id, err := s.Find(name)
	if err != nil {
		return Stored{}, err
	}
	return s.Read(id)
}

// unfinished is the newest run of the same command, if there is something left of it to do: by a resume, or by the
// process that is doing it. A retry is never one: it is about some nodes of another run.
func (s Store) unfinished(mark string) (Stored, bool) {
	list, err := s.List()
	if err != nil {
		return Stored{}, false
	}
	for _, r := range list[:min(len(list), 20)] {
		run, err := s.Read(r.ID)
		if err == nil && run.Meta.Mark == mark && run.Progress.Header().Parent == "" {
			return run, run.Live || run.Progress.Open() > 0
		}
	}
	return Stored{}, false
}

// take opens a run's record for this process alone, and rebuilds where it was.
func (s Store) take(id string) (*journal.Journal, batch.Progress, error) {
	file, err := s.machine().Open(s.Dir, id)
	if err != nil {
		return nil, batch.Progress{}, recordError(err)
	}
	from, err := batch.Replay(file.Lines())
	if err != nil {
		return nil, from, errors.Join(fmt.Errorf("run %s: %w", id, err), file.Close())
	}
	return file, from, nil
}
