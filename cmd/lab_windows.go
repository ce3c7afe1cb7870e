package cmd

const executableName = "fleetctl.exe"
