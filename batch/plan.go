package batch

import "time"

// Node is a node to plan for. Facts holds the values of Policy.Facts, where the
// node has them.
type Node struct {
	Identity string
	Facts    map[string]string
}

// Plan is who is sent to, in which order, and why.
type Plan struct {
	Policy  Policy   `json:"policy"`
	Batches []Batch  `json:"batches"`
	Notes   []string `json:"notes,omitempty"` // reasons that concern the whole plan
	// Doubts are nodes that another run may have touched, with what it knew:
	// they are probed first, and only who is proved untouched is sent to.
	Doubts []Target `json:"doubts,omitempty"`
}

// Batch is one step of a plan.
type Batch struct {
	Number int      `json:"number"` // from 1
	Nodes  []string `json:"nodes"`
	Canary bool     `json:"canary,omitempty"`
	Reason string   `json:"reason"` // why it has this size
}

// Estimate is how long a plan takes.
type Estimate struct {
	Typical time.Duration `json:"typical"` // when nodes behave
	Longest time.Duration `json:"longest"` // when every batch meets every time limit
}
