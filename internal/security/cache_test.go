package security

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetctl/internal/choria"
)

// cacheOf opens an identity that remembers tokens in a folder.
func cacheOf(t *testing.T, o Options, folder string) *Identity {
	t.Helper()
	i := mustOpen(t, o, time.Now())
	i.RememberTokens(folder)
	return i
}

// onlyFile is the one file of a folder.
func onlyFile(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v; want one", files, err)
	}
	return files[0]
}

// counted opens one signed reply and counts how many signatures of tokens that took.
func counted(t *testing.T, i *Identity, sr choria.SecureReply) (tokens int, err error) {
	t.Helper()
	before := i.tokens.fresh
	_, err = i.OpenReply(sr, "choria")
	return i.tokens.fresh - before, err
}

func TestATokenIsVerifiedOnceAcrossRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder, o := filepath.Join(t.TempDir(), "fleetctl"), newFolder(t).choriaOptions(time.Now())
		token := mustServer(t, serverClaims(time.Now(), func(c *ServerClaims) { c.ExpiresAt = At(time.Now().Add(30 * time.Minute)) }), orgKey)
		sr := signedReply(t, token)
		first := cacheOf(t, o, folder)
		if n, err := counted(t, first, sr); n != 1 || err != nil {
			t.Fatalf("first run: %d tokens verified, %v", n, err)
		}
		if err := first.SaveTokens(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(onlyFile(t, folder))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
		}
		data, err := os.ReadFile(onlyFile(t, folder))
		if err != nil || bytes.Contains(data, []byte(token)) || bytes.Contains(data, []byte(strings.Split(token, ".")[2])) {
			t.Errorf("the file holds the token, or cannot be read: %v", err)
		}
		second := cacheOf(t, o, folder)
		if n, err := counted(t, second, sr); n != 0 || err != nil || len(second.tokens.young) != 1 {
			t.Errorf("second run: %d tokens verified, %v", n, err)
		}
		forged := sr
		forged.Signature = flipped(sr.Signature)
		if _, err := counted(t, second, forged); !errors.Is(err, ErrSignature) {
			t.Errorf("a forged reply with a known token: %v", err)
		}
		<-time.After(31 * time.Minute)
		third := cacheOf(t, o, folder)
		if _, err := counted(t, third, sr); !errors.Is(err, ErrTokenExpired) || len(third.tokens.young) != 0 {
			t.Errorf("after the token's end: %v, %d remembered", err, len(third.tokens.young))
		}
	})
}

// A process that can write the file, and has not our seed, can make no token known; and what verified under one issuer says
// nothing under another.
func TestTheTokenCacheIsUselessToAForger(t *testing.T) {
	folder, place := filepath.Join(t.TempDir(), "fleetctl"), newFolder(t)
	o := place.choriaOptions(time.Now())
	sr := signedReply(t, mustServer(t, serverClaims(time.Now()), orgKey))
	first := cacheOf(t, o, folder)
	if _, err := first.OpenReply(sr, "choria"); err != nil {
		t.Fatal(err)
	}
	if err := first.SaveTokens(); err != nil {
		t.Fatal(err)
	}
	path := onlyFile(t, folder)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := func() int {
		first.remembered, first.tokens = remembered{folder: folder}, newTokenCache(maxCachedTokens)
		first.recall(time.Now())
		return len(first.tokens.young)
	}
	if known() != 1 {
		t.Fatal("the file is not read")
	}
	for n := range good {
		bad := bytes.Clone(good)
		bad[n] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if known() != 0 {
			t.Fatalf("a file whose byte %d was changed is believed", n)
		}
	}
	for _, bad := range [][]byte{nil, good[:len(good)-1], good[:len(cacheMark)], append(bytes.Clone(good), 0)} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if known() != 0 {
			t.Errorf("a file of %d bytes in place of %d is believed", len(bad), len(good))
		}
	}

	other := cacheOf(t, o, folder)
	other.seed = edKey(9) // another operator, who can write here
	stranger := signedReply(t, mustServer(t, serverClaims(time.Now()), serverKey))
	other.tokens.put(tokenIDOf(stranger.Sender), verifiedServer{identity: "srv-1.example.net", key: [32]byte(serverKey.Public().(ed25519.PublicKey))})
	if err := other.SaveTokens(); err != nil {
		t.Fatal(err)
	}
	if i := cacheOf(t, o, folder); known() != 0 {
		t.Error("a file that another seed made is believed")
	} else if _, err := i.OpenReply(stranger, "choria"); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a token that our issuer did not make: %v", err)
	}

	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	i := cacheOf(t, o, folder)
	i.issuers.byOrganization["choria"], _ = parsePublicKey(hexKey(edKey(9)))
	if i.recall(time.Now()); i.cacheFile() == path || len(i.tokens.young) != 0 {
		t.Error("what verified under one issuer is known under another")
	}
}

func TestNothingIsKeptWhereNothingWasAsked(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "fleetctl")
	i := cacheOf(t, newFolder(t).choriaOptions(time.Now()), folder)
	if err := i.SaveTokens(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v, want none", err)
	}
}
