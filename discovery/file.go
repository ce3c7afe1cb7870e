package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile bounds what is read of a file: a list of a million nodes, or an inventory of a hundred thousand.
const maxFile = 512 << 20

// readSource reads a file, or stdin for "-", as UTF-8 text. The end of ctx ends the wait for a file that never ends,
// such as a FIFO without a writer.
func readSource(ctx context.Context, method, path string, stdin io.Reader) (content []byte, name string, err error) {
	if path == "-" && stdin != nil {
		if content, err = readInterruptibly(ctx, func() (io.ReadCloser, error) { return io.NopCloser(stdin), nil }); err != nil {
			return nil, "", sourceFault(ctx, method, "read nodes from stdin", err)
		}
		return content, "stdin", nil
	}
	content, err = readInterruptibly(ctx, func() (io.ReadCloser, error) { return openSource(path) })
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return nil, "", misuse(method, "name a file that exists and can be read", "open the file of nodes: %w", err)
	}
	if err != nil {
		return nil, "", sourceFault(ctx, method, fmt.Sprintf("read nodes %q", path), err)
	}
	return content, path, nil
}

func sourceFault(ctx context.Context, method, act string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", act, context.Cause(ctx))
	}
	return misuse(method, "", "%s: %w", act, err)
}

// openSource opens a file, and refuses one that is known to be too large.
func openSource(path string) (io.ReadCloser, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > maxFile {
		file.Close()
		return nil, tooLarge(maxFile)
	}
	return file, nil
}

// readInterruptibly opens and reads to the end, or until ctx ends. A read that waits for a FIFO cannot be ended: its
// goroutine is left behind, and closes what it opened when the read returns.
func readInterruptibly(ctx context.Context, open func() (io.ReadCloser, error)) ([]byte, error) {
	type outcome struct {
		content []byte
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		file, err := open()
		if err != nil {
			done <- outcome{err: err}
			return
		}
		defer file.Close()
		content, err := readText(ctx, file, maxFile)
		done <- outcome{content, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case o := <-done:
		return o.content, o.err
	}
}

func tooLarge(limit int64) error { return fmt.Errorf("it is larger than %d MiB", limit>>20) }

// readText reads UTF-8 text of at most limit bytes, without its byte order mark. What is no text is refused at its
// beginning, however long it is.
func readText(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	var content bytes.Buffer
	limited := io.LimitReader(r, limit+1)
	for first := true; ; first = false {
		n, err := io.CopyN(&content, limited, 64<<10)
		if first {
			if why := noText(content.Bytes()); why != "" {
				return nil, errors.New(why)
			}
		}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case int64(content.Len()) > limit:
			return nil, tooLarge(limit)
		case err != nil || n == 0:
			return bytes.TrimPrefix(content.Bytes(), []byte("\ufeff")), nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
}

// noText names the kind of content that is not UTF-8 text, from its first bytes.
func noText(content []byte) string {
	for _, kind := range []struct{ beginning, why string }{
		{"\xff\xfe", "it is UTF-16 text: save it as UTF-8"},
		{"\xfe\xff", "it is UTF-16 text: save it as UTF-8"},
		{"\x1f\x8b", "it is compressed: unpack it first (gunzip)"},
		{"\x28\xb5\x2f\xfd", "it is compressed: unpack it first (unzstd)"},
		{"PK\x03\x04", "it is a ZIP archive or a spreadsheet: save it as text or CSV"},
	} {
		if bytes.HasPrefix(content, []byte(kind.beginning)) {
			return kind.why
		}
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return "it is not text: it has zero bytes (UTF-16, or a binary file)"
	}
	return ""
}
