//go:build !nolab

package cmd

const executableName = "fleetctl.exe"
