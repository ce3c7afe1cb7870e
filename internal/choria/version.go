package choria

import "errors"

// Version is a version of the protocol. The zero value means unset.
type Version uint8

// The versions of the protocol. x509 identities speak V1, tokens speak V2.
const (
	V1 Version = iota + 1
	V2
)

// String returns "v1", "v2", or "unset" for anything else.
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case V2:
		return "v2"
	default:
		return "unset"
	}
}

var (
	// ErrUnknownProtocol reports that a document names no protocol that is known
	// at its layer, or that a version was not set.
	ErrUnknownProtocol = errors.New("unknown protocol")

	// ErrHash reports that the hash in a secure reply is not the one of its content.
	ErrHash = errors.New("hash does not match the content")
)

// names are the protocol strings of one version (docs/protocol.md, protocol strings).
type names struct {
	transport, secureRequest, secureReply, request, reply string
}

var (
	namesV1 = names{
		transport:     "choria:transport:1",
		secureRequest: "choria:secure:request:1",
		secureReply:   "choria:secure:reply:1",
		request:       "choria:request:1",
		reply:         "choria:reply:1",
	}
	namesV2 = names{
		transport:     "io.choria.protocol.v2.transport",
		secureRequest: "io.choria.protocol.v2.secure_request",
		secureReply:   "io.choria.protocol.v2.secure_reply",
		request:       "io.choria.protocol.v2.request",
		reply:         "io.choria.protocol.v2.reply",
	}
)
