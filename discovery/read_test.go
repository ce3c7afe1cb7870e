package discovery

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestReadNodesByContent(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"empty", "", ""},
		{"only comments", "# a\n\n  # b\n", ""},
		{"text", "web2\n\n# a comment\nweb10 # old\r\n  db1  \nweb2\n", "db1 web2 web10"},
		{"node sets", "web[1-2].a,db3\ndb[4-5]\n", "db3 db4 db5 web1.a web2.a"},
		{"a set in the first place", "[01-02].a # two\nx", "01.a 02.a x"},
		{"underscore", "a_b", "a_b"},
		{"hash inside a name", "a#b", "a#b"},
		{"byte order mark", "\ufeffweb1\n", "web1"},
		{"JSON array", "\n[\"b\", \"a\",\n\"c[1-2]\"]\n", "a b c1 c2"},
		{"empty JSON array", "[]", ""},
		{"JSON null", "null\n", ""},
		{"YAML list", "# nodes\n- web1\n- 'web2'\n- web[3-4]\n- 007\n", "007 web1 web2 web3 web4"},
		{"YAML document", "---\n- b\n- a\n", "a b"},
		{"empty YAML document", "---\n", ""},
		{"YAML flow list", "---\n[a, b]\n", "a b"},
		{"Choria result", `{"agent":"x","replies":[{"sender":"b","statuscode":5},{"sender":"a","statuscode":0},{"sender":"b"}]}`, "a b"},
		{"Choria result without replies", `{"replies":null}`, ""},
		{"our result", `{"replies":[{"sender":"a"}],"run":{"nodes":[{"identity":"a","state":"refused"},{"identity":"c","state":"not-sent"}]}}`, "a c"},
		{"our result without nodes", `{"replies":[{"sender":"a"}],"run":{"id":"x"}}`, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadNodes(strings.NewReader(tt.content), "list")
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("ReadNodes = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestReadNodesNamesTheLine(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"white space", "ok\n\nweb1 web2\n", "line 3: node set: position 1: identity \"web1 web2\" contains white space"},
		{"wildcard", "ok\nweb*\n", "line 2: "},
		{"subject wildcard", ">", "line 1: "},
		{"control character", "a\nb\x01c", "line 2: "},
		{"bad set", "a\nweb[1-", "line 2: node set: position 4"},
		{"too many", "a\nb[1-1000000]\n", "line 2: node set: position 1: more nodes"},
		{"number in an array", "[\n\"a\",\n5]", "line 3: an array of names holds a number"},
		{"null in an array", "[null]", "line 1: an array of names holds null"},
		{"blank in an array", "[\"a\",\n\"\"]", "line 2: a name is blank"},
		{"array of objects", `[{"identity":"a"}]`, "holds an object"},
		{"broken array", "[\"a\",\n\n\"b\" \"c\"]", "line 3: "},
		{"unclosed array", "[\"a\",\n\"b\"\n", "line 2: the JSON text ends too early"},
		{"unquoted array", "[web1, web2]", "line 1: "},
		{"after an array", "[\"a\"]\n\n[]", "line 3: more after the end"},
		{"another object", `{"nodes":["a"]}`, "without run.nodes and without replies"},
		{"JSON lines", "{\"k\":\"run\"}\n{\"k\":\"node\"}\n", "line 2: more after the end of the JSON value"},
		{"broken object", "{\n\"replies\": [}\n", "line 2: "},
		{"wrong type", "{\n\"run\": 5}", "line 2: "},
		{"replies of a wrong type", `{"replies":5}`, "replies: "},
		{"blank sender", `{"replies":[{"sender":"a"},{"sender":""}]}`, "replies[1]: identity is blank"},
		{"bad identity", `{"run":{"nodes":[{"identity":"a b"}]}}`, "run.nodes[0]: "},
		{"a set as a sender", `{"replies":[{"sender":"a[1-2]"}]}`, "replies[0]: "},
		{"YAML null", "- a\n-\n", "line 2: a name is blank"},
		{"YAML map in a list", "- a\n- b: c\n", "line 2: a YAML list of names holds something else"},
		{"YAML map", "---\na: b\n", "line 2: not a YAML list"},
		{"YAML twice", "- a\n---\n- b\n", "more than one YAML document"},
		{"broken YAML", "- a\nb\n", "line"},
		{"YAML alias", "- &x a\n- *x\n", "line 2: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadNodes(strings.NewReader(tt.content), "some list")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), `read nodes "some list": `) {
				t.Errorf("ReadNodes = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	broken := errors.New("pipe broke")
	if _, err := ReadNodes(iotest.ErrReader(broken), "-"); !errors.Is(err, broken) {
		t.Errorf("read error: %v", err)
	}
}

func FuzzReadNodes(f *testing.F) {
	for _, s := range []string{"web1\n# c\nweb[2-3]", `["a","b"]`, "- a\n- b\n", `{"run":{"nodes":[{"identity":"a"}]}}`, `{"replies":[{"sender":"b"}]}`, "[1-2].a", "---\n- &a x\n", "\ufeffa"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		got, err := parseNodes([]byte(content), 1000) // larger expansions only cost time here
		if err != nil {
			if got != nil {
				t.Errorf("nodes %q beside the error %v", got, err)
			}
			return
		}
		for _, n := range got {
			if err := checkName(n); err != nil {
				t.Errorf("%q gives a bad name: %v", content, err)
			}
		}
		again, err := ReadNodes(strings.NewReader(strings.Join(got, "\n")), "f")
		if len(got) > 0 && !startsLikeAnotherForm(got) && (err != nil || !slices.Equal(got, again)) {
			t.Errorf("%q gives %q, which reads as %q", content, got, again)
		}
	})
}

// startsLikeAnotherForm is true for names that as text mean something else: comments, JSON, YAML.
func startsLikeAnotherForm(names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "#") }) ||
		strings.ContainsAny(names[0][:1], "{-%\"\ufeff") || names[0] == "null"
}

