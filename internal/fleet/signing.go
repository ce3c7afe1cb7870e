package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"fleetctl/internal/config"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// Security collects the settings of our identity from the configuration, the flags and our own settings.
func (o Options) Security(cfg *config.Config) (security.Options, error) {
	s := cfg.Security
	out := security.Options{
		Provider: s.Provider, Identity: cfg.Identity, CertnameOverride: s.CertnameOverride, User: s.User,
		Root: os.Geteuid() == 0, Home: o.Home,
		Certificate: s.Certificate, Key: s.Key, CA: s.CA, TokenFile: s.TokenFile, SeedFile: s.SeedFile, SSLDir: s.SSLDir,
		TrustedSigners: s.TrustedSigners, Issuers: s.Issuers, CertnameAllow: s.CertnameAllow, Privileged: s.Privileged,
		SignerURL: s.SignerURL, SignerService: s.SignerService, SignerTokenFile: s.SignerTokenFile, SignerSeedFile: s.SignerSeedFile,
		CipherSuites: s.CipherSuites, Curves: s.Curves, LegacyCertificates: s.LegacyCertificates,
		AnonTLS: s.AnonTLS, DisableTLS: s.DisableTLS, Insecure: s.Insecure,
		InsecureBroker: o.InsecureBroker, AllowUnsignedReplies: o.AllowUnsigned,
	}
	own, err := o.Own()
	if err != nil {
		return out, err
	}
	out.SignerCA = cmp.Or(o.SignerCA, own.SignerCA)
	out.InsecureSigner = o.InsecureSigner || own.InsecureSigner
	return out, nil
}

// SecurityOptions are the settings of our identity on this network.
func (f *Fleet) SecurityOptions() (security.Options, error) {
	o, err := f.o.Security(f.Config)
	o.Service = serviceSigner{f}
	return o, err
}

// serviceSigner asks the network's own signing service, over the connection that the signed request will take.
type serviceSigner struct{ fleet *Fleet }

const (
	signerAgent  = "aaa_signer"
	signerAction = "sign"
	// signerTimeout is the document's 10 s, and the 2 that every reply gets.
	signerTimeout = 12 * time.Second
)

// Sign implements security.SigningService. The service is asked in the main collective: it need not be in the one that
// the request is for.
func (s serviceSigner) Sign(ctx context.Context, request, signature, token string) (string, error) {
	inputs, err := json.Marshal(map[string]string{"request": request, "signature": signature, "token": token})
	if err != nil {
		return "", err
	}
	client, err := s.fleet.Dial(ctx)
	if err != nil {
		return "", err
	}
	wait, cancel := context.WithTimeout(ctx, signerTimeout)
	defer cancel()
	fault := func(problem, hint string, err error) error {
		return &security.RemoteError{Service: "request signer " + signerAgent, Problem: problem, Hint: hint, Err: err}
	}
	reply, err := client.Service(wait, rpcclient.Request{Agent: signerAgent, Action: signerAction, Data: inputs, Collective: s.fleet.Config.MainCollective})
	switch {
	case errors.Is(err, rpcclient.ErrNoReply) && ctx.Err() == nil:
		return "", fault("it did not answer in time ("+signerTimeout.String()+")", "does a server on this network offer "+signerAgent+"?", err)
	case err != nil:
		return "", passing(err)
	case !reply.OK(): // a refusal has no secure_request: look at the status first
		return "", fault(fmt.Sprintf("%s refused: %s", reply.Node, cmp.Or(reply.Message, reply.Code.String())), "", nil)
	}
	var signed struct {
		Secure string `json:"secure_request"`
	}
	if err := json.Unmarshal(reply.Data, &signed); err != nil || signed.Secure == "" {
		return "", fault(reply.Node+" answered without a signed request", "", err)
	}
	return signed.Secure, nil
}
