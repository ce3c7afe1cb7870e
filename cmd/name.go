package cmd

import (
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The names of the program. The second is for hosts where another program is called fleetctl; packages link it to the
// first.
const (
	productName = "fleetctl"
	secondName  = "choria-fleetctl"
)

// nameOf is the name by which the program was called: the second one, or the first for whatever else it is called.
func nameOf(called string) string {
	if strings.TrimSuffix(filepath.Base(called), ".exe") == secondName {
		return secondName
	}
	return productName
}

// commandLines finds where a text names a command line of the program, not the program itself.
var commandLines struct {
	once sync.Once
	find *regexp.Regexp
}

func findCommandLines() {
	names := []string{helpFlag}
	for _, c := range commands(nil) {
		names = append(names, regexp.QuoteMeta(c.name))
	}
	commandLines.find = regexp.MustCompile(`(^|[^-\w./])` + productName + `( (?:--\w|(?:` + strings.Join(names, "|") + `)\b))`)
}

// renamed has the command lines of a text begin with the name of the program.
func renamed(name, text string) string {
	if name == productName {
		return text
	}
	commandLines.once.Do(findCommandLines)
	return commandLines.find.ReplaceAllString(text, "${1}"+name+"${2}")
}

// renameCommands has the help of all commands use the name of the program.
func renameCommands(name string, c *cobra.Command) {
	c.Short, c.Long, c.Example = renamed(name, c.Short), renamed(name, c.Long), renamed(name, c.Example)
	flag := func(f *pflag.Flag) { f.Usage = renamed(name, f.Usage) }
	c.Flags().VisitAll(flag)
	c.PersistentFlags().VisitAll(flag)
	for _, sub := range c.Commands() {
		renameCommands(name, sub)
	}
}

// renamer is a stream of messages whose command lines begin with the second name. A message is written as a whole.
type renamer struct{ io.Writer }

// Write implements io.Writer.
func (r renamer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(r.Writer, renamed(secondName, string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// messages is a stream of messages under the name of the program.
func messages(name string, w io.Writer) io.Writer {
	if name == productName {
		return w
	}
	return renamer{w}
}
