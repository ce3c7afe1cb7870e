package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetctl/internal/render"
)

const helpFlag = "help"

// page is the help of one command: as wide as the terminal, up to widestHelp, and of the usual width elsewhere.
type page struct {
	strings.Builder
	width int
	all   bool // explain every flag
}

// widestHelp is the longest line that reads well.
const widestHelp = 100

// helpOf is the text of `COMMAND --help`: examples, usage, then the flags in groups. With all, each flag is explained.
func helpOf(c *cobra.Command, width int, all bool) string {
	p := &page{width: min(width, widestHelp), all: all}
	p.paragraph(c)
	if c.Example != "" {
		p.section("Examples", strings.Split(c.Example, "\n")...)
	}
	if c.Runnable() || c.HasSubCommands() {
		title := "Usage"
		if len(c.Aliases) > 0 {
			title += " (or " + strings.Join(c.Aliases, ", ") + ")"
		}
		p.section(title, "  "+usageLine(c))
	}
	var commands, topics [][2]string
	for _, sub := range c.Commands() {
		switch {
		case sub.IsAvailableCommand():
			commands = append(commands, [2]string{sub.Name(), sub.Short})
		case sub.IsAdditionalHelpTopicCommand():
			topics = append(topics, [2]string{sub.Name(), sub.Short})
		}
	}
	p.entries("Commands", commands)
	p.entries("Topics ("+c.Root().Name()+" help TOPIC)", topics)
	if !c.IsAdditionalHelpTopicCommand() {
		p.flags(c)
	}
	return strings.TrimLeft(p.String(), "\n")
}

func usageLine(c *cobra.Command) string {
	if c.HasAvailableSubCommands() {
		return c.CommandPath() + " COMMAND"
	}
	return c.UseLine()
}

func (p *page) paragraph(c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short
	}
	p.WriteString(render.Reflow(text, p.width) + "\n")
}

func (p *page) section(title string, lines ...string) {
	fmt.Fprintf(p, "\n%s:\n", title)
	for _, l := range lines {
		p.WriteString(strings.TrimRight(l, " ") + "\n")
	}
}

// entries are names with what they mean, in two columns.
func (p *page) entries(title string, rows [][2]string) {
	if len(rows) > 0 {
		p.section(title, p.columns(rows, p.column(rows))...)
	}
}

const indent = "  "

// column is where the texts of these rows begin: behind the longest name, at two fifths of the width at most.
func (p *page) column(rows [][2]string) int {
	column := 0
	for _, r := range rows {
		column = max(column, len(indent+r[0])+2)
	}
	return min(column, p.width*2/5)
}

// columns lays names and texts out. A text whose name is too long for the column begins on the next line.
func (p *page) columns(rows [][2]string, column int) (lines []string) {
	blank := strings.Repeat(" ", column)
	for _, r := range rows {
		name, text := indent+r[0], wrapped(r[1], p.width-column)
		if len(text) > 0 && len(name)+2 <= column {
			name, text = name+blank[len(name):]+text[0], text[1:]
		}
		lines = append(lines, name)
		for _, t := range text {
			lines = append(lines, blank+t)
		}
	}
	return lines
}

// wrapped breaks a text at blanks. A word that is too long has a line of its own.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line == "" {
		return lines
	}
	return append(lines, line)
}

// flags are the command's flags in groups. The short form has the common flags of a group, each up to the first semicolon
// of its text, and the names of the others.
func (p *page) flags(c *cobra.Command) {
	root, groups := c.Root(), sections(c)
	shown := make([][][2]string, len(groups))
	var every [][2]string // all texts begin in one column
	for i, s := range groups {
		for _, f := range s.common {
			row := flagRowOf(f)
			if !p.all && len(s.more) > 0 {
				row[1], _, _ = strings.Cut(row[1], "; ")
			}
			shown[i] = append(shown[i], row)
		}
		if p.all {
			for _, f := range s.more {
				shown[i] = append(shown[i], flagRowOf(f))
			}
		}
		every = append(every, shown[i]...)
	}
	column, short := p.column(every), false
	for i, s := range groups {
		p.section(s.title, p.columns(shown[i], column)...)
		if !p.all && len(s.more) > 0 {
			short = true
			p.names("also ", s.more)
		}
	}
	p.WriteString("\n")
	if short {
		fmt.Fprintf(p, "All flags, in full: %s help %s --all\n", root.Name(), strings.TrimPrefix(c.CommandPath(), root.Name()+" "))
	}
	if c != root {
		fmt.Fprintf(p, "Global flags, such as --config and --site: %s --help\n", root.Name())
	}
}

// names lists flags by name only.
func (p *page) names(before string, flags []*pflag.Flag) {
	names := make([]string, len(flags))
	for i, f := range flags {
		names[i] = "--" + f.Name
	}
	for i, l := range wrapped(before+strings.Join(names, " "), p.width-2*len(indent)) {
		if i > 0 {
			l = indent + l
		}
		p.WriteString(indent + l + "\n")
	}
}

// flagRowOf is how the flag is written, and what it does. pflag knows which defaults are worth a word.
func flagRowOf(f *pflag.Flag) [2]string {
	one := pflag.NewFlagSet("", pflag.ContinueOnError)
	one.AddFlag(f)
	line := strings.TrimRight(one.FlagUsages(), "\n")
	left := strings.TrimLeft(line, " ")
	name, text, _ := strings.Cut(left, "   ")
	if f.Shorthand == "" {
		name = "    " + name
	}
	return [2]string{name, text}
}
