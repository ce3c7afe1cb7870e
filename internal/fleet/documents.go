package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fleetctl/internal/ddl"
	"fleetctl/rpcclient"
)

// Documents resolves agents' documents: our own, those on disk, and the network's registry where it is configured.
func (f *Fleet) Documents() ddl.Resolver {
	r := ddl.Resolver{Dirs: f.Config.LibDirs}
	if f.Config.RegistryCache != "" {
		r.CacheDir, r.Fetch = f.Config.RegistryCache, f.fetchDocument
	}
	return r
}

// registryTimeout bounds the wait for the network's registry: its document has 2 s, and upstream adds 2.
const registryTimeout = 4 * time.Second

func (f *Fleet) fetchDocument(ctx context.Context, agent string) ([]byte, error) {
	client, err := f.Dial(ctx)
	if err != nil {
		return nil, err
	}
	inputs, err := json.Marshal(map[string]string{"name": agent, "plugin_type": "agent", "format": "json"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	reply, err := client.Service(ctx, rpcclient.Request{Agent: "choria_registry", Action: "ddl", Data: inputs, Collective: f.Collective})
	if err != nil {
		return nil, err
	}
	if !reply.OK() {
		return nil, fmt.Errorf("the registry on %s: %s", reply.Node, reply.Message)
	}
	var body struct {
		DDL string `json:"ddl"`
	}
	if err := json.Unmarshal(reply.Data, &body); err != nil {
		return nil, fmt.Errorf("the registry on %s: %w", reply.Node, err)
	}
	return []byte(body.DDL), nil
}

// ReplyTimeout is a document's timeout plus 2 s, as upstream has it.
func ReplyTimeout(doc *ddl.Document) time.Duration { return doc.Metadata.Timeout + 2*time.Second }
