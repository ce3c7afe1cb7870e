//go:build !windows && !nolab

package cmd

const executableSuffix = ""
