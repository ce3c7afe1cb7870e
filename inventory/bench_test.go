package inventory

import "testing"

// BenchmarkDecode reads the two replies that an inventory of a fleet asks of each node.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeInventory("n1", []byte(inventoryData)); err != nil {
			b.Fatal(err)
		}
		if _, err := decodeStats("n1", []byte(statsData)); err != nil {
			b.Fatal(err)
		}
	}
}
