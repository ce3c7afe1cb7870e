package filter

import (
	"strings"
	"testing"
)

// TestALongFactIsReadInLinearTime reads a mebibyte: were every place of it searched to its end, this would take hours.
func TestALongFactIsReadInLinearTime(t *testing.T) {
	if _, err := Parse(Flags{Facts: []string{strings.Repeat("5", 1<<20) + "===T"}}); err == nil {
		t.Error("several operators in a row were accepted")
	}
}
