package config

import (
	"context"
	"net"
	"os/exec"
	"strings"
)

const facter = "/opt/puppetlabs/bin/facter"

// HostFQDN looks for the full name of a host as Choria does: the name that DNS gives for the address
// of host, else what facter prints. It is "" when both fail, and blocks until they answer or ctx ends.
func HostFQDN(ctx context.Context, host string) string {
	if name := reverseName(ctx, host); name != "" && name != "localhost" {
		return name
	}
	command := facter
	if !exists(command) {
		var err error
		if command, err = exec.LookPath("facter"); err != nil {
			return ""
		}
	}
	out, err := exec.CommandContext(ctx, command, "networking.fqdn").Output()
	if err != nil {
		return ""
	}
	return strings.NewReplacer("\n", "", "\r", "").Replace(string(out))
}

// reverseName asks DNS for the name of the first IPv4 address of host.
func reverseName(ctx context.Context, host string) string {
	addresses, err := net.DefaultResolver.LookupIP(ctx, "ip4", host)
	if err != nil || len(addresses) == 0 {
		return ""
	}
	names, err := net.DefaultResolver.LookupAddr(ctx, addresses[0].String())
	if err != nil || len(names) == 0 {
		return ""
	}
	return strings.TrimSuffix(names[0], ".")
}
