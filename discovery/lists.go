package discovery

// Without returns the nodes of one list that are not in another, in their order.
func Without(nodes, others []string) []string {
	known := make(map[string]bool, len(others))
	for _, n := range others {
		known[n] = true
	}
	var out []string
	for _, n := range nodes {
		if !known[n] {
			out = append(out, n)
		}
	}
	return out
}
