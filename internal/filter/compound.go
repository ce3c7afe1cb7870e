package filter

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/Masterminds/semver/v3"
	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/tidwall/gjson"
)

// compoundProgram is one compound filter, compiled, or nil when it does not
// compile; then it counts as failed on every node.
type compoundProgram struct{ program *vm.Program }

// compoundEnv is what every compound filter can name, with the types that
// servers give them, since the types decide what compiles.
func compoundEnv() map[string]any {
	return map[string]any{
		"agents":  []string{},
		"classes": []string{},
		"facts":   json.RawMessage{},
		"with":    func(string) bool { return false },
		"fact":    func(string) any { return nil },
		"include": includes,
		"semver":  semverMatches,
	}
}

// compileCompound compiles as servers do: an unknown name is nil, a
// result that cannot be a bool is an error.
func compileCompound(text string) compoundProgram {
	program, err := expr.Compile(text, expr.Env(compoundEnv()), expr.AsBool(), expr.AllowUndefinedVariables())
	if err != nil {
		return compoundProgram{}
	}
	return compoundProgram{program: program}
}

// matchCompound lets the compound filters vote: one that is true counts +1, one
// that is false -1, and the sum must be positive. One that fails decides alone.
func (m *Matcher) matchCompound(n Node) bool {
	votes := 0
	env := m.nodeEnv(n)
	for _, c := range m.compound {
		ok, err := c.run(env)
		if err != nil {
			return false
		}
		if ok {
			votes++
		} else {
			votes--
		}
	}
	return votes > 0
}

func (c compoundProgram) run(env map[string]any) (bool, error) {
	if c.program == nil {
		return false, fmt.Errorf("compound filter does not compile")
	}
	return runBool(c.program, env)
}

// nodeEnv gives the names of a compound filter their values for one node. A
// data plugin cannot take the name of a function that is always there.
func (m *Matcher) nodeEnv(n Node) map[string]any {
	env := map[string]any{}
	for name, f := range n.Data {
		env[name] = f
	}
	env["agents"] = n.Agents
	env["classes"] = n.Classes
	env["facts"] = json.RawMessage(n.Facts)
	env["with"] = func(query string) bool {
		if f, err := ParseFact(query); err == nil {
			return m.matchFacts([]Fact{f}, n.Facts)
		}
		wanted := []string{query}
		return m.matchClasses(wanted, n.Classes) || m.matchAgents(wanted, n.Agents)
	}
	env["fact"] = func(path string) any { return gjson.GetBytes(n.Facts, path).Value() }
	env["include"] = includes
	env["semver"] = semverMatches
	return env
}

// runBool runs a program whose result must be a bool. Run-time faults, wrong
// types for example, are errors.
func runBool(program *vm.Program, env map[string]any) (bool, error) {
	out, err := expr.Run(program, env)
	if err != nil {
		return false, fmt.Errorf("evaluate expression: %w", err)
	}
	b, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("evaluate expression: result is %T, not a bool", out)
	}
	return b, nil
}

// includes reports whether a list from JSON has a member. Whole numbers are
// widened, because numbers from JSON are float64.
func includes(list []any, member any) bool {
	if i, ok := member.(int); ok {
		member = float64(i)
	}
	for _, item := range list {
		if reflect.DeepEqual(item, member) {
			return true
		}
	}
	return false
}

// semverMatches compares a version with a constraint such as ">= 1.2, < 2".
func semverMatches(version, constraint string) (bool, error) {
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false, err
	}
	v, err := semver.NewVersion(version)
	if err != nil {
		return false, err
	}
	return c.Check(v), nil
}
