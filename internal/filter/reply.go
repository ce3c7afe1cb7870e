package filter

import (
	"fmt"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/tidwall/gjson"
)

// ReplyEnv is one reply, as a reply expression sees it. Code is the status
// code of the RPC reply, Data its JSON, Time the server's clock.
type ReplyEnv struct {
	Sender  string
	Message string
	Code    int
	Data    []byte
	Time    time.Time
}

// ReplyExpr is a compiled reply expression. Safe for concurrent use.
type ReplyExpr struct {
	text    string
	program *vm.Program
}

// CompileReply compiles the expression of --filter-replies (docs/protocol.md,
// filter-replies). Unknown names, regexes and version constraints that do not
// compile, and expressions that cannot give a bool, are errors here, before
// anything is sent; they would otherwise hide every reply.
func CompileReply(text string) (*ReplyExpr, error) {
	program, err := expr.Compile(text, expr.Env(ReplyEnv{}.env()), expr.AsBool())
	if err != nil {
		return nil, fmt.Errorf("compile reply expression %q: %w", text, err)
	}
	if err := checkConstraints(program.Node()); err != nil {
		return nil, fmt.Errorf("compile reply expression %q: %w", text, err)
	}
	return &ReplyExpr{text: text, program: program}, nil
}

// String is the text that was compiled.
func (e *ReplyExpr) String() string { return e.text }

// Match reports whether the reply satisfies the expression. An error is an
// evaluation that this reply's data does not allow.
func (e *ReplyExpr) Match(r ReplyEnv) (bool, error) {
	return runBool(e.program, r.env())
}

// The status codes of RPC replies (docs/protocol.md, RPC bodies).
const (
	codeOK = iota
	codeAborted
	codeUnknownAction
	codeMissingData
	codeInvalidData
	codeUnknownError
)

func (r ReplyEnv) env() map[string]any {
	is := func(code int) func() bool { return func() bool { return r.Code == code } }
	return map[string]any{
		"msg":            r.Message,
		"code":           r.Code,
		"data":           func(path string) any { return gjson.GetBytes(r.Data, path).Value() },
		"ok":             is(codeOK),
		"aborted":        is(codeAborted),
		"unknown_action": is(codeUnknownAction),
		"missing_data":   is(codeMissingData),
		"invalid_data":   is(codeInvalidData),
		"unknown_error":  is(codeUnknownError),
		"include":        includes,
		"semver":         semverMatches,
		"sender":         func() string { return r.Sender },
		"time":           func() time.Time { return r.Time },
	}
}
