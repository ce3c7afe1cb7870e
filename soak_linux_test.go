package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/lab"
)

var (
	soakFor     = flag.Duration("soak", 0, "roll the nodes of a lab for so long, and judge whether the program stays as large as it was; 0: not at all")
	soakNodes   = flag.Int("soak-nodes", 100_000, "nodes of the soak")
	soakSamples = flag.String("soak-samples", "", "keep the samples of the soak in this file, as CSV")
	soakHeaps   = flag.String("soak-heaps", "", "write a profile of the program's heap into this folder at each step")
)

// The variables that make the program take samples of itself, and write profiles of its heap.
const (
	samplesFile, samplesEvery = "FLEETCTL_SOAK_SAMPLES", "FLEETCTL_SOAK_EVERY"
	heapsFolder, heapsEvery   = "FLEETCTL_SOAK_HEAPS", "FLEETCTL_SOAK_HEAPS_EVERY"
)

// soakSteps is how many lines of progress a soak logs.
const soakSteps = 12

func init() {
	beforeMain = func() {
		if path := os.Getenv(samplesFile); path != "" {
			f := must(os.Create(path))
			repeat(os.Getenv(samplesEvery), func(at time.Duration) { fmt.Fprintln(f, take(at)) })
		}
		if folder := os.Getenv(heapsFolder); folder != "" {
			runtime.MemProfileRate = 4096 // what grows is small
			repeat(os.Getenv(heapsEvery), func(at time.Duration) {
				f := must(os.Create(filepath.Join(folder, fmt.Sprintf("heap-%05.0fs.pprof", at.Seconds()))))
				runtime.GC()
				_ = pprof.WriteHeapProfile(f) // a profile that is missing is no fault of the program
				_ = f.Close()
			})
		}
	}
}

// repeat does something now and then, beside the program, as long as the process lives.
func repeat(every string, do func(at time.Duration)) {
	d := must(time.ParseDuration(every))
	go func() {
		for begin := time.Now(); ; <-time.After(d) {
			do(time.Since(begin))
		}
	}()
}

// must is a value of the soak's own process, which has no test to fail.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// sample is the size of the program at one moment.
type sample struct {
	at                          float64 // seconds since its start
	rss, heap, files, goroutine float64 // MB, live MB after the last collection, counts
}

// soakRow is one figure of a sample, and how large its median may be in the last third of a soak.
type soakRow struct {
	name  string
	of    func(s sample) float64
	share float64 // of the first third's median
	more  float64 // beside the share
	most  float64 // in any case; 0: no such limit
}

// soakRows are the figures of a soak over so many nodes. The record of a run in memory grows with what is known of its nodes:
// baseline and reason, about 120 bytes each, for which 160 are allowed; those of few nodes are less than the collector
// leaves lying about. What grows with time, and not with nodes, is a leak.
func soakRows(nodes int) []soakRow {
	known := max(5, float64(nodes)*160/(1<<20))
	return []soakRow{
		{"memory (RSS, MB)", func(s sample) float64 { return s.rss }, 1.1, known, 120},
		{"live heap (MB)", func(s sample) float64 { return s.heap }, 1.1, known, 0},
		{"open files", func(s sample) float64 { return s.files }, 1, 3, 0},
		{"goroutines", func(s sample) float64 { return s.goroutine }, 1.1, 10, 0},
	}
}

func (s sample) String() string {
	return fmt.Sprintf("%.1f,%.1f,%.1f,%.0f,%.0f", s.at, s.rss, s.heap, s.files, s.goroutine)
}

// take measures this process.
func take(since time.Duration) sample {
	s := sample{at: since.Seconds(), goroutine: float64(runtime.NumGoroutine())}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	s.heap = float64(live[0].Value.Uint64()) / (1 << 20)
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		_, after, _ := strings.Cut(string(status), "VmRSS:")
		if fields := strings.Fields(after); len(fields) > 0 {
			kb, _ := strconv.ParseFloat(fields[0], 64)
			s.rss = kb / 1024
		}
	}
	files, _ := os.ReadDir("/proc/self/fd")
	s.files = float64(len(files))
	return s
}

