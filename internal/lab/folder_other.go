//go:build !unix || solaris || illumos || aix

package lab

import (
	"io"
	"strings"
)

// hold makes no file, so that none is found: what a killed lab leaves stays there.
func hold(string) (io.Closer, error) { return io.NopCloser(strings.NewReader("")), nil }
