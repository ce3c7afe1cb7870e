package run

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"fleetctl/internal/ddl"
	"fleetctl/internal/secret"
)

// provisionAgent is the agent whose actions are dangerous (docs/protocol.md, choria_provision).
const provisionAgent = "choria_provision"

// inputs are an action's inputs, with the secrets apart: those print as [redacted] whatever happens.
type inputs struct {
	plain  map[string]string
	secret map[string]secret.Value
}

// resolveInputs reads what the operator gave. For inputs that the agent's document has as secrets, @FILE, - and env:NAME
// name the place of the value, and @@ begins a literal @; elsewhere those are plain text. token is the
// provisioning agent's token when the inputs have none.
func resolveInputs(ctx context.Context, source secret.Source, token, agent string, action *ddl.Action, raw map[string]string) (in inputs, literal []string, err error) {
	in = inputs{plain: map[string]string{}, secret: map[string]secret.Value{}}
	for key, text := range raw {
		if !secretInput(action, key) {
			in.plain[key] = text
			continue
		}
		value, typed, err := source.Read(ctx, key, text)
		if err != nil {
			return in, literal, err
		}
		if typed && !value.Empty() {
			literal = append(literal, key)
		}
		in.secret[key] = value
	}
	if _, wanted := action.Inputs["token"]; wanted && agent == provisionAgent && token != "" {
		if _, given := in.secret["token"]; !given {
			in.secret["token"] = secret.New(token)
		}
	}
	return in, literal, nil
}

// secretInput follows the document, and the name alone where the document does not know the key: a mistyped action must
// not show a token.
func secretInput(action *ddl.Action, key string) bool {
	for _, name := range []string{key, strings.ToLower(key)} {
		if i, ok := action.Inputs[name]; ok {
			return i.Secret()
		}
	}
	return ddl.Input{Name: strings.ToLower(key)}.Secret()
}

// check converts the inputs to the request's data.
func (in inputs) check(agent string, action *ddl.Action) (json.RawMessage, error) {
	all := make(map[string]string, len(in.plain)+len(in.secret))
	maps.Copy(all, in.plain)
	for k, v := range in.secret {
		all[k] = v.Reveal()
	}
	return action.Check(agent, all)
}
