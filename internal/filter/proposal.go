package filter

import (
	"errors"
	"strings"
)

// maxProposals bounds how often a proposal is replaced by the one that its own refusal makes.
const maxProposals = 4

// acceptable is a proposal that would not be refused itself: the one given, or what its refusal proposes, and so on;
// blank when none is found. Prose that is no quoted flag is kept.
func acceptable(instead string) string {
	for range maxProposals {
		flags, quoted := proposed(instead)
		if !quoted {
			return instead
		}
		_, err := parse(flags)
		if err == nil {
			return instead
		}
		refusal, ok := errors.AsType[*SurpriseError](err)
		if !ok {
			return ""
		}
		instead = refusal.Instead
	}
	return ""
}

// proposed reads the first flag of a proposal back, as a shell would.
func proposed(instead string) (flags Flags, quoted bool) {
	first, _, _ := strings.Cut(instead, "', or ")
	flag, word, _ := strings.Cut(first, " '")
	if word == "" || !strings.HasSuffix(instead, "'") {
		return Flags{}, false
	}
	text := []string{strings.ReplaceAll(strings.TrimSuffix(word, "'"), `'\''`, "'")}
	switch flag {
	case "-F":
		return Flags{Facts: text}, true
	case "-C":
		return Flags{Classes: text}, true
	case "-A":
		return Flags{Agents: text}, true
	case "-I":
		return Flags{Identities: text}, true
	case "-W":
		return Flags{With: text}, true
	case "-S":
		return Flags{Select: text}, true
	}
	return Flags{}, false
}
