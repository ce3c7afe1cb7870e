package inventory

import (
	"cmp"
	"slices"
	"strings"
)

// Order is the columns that nodes are sorted by, the first one first.
type Order []sorting

// sorting is one column of an order.
type sorting struct {
	Column
	down bool
}

// SortName is the column that an order's name means: without the sign of its direction.
func SortName(name string) string { return strings.TrimLeft(name, "-+") }

// OrderOf reads the names of columns; a - before a name sorts from the greatest.
func OrderOf(names []string) (Order, error) {
	var order Order
	for _, name := range names {
		c, err := ColumnOf(SortName(name))
		if err != nil {
			return nil, err
		}
		if c.key == nil {
			c.key = c.Text
		}
		if c.compare == nil {
			c.compare = strings.Compare
		}
		order = append(order, sorting{c, strings.HasPrefix(name, "-")})
	}
	return order, nil
}

// Line is one node to be printed: only what is shown of it, and its place in an order.
type Line struct {
	Cells []string
	Text  []byte

	place int
	keys  []string
}

// Line is a node's line, without cells and text.
func (o Order) Line(n Node) Line {
	l := Line{place: n.Place}
	for _, s := range o {
		l.keys = append(l.keys, s.key(n))
	}
	return l
}

// Sort sorts by the order, and nodes that are equal in it by name.
func (o Order) Sort(lines []Line) {
	slices.SortFunc(lines, func(a, b Line) int {
		for i, s := range o {
			n := s.compare(a.keys[i], b.keys[i])
			if s.down {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return cmp.Compare(a.place, b.place)
	})
}
