package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fleetctl/internal/choria"
	"fleetctl/internal/security"
	"fleetctl/rpcclient"
)

// signingOptions adds what fleetctl's own flags and settings say about request signer and login service.
func (a *app) signingOptions(o security.Options) (security.Options, error) {
	s, err := a.settings()
	if err != nil {
		return o, err
	}
	o.SignerCA = cmp.Or(a.flags.signerCA, s.SignerCA)
	o.InsecureSigner = a.flags.insecureSigner || s.InsecureSigner
	return o, nil
}

// securityOptions say who we are on this network.
func (n *network) securityOptions() (security.Options, error) {
	o, err := n.app.signingOptions(n.app.securityOptions(n.cfg))
	o.Service = serviceSigner{n}
	return o, err
}

// serviceSigner asks the network's own signing service, over the connection that the signed request will take.
type serviceSigner struct{ network *network }

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
	client, err := s.network.dial(ctx)
	if err != nil {
		return "", err
	}
	wait, cancel := context.WithTimeout(ctx, signerTimeout)
	defer cancel()
	fault := func(problem, hint string, err error) error {
		return &security.RemoteError{Service: "request signer " + signerAgent, Problem: problem, Hint: hint, Err: err}
	}
	reply, err := client.Service(wait, rpcclient.Request{Agent: signerAgent, Action: signerAction, Data: inputs, Collective: s.network.cfg.MainCollective})
	switch {
	case errors.Is(err, rpcclient.ErrNoReply) && ctx.Err() == nil:
		return "", fault("it did not answer in time ("+signerTimeout.String()+")", "does a server on this network offer "+signerAgent+"?", err)
	case err != nil:
		return "", err
	case reply.Code != choria.OK: // a refusal has no secure_request: look at the status first
		return "", fault(fmt.Sprintf("%s says no: %s", reply.Node, cmp.Or(reply.Message, reply.Code.String())), "", nil)
	}
	var signed struct {
		Secure string `json:"secure_request"`
	}
	if err := json.Unmarshal(reply.Data, &signed); err != nil || signed.Secure == "" {
		return "", fault(reply.Node+" answered without a signed request", "", err)
	}
	return signed.Secure, nil
}
