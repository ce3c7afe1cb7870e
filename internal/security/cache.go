package security

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"fleetctl/internal/atomicfile"
)

// Tokens that verified are remembered across runs, until they end: in a file of their
// hashes with what was read of each. The file ends with a MAC whose key is made of our
// own seed and of the issuers that we trust: one who can write the file and has no seed
// cannot add a token, nor does a file made under another issuer count. A token is not
// withdrawn before it ends, in Choria: what has verified once does so again.
//
//	the text of cacheMark; entries; MAC of all before, 32 bytes
//	entry: SHA-256 of the token, 32; the server's key, 32; begin and end, unix seconds, 8 each; length of the name, 1; the name

const (
	cacheMark = "fleetctl: tokens that verified, 1\n"
	entrySize = sha256.Size + len(verifiedServer{}.key) + 8 + 8 + 1 // without the name
	// maxCacheFile bounds the file: names are 255 bytes long at most.
	maxCacheFile = len(cacheMark) + maxCachedTokens*(entrySize+255) + sha256.Size
)

// remembered is the file of tokens that verified. The zero value remembers nothing.
type remembered struct {
	folder string
	once   sync.Once
}

// RememberTokens makes OpenReplies know the server tokens that verified in earlier runs,
// from a file in the folder. SaveTokens keeps those of this one. It is for the moment
// after Open.
func (i *Identity) RememberTokens(folder string) { i.remembered.folder = folder }

// issuersMark tells the issuers that we trust from others.
func (i *Identity) issuersMark() []byte {
	h := sha256.New()
	for _, organization := range slices.Sorted(maps.Keys(i.issuers.byOrganization)) {
		fmt.Fprintf(h, "%q %x\n", organization, i.issuers.byOrganization[organization])
	}
	for _, key := range i.issuers.any {
		fmt.Fprintf(h, "%x\n", key)
	}
	return h.Sum(nil)
}

// cacheFile is where the tokens are; "" for nowhere.
func (i *Identity) cacheFile() string {
	if i.remembered.folder == "" || i.seed == nil || !i.ChecksReplies() {
		return ""
	}
	return filepath.Join(i.remembered.folder, "tokens-"+hex.EncodeToString(i.issuersMark()[:8]))
}

func (i *Identity) cacheMAC(content []byte) []byte {
	key := hmac.New(sha256.New, i.seed.Seed())
	key.Write([]byte(cacheMark))
	key.Write(i.issuersMark())
	mac := hmac.New(sha256.New, key.Sum(nil))
	mac.Write(content)
	return mac.Sum(nil)
}

// recall reads the file, once. A file that is missing, damaged or another's is none.
func (i *Identity) recall(now time.Time) {
	i.remembered.once.Do(func() {
		path := i.cacheFile()
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, int64(maxCacheFile)+1))
		at := len(data) - sha256.Size
		if err != nil || len(data) > maxCacheFile || at < len(cacheMark) || !hmac.Equal(data[at:], i.cacheMAC(data[:at])) {
			return
		}
		i.tokens.load(data[len(cacheMark):at], now)
	})
}

// load takes the entries of a file whose MAC is good.
func (c *tokenCache) load(entries []byte, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(entries) >= entrySize {
		var id tokenID
		var s verifiedServer
		rest := entries[copy(id[:], entries):]
		rest = rest[copy(s.key[:], rest):]
		s.begin, s.end = int64(binary.BigEndian.Uint64(rest)), int64(binary.BigEndian.Uint64(rest[8:]))
		length := int(rest[16])
		if rest = rest[17:]; length > len(rest) {
			return
		}
		s.identity, entries = string(rest[:length]), rest[length:]
		if s.validAt(now) == nil {
			c.add(id, s)
		}
	}
}

// SaveTokens keeps the tokens that verified for later runs, where RememberTokens was
// called and there are new ones.
func (i *Identity) SaveTokens() error {
	path := i.cacheFile()
	if path == "" {
		return nil
	}
	content := i.tokens.entries([]byte(cacheMark), time.Now())
	if content == nil {
		return nil
	}
	if err := os.MkdirAll(i.remembered.folder, 0o700); err != nil {
		return fmt.Errorf("keep the tokens that verified: %w", err)
	}
	file, err := atomicfile.Write(path, append(content, i.cacheMAC(content)...))
	if err == nil {
		err = file.Commit(0o600)
	}
	return err
}

// entries appends what is worth keeping; nil when nothing is new.
func (c *tokenCache) entries(content []byte, now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh == 0 {
		return nil
	}
	maps.DeleteFunc(c.old, func(id tokenID, _ verifiedServer) bool { _, twice := c.young[id]; return twice })
	for _, generation := range []map[tokenID]verifiedServer{c.young, c.old} {
		for id, s := range generation {
			if s.validAt(now) != nil || len(s.identity) > 255 {
				continue
			}
			content = append(append(content, id[:]...), s.key[:]...)
			content = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(content, uint64(s.begin)), uint64(s.end))
			content = append(append(content, byte(len(s.identity))), s.identity...)
		}
	}
	return content
}
