package render

import "strings"

func fold(nodes []string) string { return strings.Join(nodes, ",") }
