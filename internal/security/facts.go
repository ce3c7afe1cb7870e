package security

import (
	"encoding/json"

	"fleetctl/internal/choria"
)

// serverFacts are those of ServerClaims that a client needs.
type serverFacts struct {
	Identity     string `json:"identity"`
	Organization string `json:"ou,omitempty"`
	StandardClaims
}

// read is json.Unmarshal, at a quarter of its cost for the claims that issuers of Choria write. All others are left to it,
// so that every token means the same to both.
func (c *serverFacts) read(claims []byte) error {
	members, object := choria.Members(claims)
	if !object {
		return json.Unmarshal(claims, c)
	}
	for _, m := range members {
		if !c.take(m.Name, m.Value) {
			*c = serverFacts{}
			return json.Unmarshal(claims, c)
		}
	}
	return nil
}

// take reads a member; false for one that is not as usual.
func (c *serverFacts) take(name string, value json.RawMessage) bool {
	text, isText := choria.Text(value)
	var into *string
	switch name {
	case "identity":
		into = &c.Identity
	case "ou":
		into = &c.Organization
	case "purpose":
		c.Purpose = Purpose(text)
		return isText
	case "tcs":
		into = &c.TrustChain
	case "public_key":
		into = &c.PublicKey
	case "iss":
		into = &c.Issuer
	case "sub":
		into = &c.Subject
	case "jti":
		into = &c.ID
	case "issexp":
		return c.IssuerEnds.UnmarshalJSON(value) == nil
	case "exp":
		return c.ExpiresAt.UnmarshalJSON(value) == nil
	case "nbf":
		return c.NotBefore.UnmarshalJSON(value) == nil
	case "iat":
		return c.IssuedAt.UnmarshalJSON(value) == nil
	default: // encoding/json takes other cases of the same letters for the same name
		return name == "collectives" || name == "permissions" || name == "pub_subjects"
	}
	*into = text
	return isText
}
