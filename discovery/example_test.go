package discovery_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fleetctl/discovery"
)

// Names are folded for people, and sorted as people count.
func ExampleFold() {
	fmt.Println(discovery.Sort([]string{"web10", "web9", "db1"}))
	fmt.Println(discovery.Fold([]string{"web9", "web10", "web11", "db1"}))
	// Output:
	// [db1 web9 web10]
	// db1,web[9-11]
}

// A node set stands for all its names. A regular expression stays as it is: the nodes evaluate it.
func ExampleUnfoldIdentities() {
	names, err := discovery.UnfoldIdentities([]string{"web[08-10].ams", "/^db/"})
	fmt.Println(names, err)
	// Output: [web08.ams web09.ams web10.ams /^db/] <nil>
}

// Any source of nodes is opened by its name; this one reads a list.
func ExampleOpen() {
	source, err := discovery.Open("flatfile", discovery.Settings{NodesFile: "-", Stdin: strings.NewReader("web2\nweb10\nweb2\n")})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := source.Discover(context.Background(), discovery.Query{Timeout: time.Second})
	fmt.Println(found.Nodes, err)
	// Output: [web2 web10] <nil>
}

// A share of the nodes, the same ones for the same seed.
func ExampleLimit() {
	nodes, err := discovery.Limit([]string{"a", "b", "c", "d"}, "50%", "first", 0)
	fmt.Println(nodes, err)
	// Output: [a b] <nil>
}
