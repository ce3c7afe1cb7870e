package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fleetctl/discovery"
	"fleetctl/internal/atomicfile"
)

// fleetctl keeps the names of the nodes that the last complete discovery found, one file for each combination of
// collective, filter, brokers and caller. The list only decides when the next discovery may end; its nodes are
// never targets. The first line holds the SHA-256 of the rest, because an incomplete list would end a discovery too
// early.

const (
	knownMark = "fleetctl: nodes of the last whole discovery, 1: "
	// maxKnownFile bounds what is read: the names of a million nodes.
	maxKnownFile = 64 << 20
)

// knownFile is where the nodes of a question are; "" for nowhere.
func (f *Fleet) knownFile(q discovery.Query) (string, error) {
	if f.o.CacheDir == "" {
		return "", nil
	}
	who, err := f.Who()
	if err != nil {
		return "", err
	}
	question, err := json.Marshal([]any{
		f.Config.MiddlewareHosts, f.Config.FederationHosts, f.srvDomain(), who.ID, f.Federations, q.Collective, discovery.WireFilter(q.Filter, q.Agent),
	})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(question)
	return filepath.Join(f.o.CacheDir, "nodes-"+hex.EncodeToString(sum[:12])), nil
}

// known are the nodes that are expected to answer a question: those of a file that the operator names, else those of the
// last whole discovery; none for a question that ends by other rules.
func (f *Fleet) known(ctx context.Context, t Targets, q discovery.Query) (nodes []string, keep string, err error) {
	if q.Window {
		f.o.tell("warning: --discovery-window ends discovery at the first pause of 300ms: slow nodes may be missing")
		return nil, "", nil
	}
	if keep, err = f.knownFile(q); err != nil {
		return nil, "", err
	}
	if t.Known == "" {
		return readKnown(keep), keep, nil
	}
	if nodes, err = f.o.ReadNodes(ctx, t.Known); err == nil && len(nodes) == 0 {
		err = usage(fmt.Errorf("--known %s names no node", t.Known), "leave it out to wait the whole --discovery-timeout")
	}
	return nodes, keep, err
}

// readKnown reads a kept list. One that is missing or damaged is none.
func readKnown(path string) []string {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKnownFile+1))
	if err != nil || len(data) > maxKnownFile {
		return nil
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if sum := sha256.Sum256([]byte(rest)); first != knownMark+hex.EncodeToString(sum[:]) {
		return nil
	}
	return strings.Fields(rest)
}

// keepKnown keeps the nodes of a complete discovery. If the list cannot be written, the next discovery only takes
// longer.
func (f *Fleet) keepKnown(ctx context.Context, path string, before []string, res discovery.Result) {
	if n := len(res.Missing); n > 0 {
		f.o.tell("warning: %d of %d nodes that were expected did not answer within %s: %s", n, len(before), res.Took.Round(100*time.Millisecond), someNames(res.Missing))
	}
	if path == "" || !res.Whole || len(res.Nodes) == 0 {
		return
	}
	list := []byte(strings.Join(res.Nodes, "\n") + "\n")
	sum := sha256.Sum256(list)
	content := bytes.Join([][]byte{[]byte(knownMark + hex.EncodeToString(sum[:])), list}, []byte("\n"))
	if err := replaceFile(path, content); err != nil && f.o.Logger != nil {
		f.o.Logger.Log(ctx, slog.LevelDebug, "the nodes that were found are not kept", "error", err)
	}
}

// maxNamed is how many missing nodes are named.
const maxNamed = 20

// someNames folds the names, the first of them where there are many.
func someNames(names []string) string {
	if len(names) <= maxNamed {
		return discovery.Fold(names)
	}
	return fmt.Sprintf("%s and %d more", discovery.Fold(names[:maxNamed]), len(names)-maxNamed)
}

// replaceFile writes a file for this user alone. A reader finds the old content or the new.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := atomicfile.Write(path, content)
	if err == nil {
		err = file.Commit(0o600)
	}
	return err
}

// broadcasts reports that a method asks the nodes themselves, and not only for names that the filter has already.
func broadcasts(c discovery.Choice, q discovery.Query) bool {
	_, exact := q.Filter.ExactIdentities()
	return c.Method == discovery.MethodBroadcast && !exact
}
