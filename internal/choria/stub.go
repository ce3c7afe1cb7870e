package choria

import (
	"encoding/json"
	"errors"
	"time"
)

var errStub = errors.New("not written yet")

type Filter struct {
	Fact     []FactFilter       `json:"fact"`
	Class    []string           `json:"cf_class"`
	Agent    []string           `json:"agent"`
	Identity []string           `json:"identity"`
	Compound [][]CompoundFilter `json:"compound"`
}
type FactFilter struct {
	Fact     string `json:"fact"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
}
type CompoundFilter struct {
	Expr string `json:"expr"`
}

func (f Filter) Empty() bool { return false }

type Request struct {
	Version                               Version
	ID, Sender, Caller, Collective, Agent string
	TTL                                   time.Duration
	Time                                  time.Time
	Filter                                Filter
	Payload                               []byte
}

func EncodeRequest(Request) ([]byte, error)          { return nil, errStub }
func DecodeRequest(Version, []byte) (Request, error) { return Request{}, errStub }
func (r Request) Body() []byte                       { return nil }

type SecureRequest struct {
	Version     Version
	Request     []byte
	Signature   []byte
	Certificate string
	Caller      string
	Signer      string
}

func EncodeSecureRequest(SecureRequest) ([]byte, error) { return nil, errStub }
func DecodeSecureRequest([]byte) (SecureRequest, error) { return SecureRequest{}, errStub }

type Reply struct {
	Version                  Version
	RequestID, Sender, Agent string
	Time                     time.Time
	Payload                  []byte
}

func EncodeReply(Reply) ([]byte, error)          { return nil, errStub }
func DecodeReply(Version, []byte) (Reply, error) { return Reply{}, errStub }

type SecureReply struct {
	Version         Version
	Reply           []byte
	Hash, Signature []byte
	Sender          string
}

func EncodeSecureReply(SecureReply) ([]byte, error) { return nil, errStub }
func DecodeSecureReply([]byte) (SecureReply, error) { return SecureReply{}, errStub }

type Federation struct {
	RequestID, ReplyTo string
	Targets            []string
}
type Transport struct {
	Version         Version
	Data            []byte
	ReplyTo, Sender string
	SeenBy          [][3]string
	Federation      *Federation
}

func EncodeTransport(Transport) ([]byte, error) { return nil, errStub }
func DecodeTransport([]byte) (Transport, error) { return Transport{}, errStub }

type StatusCode int

const (
	OK StatusCode = iota
	Aborted
	UnknownAction
	MissingData
	InvalidData
	UnknownError
)

func (c StatusCode) String() string { return "" }

type RPCRequest struct {
	Agent, Action string
	Data          json.RawMessage
}

func EncodeRPCRequest(RPCRequest) ([]byte, error) { return nil, errStub }
func DecodeRPCRequest([]byte) (RPCRequest, error) { return RPCRequest{}, errStub }

type RPCReply struct {
	Action     string
	StatusCode StatusCode
	StatusMsg  string
	Data       json.RawMessage
}

func EncodeRPCReply(RPCReply) ([]byte, error) { return nil, errStub }
func DecodeRPCReply([]byte) (RPCReply, error) { return RPCReply{}, errStub }

func DiscoveryPing() []byte            { return nil }
func IsDiscoveryPing(body []byte) bool { return false }
func DiscoveryPong() []byte            { return nil }

func BroadcastSubject(collective, agent string) string    { return "" }
func NodeSubject(collective, identity string) string      { return "" }
func ServiceSubject(collective, agent string) string      { return "" }
func CallerHash(caller string) string                     { return "" }
func ReplyPrefix(collective, caller string) string        { return "" }
func FederationSubject(federation string) string          { return "" }
func LifecycleSubject(eventType, component string) string { return "" }
func LifecycleSubjects() string                           { return "" }
func NewRequestID(v Version, t time.Time) string          { return "" }
func CheckIdentity(name string) error                     { return errStub }

type Event struct {
	Type, ID, Identity, Component, Version, NewVersion string
	Time                                               time.Time
}

func EncodeEvent(e Event, legacy bool) ([]byte, error) { return nil, errStub }
func DecodeEvent([]byte) (Event, error)                { return Event{}, errStub }
