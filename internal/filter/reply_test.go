package filter

import (
	"testing"
	"time"
)

func TestReplyExpressions(t *testing.T) {
	reply := ReplyEnv{Sender: "web1", Message: "Not allowed", Code: 1, Time: time.Unix(1e9, 0),
		Data: []byte(`{"a":{"b":1},"list":["x",2],"v":"1.2.3","t":true}`)}
	tests := []struct {
		expr string
		want bool
	}{
		{`ok()`, false},
		{`aborted() and not ok() and !unknown_action() && !missing_data() && !invalid_data() && !unknown_error()`, true},
		{`code == 1`, true},
		{`msg matches "^Not"`, true},
		{`sender() == "web1"`, true},
		{`time().Unix() == 1000000000`, true},
		{`data("a.b") == 1`, true},
		{`data("t")`, true},
		{`data("absent") == nil`, true},
		{`include(data("list"), 2) and include(data("list"), "x")`, true},
		{`semver(data("v"), "> 1.0, < 2")`, true},
	}
	for _, tt := range tests {
		e, err := CompileReply(tt.expr)
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		if got, err := e.Match(reply); err != nil || got != tt.want {
			t.Errorf("%s: got %v, %v, want %v", e, got, err, tt.want)
		}
	}
}

func TestReplyExpressionsFailAtCompileTime(t *testing.T) {
	for _, text := range []string{``, `(`, `nope`, `nope()`, `code()`, `1`, `"x"`, `ok`, `with("x")`,
		`msg matches "("`, `semver(data("v"), "banana")`, `data(1)`} {
		if e, err := CompileReply(text); err == nil {
			t.Errorf("CompileReply(%q) = %v, want an error", text, e)
		}
	}
}

func TestReplyExpressionsFailOnUnfitData(t *testing.T) {
	for _, text := range []string{`data("s")`, `data("s") > 1`, `semver(data("s"), "> 1")`, `include(data("s"), 1)`} {
		e, err := CompileReply(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Match(ReplyEnv{Data: []byte(`{"s":"x"}`)}); err == nil || got {
			t.Errorf("%s: got %v, %v, want an error", text, got, err)
		}
	}
}
