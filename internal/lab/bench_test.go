//go:build unix

package lab

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// cpu is what this process has used, user and system together.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// sink is a client that only counts messages: it reads the broker's protocol as far as
// that needs, so that its own cost hardly shows.
type sink struct {
	conn   net.Conn
	buffer []byte
	left   int // bytes at the begin of the buffer that are not counted yet
}

// await reads until n messages have come. Their payloads have no line "MSG ".
func (s *sink) await(b *testing.B, n int) {
	b.Helper()
	mark := []byte("\r\nMSG ")
	for n > 0 {
		got, err := s.conn.Read(s.buffer[s.left:])
		if err != nil {
			b.Fatal(err)
		}
		data := s.buffer[:s.left+got]
		n -= bytes.Count(data, mark)
		s.left = copy(s.buffer, data[max(0, len(data)-len(mark)+1):])
	}
	s.left = copy(s.buffer, "\r\n") // a lone message has no line end before it
}

// BenchmarkDiscovery is one broadcast to 100,000 nodes, with the broker and all replies.
// The client does nothing but count. The figure that counts is cpu-s/op.
func BenchmarkDiscovery(b *testing.B) {
	const nodes = 100_000
	for _, protocol := range []int{1, 2} {
		b.Run(fmt.Sprintf("v%d", protocol), func(b *testing.B) {
			l, err := Start(b.Context(), Options{Nodes: nodes, Protocol: protocol, InProcess: true, Dir: b.TempDir(), operatorKey: testKey()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					b.Error(err)
				}
			}()
			c := benchClient(b, l)
			c.round(b, nodes) // tokens are made when they are first needed
			before := cpu(b)
			for b.Loop() {
				c.round(b, nodes)
			}
			b.ReportMetric((cpu(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// benchClient asks with the operator's connection and counts on one of the fleet's kind,
// which may subscribe to everything.
type benchAsker struct {
	*client
	sink sink
}

func benchClient(b *testing.B, l *Lab) *benchAsker {
	b.Helper()
	conn, err := l.InProcessConn()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	buffer := make([]byte, 1<<16)
	if _, err := conn.Read(buffer); err != nil { // the broker speaks first
		b.Fatal(err)
	}
	login := fmt.Sprintf("CONNECT {\"verbose\":false,\"user\":%q,\"pass\":%q}\r\nSUB *.reply.> 1\r\nPING\r\n", fleetUser, l.broker.fleet)
	if _, err := io.WriteString(conn, login); err != nil {
		b.Fatal(err)
	}
	var seen []byte
	for !bytes.Contains(seen, []byte("PONG")) {
		n, err := conn.Read(buffer)
		if err != nil {
			b.Fatal(err)
		}
		seen = append(seen, buffer[:n]...)
	}
	return &benchAsker{dial(b, l), sink{conn: conn, buffer: append(make([]byte, 0, 1<<20), "\r\n"...)[:1<<20], left: 2}}
}

func (c *benchAsker) round(b *testing.B, nodes int) {
	b.Helper()
	sub := c.publish(ask{agent: "discovery", ttl: time.Hour})
	if err := sub.Unsubscribe(); err != nil {
		b.Fatal(err)
	}
	c.sink.await(b, nodes)
}
