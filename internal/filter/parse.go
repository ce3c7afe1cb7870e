package filter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Flags is what was typed, flag by flag, in order: -F, -C, -A, -I, -W, -S.
// DataFunctions names data plugins that the site's servers have besides the
// built-in ones, so that -S may call them.
type Flags struct {
	Facts         []string
	Classes       []string
	Agents        []string
	Identities    []string
	With          []string
	Select        []string
	DataFunctions []string
}

// SurpriseError refuses a filter whose meaning on servers is not the obvious
// one. Instead is the flag and filter to type, quoted for a shell; it is
// blank only when the same is done without a filter.
type SurpriseError struct {
	Flag    string // "-F"
	Text    string // as typed
	Why     string
	Instead string
}

// Error names what is refused, why, and what to write.
func (e *SurpriseError) Error() string {
	s := fmt.Sprintf("cannot use %s %s: %s", e.Flag, shellQuote(e.Text), e.Why)
	if e.Instead != "" {
		s += "; write " + e.Instead + " instead"
	}
	return s
}

// Parse turns flags into a filter, or refuses: the error is a *SurpriseError
// for a filter that would surprise, another error for one that no server can
// read. Agents, classes and identities that are named twice are kept once.
func Parse(flags Flags) (Filter, error) {
	f, err := parse(flags)
	if refusal, ok := errors.AsType[*SurpriseError](err); ok {
		refusal.Instead = acceptable(refusal.Instead)
	}
	return f, err
}

func parse(flags Flags) (Filter, error) {
	var f Filter
	if err := checkText(flags); err != nil {
		return Filter{}, err
	}
	for _, text := range flags.Facts {
		fact, err := checkFact("-F", text)
		if err != nil {
			return Filter{}, err
		}
		f.Facts = append(f.Facts, fact)
	}
	lists := []struct {
		flag  string
		texts []string
		into  *[]string
	}{
		{"-C", flags.Classes, &f.Classes},
		{"-A", flags.Agents, &f.Agents},
		{"-I", flags.Identities, &f.Identities},
	}
	for _, l := range lists {
		for _, text := range l.texts {
			if err := checkName(l.flag, text); err != nil {
				return Filter{}, err
			}
			addOnce(l.into, text)
		}
	}
	for _, text := range flags.With {
		if err := f.addCombined(text); err != nil {
			return Filter{}, err
		}
	}
	if err := f.addSelect(flags); err != nil {
		return Filter{}, err
	}
	return f, nil
}

// checkText refuses bytes that are no text: JSON cannot carry them.
func checkText(flags Flags) error {
	for _, texts := range [][]string{flags.Facts, flags.Classes, flags.Agents, flags.Identities, flags.With, flags.Select} {
		for _, text := range texts {
			if !utf8.ValidString(text) {
				return fmt.Errorf("cannot use filter %q: it is not UTF-8 text", text)
			}
		}
	}
	return nil
}

