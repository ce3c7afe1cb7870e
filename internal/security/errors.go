package security

import "errors"

// CredentialError reports what is wrong with one credential. Callers map it to the
// exit code for credentials, and print Hint on a line of its own.
type CredentialError struct {
	Path    string // the file; "" when the fault is in a setting, which Problem then names
	Problem string // what is wrong, never with the content of the file
	Hint    string // what to do about it; may be ""
	Err     error  // the cause, if any: a file system error, or one of the sentinels below
}

// Error returns the path and the problem. The hint is not part of it.
func (e *CredentialError) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Unwrap returns the cause.
func (e *CredentialError) Unwrap() error { return e.Err }

// What can be wrong with a token.
var (
	ErrTokenMalformed   = errors.New("not a token")
	ErrTokenAlgorithm   = errors.New("token is signed with an algorithm that Choria does not use")
	ErrTokenPurpose     = errors.New("token has another purpose")
	ErrTokenExpired     = errors.New("token has expired")
	ErrTokenNotYetValid = errors.New("token is not valid yet")
	ErrTokenPublicKey   = errors.New("token has no usable public key")
	ErrPermission       = errors.New("token lacks a permission")
)

// What can be wrong with something signed.
var (
	// ErrUnsigned reports that a signature is missing where one is required.
	ErrUnsigned = errors.New("not signed")

	// ErrSignature reports that a signature does not fit the signed bytes.
	ErrSignature = errors.New("signature does not fit")

	// ErrUntrusted reports that the signer's certificate or token was not issued by
	// whom we trust.
	ErrUntrusted = errors.New("not issued by a trusted issuer")

	// ErrNotAllowed reports that a request is genuine, but its caller may not make it.
	ErrNotAllowed = errors.New("caller is not allowed")
)
