package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// RemoteError reports that a request signer or a login service failed: it cannot be
// reached, it is not the expected one, it refused, or its answer cannot be
// used. Nothing that needed a signature was sent to the fleet.
type RemoteError struct {
	Service string // who: "request signer https://...", without a password that the URL may hold
	Problem string // what, with the service's own words where it gave some; no secret
	Hint    string // what to do about it; may be ""
	Away    bool   // it was never reached: another address of the same service may do
	Err     error  // the cause, if any
}

// Error returns who and what. The hint is not part of it.
func (e *RemoteError) Error() string { return e.Service + ": " + e.Problem }

// Unwrap returns the cause.
func (e *RemoteError) Unwrap() error { return e.Err }

const (
	remoteTimeout = 10 * time.Second // one question and its whole answer; upstream has no limit
	dialTimeout   = 5 * time.Second
	maxAnswer     = 4 << 20 // bytes: a signed request is as large as a request, its proof and base64
	maxWords      = 200     // runes of a service's own words that are shown
)

// remote asks one HTTP service questions in JSON. It follows no redirect, because the
// question holds a token or a password, and uses no proxy. It is safe for concurrent use.
type remote struct {
	what   string // "request signer", "login service"
	url    *url.URL
	client *http.Client
	limit  time.Duration
}

// newRemote takes the service's URL and the TLS configuration, which it keeps.
func newRemote(what string, u *url.URL, c *tls.Config) *remote {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &remote{what: what, url: u, limit: remoteTimeout, client: &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: c, TLSHandshakeTimeout: dialTimeout,
			DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// name is the service as it is shown.
func (r *remote) name() string { return r.what + " " + r.url.Redacted() }

func (r *remote) fault(problem, hint string, err error) *RemoteError {
	return &RemoteError{Service: r.name(), Problem: problem, Hint: hint, Err: err}
}

// ask posts question and decodes the answer, which must be a JSON object. The error is a
// *RemoteError, in which secret does not occur, or the cause of a context that was
// canceled.
func (r *remote) ask(ctx context.Context, question, answer any, secret string) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("ask %s: %w", r.name(), err)
	}
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPost, r.url.String(), bytes.NewReader(body))
	if err != nil {
		return r.fault("its URL cannot be used", "", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.client.Do(req)
	if err != nil {
		return r.explain(ctx, err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing is written
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return r.explain(ctx, err)
	case len(data) > maxAnswer:
		return r.fault(fmt.Sprintf("its answer is longer than %d MiB", maxAnswer>>20), "is that URL the service's?", nil)
	case res.StatusCode != http.StatusOK:
		return r.refused(res, data, secret)
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return r.fault("its answer is not the JSON that was expected", "is that URL the service's?", nil)
	}
	return nil
}

// refused words an answer that is not 200.
func (r *remote) refused(res *http.Response, data []byte, secret string) error {
	problem := "it answered " + words(res.Status, secret)
	var body struct {
		Error string `json:"error"`
	}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // "" without a usable reason
	switch {
	case json.Unmarshal(data, &body) == nil && body.Error != "":
		problem += ": " + words(body.Error, secret)
	case media == "text/plain" && !json.Valid(data) && words(string(data), secret) != "":
		problem += ": " + words(string(data), secret)
	}
	hint := ""
	switch {
	case res.StatusCode == http.StatusNotFound:
		hint = "check the path of the URL"
	case res.StatusCode/100 == 3:
		hint = "redirects are not followed: configure the URL that it leads to"
	}
	return r.fault(problem, hint, nil)
}

// words makes a service's text fit to be printed: one line, no control characters, not
// too long, and without the secret that it was sent.
func words(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || !unicode.IsPrint(c) }), " ")
	if r := []rune(text); len(r) > maxWords {
		text = string(r[:maxWords]) + "..."
	}
	return text
}

// explain words an error of the transport.
func (r *remote) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	var f *RemoteError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		f = r.fault(fmt.Sprintf("it did not answer in time (%s)", r.limit), "is it overloaded, or behind a firewall?", err)
		f.Away = true
	case certificateFault(err) != "":
		f = r.fault(certificateFault(err), r.certificateHint(), err)
	default:
		f = r.fault("it is out of reach: "+transportReason(err), "check the URL, and that the service runs", err)
		f.Away = true
	}
	return f
}

func (r *remote) certificateHint() string {
	return "name the certificate authority of " + r.url.Host + " with --signer-ca FILE, or signer_ca in fleetctl's settings; --insecure-signer accepts any service that answers"
}

// certificateFault reports what is wrong with the service's certificate, "" for nothing.
func certificateFault(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "its certificate is of a certificate authority that is not known here"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another name: " + words(e.Error())
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return "its certificate is not valid: " + words(e.Error())
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate does not verify: " + words(e.Err.Error())
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS"
	}
	return ""
}

// transportReason is the innermost useful part of an error of net/http, without the URL.
func transportReason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	return words(err.Error())
}

// parseRemote reads the URL of a service. Plain HTTP shows tokens and passwords to
// every reader on the network: it is for this machine, or for --insecure-signer.
func parseRemote(key, text string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, setting(key+" is not a URL of a service", "it is like https://signer.example.net/path")
	case u.Scheme == "http" && !insecure && !onThisMachine(u.Hostname()):
		return nil, setting(fmt.Sprintf("%s: %s is not encrypted, and would show your token or password to every reader on the network", key, u.Redacted()),
			"use https, or --insecure-signer (insecure_signer in fleetctl's settings)")
	}
	return u, nil
}

func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// remoteTLS is the TLS configuration for a service, with certificates to show it, if any.
func (i *Identity) remoteTLS(u *url.URL, own []tls.Certificate) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: own, RootCAs: i.tls.remoteRoots, CipherSuites: i.tls.suites, CurvePreferences: i.tls.curves,
	}
	switch {
	case i.options.InsecureSigner:
		c.InsecureSkipVerify = true //nolint:gosec // the operator's explicit wish, warned about
	case i.tls.legacy:
		c.InsecureSkipVerify = true //nolint:gosec // VerifyConnection verifies instead
		c.VerifyConnection = legacyVerifier(i.tls.remoteRoots, addresses([]string{u.Host}))
	}
	return c
}

// openRemoteCA reads the authority that services are verified with: the one named for
// them, else the security provider's, else the system's.
func (i *Identity) openRemoteCA(path string) error {
	if i.options.SignerCA != "" {
		path = i.options.SignerCA
	}
	if path == "" || i.options.InsecureSigner {
		return nil
	}
	roots, err := readRoots(path)
	i.tls.remoteRoots = roots
	return err
}
