package gate

import (
	"encoding/json"
	"strconv"
)

// Version is that of the document on a gate's stdin. Within it the document only grows.
const Version = 1

// Moment is what gates learn of a run.
type Moment struct {
	Run     string // the run's id
	Batch   int    // that has just ended, counted from 1; 0 before the first
	Batches int    // planned
	Nodes   []Node // of that batch; of a rolling window the nodes that became final since the gate was asked last
	// States are how many nodes of the whole run are in each state, by its word.
	States map[string]int
}

// Node is a node and its state's word.
type Node struct {
	Identity string `json:"identity"`
	State    string `json:"state"`
}

// document is the moment as JSON, with a newline at its end.
func (m Moment) document() ([]byte, error) {
	nodes, states := m.Nodes, m.States
	if nodes == nil {
		nodes = []Node{}
	}
	if states == nil {
		states = map[string]int{}
	}
	text, err := json.Marshal(struct {
		Version int            `json:"schema_version"`
		Run     string         `json:"run"`
		Batch   int            `json:"batch"`
		Batches int            `json:"batches"`
		Nodes   []Node         `json:"nodes"`
		States  map[string]int `json:"states"`
	}{Version, m.Run, m.Batch, m.Batches, nodes, states})
	return append(text, '\n'), err
}

// variables are the moment's part of a command's environment.
func (m Moment) variables() []string {
	return []string{"FLEETCTL_RUN=" + m.Run, "FLEETCTL_BATCH=" + strconv.Itoa(m.Batch), "FLEETCTL_BATCHES=" + strconv.Itoa(m.Batches)}
}
