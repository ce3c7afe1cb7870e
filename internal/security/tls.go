package security

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"strings"
)

// TLS returns a new TLS configuration for the connection to the broker, or nil
// when TLS is disabled. The caller sets ServerName for each broker.
//
// The broker's certificate is verified: by the configured CA or the system's
// roots, and for the name that was dialed. Certificates without alternative names
// are taken by their common name with provider puppet, or where legacy
// certificates are allowed (docs/protocol.md, TLS per security provider). In that
// mode the name comes from the handshake, which carries no IP addresses: brokers
// are the addresses that may be dialed then, hosts or host:port, with or without a
// scheme; what is not an IP among them is ignored.
func (i *Identity) TLS(brokers ...string) (*tls.Config, error) {
	if i.options.DisableTLS {
		return nil, nil
	}
	c := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		Certificates:     i.tls.certificates,
		RootCAs:          i.tls.roots,
		CipherSuites:     i.tls.suites,
		CurvePreferences: i.tls.curves,
	}
	switch {
	case i.options.InsecureBroker:
		c.InsecureSkipVerify = true //nolint:gosec // the operator's explicit wish, warned about
	case i.tls.legacy:
		c.InsecureSkipVerify = true //nolint:gosec // VerifyConnection verifies instead
		c.VerifyConnection = legacyVerifier(i.tls.roots, addresses(brokers))
	}
	return c, nil
}

// addresses picks the IP addresses out of broker URLs.
func addresses(brokers []string) []string {
	var ips []string
	for _, b := range brokers {
		if _, rest, ok := strings.Cut(b, "://"); ok {
			b = rest
		}
		if _, rest, ok := strings.Cut(b, "@"); ok {
			b = rest
		}
		if host, _, err := net.SplitHostPort(b); err == nil {
			b = host
		}
		if ip := net.ParseIP(strings.Trim(b, "[]")); ip != nil {
			ips = append(ips, ip.String())
		}
	}
	return ips
}

var oidAlternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// legacyVerifier verifies a broker's chain and name, and takes the common name of
// a certificate that has no alternative names.
func legacyVerifier(roots *x509.CertPool, ips []string) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("no certificate was presented")
		}
		leaf, between := cs.PeerCertificates[0], x509.NewCertPool()
		for _, cert := range cs.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return err
		}
		return verifyName(leaf, cs.ServerName, ips)
	}
}

// verifyName checks the name in the certificate. An empty name means that an IP
// address was dialed: it must be for one of those that we know.
func verifyName(leaf *x509.Certificate, name string, ips []string) error {
	if name == "" {
		for _, ip := range ips {
			if leaf.VerifyHostname(ip) == nil {
				return nil
			}
		}
		return fmt.Errorf("the certificate is for %s, not for the IP address that was dialed: connect by host name", strings.Join(certificateNames(leaf), ", "))
	}
	for _, e := range leaf.Extensions {
		if e.Id.Equal(oidAlternativeNames) {
			return leaf.VerifyHostname(name)
		}
	}
	if !strings.EqualFold(name, leaf.Subject.CommonName) {
		return x509.HostnameError{Certificate: leaf, Host: name}
	}
	return nil
}
