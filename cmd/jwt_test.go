package cmd

import (
	"strings"
	"testing"
	"time"
)

// The units are those of upstream's flag parser: fisk's ParseDuration.
func TestValidityTakesUpstreamsUnits(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1y": 365 * day, "1Y": 365 * day, "2w": 14 * day, "2W": 14 * day, "30d": 30 * day, "30D": 30 * day, "1M": 30 * day,
		"1m": time.Minute, "12h": 12 * time.Hour, "90s": 90 * time.Second, "1500ms": 1500 * time.Millisecond, "1.5d": 36 * time.Hour,
		"30d12h": 30*day + 12*time.Hour, "12h30d": 30*day + 12*time.Hour, " 1Y ": 365 * day, "100y": 100 * 365 * day,
	} {
		var v validity
		if err := v.Set(text); err != nil || time.Duration(v) != want {
			t.Errorf("--validity %q is %v, %v; want %v", text, time.Duration(v), err, want)
		}
	}
	for _, wrong := range []string{"", "0", "1", "soon", "1x", "-1y", "y", "1y-1d", "1..5d", "0.5s", "101y", "1e9y", "99999999999y", "999999999h", strings.Repeat("100y", 6), "1y 1d", "NaNy", "Infy"} {
		var v validity
		if err := v.Set(wrong); err == nil {
			t.Errorf("--validity %q is %v, want an error", wrong, time.Duration(v))
		}
	}
}
