//go:build !nolab

package cmd

const executableSuffix = ".exe"
