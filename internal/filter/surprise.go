package filter

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// checkFact parses a fact filter and refuses one that servers read otherwise
// than it is written.
func checkFact(flag, text string) (Fact, error) {
	if strings.TrimSpace(text) == "" {
		return Fact{}, emptyFilter(flag, text)
	}
	fact, err := ParseFact(text)
	if err != nil {
		return Fact{}, fmt.Errorf("read %s: %w", flag, err)
	}
	_, typed, value, err := splitFact(text)
	if err != nil {
		return Fact{}, err
	}
	surprise := func(why, instead string) (Fact, error) {
		return Fact{}, &SurpriseError{Flag: flag, Text: text, Why: why, Instead: instead}
	}
	if op := bareOperator(fact.Name); op != nil {
		return surprise(fmt.Sprintf("the last operator splits, so the fact would be %q and the value %q", fact.Name, value),
			splitInstead(strings.TrimSpace(text), op)) // op counts from the trimmed name's beginning
	}
	pattern := strings.Trim(value, "/")
	switch {
	case fact.Operator == "=~" && pattern == "":
		return surprise("an empty regex matches everything", "-S "+shellQuote(literalExpr(fact.Name, typed, value)))
	case isRegex(value) && typed != "=" && typed != "==" && typed != "=~":
		return surprise(fmt.Sprintf("a value between slashes is always a positive regex match, whatever the operator %s is", typed),
			slashInstead(fact, typed))
	case fact.Operator == "=~":
		if _, err := regexp.Compile(factPattern(value)); err != nil {
			return surprise(fmt.Sprintf("the regex does not compile (%v) and would match nothing", err),
				"-F "+shellQuote(fact.Name+"=/"+regexp.QuoteMeta(pattern)+"/"))
		}
	case fact.Operator == "!=" && isBoolWord(value):
		negation := strconv.FormatBool(!strings.EqualFold(value, "true"))
		return surprise("servers negate false facts wrongly: a false fact matches != false and not != true",
			"-F "+shellQuote(fact.Name+"="+negation))
	}
	return fact, nil
}

func isBoolWord(value string) bool {
	return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
}

// operatorHere matches an operator at the very beginning: looking for one further on, at every place, takes minutes in a
// long text.
var operatorHere = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:` + operators().String() + `)`) })

// bareOperator finds the first operator in a fact's name that is not part of a
// gjson query, that is not in parentheses, quotes or behind a backslash.
func bareOperator(name string) []int {
	depth, quoted := 0, false
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(' || c == '{' || c == '[':
			depth++
		case c == ')' || c == '}' || c == ']':
			depth--
		case depth <= 0:
			if at := operatorHere().FindStringIndex(name[i:]); at != nil {
				return []int{i, i + at[1]}
			}
		}
	}
	return nil
}

// splitInstead writes a filter that splits at the first operator, not the last.
func splitInstead(text string, op []int) string {
	name := strings.TrimSpace(text[:op[0]])
	typed := text[op[0]:op[1]]
	value := strings.TrimSpace(strings.TrimLeft(text[op[1]:], "=<>~"))
	if name == "" || value == "" {
		return "-F FACT=VALUE, with one operator"
	}
	if !operators().MatchString(value) {
		if fact, err := checkFact("-F", name+typed+value); err == nil {
			return "-F " + shellQuote(fact.String())
		}
	}
	if isRegex(value) || typed == "=~" {
		pattern := "(?i)" + compilable(strings.Trim(value, "/"))
		e := fmt.Sprintf("fact(%s) matches %s", exprQuote(name), exprQuote(pattern))
		if typed == "!=" {
			e = "not (" + e + ")"
		}
		return "-S " + shellQuote(e)
	}
	return "-S " + shellQuote(literalExpr(name, typed, value))
}

// slashInstead writes the negated or ordered comparison that was meant. The
// negation asks the server's own matcher, so case and numbers behave as in -F.
func slashInstead(fact Fact, typed string) string {
	meant := fact
	meant.Value = "/" + compilable(strings.Trim(fact.Value, "/")) + "/"
	positive := meant.Name + "=" + meant.Value
	if got, err := ParseFact(positive); err != nil || got != meant {
		positive = meant.String()
	}
	if typed == "!=" {
		return "-S " + shellQuote(fmt.Sprintf("not with(%s)", exprQuote(positive)))
	}
	return "-F " + shellQuote(positive) + ", or -S " + shellQuote(literalExpr(fact.Name, typed, fact.Value))
}

// literalExpr compares a fact with the text of value, slashes and operators
// included.
func literalExpr(name, typed, value string) string {
	op := typed
	if canonical, ok := operatorSpelling[op]; ok {
		op = canonical
	}
	if op == "=~" {
		op = "=="
	}
	return fmt.Sprintf("fact(%s) %s %s", exprQuote(name), op, exprQuote(value))
}

// exprQuote makes s a string literal of the expression language.
func exprQuote(s string) string {
	if !strings.ContainsAny(s, "`\r\n") && strings.ContainsAny(s, `\"`) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// dataFunctions are the data plugins that every server of 0.29 can have.
