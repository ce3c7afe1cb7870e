package render

import (
	"encoding/json"
	"fleetctl/rpcclient"
	"fmt"
	"io"
	"testing"
)

func benchmarkResult(n int) Result {
	r := Result{Agent: "choria_provision", Action: "restart"}
	for i := range n {
		r.Replies = append(r.Replies, &rpcclient.Reply{Node: fmt.Sprintf("web%d.example.net", i), Action: "restart", Message: "OK",
			Data: json.RawMessage(`{"message":"Restarting Choria Server after 4s"}`)})
	}
	return r
}

func BenchmarkJSON(b *testing.B) {
	r := benchmarkResult(1000)
	for b.Loop() {
		if err := JSON(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/node")
}

func BenchmarkText(b *testing.B) {
	r := benchmarkResult(1000)
	for b.Loop() {
		if err := Text(io.Discard, r, TextOptions{Display: DisplayAll}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/node")
}

func BenchmarkView(b *testing.B) {
	v := aView(func(*View) {})
	for b.Loop() {
		v.Lines(80, 24, true)
	}
}
