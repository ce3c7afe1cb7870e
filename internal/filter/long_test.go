package filter

import (
	"strings"
	"testing"
)

// TestALongFactIsReadInLinearTime reads 128 KiB: were every place of it searched to its end, this would take minutes.
func TestALongFactIsReadInLinearTime(t *testing.T) {
	if _, err := Parse(Flags{Facts: []string{strings.Repeat("5", 1<<17) + "===T"}}); err == nil {
		t.Error("several operators in a row were accepted")
	}
}
