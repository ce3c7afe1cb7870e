package cmd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"fleetctl/internal/render"
	"fleetctl/internal/report"
	"fleetctl/inventory"
)

// snapshotFile is a snapshot and the file that it is read from.
type snapshotFile struct {
	*inventory.Snapshot
	file *os.File
	path string
}

func openSnapshot(path string) (*snapshotFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usage(fmt.Errorf("read snapshot: %w", err), "")
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	var s *inventory.Snapshot
	if err == nil {
		s, err = inventory.ReadSnapshot(file, info.Size())
	}
	if err != nil {
		file.Close()
		return nil, usage(fmt.Errorf("read snapshot %s: %w", path, err), "make one: fleetctl inventory --save FILE")
	}
	return &snapshotFile{Snapshot: s, file: file, path: path}, nil
}

func (s *snapshotFile) side() render.Side {
	return render.Side{Source: s.path, Taken: s.Taken, Nodes: s.Len()}
}

// diffSink compares the nodes with a snapshot as they come.
type diffSink struct {
	app        *app
	o          *fleetOptions
	before     *snapshotFile
	after      render.Side
	comparison *inventory.Comparison
}

func newDiffSink(a *app, o *fleetOptions, now inventory.SnapshotInfo) (*diffSink, error) {
	before, err := openSnapshot(o.diff)
	if err != nil {
		return nil, err
	}
	warnOfOtherSelection(a, before.SnapshotInfo, now)
	return &diffSink{app: a, o: o, before: before, after: render.Side{Source: "the network", Taken: now.Taken},
		comparison: inventory.NewComparison(before.Snapshot, o.ignoreFacts, now.AgentVersions)}, nil
}

// warnOfOtherSelection says when two sides were not chosen alike: nodes then come and go that did neither.
func warnOfOtherSelection(a *app, before, after inventory.SnapshotInfo) {
	if before.Collective != after.Collective || !slices.Equal(before.Selection, after.Selection) {
		say := func(i inventory.SnapshotInfo) string {
			return fmt.Sprintf("collective %s, %q", i.Collective, strings.Join(i.Selection, " "))
		}
		fmt.Fprintf(a.io.err, "warning: the nodes were chosen differently: %s; now %s\n", say(before), say(after))
	}
}

func (s *diffSink) add(a inventory.Answer) error {
	s.after.Nodes++
	return s.comparison.Add(inventory.RecordOf(a))
}

func (s *diffSink) end(t *inventory.Tally) error {
	defer s.before.file.Close()
	return s.show(s.comparison.Finish(t.Silent, refusedNodes(t)))
}

func (s *diffSink) show(d inventory.Difference) error {
	if s.o.kind == report.JSON {
		return render.DifferenceJSON(s.app.io.out, d, s.before.side(), s.after)
	}
	return render.Difference(s.app.io.out, d, s.before.side(), s.after, render.TextOptions{Width: widthOf(s.app.io.out), Colour: s.app.color(s.app.io.out)})
}

// compareFiles compares two snapshots, without any network.
func compareFiles(ctx context.Context, a *app, o *fleetOptions) error {
	after, err := openSnapshot(o.to)
	if err != nil {
		return err
	}
	defer after.file.Close()
	s, err := newDiffSink(a, o, after.SnapshotInfo)
	if err != nil {
		return err
	}
	defer s.before.file.Close()
	s.after = after.side()
	for r, err := range after.Records() {
		if err == nil {
			err = s.comparison.Add(r)
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return s.show(s.comparison.Finish(after.Silent, after.Refused))
}
