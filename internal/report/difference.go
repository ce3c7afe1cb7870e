package report

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"fleetctl/internal/plain"
	"fleetctl/internal/render"
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
		return nil, &FileError{Err: fmt.Errorf("read snapshot: %w", err)}
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
		return nil, &FileError{Err: fmt.Errorf("read snapshot %s: %w", path, err), Hint: "make one: fleetctl inventory --save FILE"}
	}
	return &snapshotFile{Snapshot: s, file: file, path: path}, nil
}

func (s *snapshotFile) side() render.Side {
	return render.Side{Source: s.path, Taken: s.Taken, Nodes: s.Len()}
}

// diffSink compares each node with a snapshot when its answer arrives.
type diffSink struct {
	o          FleetOptions
	before     *snapshotFile
	after      render.Side
	comparison *inventory.Comparison
}

func newDiffSink(o FleetOptions) (*diffSink, error) {
	before, err := openSnapshot(o.Diff)
	if err != nil {
		return nil, err
	}
	o.warnOfOtherSelection(before.SnapshotInfo)
	return &diffSink{o: o, before: before, after: render.Side{Source: "the network", Taken: o.Info.Taken},
		comparison: inventory.NewComparison(before.Snapshot, o.IgnoreFacts, o.Info.AgentVersions)}, nil
}

// warnOfOtherSelection warns when the two sides were not selected in the same way: then nodes seem to come or go.
func (o FleetOptions) warnOfOtherSelection(before inventory.SnapshotInfo) {
	if before.Collective != o.Info.Collective || !slices.Equal(before.Selection, o.Info.Selection) {
		say := func(i inventory.SnapshotInfo) string {
			return fmt.Sprintf("collective %s, %q", i.Collective, strings.Join(i.Selection, " "))
		}
		fmt.Fprintln(o.Err, plain.Line(fmt.Sprintf("warning: the nodes were chosen differently: %s; now %s", say(before), say(o.Info))))
	}
}

func (s *diffSink) add(n inventory.Node) error {
	s.after.Nodes++
	return s.comparison.Add(n)
}

func (s *diffSink) end(t *inventory.Tally) error {
	defer s.before.file.Close()
	return s.show(s.comparison.Finish(t.Silent, refusedNodes(t)))
}

func (s *diffSink) show(d inventory.Difference) error {
	if s.o.Format == JSON {
		return render.DifferenceJSON(s.o.Out, d, s.before.side(), s.after)
	}
	return render.Difference(s.o.Out, d, s.before.side(), s.after, render.TextOptions{Width: s.o.Out.Width, Color: s.o.Out.Color})
}

// CompareFiles compares two snapshots, o.Diff and the one of a path, without any network.
func CompareFiles(ctx context.Context, o FleetOptions, path string) error {
	after, err := openSnapshot(path)
	if err != nil {
		return err
	}
	defer after.file.Close()
	o.Info = after.SnapshotInfo
	s, err := newDiffSink(o)
	if err != nil {
		return err
	}
	defer s.before.file.Close()
	s.after = after.side()
	for n, err := range after.Nodes() {
		if err == nil {
			err = s.comparison.Add(n)
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
