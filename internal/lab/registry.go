package lab

import (
	"context"
	"encoding/json"
	"fmt"

	"fleetctl/internal/ddl"
)

// document is an agent document as registries serve it.
type document struct{ text, version string }

// embeddedDocuments writes every embedded document (docs/protocol.md, DDL document).
func embeddedDocuments(ctx context.Context) (map[string]document, error) {
	documents := make(map[string]document)
	for _, name := range ddl.Embedded() {
		d, err := ddl.Resolver{}.Resolve(ctx, name)
		if err != nil {
			return nil, err
		}
		m := d.Metadata
		actions := []map[string]any{}
		for _, a := range d.Actions {
			actions = append(actions, describeAction(a))
		}
		text, err := json.Marshal(map[string]any{
			"$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json",
			"metadata": map[string]any{
				"name": m.Name, "description": m.Description, "author": m.Author, "license": m.License, "version": m.Version,
				"url": m.URL, "timeout": int(m.Timeout.Seconds()), "service": m.Service, "provider": m.Provider,
			},
			"actions": actions,
		})
		if err != nil {
			return nil, fmt.Errorf("write document of agent %s: %w", name, err)
		}
		documents[name] = document{string(text), m.Version}
	}
	return documents, nil
}

func describeAction(a ddl.Action) map[string]any {
	inputs, outputs, aggregates := map[string]any{}, map[string]any{}, []any{}
	for name, in := range a.Inputs {
		entry := map[string]any{"prompt": in.Prompt, "description": in.Description, "type": in.Type, "optional": in.Optional}
		if in.Default != nil {
			entry["default"] = in.Default
		}
		if in.Validation != "" {
			entry["validation"] = in.Validation
		}
		if in.MaxLength > 0 {
			entry["maxlength"] = in.MaxLength
		}
		if len(in.List) > 0 {
			entry["list"] = in.List
		}
		inputs[name] = entry
	}
	for name, out := range a.Outputs {
		outputs[name] = map[string]any{"description": out.Description, "display_as": out.DisplayAs, "type": out.Type, "default": out.Default}
	}
	for _, g := range a.Aggregates {
		args := []any{g.Output}
		options := map[string]any{}
		for value, label := range g.Labels {
			options[value] = label
		}
		if g.Format != "" {
			options["format"] = g.Format
		}
		if len(options) > 0 {
			args = append(args, options)
		}
		aggregates = append(aggregates, map[string]any{"function": g.Function, "args": args})
	}
	return map[string]any{
		"action": a.Name, "description": a.Description, "display": a.Display,
		"input": inputs, "output": outputs, "aggregate": aggregates,
	}
}
