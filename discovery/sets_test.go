package discovery

import (
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSortIsNatural(t *testing.T) {
	in := []string{"web10", "web2", "", "db1", "web02", "web2", " ", "web1.b2", "web1.b10", "web1", "a", "web"}
	kept := slices.Clone(in)
	want := []string{"a", "db1", "web", "web1", "web1.b2", "web1.b10", "web02", "web2", "web10"}
	if d := cmp.Diff(want, Sort(in)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if !slices.Equal(in, kept) {
		t.Error("the argument was changed")
	}
	if got := Sort(nil); len(got) != 0 {
		t.Errorf("Sort(nil) = %q", got)
	}
}

func TestNaturalOrderIsTotal(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	names := make([]string, 60)
	for i := range names {
		names[i] = randomName(r)
	}
	for _, a := range names {
		for _, b := range names {
			ab := compareNatural(a, b)
			if ab != -compareNatural(b, a) || (ab == 0) != (a == b) {
				t.Fatalf("compareNatural(%q, %q) = %d is not antisymmetric", a, b, ab)
			}
			for _, c := range names[:20] {
				if ab <= 0 && compareNatural(b, c) <= 0 && compareNatural(a, c) > 0 {
					t.Fatalf("%q <= %q <= %q but not transitive", a, b, c)
				}
			}
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct{ names, want string }{
		{"", ""},
		{"web1", "web1"},
		{"web1 web2 web3 web5", "web[1-3,5]"},
		{"web3 web1 web2 web1", "web[1-3]"},
		{"web9 web10 web11", "web[9-11]"},
		{"web01 web02 web10 web11", "web[01-02,10-11]"},
		{"web08 web09 web10", "web[08-10]"},
		{"web1 web01", "web[1,01]"},
		{"web098 web99 web099 web100", "web[098-100,99]"},
		{"web01.ams web02.ams db3", "db3,web[01-02].ams"},
		{"r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]"},
		{"r1n1 r1n2 r2n1", "r[1-2]n1,r1n2"},
		{"r1n1 r2n1 r2n2 r2n3", "r[1-2]n1,r2n[2-3]"},
		{"a b c", "a,b,c"},
		{"1 2 3", "[1-3]"},
		{"web1.a web1.b", "web1.a,web1.b"},
		{"n1234567890123456789 n1234567890123456790", "n1234567890123456789,n1234567890123456790"},
		{"n999999999999999999 n999999999999999998", "n[999999999999999998-999999999999999999]"},
	}
	for _, tt := range tests {
		if got := Fold(strings.Fields(tt.names)); got != tt.want {
			t.Errorf("Fold(%s) = %q, want %q", tt.names, got, tt.want)
		}
	}
}

func TestUnfold(t *testing.T) {
	tests := []struct{ set, want string }{
		{"", ""},
		{"  ", ""},
		{"web1", "web1"},
		{"web[08-11].ams,db3", "db3 web08.ams web09.ams web10.ams web11.ams"},
		{"web[1,3,5-6]", "web1 web3 web5 web6"},
		{"web[98-101]", "web98 web99 web100 web101"},
		{"web[098-101]", "web098 web099 web100 web101"},
		{"web[99-099]", "ERR"},
		{"web[08-100]", ""},
		{"r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"},
		{"x[1-2][0-1]", "x10 x11 x20 x21"},
		{"[1-2].a", "1.a 2.a"},
		{"a, b ,a", "a b"},
		{"web[0-1]", "web0 web1"},
		{"web[00-01]", "web00 web01"},
		{"web[5-5]", "web5"},
		{"a[999999999999999998-999999999999999999]", "a999999999999999998 a999999999999999999"},
	}
	for _, tt := range tests {
		got, err := unfoldSorted(tt.set)
		switch {
		case tt.want == "ERR":
			if err == nil {
				t.Errorf("unfoldSorted(%q) = %q, want an error", tt.set, got)
			}
		case tt.set == "web[08-100]":
			if err != nil || len(got) != 93 || got[0] != "web08" || got[92] != "web100" {
				t.Errorf("unfoldSorted(%q) = %d names, %v", tt.set, len(got), err)
			}
		case err != nil || strings.Join(got, " ") != tt.want:
			t.Errorf("unfoldSorted(%q) = %q, %v; want %q", tt.set, got, err, tt.want)
		}
	}
}

func TestUnfoldNamesThePosition(t *testing.T) {
	tests := []struct{ set, want string }{
		{"web[1-", "position 4: '[' without ']'"},
		{"web1]", "position 5: ']' without '['"},
		{"web[1-3]]", "position 9: ']' without '['"},
		{"a,,b", "position 3: a name is missing"},
		{"a,", "position 3: a name is missing"},
		{",a", "position 1: a name is missing"},
		{"a, ,b", "position 4: a name is missing"},
		{"web[]", "position 5: a number is missing"},
		{"web[1,]", "position 7: a number is missing"},
		{"web[1-]", "position 7: a number is missing"},
		{"web[-1]", "position 5: a number is missing"},
		{"web[a-b]", `position 5: "a" is not a number`},
		{"web[1-3-5]", `position 7: "3-5" is not a number`},
		{"web[1[2]]", `position 5: "1[2" is not a number`},
		{"web[3-1]", "position 5: the range 3-1 runs backwards"},
		{"web[1-03]", "position 5: the ends of the range 1-03 are not padded alike"},
		{"web[001-03]", "position 5: the ends"},
		{"web[1-1000001]", "position 1: more nodes"},
		{"ok,a[1-1000]b[1-1001]", "position 4: more nodes"},
		{"a[1-999999],b[1-2]", "position 13: more nodes"},
		{"a[0-99999999999999999]", "more nodes"},
		{"a[1-2]b[0-999999999]c[0-999999999]", "more nodes"},
		{"a[1-9999999999999999999]", "is not a number"},
		{"u1,web 2", `position 4: identity "web 2" contains white space`},
		{"ü1,web2", "position 1: identity \"ü1\": 'ü' cannot be in the name"},
		{"-a,b", "does not begin with a hyphen"},
		{"web*", "wildcard"},
		{"a.>", "wildcard"},
		{"a..b", "empty part"},
		{"a\x00b", "invisible"},
		{strings.Repeat("x", 254) + "[1-100]", "more than 255 characters"},
	}
	for _, tt := range tests {
		got, err := unfoldSorted(tt.set)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("unfoldSorted(%q) = %d names, %v; want %q", tt.set, len(got), err, tt.want)
		}
	}
	if got, err := unfold("a[1-99],b", 100); err != nil || len(got) != 100 {
		t.Errorf("as many names as allowed: %d, %v", len(got), err)
	}
}

func randomName(r *rand.Rand) string {
	parts := []string{"web", "db", "-", ".", "a", "r", "n"}
	var s strings.Builder
	s.WriteString(parts[r.Intn(2)])
	for range r.Intn(5) {
		if r.Intn(2) == 0 {
			s.WriteString(parts[r.Intn(len(parts))])
			continue
		}
		if r.Intn(2) == 0 {
			s.WriteString(strings.Repeat("0", r.Intn(3)))
		}
		s.WriteString(string(rune('0'+r.Intn(10))) + []string{"", "1", "9"}[r.Intn(3)])
	}
	s.WriteString("x")
	return strings.ReplaceAll(s.String(), "..", ".")
}

func TestUnfoldUndoesFold(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for range 1000 {
		var names []string
		for range r.Intn(60) {
			if name := randomName(r); checkName(name) == nil {
				names = append(names, name)
			}
		}
		folded := Fold(names)
		got, err := unfoldSorted(folded)
		if d := cmp.Diff(Sort(names), got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Fatalf("unfoldSorted(%q): %v -want +got:\n%s", folded, err, d)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		if again := Fold(append(names, got...)); again != folded {
			t.Fatalf("Fold depends on the order: %q and %q", folded, again)
		}
	}
}

func TestFoldShortensAFleet(t *testing.T) {
	names, err := unfoldSorted("web[001-400].site[1-5].example.net,db[1-9].example.net")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Fold(names), "db[1-9].example.net,web[001-400].site[1-5].example.net"; got != want {
		t.Errorf("Fold = %q, want %q", got, want)
	}
}

// FuzzFold: whatever the names are, their node set is those names, as -I and as a file read it.
func FuzzFold(f *testing.F) {
	for _, s := range []string{"1 2 3", "1 3", "01 1 001", "12345678901234567890 12345678901234567891", "999999999999999999 1000000000000000000",
		"a b", "1.a 2.a", "0 00 000", "1a1 1a2 2a1", "08 09 10", "x_1 x_2", "null", "007", "1-1 1-2", "9007199254740993 9007199254740992"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names := slices.DeleteFunc(strings.Fields(text), func(n string) bool { return checkName(n) != nil })
		if names = Sort(names); len(names) > 200 {
			return
		}
		folded := Fold(names)
		if got, err := unfoldSorted(folded); err != nil || !slices.Equal(got, names) {
			t.Errorf("unfoldSorted(%q) = %q, %v; want %q", folded, got, err, names)
		}
		if readsOtherwise(names) {
			return
		}
		if got, err := parseNodes([]byte(folded+"\n"), maxUnfold); err != nil || !slices.Equal(got, names) {
			t.Errorf("the file %q is %q, %v; want %q", folded, got, err, names)
		}
		if got, err := UnfoldIdentities([]string{folded}); folded != "" && (err != nil || !slices.Equal(got, names)) {
			t.Errorf("-I %q is %q, %v; want %q", folded, got, err, names)
		}
	})
}

func FuzzUnfold(f *testing.F) {
	for _, s := range []string{"web[01-12].ams,db3", "a[1-2]b[3,5-6]", "[1]", "a,,b", "a[1-", "a[0-99999]b[0-99]", "x[09-010]", "é[1-3]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, set string) {
		names, err := unfold(set, 10_000)
		if err != nil {
			if !strings.Contains(err.Error(), "position ") {
				t.Errorf("unfold(%q): the error %q has no position", set, err)
			}
			return
		}
		names = Sort(names)
		for _, n := range names {
			if err := checkName(n); err != nil {
				t.Errorf("unfold(%q) has a bad name: %v", set, err)
			}
		}
		folded := Fold(names)
		again, err := unfoldSorted(folded)
		if err != nil || !slices.Equal(again, names) {
			t.Errorf("unfoldSorted(%q) = %q, %v; want %q", folded, again, err, names)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	names, err := unfoldSorted("node[000000-099999].dc1.example.net")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Fold(names)
	}
}