func readSamples(text string) (out []sample, err error) {
	for line := range strings.Lines(text) {
		var s sample
		if _, err := fmt.Sscanf(line, "%f,%f,%f,%f,%f", &s.at, &s.rss, &s.heap, &s.files, &s.goroutine); err != nil {
			return nil, fmt.Errorf("sample %q: %w", line, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// judgeSoak compares the medians of the first and the last third. What the program does before the first minute, and after the
// last node was begun, belongs to neither: samples are those of the time between.
func judgeSoak(samples []sample, nodes int) (table string, err error) {
	third := len(samples) / 3
	if third < 5 {
		return "", fmt.Errorf("%d samples are too few to judge", len(samples))
	}
	var faults []error
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %10s %10s %10s %10s\n", "medians of thirds", "first", "last", "at most", "largest")
	for _, row := range soakRows(nodes) {
		first, last := median(samples[:third], row.of), median(samples[len(samples)-third:], row.of)
		largest := 0.0
		for _, s := range samples {
			largest = max(largest, row.of(s))
		}
		limit := first*row.share + row.more
		if row.most > 0 {
			limit = min(limit, row.most)
		}
		fmt.Fprintf(&b, "%-18s %10.1f %10.1f %10.1f %10.1f\n", row.name, first, last, limit, largest)
		if last > limit {
			faults = append(faults, fmt.Errorf("%s: %.1f in the last third, %.1f in the first, want %.1f at most", row.name, last, first, limit))
		}
	}
	return b.String(), errors.Join(faults...)
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// TestSoak rolls all nodes of a lab in one process, with a lock that is renewed all the time. It ends when every node is
// proved, or after -soak: a run that ends earlier fails.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("-soak")
	}
	const cycle = 10 // seconds that a healthy node of a lab has a slot, on the average
	window := max(2, int(float64(*soakNodes)*cycle/soakFor.Seconds()))
	l, err := lab.Start(t.Context(), lab.Options{Nodes: *soakNodes, Streams: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := &fleet{t: t, lab: l, dir: t.TempDir()}
	var names strings.Builder
	for _, n := range l.Nodes() {
		names.WriteString(n.Identity + "\n")
	}
	nodes, samples := filepath.Join(f.dir, "nodes"), filepath.Join(f.dir, "samples")
	if err := os.WriteFile(nodes, []byte(names.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := f.command(t.Context(), "req", "choria_provision", "restart", "--nodes", nodes, "--mode", "rolling", "--canary", "1",
		"--batch", strconv.Itoa(window), "--lock", "soak", "--deadline", soakFor.String(), "--max-failed", "5%", "--max-no-reply", "5%", "--np")
	step := *soakFor / soakSteps
	c.Env = append(c.Env, samplesFile+"="+samples, samplesEvery+"="+max(time.Second, *soakFor/600).String())
	if *soakHeaps != "" {
		folder, err := filepath.Abs(*soakHeaps)
		if err != nil {
			t.Fatal(err)
		}
		c.Env = append(c.Env, heapsFolder+"="+folder, heapsEvery+"="+step.String())
	}
	log, err := os.Create(filepath.Join(f.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	t.Logf("%d nodes, a window of %d, at most %v", *soakNodes, window, *soakFor)
	begin := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	err = f.watchSoak(c, samples, step)
	took := time.Since(begin)
	text, logErr := os.ReadFile(log.Name())
	if logErr != nil {
		t.Fatal(logErr)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Logf("%v; the end of its output:\n%s", took.Round(time.Second), strings.Join(lines[max(0, len(lines)-8):], "\n"))
	f.judgeSoakEnd(exitCode(t, err), took)
	taken, err := os.ReadFile(samples)
	if err != nil {
		t.Fatal(err)
	}
	if *soakSamples != "" {
		if err := os.WriteFile(*soakSamples, taken, 0o600); err != nil {
			t.Error(err)
		}
	}
	all, err := readSamples(string(taken))
	if err != nil {
		t.Fatal(err)
	}
	edge := min(60, took.Seconds()/10)
	all = slices.DeleteFunc(all, func(s sample) bool { return s.at < edge || s.at > took.Seconds()-edge })
	table, err := judgeSoak(all, *soakNodes)
	t.Logf("%d samples\n%s", len(all), table)
	if err != nil {
		t.Error(err)
	}
}

// watchSoak logs a line at each step, until the program ends.
func (f *fleet) watchSoak(c *exec.Cmd, samples string, step time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ticker.C:
		}
		text, err := os.ReadFile(samples)
		if err != nil {
			f.t.Error(err)
			continue
		}
		all, err := readSamples(string(text[:strings.LastIndexByte(string(text), '\n')+1]))
		if err != nil || len(all) == 0 {
			continue
		}
		s, sent := all[len(all)-1], f.sentOnce()
		f.t.Logf("%5.0f s: %6d nodes have their request; RSS %5.1f MB, live heap %5.1f MB, open files %.0f, goroutines %.0f", s.at, sent, s.rss, s.heap, s.files, s.goroutine)
	}
}

// sentOnce counts the nodes that got the request, and demands that none got it twice.
func (f *fleet) sentOnce() (nodes int) {
	for _, n := range f.lab.Nodes() {
		got := f.lab.Received(n.Identity, "choria_provision", "restart")
		if got > 1 {
			f.t.Errorf("node %s got the request %d times", n.Identity, got)
		}
		nodes += min(got, 1)
	}
	return nodes
}

// judgeSoakEnd demands that the run ended when every node was proved, or after its time.
func (f *fleet) judgeSoakEnd(code int, took time.Duration) {
	s := f.show()
	proved := count(s, batch.Verified)
	f.t.Logf("exit code %d, %d nodes got the request, %d of %d proved", code, f.sentOnce(), proved, *soakNodes)
	switch {
	case code == 0 && proved != *soakNodes:
		f.t.Errorf("exit code 0, and %d of %d nodes are proved", proved, *soakNodes)
	case code != 0 && code != 5 && code != 6: // the time was over before the last node was begun, or proved
		f.t.Errorf("exit code %d", code)
	case code != 0 && took < *soakFor:
		f.t.Errorf("the run ended after %v of %v, with %d of %d nodes proved", took.Round(time.Second), *soakFor, proved, *soakNodes)
	}
}

// The judge of the soak sees a leak of each kind, and no leak in a program that stays as it is.
func TestTheSoakBites(t *testing.T) {
	flat := func(i int) sample {
		return sample{float64(i), 100 + float64(i%5), 60 + float64(i%3), 12, 40 + float64(i%4)}
	}
	for name, leak := range map[string]func(s *sample, i float64){
		"":                 func(*sample, float64) {},
		"memory (RSS, MB)": func(s *sample, i float64) { s.rss += i },
		"live heap (MB)":   func(s *sample, i float64) { s.heap += i },
		"open files":       func(s *sample, i float64) { s.files += i / 10 },
		"goroutines":       func(s *sample, i float64) { s.goroutine += i / 3 },
	} {
		var text strings.Builder
		for i := range 90 {
			s := flat(i)
			leak(&s, float64(i))
			fmt.Fprintln(&text, s)
		}
		samples, err := readSamples(text.String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = judgeSoak(samples, *soakNodes)
		if name == "" && err != nil || name != "" && (err == nil || !strings.HasPrefix(err.Error(), name+":") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("a leak of %q: %v", name, err)
		}
	}
	if own := take(time.Second); own.rss < 1 || own.files < 3 || own.goroutine < 1 {
		t.Errorf("this process: %v", own)
	}
}
