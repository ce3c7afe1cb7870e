package run

import "fleetctl/batch"

// RuleSentences say what stop rules hold a run back, one sentence each.
func RuleSentences(p batch.Plan, r batch.Rules) []string { return ruleSentences(r, p.Policy.Rolling) }
