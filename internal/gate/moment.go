package gate

import (
	"encoding/json"
	"strconv"

	"fleetctl/batch"
)

// version is that of the document on a gate's stdin. Within it the document only grows.
const version = 1

// document is a moment as JSON, with a newline at its end.
func document(m batch.Moment) ([]byte, error) {
	nodes := m.Nodes
	if nodes == nil {
		nodes = []batch.MomentNode{}
	}
	text, err := json.Marshal(struct {
		Version int                `json:"schema_version"`
		Run     string             `json:"run"`
		Batch   int                `json:"batch"`
		Batches int                `json:"batches"`
		Nodes   []batch.MomentNode `json:"nodes"`
		States  batch.Counts       `json:"states"`
	}{version, m.Run, m.Batch, m.Batches, nodes, m.Counts})
	return append(text, '\n'), err
}

// variables are the moment's part of a command's environment.
func variables(m batch.Moment) []string {
	return []string{"FLEETCTL_RUN=" + m.Run, "FLEETCTL_BATCH=" + strconv.Itoa(m.Batch), "FLEETCTL_BATCHES=" + strconv.Itoa(m.Batches)}
}
