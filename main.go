// Command fleetctl does dangerous work on a Choria fleet in batches, and proves what happened.
package main

import (
	"os"

	"fleetctl/cmd"
)

func main() {
	os.Exit(cmd.Main(os.Args[1:]))
}
