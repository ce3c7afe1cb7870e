package security

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxCredential is far more than any certificate chain, and keeps a wrong path
// from being read forever.
const maxCredential = 4 << 20

// readCredential reads one file. what names it for people ("token file"), hint
// is the hint when it is missing.
func readCredential(path, what, hint string) ([]byte, error) {
	fault := func(problem, hint string, err error) error {
		return &CredentialError{Path: path, Problem: what + " " + problem, Hint: hint, Err: err}
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault("does not exist", hint, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fault("may not be read by this user", "run as its owner, or give this user the right to read it", err)
	case err != nil:
		return nil, fault("cannot be read: "+reason(err), "", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fault("is a directory", "name the file in it", nil)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	switch {
	case err != nil:
		return nil, fault("cannot be read: "+reason(err), "", err)
	case len(data) > maxCredential:
		return nil, fault("is far too large to be one", "check that the path names the right file", nil)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fault("is empty", "write it again; a full disk or an interrupted copy leaves such files", nil)
	}
	return data, nil
}

// reason is a file system error without the path, which is printed already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// readSeed reads an ed25519 seed: exactly 64 hex characters, because upstream reads
// the whole file as hex (docs/protocol.md, signing v2). Errors are CredentialErrors.
func readSeed(path string) (ed25519.PrivateKey, error) {
	data, err := readCredential(path, "seed file", "create the key with: choria jwt keys SEEDFILE PUBLICFILE")
	if err != nil {
		return nil, err
	}
	key, err := parseSeed(data)
	if fault, ok := errors.AsType[*CredentialError](err); ok {
		fault.Path = path
		return nil, fault
	}
	return key, nil
}

// parseSeed reads the content of a seed file. Its errors are CredentialErrors
// without a path, and never quote the content.
func parseSeed(data []byte) (ed25519.PrivateKey, error) {
	const want = 2 * ed25519.SeedSize
	fault := func(problem, hint string) error {
		return &CredentialError{Problem: "seed file " + problem, Hint: hint}
	}
	seed, err := hex.DecodeString(string(data))
	switch {
	case err == nil && len(data) == want:
		return ed25519.NewKeyFromSeed(seed), nil
	case len(bytes.TrimSpace(data)) == want && isHex(bytes.TrimSpace(data)):
		return nil, fault("has a newline or blanks around the seed; Choria needs exactly 64 characters",
			`write it without: printf %s "$(tr -d '[:space:]' < SEEDFILE)" > NEWFILE`)
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")):
		return nil, fault("holds PEM, not a seed", "an ed25519 seed is 64 hexadecimal characters")
	case bytes.Count(data, []byte(".")) == 2:
		return nil, fault("holds a token, not a seed", "token and seed may have been exchanged")
	case !isHex(bytes.TrimSpace(data)):
		return nil, fault("is not hexadecimal", "an ed25519 seed is 64 hexadecimal characters")
	default:
		return nil, fault(fmt.Sprintf("has %d characters, not 64", len(data)), "an ed25519 seed is 64 hexadecimal characters")
	}
}

func isHex(data []byte) bool {
	for _, c := range data {
		if !strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) {
			return false
		}
	}
	return true
}

// ReadSigningKey reads the key that signs tokens: PEM with an RSA key, or an
// ed25519 seed of exactly 64 bytes (docs/protocol.md, provisioning JWT).
func ReadSigningKey(path string) (crypto.Signer, error) {
	data, err := readCredential(path, "signing key", "name the key that signs tokens: an ed25519 seed or an RSA key in PEM")
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")) {
		return readSeed(path)
	}
	return parseRSAKey(path, "signing key", data)
}

// parseRSAKey reads an RSA key in PEM, PKCS#1 or PKCS#8.
func parseRSAKey(path, what string, data []byte) (*rsa.PrivateKey, error) {
	fault := func(problem, hint string) error {
		return &CredentialError{Path: path, Problem: what + " " + problem, Hint: hint}
	}
	const rsaHint = "Choria's version 1 signs with RSA only: make an RSA key, and a certificate for it"
	block, rest := pem.Decode(data)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest) // parameters may stand before the key
	}
	if block == nil {
		return nil, fault("holds no key in PEM", "a key file begins with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----")
	}
	switch {
	case block.Type == "CERTIFICATE":
		return nil, fault("holds a certificate, not a key", "certificate and key may have been exchanged")
	case block.Type == "EC PRIVATE KEY":
		return nil, fault("is an EC key, where RSA is needed", rsaHint)
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, fault("is encrypted with a passphrase", "decrypt it: openssl pkey -in KEY -out NEWKEY")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault("is damaged: its PEM holds no private key", "copy it again from where it was made")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return nil, fault("is an ed25519 key, where RSA is needed", rsaHint)
	default:
		return nil, fault("is an EC key, where RSA is needed", rsaHint)
	}
}

// parseCertificates reads all certificates of a PEM file, the first being ours.
func parseCertificates(path, what string, data []byte) ([]*x509.Certificate, error) {
	fault := func(problem, hint string) error {
		return &CredentialError{Path: path, Problem: what + " " + problem, Hint: hint}
	}
	var certs []*x509.Certificate
	sawKey := false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			sawKey = sawKey || strings.HasSuffix(block.Type, "PRIVATE KEY")
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fault("is damaged: its PEM holds no valid certificate", "copy it again from where it was made")
		}
		certs = append(certs, cert)
	}
	switch {
	case len(certs) == 0 && sawKey:
		return nil, fault("holds a key, not a certificate", "certificate and key may have been exchanged")
	case len(certs) == 0:
		return nil, fault("holds no certificate in PEM", "a certificate file begins with -----BEGIN CERTIFICATE-----")
	}
	return certs, nil
}
