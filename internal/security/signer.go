package security

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"time"

	"fleetctl/internal/choria"
)

// signerAgent is the service that signs requests; requests to it are not signed
// (docs/protocol.md, signing).
const signerAgent = "aaa_signer"

// SigningService asks the network's own signing service, action sign of aaa_signer. The
// owner of the connection implements it.
type SigningService interface {
	// Sign hands over the request's JSON, the caller's signature in hex and the caller's
	// token, and returns the signed request. A refusal is an error. The request that asks
	// is sealed by the same Identity, which leaves it unsigned.
	Sign(ctx context.Context, request, signature, token string) (secure string, err error)
}

// signerKeys are the settings of remote signers, for messages.
const (
	keySignerURL     = "plugin.choria.security.request_signer.url"
	keySignerService = "plugin.choria.security.request_signer.service"
)

// delegates reports whether another service signs the requests.
func (o *Options) delegates() bool { return o.SignerService || o.SignerURL != "" }

// requestSigner has requests signed elsewhere: by HTTP, or by the service.
type requestSigner struct {
	http    *remote // nil: service
	service SigningService
}

// openSigner prepares the way to the signer. The CA has been read.
func (i *Identity) openSigner() error {
	o := &i.options
	if o.SignerService { // it wins over the URL, as upstream has it
		i.delegate = &requestSigner{service: o.Service}
		return nil
	}
	u, err := parseRemote(keySignerURL, o.SignerURL, o.InsecureSigner)
	if err != nil {
		return err
	}
	if o.InsecureSigner {
		i.warn("the request signer's certificate is not verified")
	}
	i.delegate = &requestSigner{http: newRemote("request signer", u, i.remoteTLS(u, nil))}
	return nil
}

// name is the signer as it is shown.
func (s *requestSigner) name() string {
	if s.http != nil {
		return s.http.name()
	}
	return "request signer " + signerAgent
}

func (s *requestSigner) fault(problem, hint string, err error) error {
	return &RemoteError{Service: s.name(), Problem: problem, Hint: hint, Err: err}
}

// sign returns the signer's document.
func (s *requestSigner) sign(ctx context.Context, request []byte, signature, token string) ([]byte, error) {
	if s.http != nil {
		return s.overHTTP(ctx, request, signature, token)
	}
	if s.service == nil {
		return nil, s.fault("there is no connection to ask it over", "", nil)
	}
	secure, err := s.service.Sign(ctx, string(request), signature, token)
	switch fault, worded := errors.AsType[*RemoteError](err); {
	case worded:
		fault.Problem = words(fault.Problem, token)
		return nil, fault
	case err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, s.fault(words(err.Error(), token), "", err)
	}
	return []byte(secure), nil
}

// overHTTP asks as docs/protocol.md has it under "remote signer, HTTP".
func (s *requestSigner) overHTTP(ctx context.Context, request []byte, signature, token string) ([]byte, error) {
	question := struct {
		Token     string `json:"token"`
		Request   []byte `json:"request"`
		Signature string `json:"signature"`
	}{token, request, signature}
	var answer struct {
		Secure []byte `json:"secure_request"`
		Error  string `json:"error"`
	}
	if err := s.http.ask(ctx, question, &answer, token); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, s.http.fault("it refused: "+words(answer.Error, token), "", nil)
	}
	return answer.Secure, nil
}

// unsigned reports that a request goes to the signing service, which takes it as it is.
func unsigned(version choria.Version, request []byte) bool {
	if !bytes.Contains(request, []byte(signerAgent)) {
		return false
	}
	r, err := choria.DecodeRequest(version, request)
	return err == nil && r.Agent == signerAgent
}

// sealElsewhere has the request signed, and checks the result as far as servers would:
// those drop what they do not believe silently.
func (i *Identity) sealElsewhere(ctx context.Context, request []byte, now time.Time) ([]byte, error) {
	signature := hex.EncodeToString(ed25519.Sign(i.seed, request))
	data, err := i.delegate.sign(ctx, request, signature, i.token)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, i.delegate.fault("its answer has no secure_request", "is that URL the service's?", nil)
	}
	sealed, err := choria.DecodeSecureRequest(data)
	switch {
	case err != nil:
		return nil, i.delegate.fault("what it signed is no request: "+words(err.Error()), "", err)
	case sealed.Version != i.version:
		return nil, i.delegate.fault(fmt.Sprintf("it signed for protocol %s, and we speak %s", sealed.Version, i.version), "plugin.security.provider decides what we speak", nil)
	case len(sealed.Signature) == 0:
		return nil, i.delegate.fault("it gave the request back without a signature", "", ErrUnsigned)
	}
	if what := changed(i.version, request, sealed.Request); what != "" {
		return nil, i.delegate.fault("it signed another request than ours: "+what, "this signer is not to be trusted", nil)
	}
	if i.version == choria.V1 {
		if _, err := signedByCertificate(sealed); err != nil { // its authority is for the servers to judge
			return nil, i.delegate.fault("servers would not believe what it signed: "+words(err.Error()), "they would drop it silently", err)
		}
		return data, nil
	}
	return i.adoptDelegation(sealed, now)
}

// adoptDelegation makes the document ours: the caller is our own token, and the signer's
// must be there (docs/protocol.md, remote signer).
func (i *Identity) adoptDelegation(sealed choria.SecureRequest, now time.Time) ([]byte, error) {
	if sealed.Signer == "" {
		return nil, i.delegate.fault("it did not name the signer: the field signer is empty", "is it a signer for protocol v2?", nil)
	}
	sealed.Caller = i.token
	if i.issuers.known() {
		v := RequestVerifier{version: choria.V2, issuers: i.issuers}
		// A token that is about to become valid is for the servers' clocks to judge.
		if _, err := v.Verify(sealed, now); err != nil && !errors.Is(err, ErrTokenNotYetValid) {
			return nil, i.delegate.fault("servers would not believe what it signed: "+words(err.Error()), "has it a token of this organization, with authentication_delegator?", err)
		}
	}
	data, err := choria.EncodeSecureRequest(sealed)
	if err != nil {
		return nil, i.delegate.fault("what it signed cannot be sent: "+words(err.Error()), "", err)
	}
	return data, nil
}

// changed compares what we wanted signed with what was signed, and names the first
// difference that would change what happens. A signer may set the caller, and may write
// the document anew.
func changed(version choria.Version, want, got []byte) string {
	if bytes.Equal(want, got) {
		return ""
	}
	w, err := choria.DecodeRequest(version, want)
	if err != nil {
		return "ours cannot be read"
	}
	g, err := choria.DecodeRequest(version, got)
	switch {
	case err != nil:
		return "it cannot be read"
	case g.ID != w.ID:
		return "the id differs"
	case g.Agent != w.Agent:
		return "the agent differs"
	case g.Collective != w.Collective:
		return "the collective differs"
	case g.TTL > w.TTL:
		return "it is valid for longer"
	case !bytes.Equal(g.Body(), w.Body()):
		return "the action or its inputs differ"
	case !reflect.DeepEqual(g.Filter, w.Filter):
		return "the filter differs"
	}
	return ""
}
