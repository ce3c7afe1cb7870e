package fleet

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/bus"
	"fleetctl/rpcclient"
)

// Until a run reports the connection, the fleet does, at once: discovery waits for a lost one.
func TestALostConnectionIsReportedBeforeARunDoes(t *testing.T) {
	p := newPlace(t)
	f := p.open(t, "")
	f.links = make(chan batch.Link, linkBuffer)
	at := time.Now()
	news := func() {
		f.link(false, false, at, errors.New("the broker has closed it"))
		f.link(false, false, at.Add(time.Second), errors.New("again")) // repeated: nothing new
		f.link(true, false, at.Add(6*time.Second), nil)
	}
	p.said = nil
	news()
	if want := []string{"the connection was lost: the broker has closed it", "the connection is back after 6s"}; !slices.Equal(p.said, want) {
		t.Errorf("said %q, want %q", p.said, want)
	}
	p.said = nil
	links := f.Links()
	if news(); len(p.said) > 0 {
		t.Errorf("said %q although a run reports it", p.said)
	}
	if len(links) != 6 {
		t.Errorf("%d pieces of news for the run, want all 6: servers may still be on their way", len(links))
	}
}

// A broker that was away when we first called is news for the operator, and for the run: nodes may be on their way back.
func TestABrokerThatWasAwayAtFirstIsReported(t *testing.T) {
	p := newPlace(t)
	f := p.open(t, "")
	f.links = make(chan batch.Link, linkBuffer)
	p.said = nil
	at := time.Now()
	f.late(at)
	if len(p.said) != 1 || !strings.Contains(p.said[0], "the broker was away at first") {
		t.Errorf("said %q", p.said)
	}
	links := f.Links()
	lost, back := <-links, <-links
	if lost.Up || lost.Gone || lost.Err == nil || !back.Up || !back.Time.Equal(at) {
		t.Errorf("news for the run: %+v, %+v", lost, back)
	}
}

// A guard asks before each batch whether the connection is private. One that is lost passes; one that has ended for good
// does not.
func TestALostConnectionIsNotAPublicOne(t *testing.T) {
	l, p := practice(t)
	f := p.open(t, "")
	if private, _, err := f.Private(t.Context()); !private || err != nil {
		t.Fatalf("private %t, %v", private, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Private(t.Context()); !errors.Is(err, rpcclient.ErrLost) {
		t.Errorf("a lost connection: %v", err)
	}
	ended := &bus.Problem{What: "the connection to the broker has ended for good", Lost: true, Final: true}
	for _, err := range []error{ended, &bus.Problem{What: "not allowed", Denied: true}, errors.New("refused")} {
		if got := passing(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
