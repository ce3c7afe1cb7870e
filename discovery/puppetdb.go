package discovery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Lookup finds SRV records; net.Resolver's LookupSRV fits.
type Lookup func(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)

const (
	puppetDBPort    = 8081
	puppetDBTimeout = 30 * time.Second
	maxReply        = 64 << 20 // of PuppetDB, and of a program: room for half a million nodes
	maxGet          = 4 << 10  // longer queries go into a body: web servers refuse long request lines
)

// PuppetDBServer reports where PuppetDB is, and the credentials for it.
type PuppetDBServer struct {
	Host    string        // plugin.choria.puppetdb_host; "" looks for it
	Port    int           // plugin.choria.puppetdb_port; 0 means 8081
	UseSRV  bool          // whether SRV records may be asked, under Domain
	Domain  string        // "" asks for no SRV record
	Lookup  Lookup        // nil is the resolver of the machine
	TLS     *tls.Config   // certificate of the client and the CA; nil is the system's CAs and no certificate
	Timeout time.Duration // for the whole query; 0 means 30 s
}

// puppetDBSource finds the nodes by the facts and catalogs in PuppetDB.
type puppetDBSource struct{ server PuppetDBServer }

// newPuppetDB makes the source; no request is sent yet.
func newPuppetDB(s PuppetDBServer) *puppetDBSource {
	s.Port = cmp.Or(s.Port, puppetDBPort)
	s.Timeout = cmp.Or(s.Timeout, puppetDBTimeout)
	if s.Lookup == nil {
		s.Lookup = net.DefaultResolver.LookupSRV
	}
	return &puppetDBSource{server: s}
}

// Discover asks PuppetDB which active nodes match. A filter of nothing but exact names is answered without it.
// Query.Timeout is for the network's answers and has no meaning here: PuppetDBServer.Timeout bounds the query.
func (p *puppetDBSource) Discover(ctx context.Context, q Query) (Result, error) {
	if err := suits(MethodPuppetDB, q.Filter); err != nil {
		return Result{}, err
	}
	if r, exact, err := exactNames(q.Filter); exact {
		return r, err
	}
	query, err := pqlQuery(q)
	if err != nil {
		return Result{}, err
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, p.server.Timeout)
	defer cancel()
	names, strange, err := p.ask(limited, query)
	switch {
	case err == nil:
		r := result(MethodPuppetDB, names, start)
		r.Strange = strange
		return r, nil
	case ctx.Err() != nil:
		return Result{}, fmt.Errorf("ask PuppetDB: %w", context.Cause(ctx))
	case limited.Err() != nil:
		return Result{}, &SourceError{Source: MethodPuppetDB, Kind: Unreachable, Hint: "ask for less, or look at PuppetDB's own log",
			Err: fmt.Errorf("PuppetDB did not answer within %v", p.server.Timeout)}
	}
	return Result{}, err
}

func (p *puppetDBSource) ask(ctx context.Context, query string) (names []string, strange int, err error) {
	address, err := p.address(ctx)
	if err != nil {
		return nil, 0, err
	}
	request, err := pqlRequest(ctx, address, query)
	if err != nil {
		return nil, 0, misuse(MethodPuppetDB, "set plugin.choria.puppetdb_host to a host's name", "PuppetDB at %q: %v", address, err)
	}
	transport := &http.Transport{TLSClientConfig: p.tls(), DisableKeepAlives: true, ForceAttemptHTTP2: false}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, unreachable(address, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, refusal(address, response)
	}
	names, strange, err = readCertnames(response.Body, maxReply)
	if err != nil {
		return nil, 0, fault(MethodPuppetDB, "is it PuppetDB that listens there?", "reply of PuppetDB at %s: %w", address, err)
	}
	return names, strange, nil
}

// tls is the caller's configuration with plain verification, whatever its settings for brokers are.
func (p *puppetDBSource) tls() *tls.Config {
	if p.server.TLS == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c := p.server.TLS.Clone()
	c.InsecureSkipVerify, c.VerifyConnection, c.VerifyPeerCertificate, c.ServerName = false, nil, nil, ""
	return c
}

