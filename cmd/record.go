package cmd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"fleetctl/batch"
	"fleetctl/internal/journal"
)

// recordOptions say whether and where a run is recorded.
type recordOptions struct {
	dir    string
	off    bool
	on     bool
	resume bool
}

func (r *recordOptions) add(f *pflag.FlagSet) {
	r.addDir(f)
	f.BoolVar(&r.off, "no-journal", false, "keep no record: nothing can be resumed, retried or looked up afterwards")
	f.BoolVar(&r.on, "journal", false, "keep a record of an action that changes nothing, too")
	f.BoolVar(&r.resume, "resume", false, "go on with this command's interrupted run, if there is one")
}

func (r *recordOptions) addDir(f *pflag.FlagSet) {
	f.StringVar(&r.dir, "state-dir", "", "`FOLDER` of the runs' records (or FLEETCTL_STATE_DIR)")
}

// runsDir is where the runs are.
func (a *app) runsDir(r recordOptions) string {
	if r.dir != "" {
		return filepath.Join(r.dir, "runs")
	}
	if dir, ok := a.getenv("FLEETCTL_STATE_DIR"); ok && dir != "" {
		return filepath.Join(dir, "runs")
	}
	base, ok := a.getenv("XDG_STATE_HOME")
	if !ok || base == "" {
		home := a.home()
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "fleetctl", "runs")
}

// Retention: a finished run is deleted when it is older than this and not among the newest (docs/runs.md).
const (
	keepAge  = 90 * 24 * time.Hour
	keepRuns = 200
)

// runMeta is what the journal keeps of a run besides the engine's records: enough to go on with it, and nothing secret.
type runMeta struct {
	Agent       string            `json:"agent"`
	Action      string            `json:"action"`
	Inputs      map[string]string `json:"inputs,omitempty"`
	Secrets     []string          `json:"secrets,omitempty"` // names of inputs that have to be given again
	Collective  string            `json:"collective"`
	Federations []string          `json:"federations,omitempty"`
	Caller      string            `json:"caller"`
	Config      string            `json:"config"`
	Proof       proofOptions      `json:"proof,omitzero"`
	Timeout     time.Duration     `json:"verify_timeout,omitempty"`
	Settle      time.Duration     `json:"settle,omitempty"`
	SettleSet   bool              `json:"settle_set,omitempty"`
	TTL         time.Duration     `json:"ttl"`
	Command     []string          `json:"command"`
	Mark        string            `json:"mark"` // the same command has the same mark
	User        string            `json:"user,omitempty"`
	Host        string            `json:"host,omitempty"`
	Version     string            `json:"version,omitempty"`
}

// newRunID is a name that sorts by time and that two processes do not share.
func newRunID(now time.Time) string {
	return now.UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:5])
}

func (j *job) meta() runMeta {
	p := j.o.proof
	m := runMeta{
		Agent: j.o.agent, Action: j.o.action, Inputs: j.inputs.plain, Collective: j.network.collective, Federations: j.network.federations, Config: j.network.cfg.File,
		Proof: p, Timeout: p.Timeout.d, Settle: p.Settle.d, SettleSet: p.Settle.set, TTL: j.request().TTL,
		Command: j.o.command, Version: facts().Version,
	}
	for name := range j.inputs.secret {
		m.Secrets = append(m.Secrets, name)
	}
	slices.Sort(m.Secrets)
	if j.network.id != nil {
		m.Caller = j.network.id.Caller()
	}
	m.User = j.app.userName()
	m.Host, _ = os.Hostname()
	m.Mark = j.mark()
	return m
}

