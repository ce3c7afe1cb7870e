package filter

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVersionRanges(t *testing.T) {
	for _, tt := range []struct {
		text, version  string
		in, comparable bool
	}{
		{"<0.28", "0.27.9", true, true},
		{"<0.28", "0.28.0", false, true},
		{"<0.29.4", "0.29.4-rc1", true, true},
		{"<0.30", "0.30.0-rc1", true, true}, // a release candidate comes before its release
		{">=0.28 <0.29", "0.28.3", true, true},
		{">=0.28, <0.29", "0.29.0", false, true},
		{"0.27.x || 0.29.x", "0.29.4", true, true},
		{"0.27.x || 0.29.x", "0.28.0", false, true},
		{"=0.29.4", "v0.29.4", true, true},
		{">0.29", "0.99.0.20260131", true, true}, // a nightly build
		{"<0.30", "0.99.0.20260131", false, true},
		{"<0.30", "development", false, false},
		{"<0.30", "", false, false},
		{"!=0.29.4", "0.29.3", true, true},
	} {
		v, err := ParseVersions(tt.text)
		if err != nil {
			t.Errorf("ParseVersions(%q): %v", tt.text, err)
			continue
		}
		if in, comparable := v.Match(tt.version); in != tt.in || comparable != tt.comparable {
			t.Errorf("%q has %q: %v, comparable %v; want %v, %v", tt.text, tt.version, in, comparable, tt.in, tt.comparable)
		}
	}
	for _, text := range []string{"", " ", "new", "<", "< 0.x.y", "~>>1"} {
		if v, err := ParseVersions(text); err == nil {
			t.Errorf("ParseVersions(%q) is %v, want an error", text, v)
		}
	}
}

func TestVersionsAreOrderedAsVersions(t *testing.T) {
	got := []string{"0.29.10", "0.99.0.20260131", "0.29.9", "dev", "0.29.10-rc1", "1.0.0", "alpha"}
	slices.SortFunc(got, CompareVersions)
	want := []string{"alpha", "dev", "0.29.9", "0.29.10-rc1", "0.29.10", "0.99.0.20260131", "1.0.0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzCompareVersions(f *testing.F) {
	f.Add("0.29.4", "0.28.0")
	f.Add("0.99.0.20260131", "dev")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got, back := CompareVersions(a, b), CompareVersions(b, a); got != -back {
			t.Errorf("%q to %q is %d, back %d", a, b, got, back)
		}
		if (CompareVersions(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q compare equal", a, b)
		}
	})
}

func TestTextAt(t *testing.T) {
	document := []byte(`{"a":{"b":"text"},"n":2.50,"l":[1, 2],"null":null,"t":true,"a.b":"dotted"}`)
	for path, want := range map[string]string{"a.b": "text", "n": "2.50", "l": "[1, 2]", "l.0": "1", "t": "true", `a\.b`: "dotted"} {
		if got, ok := TextAt(document, path); !ok || got != want {
			t.Errorf("TextAt %s is %q, %v; want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"null", "none", "a.c"} {
		if got, ok := TextAt(document, path); ok {
			t.Errorf("TextAt %s is %q, want nothing", path, got)
		}
	}
}
