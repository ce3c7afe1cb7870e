package discovery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadNodesByContent(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"empty", "", ""},
		{"only comments", "# a\n\n  # b\n", ""},
		{"text", "web2\n\n# a comment\nweb10 # old\r\n  db1  \nweb2\n", "db1 web2 web10"},
		{"node sets", "web[1-2].a,db3\ndb[4-5]\n", "db3 db4 db5 web1.a web2.a"},
		{"a set in the first place", "[01-02].a # two\nx", "01.a 02.a x"},
		{"underscore", "a_b", "a_b"},
		{"names without letters", "[1,3]", "1 3"},
		{"names without letters, two ranges", "[1-2,10-11]\n", "1 2 10 11"},
		{"old line ends and tabs", "web1\r\n\tweb2\t\r\n\r\n", "web1 web2"},
		{"quoted lines", "\"web1\"\n\"web2\"\n", "web1 web2"},
		{"our CSV of a request", "Sender,Version,Time\r\nweb1,0.29.4,2024-05-01T10:00:00Z\nweb2,\"0.29,4\",\"two\nlines\"\n", "web1 web2"},
		{"our CSV of a request without outputs", "Sender\nweb1\n", "web1"},
		{"our CSV of a request that failed everywhere", "Sender,Version\n", ""},
		{"our CSV of an inventory", "version,node,uptime\n0.29.4,web2,3d\n0.29.4,web1,3d\n", "web1 web2"},
		{"our CSV of names", "# saved\nnode\nweb1\n", "web1"},
		{"several node sets of as many parts", "web[1-2],db1\nweb[3-4],db2\n", "db1 db2 web1 web2 web3 web4"},
		{"JSON array", "\n[\"b\", \"a\",\n\"c[1-2]\"]\n", "a b c1 c2"},
		{"empty JSON array", "[]", ""},
		{"JSON null", "null\n", ""},
		{"YAML list", "# nodes\n- web1\n- 'web2'\n- web[3-4]\n- 007\n", "007 web1 web2 web3 web4"},
		{"YAML document", "---\n- b\n- a\n", "a b"},
		{"empty YAML document", "---\n", ""},
		{"YAML flow list", "---\n[a, b]\n", "a b"},
		{"Choria result", `{"agent":"x","replies":[{"sender":"b","statuscode":5},{"sender":"a","statuscode":0},{"sender":"b"}]}`, "a b"},
		{"Choria result without replies", `{"replies":null}`, ""},
		{"our result", `{"replies":[{"sender":"a"}],"run":{"nodes":[{"identity":"a","state":"refused"},{"identity":"c","state":"not-sent"}]}}`, "a"},
		{"our result whose replies were filtered out", `{"replies":[],"run":{"nodes":[{"identity":"a"},{"identity":"c"}]}}`, ""},
		{"our result without nodes", `{"replies":[{"sender":"a"}],"run":{"id":"x"}}`, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseNodes([]byte(tt.content), maxUnfold)
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("parseNodes = %q, %v; want %q", got, err, tt.want)
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
		{"another object", `{"nodes":["a"]}`, "without replies is not the result of a request: for another document add --do filter="},
		{"a run without replies", `{"run":{"nodes":[{"identity":"a"}]}}`, "without replies"},
		{"JSON lines", "{\"k\":\"run\"}\n{\"k\":\"node\"}\n", "line 2: more after the end of the JSON value"},
		{"broken object", "{\n\"replies\": [}\n", "line 2: "},
		{"replies of a wrong type", `{"replies":5}`, "replies: "},
		{"blank sender", `{"replies":[{"sender":"a"},{"sender":""}]}`, "replies[1]: identity is blank"},
		{"bad identity", `{"replies":[{"sender":"a b"}]}`, "replies[0]: "},
		{"a set as a sender", `{"replies":[{"sender":"a[1-2]"}]}`, "replies[0]: "},
		{"YAML null", "- a\n-\n", "line 2: a name is blank"},
		{"YAML map in a list", "- a\n- b: c\n", "line 2: a YAML list of names holds something else"},
		{"YAML map", "---\na: b\n", "line 2: not a YAML list"},
		{"Ansible inventory in YAML", "all:\n  hosts:\n    web1:\n", "looks like a YAML mapping, such as an Ansible inventory: add --do filter="},
		{"Ansible inventory in YAML with its mark", "---\nall:\n  hosts:\n    web1:\n", "looks like a YAML mapping"},
		{"YAML mapping with values", "web1: up\nweb2: up\n", "looks like a YAML mapping"},
		{"Ansible inventory in INI", "[web]\nweb1\nweb2\n", "looks like an INI file"},
		{"INI that begins with names", "web1\n[db]\ndb1\n", "line 2: node set: position 2: \"db\" is not a number; it looks like an INI file"},
		{"XML", "<testsuites>\n", "looks like XML"},
		{"a table", "| Sender |\n| web1 |\n", "looks like a table"},
		{"tabs between values", "Sender\tVersion\nweb1\t1\n", "tabs or semicolons"},
		{"semicolons", "Sender;Version\nweb1;1\n", "tabs or semicolons"},
		{"CSV of something else", "host,version\nweb1,0.29.4\n", "the header of that column has to be Sender or node"},
		{"CSV without a header", "web1,0.29.4\nweb2,0.29.4\n", "looks like CSV"},
		{"CSV with rows of other lengths", "Sender,Version\nweb1\n", "wrong number of fields"},
		{"CSV with a bad name", "Sender,Version\nweb1,1\nweb 2,1\n", "line 3: identity"},
		{"CSV with a blank name", "Sender,Version\n,1\n", "line 2: identity is blank"},
		{"a JSON array without its brackets", "\"web1\",\n\"web2\",\n", "looks like CSV"},
		{"half a quote", "\"web1\n", "line 1: \"web1 is neither a name nor a JSON string"},
		{"a quoted flag", "\"-F\"\n", "does not begin with a hyphen"},
		{"braces", "web{01,02}\n", "braces are a shell's: write a node set"},
		{"single quotes", "'web1'\n", "cannot be in the name of a node"},
		{"a fact", "role=web\n", "'=' cannot be in the name of a node"},
		{"a regex", "/web/\n", "'/' cannot be in the name of a node"},
		{"hash inside a name", "a#b", "cannot be in the name"},
		{"a second byte order mark", "web1\n\ufeffweb2\n", "line 2: "},
		{"not UTF-8", "web1\nw\xe9b2\n", "line 2: "},
		{"a trailing comma", "web1,\n", "position 6: a name is missing"},
		{"YAML twice", "- a\n---\n- b\n", "more than one YAML document"},
		{"broken YAML", "- a\nb\n", "line"},
		{"YAML alias", "- &x a\n- *x\n", "line 2: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseNodes([]byte(tt.content), maxUnfold)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("parseNodes = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	broken := errors.New("pipe broke")
	_, err := ReadNodesFile(t.Context(), "-", iotest.ErrReader(broken))
	if e, ok := errors.AsType[*SourceError](err); !errors.Is(err, broken) || !ok || e.Kind != Misuse {
		t.Errorf("read error: %v", err)
	}
}

func FuzzReadNodes(f *testing.F) {
	for _, s := range []string{"web1\n# c\nweb[2-3]", `["a","b"]`, "- a\n- b\n", `{"run":{"nodes":[{"identity":"a"}]}}`, `{"replies":[{"sender":"b"}]}`,
		"[1-2].a", "[1,3]", "---\n- &a x\n", "\ufeffa", "Sender,v\na,1\n", "node\nx\n", "\"a\"\n", "a,b\nc,d\n"} {
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
		if readsOtherwise(got) {
			return
		}
		for _, text := range []string{strings.Join(got, "\n"), Fold(got)} {
			if again, err := parseNodes([]byte(text), maxUnfold); err != nil || !slices.Equal(got, again) {
				t.Errorf("%q gives %q, whose text %q reads as %q, %v", content, got, text, again, err)
			}
		}
	})
}

// readsOtherwise is true for names that, as text, mean something else: the header of a column, or Choria's empty list.
func readsOtherwise(names []string) bool {
	return slices.ContainsFunc(names, isNameColumn) || len(names) > 0 && names[0] == "null"
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
	if a, b := DrawSeed(), DrawSeed(); a == b || a <= 0 || b <= 0 || a > 1<<31 || b > 1<<31 {
		t.Errorf("seeds %d and %d are not fresh, or not above 0 and short", a, b)
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
