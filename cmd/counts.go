package cmd

import (
	"fmt"
	"strconv"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// amountFlag is a batch.Amount on the command line: 20 or 5%.
type amountFlag struct{ batch.Amount }

// Set implements pflag.Value.
func (f *amountFlag) Set(text string) (err error) {
	f.Amount, err = batch.ParseAmount(text)
	return err
}

// Type implements pflag.Value.
func (f *amountFlag) Type() string { return "N|P%" }

// nodeCount is an optional number of nodes: 0 is not the same as not given.
type nodeCount struct {
	n   int
	set bool
}

// Set implements pflag.Value.
func (c *nodeCount) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of nodes", text)
	}
	c.n, c.set = n, true
	return nil
}

// String implements pflag.Value.
func (c *nodeCount) String() string {
	if !c.set {
		return ""
	}
	return strconv.Itoa(c.n)
}

// Type implements pflag.Value.
func (c *nodeCount) Type() string { return "N" }

// count is the flag as a value for package run.
func (c *nodeCount) count() run.Count { return run.Count{N: c.n, Set: c.set} }

// canaryFlag is the size of a first small batch. 0 turns off the default canary of actions that take a token.
type canaryFlag struct{ nodeCount }

// policy is the flag as a value for the planner.
func (c *canaryFlag) policy() int {
	if c.set && c.n == 0 {
		return batch.CanaryOff
	}
	return c.n
}
