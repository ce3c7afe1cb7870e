package cmd

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// manual are the man pages of a command line, by their paths below share/.
type manual struct {
	names []string // of the program; the pages have the first one
	// release and date stand below each page, and may be "".
	release, date string
	pages         map[string][]byte
}

// The sections of the manual: commands, and what is neither a command nor a file.
const (
	commandPage = 1
	topicPage   = 7
)

// pageOf is the page of a command or topic: fleetctl-runs-list for `fleetctl runs list`.
func pageOf(c *cobra.Command) (name string, section int) {
	section = commandPage
	if c.IsAdditionalHelpTopicCommand() {
		section = topicPage
	}
	return strings.ReplaceAll(c.CommandPath(), " ", "-"), section
}

func pagePath(name string, section int) string {
	return path.Join("man", fmt.Sprintf("man%d", section), fmt.Sprintf("%s.%d", name, section))
}

// reference is how other pages name the page of a command.
func reference(c *cobra.Command) string {
	name, section := pageOf(c)
	return fmt.Sprintf("%s(%d)", bold(name), section)
}

// documented are the commands and topics below c that the help shows.
func documented(c *cobra.Command) (commands, topics []*cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case sub.IsAvailableCommand() && sub.Name() != helpFlag:
			commands = append(commands, sub)
		case sub.IsAdditionalHelpTopicCommand():
			topics = append(topics, sub)
		}
	}
	return commands, topics
}

// add writes the page of a command and those of the commands below it. The other names of the program lead to the same
// pages.
func (m *manual) add(c *cobra.Command) {
	name, section := pageOf(c)
	m.pages[pagePath(name, section)] = []byte(m.page(c))
	for _, other := range m.names[1:] {
		if rest, ok := strings.CutPrefix(name, m.names[0]); ok {
			m.pages[pagePath(other+rest, section)] = []byte(".so " + strings.TrimPrefix(pagePath(name, section), "man/") + "\n")
		}
	}
	commands, topics := documented(c)
	for _, sub := range slices.Concat(commands, topics) {
		m.add(sub)
	}
}

// page is the man page of a command or topic: what its help shows, every flag in the same groups.
func (m *manual) page(c *cobra.Command) string {
	name, section := pageOf(c)
	r := &roff{}
	fmt.Fprintf(r, ".TH %s %d \"%s\" \"%s\" \"%s manual\"\n", roffText(strings.ToUpper(name)), section,
		roffText(m.date), roffText(strings.TrimSpace(productName+" "+m.release)), productName)
	r.WriteString(".nh\n.ad l\n") // neither hyphens nor blanks that are not in the text
	r.section("Name")
	called := name
	if c == c.Root() {
		called = strings.Join(m.names, ", ")
	}
	r.line(roffText(called) + ` \- ` + roffText(c.Short))
	if section == topicPage {
		r.section("Description")
		_, body, _ := strings.Cut(c.Long, "\n")
		r.text(strings.TrimLeft(body, "\n"))
		r.seeAlso(c)
		return r.String()
	}
	r.synopsis(c)
	r.section("Description")
	r.text(cmp.Or(c.Long, c.Short))
	commands, _ := documented(c)
	if len(commands) > 0 {
		r.section("Commands")
	}
	for _, sub := range commands {
		r.entry(reference(sub), sub.Short)
	}
	r.options(c)
	if c.Example != "" {
		r.section("Examples")
		r.text(c.Example)
	}
	r.exitStatus(c)
	r.files()
	r.seeAlso(c)
	return r.String()
}

func (r *roff) synopsis(c *cobra.Command) {
	r.section("Synopsis")
	usage := strings.TrimPrefix(usageLine(c), c.CommandPath())
	r.line(bold(c.CommandPath()) + italic(usage))
	for _, alias := range c.Aliases {
		r.WriteString(".br\n")
		r.line(bold(strings.TrimSpace(parentPath(c)+" "+alias)) + italic(usage))
	}
}

func parentPath(c *cobra.Command) string {
	if c.HasParent() {
		return c.Parent().CommandPath()
	}
	return ""
}

// options are the flags of a command in the groups of its help.
func (r *roff) options(c *cobra.Command) {
	groups := sections(c)
	if len(groups) > 0 || c != c.Root() {
		r.section("Options")
	}
	for _, g := range groups {
		if len(groups) > 1 {
			r.subsection(g.title)
		}
		for _, f := range slices.Concat(g.common, g.more) {
			row := flagRowOf(f)
			var words []string
			for word := range strings.FieldsSeq(row[0]) {
				if strings.HasPrefix(word, "-") {
					bare, comma := strings.CutSuffix(word, ",")
					if word = bold(bare); comma {
						word += ","
					}
				} else {
					word = italic(word)
				}
				words = append(words, word)
			}
			r.entry(strings.Join(words, " "), row[1])
		}
	}
	if c != c.Root() {
		r.WriteString(".PP\n")
		r.line(reference(c.Root()) + " has the flags of every command.")
	}
}

// exitStatus has all codes for the program, and for commands that send in batches.
func (r *roff) exitStatus(c *cobra.Command) {
	r.section("Exit status")
	if c != c.Root() && c.Flags().Lookup("dry-run") == nil {
		r.line("0 when the command succeeded. " + bold(c.Root().Name()+"-exit-codes") + "(7) lists the other codes.")
		return
	}
	for _, code := range exitCodes() {
		r.entry(bold(code[0]), code[1])
	}
}

// exitCodes are the codes and what they mean, from the help topic.
func exitCodes() (codes [][2]string) {
	text, err := topicFiles.ReadFile("topics/exit-codes.txt")
	if err != nil {
		panic(err) // the file is compiled in
	}
	for line := range strings.Lines(string(text)) {
		number, meaning, found := strings.Cut(strings.TrimSpace(line), "  ")
		switch {
		case found && strings.Trim(number, "0123456789") == "":
			codes = append(codes, [2]string{number, meaning})
		case len(codes) > 0 && strings.HasPrefix(line, indent):
			codes[len(codes)-1][1] += " " + strings.TrimSpace(line)
		case len(codes) > 0:
			return codes
		}
	}
	return codes
}

// manFiles are the files that the program reads and writes; docs/configuration.md has them all.
var manFiles = [][2]string{
	{"~/.config/fleetctl/config.yaml", "fleetctl's own settings: limits for all runs, sites, approvals. FLEETCTL_SETTINGS names another file."},
	{"~/.choriarc, ~/.mcollective, /etc/choria/client.conf, /usr/local/etc/choria/client.conf, /etc/puppetlabs/mcollective/client.cfg",
		"the Choria client configuration: the first that exists. --config and FLEETCTL_CONFIG name another file."},
	{"~/.local/state/fleetctl/runs/", "the records of runs. --state-dir and FLEETCTL_STATE_DIR name another folder."},
	{"~/.cache/fleetctl/", "what earlier commands have seen. It only saves time, and may be deleted."},
}

func (r *roff) files() {
	r.section("Files")
	for _, f := range manFiles {
		r.entry(italic(f[0]), f[1])
	}
}

// seeAlso names the pages above, below and beside this one that are not named elsewhere, and the topics.
func (r *roff) seeAlso(c *cobra.Command) {
	r.section("See also")
	var names []string
	for at := c.Parent(); at != nil; at = at.Parent() {
		names = append([]string{reference(at)}, names...)
	}
	_, topics := documented(c.Root())
	for _, topic := range topics {
		if topic != c {
			names = append(names, reference(topic))
		}
	}
	r.line(strings.Join(names, ", "))
}
