package rpcclient

import "fleetctl/internal/choria"

// OK reports whether the node answered with RPC status 0: it did what was asked, or accepted to do it
// (docs/protocol.md, bodies).
func (r Reply) OK() bool { return r.Code == choria.OK }