func addOnce(list *[]string, s string) {
	if !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

func (f *Filter) addSelect(flags Flags) error {
	switch len(flags.Select) {
	case 0:
		return nil
	case 1:
	default:
		return &SurpriseError{
			Flag: "-S", Text: strings.Join(flags.Select, " -S "),
			Why:     "servers let several -S vote and a majority wins, they need not all hold",
			Instead: "-S " + shellQuote("("+strings.Join(flags.Select, ") and (")+")"),
		}
	}
	if err := checkCompound(flags.Select[0], flags.DataFunctions); err != nil {
		return err
	}
	f.Compound = append(f.Compound, flags.Select[0])
	return nil
}

// addCombined reads -W: pieces between single spaces, each a fact filter or
// else a class.
func (f *Filter) addCombined(text string) error {
	if strings.TrimSpace(text) == "" {
		return emptyFilter("-W", text)
	}
	for piece := range strings.SplitSeq(text, " ") {
		if piece == "" {
			continue
		}
		if err := checkPiece(text, piece); err != nil {
			return err
		}
		if fact, err := ParseFact(piece); err == nil {
			f.Facts = append(f.Facts, fact)
			continue
		}
		addOnce(&f.Classes, piece)
	}
	return nil
}

// checkPiece refuses a piece of -W that servers would read as something else.
func checkPiece(text, piece string) error {
	bare := strings.NewReplacer(`"`, "", `'`, "").Replace(text)
	if strings.Count(piece, `"`)%2 == 1 || strings.Count(piece, `'`)%2 == 1 {
		return &SurpriseError{Flag: "-W", Text: text,
			Why:     fmt.Sprintf("-W knows no quotes, it splits at every space and %q is a piece of its own", piece),
			Instead: factInstead(bare)}
	}
	if strings.ContainsAny(piece, `"'`) && !isRegex(piece) {
		return &SurpriseError{Flag: "-W", Text: text, Why: "-W knows no quotes, they would be a part of the name or the value", Instead: "-W " + shellQuote(bare)}
	}
	if _, err := ParseFact(piece); err == nil {
		_, err = checkFact("-W", piece)
		return err
	}
	if isRegex(piece) || !strings.ContainsAny(piece, "=<>!~") {
		return checkName("-W", piece)
	}
	return &SurpriseError{Flag: "-W", Text: text,
		Why:     fmt.Sprintf("%q is no fact filter, and would become the class %q", piece, piece),
		Instead: pieceInstead(text, piece)}
}

// factInstead proposes a fact filter, or what is proposed in place of that; blank
// when text is no fact filter at all.
func factInstead(text string) string {
	fact, err := checkFact("-F", text)
	if err == nil {
		return "-F " + shellQuote(fact.String())
	}
	if refusal, ok := errors.AsType[*SurpriseError](err); ok {
		return refusal.Instead
	}
	return ""
}

// pieceInstead guesses what an unparsable piece was meant to be.
func pieceInstead(text, piece string) string {
	if fact, err := checkFact("-F", text); err == nil && operators().MatchString(text) && !strings.Contains(fact.Name, " ") {
		return "-F " + shellQuote(fact.String())
	}
	core := strings.Trim(piece, "=<>!~")
	if instead := factInstead(core); core != "" && instead != "" {
		return instead
	}
	switch {
	case core == "":
		return "-F FACT=VALUE, in one piece without spaces"
	case strings.HasPrefix(piece, core) && strings.HasPrefix(piece[len(core):], "!"):
		return "-S " + shellQuote(fmt.Sprintf(`fact(%s) != ""`, exprQuote(core)))
	case strings.HasPrefix(piece, core):
		return "-S " + shellQuote(fmt.Sprintf(`fact(%s) == ""`, exprQuote(core)))
	}
	negated := fmt.Sprintf(`not with(%s)`, exprQuote(core))
	if strings.HasPrefix(piece, "!") && checkCompound(negated, nil) == nil {
		return "-S " + shellQuote(negated)
	}
	if refusal, ok := errors.AsType[*SurpriseError](checkName("-C", core)); ok {
		return refusal.Instead
	}
	return "-C " + shellQuote(core)
}

// checkName judges a class, an agent or an identity.
func checkName(flag, text string) error {
	if strings.TrimSpace(text) == "" {
		return emptyFilter(flag, text)
	}
	if flag == "-I" && isExpanded(text) {
		return nil
	}
	if isRegex(text) {
		return checkRegex(flag, text, regexBody(text))
	}
	switch {
	case strings.HasPrefix(text, "/") || strings.HasSuffix(text, "/"):
		return &SurpriseError{Flag: flag, Text: text,
			Why:     "a regex needs a slash at both ends, this is an exact name",
			Instead: flag + " " + shellQuote("/"+compilable(strings.Trim(text, "/"))+"/")}
	case strings.ContainsAny(text, "*?"):
		return &SurpriseError{Flag: flag, Text: text,
			Why:     "servers know no wildcards, this is an exact name",
			Instead: flag + " " + shellQuote("/^"+globPattern(text)+"$/")}
	}
	if flag == "-I" {
		if fault := NameFault(text); fault != "" {
			return &SurpriseError{Flag: flag, Text: text, Why: fault, Instead: identityInstead(text)}
		}
		return nil
	}
	if fact, err := ParseFact(text); err == nil {
		return &SurpriseError{Flag: flag, Text: text,
			Why: "this is a fact filter, here it is an exact name", Instead: factInstead(fact.String())}
	}
	return nil
}

func emptyFilter(flag, text string) error {
	return &SurpriseError{Flag: flag, Text: text,
		Why: "servers never see an empty filter, so every node would be meant; leave the flag out to mean that"}
}

func checkRegex(flag, text, body string) error {
	if body == "" {
		return &SurpriseError{Flag: flag, Text: text,
			Why: "an empty regex matches everything", Instead: flag + " " + shellQuote("/./")}
	}
	if _, err := regexp.Compile(body); err != nil {
		return &SurpriseError{Flag: flag, Text: text,
			Why:     fmt.Sprintf("the regex does not compile (%v) and would match nothing", err),
			Instead: flag + " " + shellQuote("/"+compilable(body)+"/")}
	}
	return nil
}

// compilable is body, or the regex of its literal text when it does not compile.
func compilable(body string) string {
	if _, err := regexp.Compile(body); err != nil {
		return regexp.QuoteMeta(body)
	}
	return body
}

// globPattern is the regex of a shell wildcard.
func globPattern(glob string) string {
	return strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(glob))
}

// shellQuote makes s one word of a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
