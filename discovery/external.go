package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/hook"
)

// The protocol of discovery programs (docs/protocol.md, discovery, external).
const (
	externalRequest = "io.choria.choria.discovery.v1.external_request"
	externalReply   = "io.choria.choria.discovery.v1.external_reply"
	externalSchema  = "https://choria.io/schemas/choria/discovery/v1/external_request.json"
)

// externalSource lets a program of the site find the nodes.
type externalSource struct {
	words       []string
	options     map[string]string
	path        string
	federations []string
}

// newExternal makes the source. It reads Options, of which command is taken and the others go to the program,
// Command, Path, Federations and Home of the settings. Nothing is run yet.
func newExternal(s Settings) (*externalSource, error) {
	e := &externalSource{options: maps.Clone(s.Options), path: s.Path, federations: s.Federations}
	if e.options == nil {
		e.options = map[string]string{}
	}
	command := s.Command
	if c := e.options["command"]; c != "" {
		command = c
		delete(e.options, "command")
	}
	words, err := splitWords(command)
	switch {
	case err != nil:
		return nil, misuse(methodExternal, "", "discovery command %q: %w", command, err)
	case len(words) == 0 || words[0] == "":
		return nil, misuse(methodExternal, "add --do command=PROGRAM, or set plugin.choria.discovery.external.command",
			"discovery method external needs a command")
	}
	words[0] = expandHome(words[0], s.Home)
	e.words = words
	return e, nil
}

// externalQuery is what the program reads.
type externalQuery struct {
	Protocol    string            `json:"protocol"`
	Collective  string            `json:"collective"`
	Filter      choria.Filter     `json:"filter"`
	Federations []string          `json:"federations"`
	Options     map[string]string `json:"options"`
	Schema      string            `json:"$schema"`
	Timeout     float64           `json:"timeout"`
}

// Discover runs the program in a directory of its own, which is gone afterwards, and takes the nodes that it
// names; a name that cannot be a node's is an error. The program has Query.Timeout, one second at the
// least; then it is killed, with its children where the system can do that.
func (e *externalSource) Discover(ctx context.Context, q Query) (Result, error) {
	if err := suits(methodExternal, q.Filter); err != nil {
		return Result{}, err
	}
	program, err := findProgram(e.words[0], e.path)
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	timeout := max(q.Timeout, time.Second)
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "fleetctl-discovery-")
	if err != nil {
		return Result{}, fmt.Errorf("make a directory for the discovery program: %w", err)
	}
	defer os.RemoveAll(dir)
	query, err := json.Marshal(externalQuery{Protocol: externalRequest, Collective: q.Collective, Filter: WireFilter(q.Filter, q.Agent),
		Federations: e.federations, Options: e.options, Schema: externalSchema, Timeout: timeout.Seconds()})
	if err != nil {
		return Result{}, fmt.Errorf("encode the discovery request: %w", err)
	}
	x := exchange{program: program, words: e.words, path: e.path, dir: dir}
	switch reply, err := x.run(limited, query); {
	case ctx.Err() != nil:
		return Result{}, fmt.Errorf("run discovery program %s: %w", program, context.Cause(ctx))
	case limited.Err() != nil && err != nil:
		return Result{}, fault(methodExternal, "give it more time: --discovery-timeout", "discovery program %s did not end within %v", program, timeout)
	case err != nil:
		return Result{}, err
	default:
		names, err := readExternal(reply)
		if err != nil {
			return Result{}, fault(methodExternal, "the program is at fault", "reply of discovery program %s: %w", program, err)
		}
		return result(methodExternal, names, start), nil
	}
}

// exchange is one run of a program.
type exchange struct {
	program string   // the file that is run
	words   []string // the command, its own arguments included
	path    string   // PATH
	dir     string   // where it runs, and where both files are
}

