package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"fleetctl/internal/secret"
)

// ServerOptions say where a Prometheus server is, and how to get in. The zero value of each but URL needs nothing.
type ServerOptions struct {
	URL       string // http or https, with the path under which its API is; a name and a password in it are for basic authentication
	TokenFile string // holds a bearer token, and is read anew for every query
	CA        string // PEM of the authorities that it is verified with; "" is the system's
	Cert, Key string // PEM of our certificate for TLS, and its key
	Insecure  bool   // send secrets without TLS to another machine, and do not verify its certificate
}

// Server is a Prometheus server, or what speaks its HTTP API. It follows no redirect and uses no proxy: the question may
// carry a token. It is safe for concurrent use.
type Server struct {
	url    *url.URL
	token  string // path
	client *http.Client
}

// dialTimeout bounds the connection; the whole look has a limit of its own.
const dialTimeout = 5 * time.Second

// NewServer checks the options, and reads the certificates. It talks to no server.
func NewServer(o ServerOptions) (*Server, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil: // its text may hold the password
		return nil, errors.New("the address of the Prometheus server is not a URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, fmt.Errorf("the address of the Prometheus server %q is not a URL that begins with http:// or https://", u.Redacted())
	}
	carries := o.TokenFile != "" || u.User != nil
	if carries && u.Scheme == "http" && !loopback(u.Hostname()) && !o.Insecure {
		return nil, fmt.Errorf("cannot send a token or a password to %s without TLS", u.Redacted())
	}
	if o.TokenFile != "" && u.User != nil {
		return nil, fmt.Errorf("%s has a user, and there is a token too: leave one out", u.Redacted())
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure} //nolint:gosec // the operator's explicit wish
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("certificate authority of the Prometheus server: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority of the Prometheus server: %s holds no certificate in PEM", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate for the Prometheus server: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Server{url: u, token: o.TokenFile, client: &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: c, TLSHandshakeTimeout: dialTimeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// name is the server as it is shown: without what its address holds of secrets.
func (s *Server) name() string { return strings.TrimSuffix(s.url.Redacted(), "/") }

// Name is the address without user and password, as it may be recorded; "" for none, and for what is no address.
func (o ServerOptions) Name() string {
	u, err := url.Parse(o.URL)
	if err != nil {
		return ""
	}
	u.User = nil
	return strings.TrimSuffix(u.String(), "/")
}

// request is the question. A token that cannot be read is an error, and nothing is asked.
func (s *Server) request(ctx context.Context, expr string, limit time.Duration) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.address(expr, limit), nil)
	if err != nil {
		return nil, errors.New("the query cannot be asked")
	}
	if s.url.User != nil {
		password, _ := s.url.User.Password()
		r.SetBasicAuth(s.url.User.Username(), password)
	}
	if s.token != "" {
		token, err := secret.Line(ctx, s.token)
		if err != nil {
			return nil, fmt.Errorf("the token for the Prometheus server: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r, nil
}

// hide takes what we got in with out of the server's words: it may quote what it was sent.
func (s *Server) hide(r *http.Request, text string) string {
	var hidden secret.Scrubber
	if password, ok := s.url.User.Password(); ok {
		hidden.Add(secret.New(password))
	}
	if _, proof, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		hidden.Add(secret.New(proof))
	}
	return hidden.Text(text)
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
