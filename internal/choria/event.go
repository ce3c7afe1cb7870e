package choria

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Event is a lifecycle event: a component reports that it started, stopped, was
// provisioned and so on (docs/protocol.md, lifecycle events). Events are not
// signed: every client that may publish may forge one. Alive events repeat their ID and
// Time as long as the process lives.
type Event struct {
	Type       string    // startup, shutdown, provisioned, upgraded, alive, governor
	ID         string    // a UUID
	Identity   string    // of the node
	Component  string    // server, provision_mode_server, service_host
	Version    string    // startup, alive, upgraded
	NewVersion string    // upgraded
	Time       time.Time // UTC, whole seconds; zero when the event has none
}

const (
	eventProtocol = "io.choria.lifecycle.v1."
	eventSource   = "io.choria.lifecycle"
	cloudVersion  = "1.0"
)

type wireEvent struct {
	Protocol   string `json:"protocol"`
	ID         string `json:"id"`
	Identity   string `json:"identity"`
	Component  string `json:"component"`
	Timestamp  int64  `json:"timestamp"`
	Version    string `json:"version,omitempty"`
	NewVersion string `json:"new_version,omitempty"`
}

type wireCloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	ContentType string    `json:"datacontenttype"`
	Time        string    `json:"time"`
	Data        wireEvent `json:"data"`
}

// EncodeEvent returns a lifecycle event as a CloudEvent, or in the bare form
// that servers send when they are configured for the legacy format.
func EncodeEvent(e Event, legacy bool) ([]byte, error) {
	switch {
	case e.Type == "" || strings.Contains(e.Type, "."):
		return nil, fmt.Errorf("lifecycle event: cannot encode the type %q", e.Type)
	case e.Component == "":
		return nil, fmt.Errorf("lifecycle event: component: is empty")
	case e.Time.IsZero():
		return nil, fmt.Errorf("lifecycle event: time: is not set")
	case !encodable(e.Type, e.ID, e.Identity, e.Component, e.Version, e.NewVersion):
		return nil, fmt.Errorf("lifecycle event: not UTF-8")
	}
	inner := wireEvent{
		Protocol: eventProtocol + e.Type, ID: e.ID, Identity: e.Identity, Component: e.Component,
		Timestamp: e.Time.Unix(), Version: e.Version, NewVersion: e.NewVersion,
	}
	if legacy {
		return json.Marshal(inner)
	}
	return json.Marshal(wireCloudEvent{
		SpecVersion: cloudVersion, ID: e.ID, Source: eventSource, Type: inner.Protocol, Subject: e.Identity,
		ContentType: "application/json", Time: e.Time.UTC().Format(time.RFC3339), Data: inner,
	})
}

// DecodeEvent reads a lifecycle event of either form. Anything else is
// ErrUnknownProtocol: other things are published next to events. Types that we
// do not know are kept by their name.
func DecodeEvent(data []byte) (Event, error) {
	fields := [...]field{{key: "protocol"}, {key: "specversion"}, {key: "source"}, {key: "data"}}
	r := reader{layer: "lifecycle event"}
	r.checkSize(data)
	r.scan(data, fields[:])
	if r.err != nil {
		return Event{}, r.err
	}
	if fields[0].kind == text && strings.HasPrefix(r.text(&fields[0]), eventSource) {
		return r.event(data)
	}
	if fields[1].kind != text || r.text(&fields[1]) != cloudVersion ||
		fields[2].kind != text || r.text(&fields[2]) != eventSource {
		r.failWith(&fields[0], ErrUnknownProtocol)
		return Event{}, r.err
	}
	if fields[3].kind != object {
		r.fail(&fields[3], "is not an object")
		return Event{}, r.err
	}
	return r.event(fields[3].raw)
}

// event reads the inner document, which is all that counts in either form.
func (r *reader) event(data []byte) (Event, error) {
	fields := [...]field{
		{key: "protocol"}, {key: "id"}, {key: "identity"}, {key: "component"}, {key: "timestamp"},
		{key: "version"}, {key: "new_version"},
	}
	r.scan(data, fields[:])
	kind, known := strings.CutPrefix(r.name(&fields[0]), eventProtocol)
	if r.err == nil && (!known || kind == "" || strings.Contains(kind, ".")) {
		r.failWith(&fields[0], ErrUnknownProtocol)
	}
	e := Event{
		Type: kind, ID: r.name(&fields[1]), Identity: r.name(&fields[2]), Component: r.name(&fields[3]),
		Version: r.name(&fields[5]), NewVersion: r.name(&fields[6]),
	}
	if seconds := r.integer(&fields[4]); fields[4].kind == number {
		e.Time = r.boundTime(&fields[4], time.Unix(seconds, 0))
	}
	if r.err != nil {
		return Event{}, r.err
	}
	return e, nil
}