var dataFunctions = map[string]any{
	"choria":        func() map[string]any { return nil },
	"config_item":   func(string) map[string]any { return nil },
	"machine_state": func(string) map[string]any { return nil },
	"scout":         func(string) map[string]any { return nil },
}

// checkCompound compiles -S as servers do, and then refuses what servers
// accept without an error: unknown names, and filters inside with() that
// -F and -C would refuse.
func checkCompound(text string, extra []string) error {
	if strings.TrimSpace(text) == "" {
		return emptyFilter("-S", text)
	}
	env := compoundEnv()
	for _, name := range extra {
		if _, ok := env[name]; !ok {
			env[name] = func(...any) any { return nil }
		}
	}
	for name, f := range dataFunctions {
		if _, ok := env[name]; !ok {
			env[name] = f
		}
	}
	program, err := expr.Compile(text, expr.Env(env), expr.AsBool())
	if err != nil {
		if e := unknownName(text, err, env); e != nil {
			return e
		}
		return fmt.Errorf("read -S %s: %w", shellQuote(text), err)
	}
	if err := checkWith(text, program.Node()); err != nil {
		return err
	}
	if err := checkConstraints(program.Node()); err != nil {
		return fmt.Errorf("read -S %s: %w", shellQuote(text), err)
	}
	return nil
}

// unknownName turns the compiler's complaint about a name into a refusal that
// proposes fact("name"); nil when the complaint is about something else. The
// dotted tail of the name goes into the fact's path, and a leading "facts."
// goes away, since facts cannot be indexed.
func unknownName(text string, err error, env map[string]any) error {
	fault, ok := errors.AsType[*file.Error](err)
	if !ok {
		return nil
	}
	runes := []rune(text)
	from := min(max(fault.From, 0), len(runes))
	name, ok := strings.CutPrefix(fault.Message, "unknown name ")
	if !ok {
		before, _, found := strings.Cut(text, "facts.")
		if !found || !strings.HasPrefix(fault.Message, "array elements can only be selected") {
			return nil
		}
		from, name = utf8.RuneCountInString(before), "facts"
	}
	end := from
	for end < len(runes) && isPathRune(runes[end]) {
		end++
	}
	path := strings.TrimPrefix(string(runes[from:end]), "facts.")
	instead := string(runes[:from]) + "fact(" + exprQuote(path) + ")" + string(runes[end:])
	if strings.HasPrefix(strings.TrimSpace(string(runes[end:])), "(") {
		return &SurpriseError{Flag: "-S", Text: text,
			Why:     fmt.Sprintf("servers know no function %s, and the filter would match nothing", name),
			Instead: "with, fact, include, semver or a data plugin (" + knownFunctions(env) + ")"}
	}
	why := fmt.Sprintf("servers take the unknown name %s as nothing at all, on every node", name)
	if name == "facts" {
		why = "facts cannot be looked into by name, and the filter would match nothing"
	}
	return &SurpriseError{Flag: "-S", Text: text, Why: why, Instead: "-S " + shellQuote(instead)}
}

func isPathRune(r rune) bool {
	return r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127
}

// constantCalls yields the calls of one function with their arguments.
type constantCalls struct {
	name string
	call func(args []ast.Node)
}

// Visit is called for every node of an expression.
func (c *constantCalls) Visit(node *ast.Node) {
	call, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	if callee, ok := call.Callee.(*ast.IdentifierNode); ok && callee.Value == c.name {
		c.call(call.Arguments)
	}
}

func eachCall(node ast.Node, name string, f func(args []ast.Node)) {
	ast.Walk(&node, &constantCalls{name: name, call: f})
}

// checkWith applies the refusals of -F and -C to the constant arguments of
// with().
func checkWith(text string, node ast.Node) error {
	var refusal error
	eachCall(node, "with", func(args []ast.Node) {
		if refusal != nil || len(args) != 1 {
			return
		}
		arg, ok := args[0].(*ast.StringNode)
		if !ok {
			return
		}
		var err error
		if _, parseErr := ParseFact(arg.Value); parseErr == nil {
			_, err = checkFact("-S", arg.Value)
		} else {
			err = checkPiece(arg.Value, strings.ReplaceAll(arg.Value, " ", "_"))
		}
		if e, ok := errors.AsType[*SurpriseError](err); ok {
			refusal = &SurpriseError{Flag: "-S", Text: text,
				Why: fmt.Sprintf("in with(%s) %s", exprQuote(arg.Value), e.Why), Instead: e.Instead}
		} else {
			refusal = err
		}
	})
	return refusal
}

// checkConstraints compiles the constant version constraints of semver(),
// which would otherwise only fail when the expression runs.
func checkConstraints(node ast.Node) error {
	var fault error
	eachCall(node, "semver", func(args []ast.Node) {
		if fault != nil || len(args) != 2 {
			return
		}
		if arg, ok := args[1].(*ast.StringNode); ok {
			if _, err := semver.NewConstraint(arg.Value); err != nil {
				fault = fmt.Errorf("version constraint %q: %w", arg.Value, err)
			}
		}
	})
	return fault
}

func knownFunctions(env map[string]any) string {
	var names []string
	for name := range env {
		switch name {
		case "with", "fact", "include", "semver", "agents", "classes", "facts":
		default:
			names = append(names, name+"()")
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
