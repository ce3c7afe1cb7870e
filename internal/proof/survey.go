package proof

import (
	"context"
	"slices"
	"time"

	"fleetctl/rpcclient"
)

const (
	answerCost  = 200 * time.Microsecond // what a reply may cost us, with its signature checked
	surveyPause = 500 * time.Millisecond // after each part, so that its answers do not pile up in memory
)

// sendTimeout is how long the broker may take to accept a request for so many nodes, over a slow line too. One that
// takes longer is as good as lost.
func sendTimeout(nodes int) time.Duration {
	return 5*time.Second + time.Duration(nodes)*4*time.Millisecond
}

// survey asks every node once and hands over the answers, until all have answered, their time is over, or heard says
// that it has enough. The end of ctx is not an error.
func (v *Verifier) survey(ctx context.Context, nodes []string, heard func(rpcclient.Reply) bool) error {
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
	left := 0
	for part := range slices.Chunk(nodes, maxPoll) {
		sending, cancel := context.WithTimeout(ctx, sendTimeout(len(part)))
		_, err = session.Send(sending, v.poll(), part)
		cancel()
		if err != nil {
			break
		}
		left += len(part)
		if !gather(ctx, session, surveyPause, &left, heard) {
			return nil
		}
	}
	gather(ctx, session, answerTime+maxPoll*answerCost, &left, heard)
	return ended(ctx, err)
}

// ended drops an error that the end of ctx explains.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// gather hands over what comes in until nobody is left or the wait is over. It reports whether to go on.
func gather(ctx context.Context, s *rpcclient.Session, wait time.Duration, left *int, heard func(rpcclient.Reply) bool) bool {
	over := time.NewTimer(wait)
	defer over.Stop()
	for *left > 0 {
		select {
		case r := <-s.Replies():
			*left--
			if !heard(r) {
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