func TestLimit(t *testing.T) {
	abc := strings.Fields("a b c d e f")
	hundred := make([]string, 100)
	for i := range hundred {
		hundred[i] = fmt.Sprintf("n%03d", i)
	}
	tests := []struct {
		nodes  []string
		spec   string
		method string
		want   int
	}{
		{abc, "", "first", 6},
		{abc, "1", "first", 1},
		{abc, "20", "first", 6},
		{abc, "99999999999999999999999", "first", 6},
		{abc, "50%", "first", 3},
		{abc, "1%", "first", 1},
		{abc, "33%", "first", 1},
		{abc, "34%", "first", 2},
		{abc, "250%", "first", 6},
		{abc, "99999999999999999999999%", "random", 6},
		{hundred, "29%", "first", 28}, // as upstream's floating point has it
		{hundred, "10%", "random", 10},
		{nil, "10%", "first", 0},
		{nil, "5", "random", 0},
	}
	for _, tt := range tests {
		kept := slices.Clone(tt.nodes)
		got, err := Limit(tt.nodes, tt.spec, tt.method, 7)
		if err != nil || len(got) != tt.want || !slices.Equal(got, Sort(got)) {
			t.Errorf("Limit(%d nodes, %q, %s) = %q, %v; want %d, sorted", len(tt.nodes), tt.spec, tt.method, got, err, tt.want)
		}
		if !slices.Equal(kept, tt.nodes) {
			t.Fatalf("Limit(%q, %s) changed the caller's list", tt.spec, tt.method)
		}
		again, err := Limit(tt.nodes, tt.spec, tt.method, 7)
		if err != nil || !slices.Equal(got, again) {
			t.Errorf("Limit(%q, %s) differs for the same seed", tt.spec, tt.method)
		}
	}
	if got, err := Limit(abc, "2", "first", 0); err != nil || strings.Join(got, "") != "ab" {
		t.Errorf("first two are %q, %v", got, err)
	}
	// The real client shuffles a b c d e f with seed 10 into e a b f c d.
	if got, err := Limit(abc, "3", "random", 10); err != nil || strings.Join(got, "") != "abe" {
		t.Errorf("three at random with seed 10 are %q, %v; want those of the choria client: a b e", got, err)
	}
	for _, bad := range []struct{ spec, method string }{
		{"0", "first"}, {"0%", "first"}, {"-1", "first"}, {"x", "first"}, {"%", "first"}, {"1.5", "first"}, {"5 %", "first"}, {"5", "last"}, {"", ""},
	} {
		if got, err := Limit(abc, bad.spec, bad.method, 0); err == nil {
			t.Errorf("Limit(%q, %q) = %q, want an error", bad.spec, bad.method, got)
		}
	}
}

func TestExclude(t *testing.T) {
	files := map[string]string{"down": "web2\nweb[4-5]\n", "bad": "a b"}
	open := func(path string) (io.ReadCloser, error) {
		text, ok := files[path]
		if !ok {
			return nil, fmt.Errorf("no file %q", path)
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	nodes := strings.Fields("web5 web4 web3 web2 web1")
	kept := slices.Clone(nodes)
	tests := []struct {
		specs []string
		want  string
		err   string
	}{
		{nil, "web5 web4 web3 web2 web1", ""},
		{[]string{"web3"}, "web5 web4 web2 web1", ""},
		{[]string{"web[1-3],nobody"}, "web5 web4", ""},
		{[]string{"@down", "web1"}, "web3", ""},
		{[]string{"web[1-5]"}, "", ""},
		{[]string{"@gone"}, "", `exclude "@gone": no file "gone"`},
		{[]string{"@bad"}, "", "line 1"},
		{[]string{"web["}, "", `exclude "web[": node set: position 4`},
		{[]string{""}, "", "blank"},
	}
	for _, tt := range tests {
		got, err := Exclude(nodes, tt.specs, open)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Exclude(%q) = %q, %v; want error %q", tt.specs, got, err, tt.err)
			}
			continue
		}
		if d := cmp.Diff(strings.Fields(tt.want), got); err != nil || d != "" {
			t.Errorf("Exclude(%q): %v -want +got:\n%s", tt.specs, err, d)
		}
	}
	if !slices.Equal(nodes, kept) {
		t.Error("the caller's list was changed")
	}
	if _, err := Exclude(nodes, []string{"@down"}, nil); err == nil {
		t.Error("a file without a way to open it is accepted")
	}
}
