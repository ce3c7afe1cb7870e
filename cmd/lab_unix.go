//go:build !windows && !nolab

package cmd

const executableName = "fleetctl"
