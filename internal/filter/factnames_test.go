package filter

import (
	"strings"
	"testing"
)

func TestFactNames(t *testing.T) {
	const facts = `{"os":{"family":"RedHat","release":{"full":"9.4"}},"rack":"r1","a.b":1,"list":[{"x":1}]}`
	if got, want := strings.Join(FactNames([]byte(facts)), " "), `os os.family os.release os.release.full rack a\.b list`; got != want {
		t.Errorf("FactNames = %s, want %s", got, want)
	}
	for _, name := range FactNames([]byte(facts)) {
		if _, ok := TextAt([]byte(facts), name); !ok {
			t.Errorf("the name %s leads to nothing", name)
		}
	}
	for _, odd := range []string{"", "5", "[1]", `{"a"`} {
		if got := FactNames([]byte(odd)); len(got) > 0 {
			t.Errorf("FactNames(%s) = %q", odd, got)
		}
	}
	if got := FactNames([]byte(strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000))); len(got) != maxFactDepth {
		t.Errorf("%d names of facts that are nested 5000 deep", len(got))
	}
	wide := `{"x":1` + strings.Repeat(`,"x":1`, 5000) + "}"
	if got := FactNames([]byte(wide)); len(got) != maxFactNames {
		t.Errorf("%d names of 5001", len(got))
	}
}