func pqlRequest(ctx context.Context, address, query string) (*http.Request, error) {
	u := url.URL{Scheme: "https", Host: address, Path: "/pdb/query/v4", RawQuery: url.Values{"query": {query}}.Encode()}
	if len(u.RawQuery) <= maxGet {
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	}
	u.RawQuery = ""
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// address is host:port of PuppetDB: configured, else by SRV record, else by custom (docs/protocol.md, discovery,
// puppetdb).
func (p *puppetDBSource) address(ctx context.Context) (string, error) {
	s := p.server
	port := strconv.Itoa(s.Port)
	if s.Port < 1 || s.Port > 65535 {
		return "", misuse(MethodPuppetDB, "set plugin.choria.puppetdb_port", "the port of PuppetDB is %d", s.Port)
	}
	if s.Host != "" {
		return net.JoinHostPort(strings.Trim(s.Host, "[]"), port), nil
	}
	if s.UseSRV && s.Domain != "" {
		for _, service := range []string{"x-puppet-db", "x-puppet"} {
			target, recorded, err := s.srv(ctx, service)
			if err != nil {
				return "", err
			}
			if target == "" {
				continue
			}
			if service == "x-puppet-db" {
				port = recorded // the other record's port is the one of Puppet itself
			}
			return net.JoinHostPort(target, port), nil
		}
	}
	return net.JoinHostPort("puppet", port), nil
}

// srv is the first target that a record names; none is no error.
func (s PuppetDBServer) srv(ctx context.Context, service string) (target, port string, err error) {
	_, records, err := s.Lookup(ctx, service, "tcp", s.Domain)
	if err != nil {
		if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
			return "", "", nil
		}
		return "", "", &SourceError{Source: MethodPuppetDB, Kind: Unreachable, Hint: "set plugin.choria.puppetdb_host, or fix the name service",
			Err: fmt.Errorf("look up _%s._tcp.%s: %w", service, s.Domain, err)}
	}
	for _, r := range records {
		if t := strings.TrimSuffix(r.Target, "."); t != "" {
			return t, strconv.Itoa(int(r.Port)), nil
		}
	}
	return "", "", nil
}

// unreachable explains a request that got no answer.
func unreachable(address string, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the address in it holds the whole query
	}
	e := &SourceError{Source: MethodPuppetDB, Kind: Unreachable, Err: fmt.Errorf("ask PuppetDB at %s: %w", address, err)}
	unknown, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isName := errors.AsType[x509.HostnameError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isUnknown && unknown.Cert != nil:
		e.Hint = "its certificate is not of our CA: " + shorten(unknown.Cert.Subject.String(), 100)
	case isName:
		e.Hint = "set plugin.choria.puppetdb_host to a name that its certificate has"
	case strings.Contains(err.Error(), "remote error: tls:"):
		e.Hint = "it refused our certificate: it has to be of a CA that PuppetDB trusts"
	case isPlain || strings.Contains(err.Error(), "server gave HTTP response"):
		e.Hint = "set plugin.choria.puppetdb_port to its port for TLS, usually 8081"
	case isDNS:
		e.Hint = "set plugin.choria.puppetdb_host"
	default:
		e.Hint = "is PuppetDB up? Its place is plugin.choria.puppetdb_host and plugin.choria.puppetdb_port"
	}
	return e
}

// refusal explains a status other than 200.
func refusal(address string, response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil {
		text = nil // the status is enough
	}
	said := ""
	if s := shorten(string(text), 300); s != "" {
		said = ": " + s
	}
	e := &SourceError{Source: MethodPuppetDB, Kind: Unreachable, Err: fmt.Errorf("PuppetDB at %s answered %s%s", address, response.Status, said)}
	switch code := response.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		e.Hint = "our certificate is not allowed to query: see certificate-allowlist in PuppetDB's configuration"
	case code == http.StatusBadRequest:
		e.Kind, e.Hint = Misuse, "it does not understand the query: check -I pql:..., fact names and regexes"
	case code == http.StatusNotFound:
		e.Hint = "is it PuppetDB, and not Puppet, that listens there?"
	case code >= 300 && code < 400:
		e.Hint = "set plugin.choria.puppetdb_host to PuppetDB itself"
	default:
		e.Hint = "look at PuppetDB's own log"
	}
	return e
}

// readCertnames reads the reply: the names of the active nodes, and how many names cannot be a node's.
func readCertnames(r io.Reader, limit int64) (names []string, strange int, err error) {
	bounded := &io.LimitedReader{R: r, N: limit + 1}
	d := json.NewDecoder(bounded)
	fail := func(err error) ([]string, int, error) {
		switch {
		case bounded.N <= 0:
			err = fmt.Errorf("it is longer than %d MiB", limit>>20)
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			err = errors.New("it ends too early")
		}
		return nil, 0, err
	}
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fail(cmp.Or(err, errors.New("it is not a JSON array")))
	}
	for i := 0; d.More(); i++ {
		var row struct {
			Certname    *string         `json:"certname"`
			Deactivated json.RawMessage `json:"deactivated"`
		}
		if err := d.Decode(&row); err != nil {
			return fail(err)
		}
		gone, ok := deactivated(row.Deactivated)
		if row.Certname == nil || !ok {
			return fail(fmt.Errorf("its row %d lacks the certname, or has no true or false for deactivated", i))
		}
		switch {
		case gone:
		case checkName(*row.Certname) != nil:
			strange++
		default:
			names = append(names, *row.Certname)
		}
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); err != io.EOF || bounded.N <= 0 {
		return fail(errors.New("there is more after its end"))
	}
	return names, strange, nil
}

// deactivated reads PuppetDB's value: null, a truth value, or a time. ok is false for anything else.
func deactivated(raw json.RawMessage) (gone, ok bool) {
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return false, len(raw) == 0
	}
	switch v := v.(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case string:
		return v != "", true
	}
	return false, false
}
