//go:build !windows

package cmd

const executableName = "fleetctl"
