package security

import (
	"bytes"
	"testing"
	"time"
)

// TestAKeyBesideTheCertificateIsNotSent seals a request of a client whose certificate and key are in one file.
func TestAKeyBesideTheCertificateIsNotSent(t *testing.T) {
	f := newFolder(t)
	now := time.Now()
	o := f.fileOptions(newAuthority(t, "Test CA", now), now)
	o.Certificate = f.write("both.pem", read(t, o.Key)+read(t, o.Certificate))
	o.Key = o.Certificate
	i := mustOpen(t, o, now)
	sealed, err := i.Seal(t.Context(), request(t, i.Version(), i.Caller(), now))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(sealed, []byte("BEGIN CERTIFICATE")) || bytes.Contains(sealed, []byte("PRIVATE KEY")) {
		t.Error("a request carries the private key, or no certificate")
	}
}
