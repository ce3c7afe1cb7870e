package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"golang.org/x/term"

	"fleetctl/internal/config"
	"fleetctl/internal/ddl"
)

// tokenVariable gives the provisioning token to choria_provision, and to nothing else.
const (
	tokenVariable  = "FLEETCTL_TOKEN"
	provisionAgent = "choria_provision"
	stdinValue     = "-"
	maxSecret      = 1 << 20 // bytes read from a file or stdin: a secret is short, a wrong file may be anything
)

// inputs are an action's inputs, with the secrets apart: those print as [redacted] whatever happens.
type inputs struct {
	plain  map[string]string
	secret map[string]config.Secret
}

// resolveInputs reads what the operator gave. For inputs that the agent's document has as secrets, @FILE, - and env:NAME
// say where the value is, and @@ begins a literal @; elsewhere those are plain text.
func (a *app) resolveInputs(ctx context.Context, agent string, action *ddl.Action, raw map[string]string) (inputs, error) {
	in := inputs{plain: map[string]string{}, secret: map[string]config.Secret{}}
	for key, text := range raw {
		if !secretInput(action, key) {
			in.plain[key] = text
			continue
		}
		value, err := a.readSecret(ctx, key, text)
		if _, left := errors.AsType[signalError](err); left {
			return in, err
		}
		if err != nil {
			return in, usage(err, "")
		}
		in.secret[key] = config.NewSecret(value)
	}
	if _, wanted := action.Inputs["token"]; wanted && agent == provisionAgent {
		if _, given := in.secret["token"]; !given {
			if value, ok := a.getenv(tokenVariable); ok && value != "" {
				in.secret["token"] = config.NewSecret(value)
			}
		}
	}
	return in, nil
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

func (a *app) readSecret(ctx context.Context, key, text string) (string, error) {
	name, isVariable := strings.CutPrefix(text, "env:")
	switch {
	case text == stdinValue:
		return a.secretFromStdin(ctx, key)
	case strings.HasPrefix(text, "@@"):
		return a.literal(key, text[1:]), nil
	case strings.HasPrefix(text, "@"):
		return secretFromFile(key, text[1:])
	case isVariable:
		value, ok := a.getenv(name)
		if !ok || value == "" {
			return "", fmt.Errorf("input %q: the variable %s is not set", key, name)
		}
		return value, nil
	}
	return a.literal(key, text), nil
}

// literal hints once that a command line is no place for a secret.
func (a *app) literal(key, value string) string {
	if value != "" {
		fmt.Fprintf(a.err, "hint: %s on a command line shows in process lists and histories; %s=@FILE, %s=- or %s=env:NAME keep it out\n", key, key, key, key)
	}
	return value
}

func secretFromFile(key, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("input %q: %w", key, err)
	}
	defer f.Close()
	value, err := readSecretLine(f)
	if err != nil {
		return "", fmt.Errorf("input %q: %s: %w", key, path, err)
	}
	return value, nil
}

func (a *app) secretFromStdin(ctx context.Context, key string) (string, error) {
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		value, err := hidden(ctx, f, key+": ")
		if err == nil && value == "" {
			err = errors.New("nothing was typed")
		}
		if err != nil {
			return "", fmt.Errorf("input %q: %w", key, err)
		}
		return value, nil
	}
	value, err := readSecretLine(a.in)
	if err != nil {
		return "", fmt.Errorf("input %q: stdin: %w", key, err)
	}
	return value, nil
}

// readSecretLine reads one line, which must be all there is.
func readSecretLine(r io.Reader) (string, error) {
	data, err := io.ReadAll(bufio.NewReader(io.LimitReader(r, maxSecret)))
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(data), "\r\n")
	switch {
	case value == "":
		return "", errors.New("it is empty")
	case strings.ContainsAny(value, "\r\n"):
		return "", errors.New("it has more than one line")
	}
	return value, nil
}

// scrubber takes secrets out of what others say: a server's message may quote what it was sent.
type scrubber struct{ texts [][]byte }

const redacted = "[redacted]"

// shortest is the length below which a secret is not looked for: replacing every "a" would hide the message instead.
const shortest = 4

func (s *scrubber) add(in inputs) {
	for _, secret := range in.secret {
		text := secret.Reveal()
		if len(text) < shortest {
			continue
		}
		s.texts = append(s.texts, []byte(text))
		if quoted, err := json.Marshal(text); err == nil && !bytes.Equal(quoted[1:len(quoted)-1], []byte(text)) {
			s.texts = append(s.texts, quoted[1:len(quoted)-1])
		}
	}
}

func (s scrubber) bytes(data []byte) []byte {
	for _, text := range s.texts {
		if bytes.Contains(data, text) {
			data = bytes.ReplaceAll(data, text, []byte(redacted))
		}
	}
	return data
}

func (s scrubber) text(message string) string {
	for _, text := range s.texts {
		message = strings.ReplaceAll(message, string(text), redacted)
	}
	return message
}

// scrubWriter is a writer of whole messages without secrets, for the log.
type scrubWriter struct {
	w io.Writer
	s *scrubber
}

// Write implements io.Writer.
func (w scrubWriter) Write(p []byte) (int, error) {
	if _, err := w.w.Write(w.s.bytes(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
