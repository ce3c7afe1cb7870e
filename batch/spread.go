package batch

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"strings"
)

// dealer deals nodes in order, batch by batch, within the caps per fact value.
// Nodes alike in all capped facts wait in one queue; a heap holds the queues by
// their next node, so that dealing n nodes costs O(n log queues).
type dealer struct {
	names []string // in dealing order
	caps  []MaxPer
	ready queueHeap
}

// queue is nodes alike in all capped facts.
type queue struct {
	values []string // of the capped facts
	nodes  []int    // indexes of names, ascending
}

func newDealer(nodes []Node, p Policy) *dealer {
	order := spreadOrder(nodes, p.SpreadBy)
	d := &dealer{names: make([]string, len(nodes)), caps: p.MaxPer}
	queues := map[string]*queue{}
	for i, at := range order {
		n := &nodes[at]
		d.names[i] = n.Identity
		key, values := d.alike(n)
		q := queues[key]
		if q == nil {
			q = &queue{values: values}
			queues[key] = q
			d.ready = append(d.ready, q)
		}
		q.nodes = append(q.nodes, i)
	}
	heap.Init(&d.ready)
	return d
}

func (d *dealer) alike(n *Node) (key string, values []string) {
	if len(d.caps) == 0 {
		return "", nil
	}
	values = make([]string, len(d.caps))
	for i, c := range d.caps {
		values[i] = n.Facts[c.Fact]
	}
	return strings.Join(values, "\x00"), values
}

// take deals at most size nodes, and names the cap that made it fewer.
func (d *dealer) take(size int) (names []string, capped string) {
	used := make([]map[string]int, len(d.caps))
	for i := range used {
		used[i] = map[string]int{}
	}
	var held []*queue
	for len(names) < size && len(d.ready) > 0 {
		q := d.ready[0]
		if c := d.full(q, used); c != "" {
			capped = c
			held = append(held, heap.Pop(&d.ready).(*queue))
			continue
		}
		names = append(names, d.names[q.nodes[0]])
		for i, v := range q.values {
			used[i][v]++
		}
		if q.nodes = q.nodes[1:]; len(q.nodes) == 0 {
			heap.Pop(&d.ready)
		} else {
			heap.Fix(&d.ready, 0)
		}
	}
	if len(names) == size {
		capped = ""
	}
	for _, q := range held {
		heap.Push(&d.ready, q)
	}
	return names, capped
}

func (d *dealer) full(q *queue, used []map[string]int) string {
	for i, c := range d.caps {
		if used[i][q.values[i]] >= c.N {
			return fmt.Sprintf("%d per %s", c.N, c.Fact)
		}
	}
	return ""
}

type queueHeap []*queue

func (h queueHeap) Len() int           { return len(h) }
func (h queueHeap) Less(i, j int) bool { return h[i].nodes[0] < h[j].nodes[0] }
func (h queueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *queueHeap) Push(x any)        { *h = append(*h, x.(*queue)) }
func (h *queueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// spreadOrder orders nodes so that every stretch of them holds a like share of
// each value of the fact: node j of the n with a value stands at (j+offset)/n of
// the way. The offsets differ (golden ratio), or rare values would all meet in
// one place. Without a fact the order stays.
func spreadOrder(nodes []Node, fact string) []int {
	order := make([]int, len(nodes))
	for i := range order {
		order[i] = i
	}
	if fact == "" {
		return order
	}
	size := map[string]int{}
	offset := map[string]float64{}
	for _, n := range nodes {
		v := n.Facts[fact]
		if size[v] == 0 {
			_, offset[v] = math.Modf(float64(len(offset)+1) * math.Phi)
		}
		size[v]++
	}
	place := make([]float64, len(nodes))
	dealt := map[string]int{}
	for i, n := range nodes {
		v := n.Facts[fact]
		place[i] = (float64(dealt[v]) + offset[v]) / float64(size[v])
		dealt[v]++
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(place[a], place[b]) })
	return order
}
