package rpcclient

import "fleetctl/internal/choria"

// The log holds what was sent and what came back, never its content: inputs may be secret, and data large. A session asks
// once whether anything is logged, so that 100,000 replies cost nothing where nothing is.

// logSent logs that a request was sent, or why it was not.
func (s *Session) logSent(r choria.Request, action string, subjects, published int, sent Sent, err error) {
	if !s.logs {
		return
	}
	log := s.client.log.With("request", r.ID, "agent", r.Agent, "action", action, "collective", r.Collective)
	if s.elsewhere != "" {
		log = log.With("reply_to", s.elsewhere)
	}
	if err != nil {
		log.Debug("request did not leave", "nodes", subjects, "published", max(published, 0), "error", err)
		return
	}
	log.Debug("request", "nodes", subjects, "ttl", r.TTL, "took", sent.Took)
}

// logReply logs an accepted reply.
func (s *Session) logReply(r Reply) {
	if s.logs {
		s.client.log.Debug("reply", "request", r.RequestID, "node", r.Node, "code", int(r.Code), "took", r.Received.Sub(r.Sent), "stamp", r.Time)
	}
}

// logStray logs a rejected message, with the sender that it claims.
func (s *Session) logStray(request, sender string, err error) {
	if s.logs {
		s.client.log.Debug("stray", "request", request, "node", sender, "kind", kindOf(err).String(), "error", err)
	}
}