// run gives the program the query, waits for its end, and returns the content of its reply file.
func (x exchange) run(ctx context.Context, query []byte) ([]byte, error) {
	request, reply := filepath.Join(x.dir, "request.json"), filepath.Join(x.dir, "reply.json")
	for name, content := range map[string][]byte{request: query, reply: nil} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return nil, fmt.Errorf("write the discovery request: %w", err)
		}
	}
	var said opening
	cmd := exec.CommandContext(ctx, x.program, append(x.words[1:len(x.words):len(x.words)], request, reply, externalRequest)...)
	cmd.Dir = x.dir
	cmd.Env = []string{"CHORIA_EXTERNAL_REQUEST=" + request, "CHORIA_EXTERNAL_REPLY=" + reply,
		"CHORIA_EXTERNAL_PROTOCOL=" + externalRequest, "PATH=" + x.path}
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second // for a child that keeps stderr open
	hook.OwnGroup(cmd)
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		more := ""
		if text := shorten(said.String(), 300); text != "" {
			more = ": " + text
		}
		return nil, fault(methodExternal, "run it by hand: it gets a request file, a reply file and a protocol name",
			"discovery program %s ended with %w%s", x.program, err, more)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, misuse(methodExternal, "is it a program for this system, and its interpreter there?", "run discovery program %s: %w", x.program, err)
	}
	file, err := os.Open(reply)
	if err != nil {
		return nil, fault(methodExternal, "the program is at fault", "open the reply of discovery program %s: %w", x.program, err)
	}
	defer file.Close()
	content, err := readText(ctx, file, maxReply)
	if err != nil {
		return nil, fault(methodExternal, "the program is at fault", "read the reply of discovery program %s: %w", x.program, err)
	}
	return content, nil
}

// readExternal takes the names out of a program's reply.
func readExternal(content []byte) ([]string, error) {
	var reply struct {
		Protocol string   `json:"protocol"`
		Nodes    []string `json:"nodes"`
		Error    string   `json:"error"`
	}
	if len(content) == 0 {
		return nil, errors.New("it is empty: the program has to write to the file that is its second argument from the end")
	}
	if err := json.Unmarshal(content, &reply); err != nil {
		l := nodeList{content: content}
		return nil, l.jsonError(err)
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("it says: %s", shorten(reply.Error, 500))
	}
	if reply.Protocol != externalReply {
		return nil, fmt.Errorf("its protocol is %q, not %q", shorten(reply.Protocol, 100), externalReply)
	}
	for i, n := range reply.Nodes {
		if err := checkName(n); err != nil {
			return nil, fmt.Errorf("nodes[%d]: %w", i, err)
		}
	}
	return reply.Nodes, nil
}

// findProgram finds a program by its absolute path, or by its name along path. Relative paths are refused:
// they would be looked for in the directory that the program runs in.
func findProgram(name, path string) (string, error) {
	if filepath.Base(name) != name {
		if !filepath.IsAbs(name) {
			return "", misuse(methodExternal, "write its absolute path", "discovery command %q is a relative path", name)
		}
		found, err := exec.LookPath(name)
		if err != nil {
			return "", misuse(methodExternal, "name a program that exists and may be run", "discovery command: %w", err)
		}
		return found, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return found, nil
		}
	}
	return "", misuse(methodExternal, "write its absolute path, or add its directory to PATH", "discovery command %q is not in PATH", name)
}

// splitWords splits a command as a shell does, without expanding anything: quotes, backslashes, and comments
// that begin a word with '#'.
func splitWords(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	var quote rune
	text := []rune(command)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i++; i == len(text) {
				return nil, errors.New("it ends with a backslash")
			}
			inWord = true
			word.WriteRune(text[i])
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case strings.ContainsRune(" \t\r\n", c):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case c == '#' && !inWord:
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// opening keeps the beginning of a program's output.
type opening struct{ strings.Builder }

// Write never fails, so that the program is not disturbed.
func (t *opening) Write(p []byte) (int, error) {
	if room := 4<<10 - t.Len(); room > 0 {
		t.Builder.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}
