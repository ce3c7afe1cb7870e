package gate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestScriptsThatACommandNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"check.sh": "#!/bin/sh\n", "lib.sh": "x=1\n", "check.py": "print()\n", "data.json": "{}", "bin/found": "#!/bin/sh\n", "bin/program": "\x7fELF", "home/own": "#!/bin/sh\n",
		"with blank": "#!/bin/sh\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := Places{Home: filepath.Join(dir, "home"), Path: filepath.Join(dir, "bin")}
	for command, want := range map[string][]string{
		"":                                     nil,
		"true":                                 nil,
		"./check.sh":                           {"./check.sh"},
		"./check.sh && ./check.sh":             {"./check.sh"},
		"X=1 timeout 5 ./check.sh data.json":   {"./check.sh"},
		"sh check.py data.json":                {"check.py"},
		"python3 -W error check.py":            {"check.py"},
		"/usr/bin/python3.11 check.py":         {"check.py"},
		"python3 2>&1 check.py":                {"check.py"},
		". ./lib.sh; ./check.sh":               {"./lib.sh", "./check.sh"},
		"source lib.sh":                        {"lib.sh"},
		"find . data.json":                     nil,
		"cat data.json lib.sh":                 nil,
		"sh; cat data.json":                    nil,
		"true > check.sh 2>>data.json":         nil,
		"sh < check.py":                        {"check.py"},
		"found --all":                          {"found"},
		"program":                              nil,
		"nowhere ./nowhere":                    nil,
		"~/own":                                {"~/own"},
		`"$HOME/own" x`:                        {"$HOME/own"},
		"${HOME}/own":                          {"${HOME}/own"},
		`sh -c './check.sh | grep x'`:          {"./check.sh"},
		`sh -c "sh -c 'python3 check.py x'"`:   {"check.py"},
		`'./with blank'`:                       {"./with blank"},
		`./with\ blank`:                        {"./with blank"},
		`"./check.sh" 'unfinished`:             {"./check.sh"},
		`./check.sh \`:                         {"./check.sh"},
		"$DIR/check.sh":                        nil,
		"! test -e x || { ./check.sh; }":       {"./check.sh"},
		strings.Repeat("sh -c \"", 200) + "./": nil,
	} {
		got, err := p.Scripts(command)
		var paths []string
		for _, s := range got {
			paths = append(paths, s.Path)
			if len(s.SHA256) != 64 {
				t.Errorf("%s: %+v", command, s)
			}
		}
		if err != nil || !slices.Equal(paths, want) {
			t.Errorf("%q: got %q, want %q, %v", command, paths, want, err)
		}
	}
}

func TestHowScriptsChanged(t *testing.T) {
	a, b := Script{"a", "1"}, Script{"a", "2"}
	for _, tt := range []struct {
		saved, now []Script
		want       string
	}{
		{nil, nil, ""},
		{[]Script{a}, []Script{a}, ""},
		{[]Script{a}, []Script{b}, "has changed"},
		{[]Script{a}, nil, "is not now"},
		{nil, []Script{a}, "was no script"},
	} {
		if got := Changed(tt.saved, tt.now); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%v, %v: %q", tt.saved, tt.now, got)
		}
	}
	if got := (*Pins)(nil).changed("x"); got != "" {
		t.Errorf("nothing pinned: %q", got)
	}
}

func FuzzShellWords(f *testing.F) {
	f.Add(`a 'b c' "d\"e" > f; g 2>&1 \`)
	f.Fuzz(func(t *testing.T, line string) {
		total := 0
		for _, w := range shellWords(line) {
			total += len(w.text)
		}
		if total > len(line) {
			t.Errorf("%d bytes of words in %d of a line", total, len(line))
		}
	})
}
