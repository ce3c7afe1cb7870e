package cmd

import (
	"testing"

	"fleetctl/internal/doctor"
)

func TestEveryStatusOfAStepHasAWord(t *testing.T) {
	for s := doctor.Passed; s <= doctor.Skipped; s++ {
		if stepStatuses[s] == "" {
			t.Errorf("status %d has no word", s)
		}
	}
	if last := doctor.Skipped + 1; stepStatuses[last] != "" || len(stepStatuses) != int(doctor.Skipped) {
		t.Errorf("%d words for %d statuses", len(stepStatuses), doctor.Skipped)
	}
}
