package proof

import (
	"context"
	"slices"
	"time"

	"fleetctl/rpcclient"
)

const (
	answerCost  = 200 * time.Microsecond // time to handle one reply, its signature check included
	surveyPause = 500 * time.Millisecond // after each part, so that its answers do not pile up in memory
)

// sendTimeout is how long the broker may take to accept a request for so many nodes, over a slow line too. A
// request that takes longer counts as lost.
func sendTimeout(nodes int) time.Duration {
	return 5*time.Second + time.Duration(nodes)*4*time.Millisecond
}

// survey is one round of questions.
type survey struct {
	session *rpcclient.Session
	asked   map[string]time.Time // by request id: before it left
	absent  map[string]bool      // nodes that are reported absent; one of them may answer anyway
	left    int
	heard   func(r rpcclient.Reply, asked time.Time) bool
}

// survey asks every node once and hands over the answers, and the reports that a node is absent, until all have
// answered, their time is over, or heard reports that it has enough. What arrived in time counts, however late it is
// decoded. The end of ctx is not an error.
func (v *Verifier) survey(ctx context.Context, nodes []string, heard func(r rpcclient.Reply, asked time.Time) bool) error {
	if len(nodes) == 0 {
		return nil
	}
	opening, cancel := context.WithTimeout(ctx, sendTimeout(0))
	session, err := v.o.Client.Open(opening, v.o.Collective)
	cancel()
	if err != nil {
		return ended(ctx, err)
	}
	defer session.Close()
	s := survey{session: session, asked: map[string]time.Time{}, absent: map[string]bool{}, heard: heard}
	for part := range slices.Chunk(nodes, maxPoll) {
		sending, cancel := context.WithTimeout(ctx, sendTimeout(len(part)))
		var sent rpcclient.Sent
		sent, err = session.Send(sending, v.poll(), part)
		cancel()
		s.asked[sent.ID] = sent.Start
		if err != nil {
			break
		}
		s.left += len(part)
		if !s.gather(ctx, surveyPause) {
			return nil
		}
	}
	if s.gather(ctx, answerTime+maxPoll*answerCost) && s.left > 0 {
		drain(ctx, session, s.take)
	}
	return ended(ctx, err)
}

// ended drops an error that the end of ctx explains.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// take hands over one reply, and reports whether to continue.
func (s *survey) take(r rpcclient.Reply) bool {
	if s.absent[r.Node] {
		delete(s.absent, r.Node)
	} else {
		s.left--
	}
	if r.Absent {
		s.absent[r.Node] = true
	}
	return s.heard(r, s.asked[r.RequestID])
}

// gather hands over what comes in until no node is left or the wait is over. It reports whether to continue.
func (s *survey) gather(ctx context.Context, wait time.Duration) bool {
	over := time.NewTimer(wait)
	defer over.Stop()
	for s.left > 0 {
		select {
		case r := <-s.session.Replies():
			if !s.take(r) {
				return false
			}
		case <-over.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// drain hands over every reply that has arrived by now, until take reports that it has enough.
func drain(ctx context.Context, s *rpcclient.Session, take func(rpcclient.Reply) bool) {
	ctx, cancel := context.WithCancel(ctx) // what has arrived has an end: no time limit may lose it
	defer cancel()
	settled := make(chan struct{})
	at := time.Now()
	go func() {
		defer close(settled)
		_ = s.Settle(ctx, at) // an error means that ctx ended: what is in counts anyway
	}()
	enough := false
	for done := false; ; {
		select {
		case r := <-s.Replies():
			if !enough && !take(r) {
				enough = true
				cancel()
			}
			continue
		default:
		}
		if done {
			return
		}
		select {
		case r := <-s.Replies():
			if !enough && !take(r) {
				enough = true
				cancel()
			}
		case <-settled:
			done = true
		}
	}
}
