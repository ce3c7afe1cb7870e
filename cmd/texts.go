package cmd

import "strings"

// texts is a flag that may be repeated; a comma means nothing. pflag's own of this kind makes a CSV writer with 4 KB for
// every flag that is declared.
type texts []string

// Set implements pflag.Value.
func (t *texts) Set(text string) error { return t.Append(text) }

// String implements pflag.Value.
func (t *texts) String() string { return strings.Join(*t, " ") }

// Type implements pflag.Value.
func (t *texts) Type() string { return "stringArray" }

// Append implements pflag.SliceValue, by which emptyFlag knows a list.
func (t *texts) Append(text string) error {
	*t = append(*t, text)
	return nil
}

// Replace implements pflag.SliceValue.
func (t *texts) Replace(all []string) error {
	*t = all
	return nil
}

// GetSlice implements pflag.SliceValue.
func (t *texts) GetSlice() []string { return *t }
