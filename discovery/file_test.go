package discovery

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

func TestNodesFileEncodings(t *testing.T) {
	wide := func(order string) string {
		var b strings.Builder
		b.WriteString(map[string]string{"le": "\xff\xfe", "be": "\xfe\xff", "": ""}[order])
		for _, u := range utf16.Encode([]rune("web1\nweb2\n")) {
			if order == "be" {
				b.WriteString(string([]byte{byte(u >> 8), byte(u)}))
			} else {
				b.WriteString(string([]byte{byte(u), byte(u >> 8)}))
			}
		}
		return b.String()
	}
	tests := []struct{ name, content, want string }{
		{"empty", "", ""},
		{"byte order mark", "\ufeffweb1\nweb2\n", "web1 web2"},
		{"byte order mark, JSON", "\ufeff[\"web1\"]", "web1"},
		{"byte order mark, YAML", "\ufeff- web1\n", "web1"},
		{"byte order mark, result", "\ufeff{\"replies\":[{\"sender\":\"web1\"}]}", "web1"},
		{"byte order mark, CSV", "\ufeffSender\r\nweb1\r\n", "web1"},
		{"byte order mark alone", "\ufeff", ""},
		{"UTF-16, little endian", wide("le"), "ERR UTF-16 text: save it as UTF-8"},
		{"UTF-16, big endian", wide("be"), "ERR UTF-16 text: save it as UTF-8"},
		{"UTF-16 without a mark", wide(""), "ERR it has zero bytes"},
		{"compressed", "\x1f\x8b\x08\x00", "ERR it is compressed"},
		{"spreadsheet", "PK\x03\x04", "ERR save it as text or CSV"},
		{"binary", "web1\n\x00", "ERR it is not text"},
	}
	for _, tt := range tests {
		got, err := ReadNodesFile(t.Context(), writeFile(t, "nodes", tt.content), nil)
		if wanted, isErr := strings.CutPrefix(tt.want, "ERR "); isErr {
			if e, ok := errors.AsType[*SourceError](err); !ok || e.Kind != Misuse || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%s: %q, %v; want misuse with %q", tt.name, got, err, wanted)
			}
		} else if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// endless is a stream without an end, such as that of `yes`.
type endless struct{ line string }

func (e endless) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(e.line, len(p)/len(e.line)+1)), nil
}

func TestEndlessFilesAreRefused(t *testing.T) {
	if _, err := readText(t.Context(), endless{"web1\n"}, 1<<20); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("text without an end: %v", err)
	}
	if _, err := ReadNodesFile(t.Context(), "-", endless{"\x00"}); err == nil || !strings.Contains(err.Error(), "not text") {
		t.Errorf("zeros without an end: %v", err)
	}
	stop := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := ReadNodesFile(ctx, "-", endless{"web1\n"}); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
	// A file of a gigabyte that is never read: it is sparse.
	path := writeFile(t, "nodes", "")
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadNodesFile(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "larger than 512 MiB") {
		t.Errorf("a gigabyte: %v", err)
	}
}

// An interrupt ends the wait for stdin without a writer.
func TestInterruptEndsTheWaitForInput(t *testing.T) {
	r, w := io.Pipe()
	stop := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := ReadNodesFile(ctx, "-", r)
		done <- err
	}()
	if _, err := io.WriteString(w, "web1\n"); err != nil { // returns when it has been read
		t.Fatal(err)
	}
	cancel(stop)
	if err := <-done; !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
	w.Close()
}
