package render

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"fleetctl/inventory"
)

// Token is the content of a token. The caller has redacted its secrets.
type Token struct {
	File string `json:"file"`
	// Purpose, such as client, and the name of its holder.
	Purpose      string   `json:"purpose"`
	Holder       string   `json:"holder"`
	Organization string   `json:"organization"`
	Permissions  []string `json:"permissions"`
	Algorithm    string   `json:"algorithm"`
	// Signature is unchecked, fits or misfits.
	Signature string `json:"signature"`
	// Valid reports that it is valid at this time; Problem why it is not.
	Valid     bool      `json:"valid"`
	Problem   string    `json:"problem,omitempty"`
	IssuedAt  time.Time `json:"issued_at,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Details are shown as text after the rest, each a label and a value.
	Details [][2]string     `json:"-"`
	Claims  json.RawMessage `json:"claims"`
}

// WriteToken writes a token for people. now is what its times are compared with.
func WriteToken(w io.Writer, t Token, now time.Time) error {
	buf := bufio.NewWriter(w)
	fmt.Fprintf(buf, "%s token %s\n\n", oneLine(capital(t.Purpose)), oneLine(t.File))
	row := func(label, value string) {
		if value != "" {
			fmt.Fprintf(buf, "%*s: %s\n", labelWidth, oneLine(label), oneLine(value))
		}
	}
	row("Holder", t.Holder)
	row("Organization", t.Organization)
	row("Signature", t.Algorithm+", "+signatureText(t.Signature))
	row("Issued", tokenTime(t.IssuedAt, now))
	if !t.NotBefore.Equal(t.IssuedAt) {
		row("Valid from", tokenTime(t.NotBefore, now))
	}
	until := "forever"
	if !t.ExpiresAt.IsZero() {
		until = tokenTime(t.ExpiresAt, now)
	}
	if !t.Valid {
		until += ": " + t.Problem
	}
	row("Valid until", until)
	for _, d := range t.Details {
		row(d[0], d[1])
	}
	if t.Permissions != nil {
		permissions := strings.Join(t.Permissions, ", ")
		if permissions == "" {
			permissions = "none"
		}
		row("Permissions", permissions)
	}
	return buf.Flush()
}

func signatureText(signature string) string {
	switch signature {
	case "fits":
		return "checked: it fits the key"
	case "misfits":
		return "checked: it does NOT fit the key"
	}
	return "not checked: give the issuer's key with --key"
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// tokenTime is a time and how far off it is.
func tokenTime(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	text := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if d := t.Sub(now); d > 0 {
		return text + " (in " + inventory.UptimeText(d) + ")"
	}
	return text + " (" + inventory.UptimeText(now.Sub(t)) + " ago)"
}

// TokenJSON writes the same as a document, with all claims.
func TokenJSON(w io.Writer, t Token) error {
	t.Permissions = notNil(t.Permissions)
	return IndentedJSON(w, struct {
		SchemaVersion int `json:"schema_version"`
		Token
	}{SchemaVersion, t})
}