// mark tells the same command from others, whatever its secrets and its way of showing things.
func (j *job) mark() string {
	text, err := json.Marshal([]any{
		j.o.agent, j.o.action, j.inputs.plain, j.o.filter, j.network.collective, j.o.nodesFile, j.o.exclude, j.o.limit, j.network.cfg.File, j.network.federations,
		j.o.method, j.o.do, j.o.limitSeed,
	})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// recorded tells whether this run is journaled.
func (j *job) recorded() bool { return !j.o.record.off && (j.changes() || j.o.record.on) }

// header is what the engine writes about the run. With a journal the run has a name, and can be found again.
func (j *job) header(parent string) (batch.Header, error) {
	meta, err := json.Marshal(j.meta())
	if err != nil {
		return batch.Header{}, fmt.Errorf("describe the run: %w", err)
	}
	return batch.Header{Run: newRunID(j.start), Parent: parent, Created: j.start.UTC(), Meta: meta}, nil
}

// openJournal creates the record of a new run, and deletes what is long finished.
func (j *job) openJournal(id string) (*journal.Journal, error) {
	dir := j.app.runsDir(j.o.record)
	if _, err := journal.Prune(dir, journal.Retention{MaxAge: keepAge, Keep: keepRuns, Finished: batch.Finished}, time.Now()); err != nil {
		fmt.Fprintln(j.app.err, "warning: "+err.Error())
	}
	file, err := journal.Create(dir, id)
	if err != nil {
		return nil, &exitError{
			code: exitFault, err: fmt.Errorf("cannot record the run: %w", err),
			hint: "nothing was sent; name another --state-dir, or go without a record: --no-journal",
		}
	}
	return file, nil
}

// storedRun is a run that was read from its journal.
type storedRun struct {
	id       string
	meta     runMeta
	progress batch.Progress
	live     bool
	owner    journal.Owner
	torn     int64
}

// readRun reads a run without taking it. A live one is shown as it is, a dead one as it is to be judged.
func readRun(dir, id string) (storedRun, error) {
	c, err := journal.Read(dir, id)
	if err != nil {
		return storedRun{}, runError(err)
	}
	defer c.Close()
	run := storedRun{id: id, live: c.Live(), owner: c.Owner(), torn: c.Torn()}
	replay := batch.Replay
	if run.live {
		replay = batch.Follow
	}
	if run.progress, err = replay(c.Lines()); err != nil {
		return run, fmt.Errorf("run %s: %w", id, err)
	}
	if err := json.Unmarshal(run.progress.Header().Meta, &run.meta); err != nil {
		return run, fmt.Errorf("run %s: its description cannot be read: %w", id, err)
	}
	return run, nil
}

// runError gives the journal's refusals their exit codes.
func runError(err error) error {
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return usage(err, "see `fleetctl runs list`")
	case errors.Is(err, journal.ErrBusy):
		return refuse("see `fleetctl runs watch`, or end it with `fleetctl runs stop`", "%v", err)
	}
	return err
}

// lastRuns are the ids, the newest first.
func lastRuns(dir string) ([]journal.Info, error) {
	list, err := journal.List(dir)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b journal.Info) int { return strings.Compare(b.ID, a.ID) })
	return list, nil
}

// findRun completes an id: a whole one, a beginning that only one run has, or "last".
func findRun(dir, name string) (string, error) {
	list, err := lastRuns(dir)
	if err != nil {
		return "", err
	}
	if name == "last" && len(list) > 0 {
		return list[0].ID, nil
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
	return "", usage(fmt.Errorf("%q is the beginning of %d runs: %s", name, len(found), strings.Join(found, ", ")), "")
}

// namedRun reads the run that somebody named, as findRun completes names.
func (a *app) namedRun(r recordOptions, name string) (storedRun, error) {
	dir := a.runsDir(r)
	id, err := findRun(dir, name)
	if err != nil {
		return storedRun{}, err
	}
	return readRun(dir, id)
}

// unfinished is the newest run of the same command, if there is something left of it to do: by a resume, or by the
// process that is doing it.
func (j *job) unfinished() (storedRun, bool) {
	dir := j.app.runsDir(j.o.record)
	list, err := lastRuns(dir)
	if err != nil {
		return storedRun{}, false
	}
	mark := j.mark()
	for _, r := range list[:min(len(list), 20)] {
		run, err := readRun(dir, r.ID)
		if err == nil && run.meta.Mark == mark {
			return run, run.live || run.progress.Open() > 0
		}
	}
	return storedRun{}, false
}
