//go:build unix

package security

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"fleetctl/internal/choria"
)

// BenchmarkOpenReplies is the check of replies whose tokens are new, and of those whose tokens are known. CPU time decides.
func BenchmarkOpenReplies(b *testing.B) {
	i := mustOpen(b, newFolder(b).choriaOptions(noon), noon)
	for _, size := range []int{1, 64, 256} {
		good := crowd(b, size)
		percent := append([]choria.Opening(nil), good...)
		for k := 50; k < size; k += 100 {
			percent[k].Reply.Signature = flipped(percent[k].Reply.Signature)
		}
		for name, group := range map[string][]choria.Opening{"good": good, "1% forged": percent} {
			for _, known := range []bool{false, true} {
				if size == 1 && name != "good" {
					continue
				}
				b.Run(fmt.Sprintf("%d/%s/known=%v", size, name, known), func(b *testing.B) {
					before, work := cpuTime(b), make([]choria.Opening, size)
					for b.Loop() {
						if !known {
							i.tokens = newTokenCache(4 * size)
						}
						copy(work, group)
						i.openReplies(work, "choria", noon)
					}
					b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N*size), "cpu-µs/reply")
				})
			}
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
