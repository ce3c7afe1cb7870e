package render

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetctl/inventory"
	"fleetctl/rpcclient"
)

// vector is what the real client printed, and the real servers' replies that it printed it from.
type vector struct {
	Command []string
	Stdout  string
	Replies []struct {
		Sender, Action string
		Data           json.RawMessage
	}
}

// Call answers with the recorded replies.
func (v vector) Call(_ context.Context, req rpcclient.Request, _ []string) iter.Seq2[rpcclient.Reply, error] {
	return func(yield func(rpcclient.Reply, error) bool) {
		for _, r := range v.Replies {
			if r.Action == req.Action && !yield(rpcclient.Reply{Node: r.Sender, Data: r.Data}, nil) {
				return
			}
		}
	}
}

func TestRealInventoriesLookAsTheRealClientShowsThem(t *testing.T) {
	paths, err := filepath.Glob("testdata/vectors/*.json")
	if err != nil || len(paths) != 6 {
		t.Fatalf("%d vectors, %v, want 6", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if v.Command[2] == "--collectives" {
				c, err := inventory.CollectivesOf(v.Call(t.Context(), inventory.CollectivesRequest(""), nil))
				if err != nil {
					t.Fatal(err)
				}
				err = Collectives(&b, c)
				if err != nil {
					t.Fatal(err)
				}
			} else {
				n, err := inventory.Fetch(t.Context(), v, "mcollective", v.Command[2], 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := Inventory(&b, n, InventoryOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(v.Stdout, b.String()); diff != "" {
				t.Errorf("-upstream +ours\n%s", diff)
			}
		})
	}
}
